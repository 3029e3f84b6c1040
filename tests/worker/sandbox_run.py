"""Runs source in the inner sandbox of this very process, as isolation="none" does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agex_protocol.plan import ModuleGrant, SandboxPlan
from agex_worker.sandbox.compiler import VALUE_NAME, compile
from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.sandbox.namespace import namespace


def run(
    source: str,
    *modules: str | ModuleGrant,
    names: Mapping[str, object] | None = None,
    files: Path | None = None,
    mode: Any = "restricted",
) -> Any:
    """The value of the last expression, with these modules registered."""
    grants = tuple(each if isinstance(each, ModuleGrant) else ModuleGrant(each) for each in modules)
    plan = SandboxPlan(mode=mode, modules=grants)
    scope = namespace(plan, names or {}, files=None if files is None else WorkspaceFiles(files))
    exec(compile(source, plan, "<test>"), scope)
    return scope.get(VALUE_NAME)
