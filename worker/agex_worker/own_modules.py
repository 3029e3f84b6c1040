"""Imports of the application's own modules: their source comes from the supervisor, not from the disk.

A confined zygote cannot read the folder in which an application keeps its code, because a `.env` or a `secrets.py` may
lie beside a registered module. So it asks for each module by name while it boots. Once workers can be forked nobody
answers any more, and a late import of such a module says what to register.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from agex_protocol.zygote_messages import ModuleFound
from agex_worker.tracebacks import remember_source

Find = Callable[[str], ModuleFound]


class OwnModules(importlib.abc.MetaPathFinder):
    """First on sys.meta_path. `find` asks the supervisor; after `seal()` nothing is asked."""

    def __init__(self, find: Find) -> None:
        self._find: Find | None = find
        self._packages: set[str] = set()

    def seal(self) -> None:
        self._find = None

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        parent, _, _ = fullname.rpartition(".")
        if (parent and parent not in self._packages) or fullname in sys.stdlib_module_names:
            return None
        if self._find is None:
            _refuse_late(fullname, parent)
            return None
        found = self._find(fullname)
        match found.kind:
            case "source" | "package":
                loader = OwnSource(fullname, found.file, found.source)
                # As from a file, so that the module has the __file__ that code and tracebacks look for.
                spec = importlib.util.spec_from_file_location(
                    fullname,
                    found.file,
                    loader=loader,
                    submodule_search_locations=[] if found.kind == "package" else None,
                )
            case "namespace":
                spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            case "extension":
                return importlib.util.spec_from_file_location(fullname, found.file)
            case _:
                return None
        if spec is not None and spec.submodule_search_locations is not None:
            self._packages.add(fullname)
            spec.submodule_search_locations[:] = found.locations
        return spec


def _refuse_late(fullname: str, parent: str) -> None:
    if parent:
        raise ModuleNotFoundError(
            f"{fullname} was not imported when the workers were prepared, and the application's own files cannot be"
            f" read from here; register it: agent.module({fullname!r})",
            name=fullname,
        )


class OwnSource(importlib.abc.SourceLoader):
    """Loads one module from source that is already here; tracebacks get their lines from it, too."""

    def __init__(self, fullname: str, file: str, source: bytes) -> None:
        self._fullname = fullname
        self._file = file
        self._source = source

    def exec_module(self, module: ModuleType) -> None:
        # The file is there but cannot be opened, which linecache would take for "no lines".
        remember_source(self._file, self.get_source(self._fullname) or "")
        super().exec_module(module)

    def get_filename(self, fullname: str) -> str:
        return self._file

    def get_data(self, path: str | bytes) -> bytes:
        if path != self._file:
            raise OSError(f"{path!r} is not readable here: [filesystem] read in the policy would allow it")
        return self._source
