"""Finds the application's own modules for a zygote that is not allowed to read them from the disk.

What lies below a directory that the zygote may read is its own affair. For the rest the source is handed over, module
by module, as the preloaded modules import it: nothing that they do not import ever leaves the supervisor.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from agex_protocol.zygote_messages import ModuleFound

MAX_SOURCE_BYTES = 3 << 20
NOT_OURS = ModuleFound("none")


class OwnCode:
    """Answers FindModule. `readable` are the paths that the zygote reads by itself."""

    def __init__(self, readable: Iterable[str]) -> None:
        self._readable = tuple(Path(path) for path in readable)
        self._packages: dict[str, tuple[str, ...]] = {}

    def find(self, name: str) -> ModuleFound:
        """Where a module is, and its source if it is the application's own."""
        if len(name) > 500 or not all(part.isidentifier() for part in name.split(".")):
            return NOT_OURS
        spec = self._spec(name)
        if spec is None:
            return NOT_OURS
        if spec.origin is None or spec.loader is None or isinstance(spec.loader, importlib.machinery.NamespaceLoader):
            return self._namespace(name, spec)
        if spec.origin in ("built-in", "frozen") or self.is_readable(spec.origin):
            return NOT_OURS
        if isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
            return ModuleFound("extension", spec.origin)
        source = _source(name, spec)
        if source is None:
            return NOT_OURS
        locations = tuple(spec.submodule_search_locations or ())
        if spec.submodule_search_locations is None:
            return ModuleFound("source", spec.origin, source)
        self._packages[name] = locations
        return ModuleFound("package", spec.origin, source, locations)

    def _spec(self, name: str) -> importlib.machinery.ModuleSpec | None:
        parent, _, _ = name.rpartition(".")
        if parent and parent not in self._packages:
            return None
        loaded = sys.modules.get(name)
        if loaded is not None and loaded.__spec__ is not None:
            return loaded.__spec__
        path = list(self._packages[parent]) if parent else None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            try:
                spec = find(name, path) if find is not None else None
            except KeyError:
                # A namespace package in another: the import system looks for the outer one among the loaded modules.
                spec = self._namespace_in(parent, name)
            if spec is not None:
                return cast(importlib.machinery.ModuleSpec, spec)
        return None

    def _namespace_in(self, parent: str, name: str) -> importlib.machinery.ModuleSpec:
        spec = importlib.machinery.ModuleSpec(name, None, is_package=True)
        places = [Path(place, name.rpartition(".")[2]) for place in self._packages.get(parent, ())]
        spec.submodule_search_locations = [str(place) for place in places if place.is_dir()]
        return spec

    def _namespace(self, name: str, spec: importlib.machinery.ModuleSpec) -> ModuleFound:
        locations = tuple(spec.submodule_search_locations or ())
        if not locations or all(self.is_readable(location) for location in locations):
            return NOT_OURS
        self._packages[name] = locations
        return ModuleFound("namespace", locations=locations)

    def is_readable(self, path: str) -> bool:
        real = Path(path).resolve()
        return any(real.is_relative_to(root) for root in self._readable)


def own_extensions(readable: Iterable[str]) -> tuple[str, ...]:
    """Compiled modules of the application's own that are loaded here: the very files, for a policy's read paths."""
    code = OwnCode(readable)
    files: list[str] = []
    for module in list(sys.modules.values()):
        spec = getattr(module, "__spec__", None)
        loader = getattr(spec, "loader", None)
        if isinstance(loader, importlib.machinery.ExtensionFileLoader) and not code.is_readable(loader.path):
            files.append(str(Path(loader.path).resolve()))
    return tuple(sorted(set(files)))


def _source(name: str, spec: importlib.machinery.ModuleSpec) -> bytes | None:
    loader, origin = spec.loader, cast(str, spec.origin)
    if isinstance(loader, importlib.machinery.SourceFileLoader):
        source = loader.get_data(origin)
    else:
        get_source = getattr(loader, "get_source", None)
        text = get_source(name) if get_source is not None else None
        if text is not None:
            source = cast(str, text).encode()
        elif origin.endswith(".py") and os.path.isfile(origin):
            source = Path(origin).read_bytes()  # a loader that rewrites what it reads, such as that of pytest
        else:
            return None
    if len(source) > MAX_SOURCE_BYTES:
        raise ImportError(f"{origin} is larger than the {MAX_SOURCE_BYTES} bytes that a module may have")
    return source
