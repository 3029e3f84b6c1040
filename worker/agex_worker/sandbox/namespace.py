"""The globals in which compiled agent code runs."""

from __future__ import annotations

import builtins
import types
from collections.abc import Mapping
from typing import Any

from agex_protocol.plan import SandboxPlan
from agex_worker.sandbox.builtin_table import builtin_table
from agex_worker.sandbox.file_modules import FileModules
from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.sandbox.gates import Gates
from agex_worker.sandbox.modules import Modules
from agex_worker.sandbox.replacements import Namespace, Replacements
from agex_worker.sandbox.types_shown import close, shown
from agex_worker.sandbox.workspace_modules import WorkspaceModules


def namespace(
    plan: SandboxPlan,
    names: Mapping[str, object],
    *,
    files: WorkspaceFiles | None,
    members: Mapping[str, Mapping[str, object]] = types.MappingProxyType({}),
    own: Mapping[str, object] = types.MappingProxyType({}),
) -> dict[str, Any]:
    """Globals for exec(): the plan's builtins and imports, and the given names. `files` is what open() opens from, and where
    modules of the agent's own are found; these have `names`, too, and not those of `own`.

    members: of modules, by the module's name, what stands in the place of the module's own or makes up all of it.
    """
    scope: dict[str, Any] = {"__name__": "__main__"}
    if plan.mode == "full":
        return scope | {"__builtins__": builtins} | dict(names) | dict(own)
    close((grant.module, grant.qualname) for grant in plan.classes if not grant.constructable)
    gates = Gates(plan, files)
    shared: dict[str, Any] = {}
    workspace = WorkspaceModules(plan, files, lambda: dict(shared))
    on_files = None if files is None else FileModules(files)
    modules = Modules(plan.modules, Replacements(gates.get, files), members, workspace, on_files)
    shared["__builtins__"] = builtin_table(plan, gates, modules, files)
    shared |= {name: _presented(value, modules) for name, value in names.items()} | gates.names()
    return scope | shared | {name: _presented(value, modules) for name, value in own.items()}


def _presented(value: object, modules: Modules) -> object:
    if isinstance(value, types.ModuleType):
        return modules.wrap(value)
    if type(value) is types.SimpleNamespace:
        return Namespace(**vars(value))
    if isinstance(value, type):
        return shown(value)
    return value
