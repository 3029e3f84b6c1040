"""Functions and classes of a module that run in this process, under their names in that module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

from agex import members
from agex.checks import configuration
from agex.entries import ClassEntry, FunctionEntry, MemberSpec, ModuleEntry, Visibility, imported
from agex.errors import ConfigurationError
from agex.members import Pattern
from agex.offered import offered, told_signature


def members_of_module(
    name: str,
    include: Pattern,
    exclude: Pattern,
    configure: Mapping[str, MemberSpec] | None,
    visibility: Visibility,
    recursive: bool,
) -> ModuleEntry:
    """A module whose functions run here. Of its classes only those that `configure` names; of its data nothing."""
    if recursive:
        raise ConfigurationError(f"module {name!r}: recursive=True is for modules that the worker imports")
    module = imported(name)
    grant = members.grant(name, lambda: module, include, exclude, False)
    shown = configuration(
        configure, name, lambda dotted: members.find(module, dotted), lambda: dir(module), sides=("host",)
    )
    classes = {dotted for dotted, spec in shown if spec.runs == "host"}
    found = {
        member: value
        for member, value in members.public_members(module).items()
        if members.allows(grant, member) and (_is_own_function(value, module) or member in classes)
    }
    if not found:
        raise ConfigurationError(f"module {name!r}: it has no functions that could run here; see include and exclude")
    entries = tuple(_entry(name, member, value, dict(shown)) for member, value in found.items())
    return ModuleEntry(name, grant, visibility, shown, "host", entries)


def named_members(
    name: str, load: Callable[[], ModuleType], shown: tuple[tuple[str, MemberSpec], ...]
) -> tuple[FunctionEntry | ClassEntry, ...]:
    """Those of a module in the worker for which `configure` says that they run here."""
    chosen = [(dotted, spec) for dotted, spec in shown if spec.runs == "host"]
    for dotted, _ in chosen:
        if "." in dotted:
            raise ConfigurationError(
                f"module {name!r}: configure[{dotted!r}] cannot run in your process by itself; name the class, or the "
                "function in its own module"
            )
    return tuple(_entry(name, dotted, getattr(load(), dotted), dict(shown)) for dotted, _ in chosen)


def _entry(module: str, member: str, value: Any, shown: Mapping[str, MemberSpec]) -> FunctionEntry | ClassEntry:
    full, spec = f"{module}.{member}", shown.get(member, MemberSpec())
    visibility = spec.visibility or "medium"
    if isinstance(value, type):
        given = offered(value, None, None, None, f"class {full!r}")
        constructor = told_signature(value, f"class {full!r}") if spec.constructable else None
        return ClassEntry(full, value, visibility, spec.docstring, (), "host", given, constructor)
    if not callable(value):
        raise ConfigurationError(f"{full} is no function and no class, so it cannot run in your process")
    signature = told_signature(value, f"function {full!r}")
    return FunctionEntry(full, value, signature, visibility, spec.docstring or inspect.getdoc(value), "host")


def _is_own_function(value: object, module: ModuleType) -> bool:
    own = str(getattr(value, "__module__", "")).partition(".")[0].lstrip("_") == module.__name__.partition(".")[0]
    return inspect.isroutine(value) and (own or getattr(value, "__name__", "") in getattr(module, "__all__", ()))
