"""First form."""
from __future__ import annotations
import builtins
from collections.abc import Mapping
from agex_protocol.plan import SandboxPlan
from agex_worker.sandbox.files import WorkspaceFiles
def namespace(plan: SandboxPlan, names: Mapping[str, object], *, files: WorkspaceFiles | None) -> dict[str, object]:
    """The globals."""
    if plan.mode != "full":
        raise NotImplementedError("the restricted namespace is being written")
    return {"__builtins__": builtins, "__name__": "__main__", **names}
