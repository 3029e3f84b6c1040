"""Imports of the agent's own files: any .py file or folder of the workspace, under the same rules as the action itself.

A module is read anew by every action, and runs in a namespace with the builtins, gates and registered names of the action.
What is registered, or Python's own, is never replaced by a file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from agex_protocol.plan import SandboxPlan
from agex_worker import denials
from agex_worker.sandbox.compiler import compile
from agex_worker.sandbox.facade import Facade, facade
from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.tracebacks import remember_script

MAX_SOURCE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """A module of the workspace: its file, "" for a folder without an __init__.py, and whether it has others in it."""

    name: str
    file: str
    is_package: bool


class WorkspaceModules:
    """Finds and runs modules; `scope()` is what each namespace begins with."""

    def __init__(self, plan: SandboxPlan, files: WorkspaceFiles | None, scope: Callable[[], dict[str, Any]]) -> None:
        self._plan = plan
        self._files = files
        self._scope = scope

    def find(self, name: str) -> Found | None:
        """The module of that dotted name. ImportError where its file would stand in for a module of Python's own."""
        found = self._found(name)
        if found is not None and name.partition(".")[0] in sys.stdlib_module_names:
            raise _shadowing(found, "a module of Python's own, which is not registered here")
        return found

    def refuse_shadow(self, name: str) -> None:
        """ImportError if a file has the name of this registered module: one of the two is not what was meant."""
        found = self._found(name)
        if found is not None and found.file:
            raise _shadowing(found, "a registered module")

    def near(self, name: str, known: Iterable[str]) -> str:
        """A hint at what may have been meant by a name that is not there, or ""."""
        folder = "/".join(name.split(".")[:-1])
        prefix = name.rpartition(".")[0]
        own = [f"{prefix}.{each}" if prefix else each for each in self._names(folder)]
        close = get_close_matches(name, [*own, *known], n=1)
        return f"; did you mean {close[0]!r}?" if close else ""

    def facade(self, found: Found) -> tuple[Facade, dict[str, Any]]:
        """The module as code holds it, and its namespace, in which `run` fills it."""
        base = self._scope()
        scope = base | {"__name__": found.name, "__package__": _package(found)}

        def names() -> list[str]:
            return [name for name in scope if name.isidentifier() and name[0] != "_" and is_own(name)]

        def is_own(name: str) -> bool:
            return name in scope and (name not in base or scope[name] is not base[name])

        def vet(name: str) -> Any:
            if not name.startswith("_") and is_own(name):
                return scope[name]
            beside = self._names(found.name.replace(".", "/")) if found.is_package else []
            close = get_close_matches(name, [*names(), *beside], n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            # With a name in it, or from 3.12 on Python's tracebacks add a hint of their own.
            raise AttributeError(f"module {found.name!r} ({found.file or 'a folder'}) has no {name!r}{hint}", name="")

        return facade(found.name, vet, names, live=True), scope

    def run(self, found: Found, scope: dict[str, Any]) -> None:
        """Compile the file as an action is compiled, and run it."""
        if not found.file or self._files is None:
            return
        with self._files.open(found.file, "rb") as file:
            data = file.read(MAX_SOURCE_BYTES + 1)
        if len(data) > MAX_SOURCE_BYTES:
            raise ImportError(f"{found.file} has more than {MAX_SOURCE_BYTES >> 20} MiB", name=found.name)
        try:
            source = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise SyntaxError(f"{found.file} is not UTF-8: {error}") from None
        exec(compile(source, self._plan, remember_script(found.file, source), relative=True), scope)

    def _found(self, name: str) -> Found | None:
        path = name.replace(".", "/")
        if self._files is None or not all(part.isidentifier() for part in name.split(".")):
            return None
        for file, is_package in ((f"{path}/__init__.py", True), (f"{path}.py", False)):
            if self._files.kind_of(file) == "file":
                return Found(name, file, is_package)
        return Found(name, "", True) if self._files.kind_of(path) == "folder" else None

    def _names(self, folder: str) -> list[str]:
        if self._files is None:
            return []
        with denials.apart():
            entries = list(self._files.listed(folder))
        return [name.removesuffix(".py") for name, is_folder in entries if is_folder or name.endswith(".py")]


def _package(found: Found) -> str:
    return found.name if found.is_package else found.name.rpartition(".")[0]


def _shadowing(found: Found, what: str) -> ImportError:
    return ImportError(
        f"{found.file or found.name} in the working directory has the name of {what}, and cannot stand in for it; rename it",
        name=found.name,
    )
