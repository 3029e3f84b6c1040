"""Members of a module by dotted name: which there are, and which of them a registration gives.

A ModuleGrant's `include` is about members of the module (and of submodules, when recursive); its `exclude` may also name
a member of a class ("DataFrame.to_pickle"). Whatever a registration says is brought to that form here.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any

from agex.errors import ConfigurationError
from agex_protocol.plan import ModuleGrant

# What a registration takes: one glob, several, or a question asked of each dotted name.
Pattern = str | Iterable[str] | Callable[[str], bool] | None


def grant(
    name: str, load: Callable[[], ModuleType], include: Pattern, exclude: Pattern, recursive: bool
) -> ModuleGrant:
    """The grant for a module; `load` is called only where a pattern cannot be kept as plain globs.

    An `include` that speaks of a class's members gives the class with those alone. A class of whose members it names
    none comes whole: `include="DataFrame"` gives all of DataFrame.
    """
    wanted = globs(include, f"module {name!r}", "include") or ("*",)
    refused = globs(exclude, f"module {name!r}", "exclude")
    _refuse_own_name(name, "include", wanted)
    _refuse_own_name(name, "exclude", refused)
    if not callable(wanted) and not callable(refused) and not any("." in glob for glob in wanted):
        return ModuleGrant(name, wanted, refused, recursive)
    module = load()
    if callable(refused):
        refused = tuple(member for member in _with_class_members(module, recursive) if _asked(refused, member))
    if callable(wanted) or any("." in glob for glob in wanted):
        wanted, narrowed = _listed(module, wanted, recursive)
        refused += narrowed
    if not wanted:
        raise ConfigurationError(f"module {name!r}: `include` leaves nothing of it; give a glob such as 'read_*'")
    return ModuleGrant(name, wanted, refused, recursive)


def allows(given: ModuleGrant, member: str) -> bool:
    """Whether the grant gives this dotted name (of a class's member: whether nothing takes it away)."""
    return any(fnmatchcase(member, glob) for glob in given.include) and not any(
        fnmatchcase(member, glob) for glob in given.exclude
    )


def public_members(module: ModuleType) -> dict[str, Any]:
    """Public names bound in the module, sorted, without waking lazy or deprecated attributes."""
    return {name: value for name, value in sorted(vars(module).items()) if not name.startswith("_")}


def given_names(module: ModuleType, given: ModuleGrant) -> list[str]:
    """The dotted names that the grant gives, those of classes' members too."""
    return [name for name in _with_class_members(module, given.recursive) if allows(given, name)]


def find(owner: object, dotted: str) -> Any:
    """The object behind "Class.method" or "submodule.function". AttributeError when there is none."""
    found: Any = owner
    for part in dotted.split("."):
        found = getattr(found, part)
    return found


def globs(pattern: Pattern, where: str, what: str) -> tuple[str, ...] | Callable[[str], bool]:
    """A pattern as globs of our own, or as the question that it is. ConfigurationError for anything else."""
    if pattern is None:
        return ()
    if isinstance(pattern, str):
        return (pattern,)
    if callable(pattern):
        return pattern
    given = tuple(pattern)
    for glob in given:
        if not _is_glob(glob):
            raise ConfigurationError(
                f"{where}: {what} holds {glob!r}; it takes globs over dotted names such as 'DataFrame.to_*', "
                "or one callable (dotted_name) -> bool"
            )
    return given


def matches(patterns: Iterable[str], name: str) -> bool:
    """Whether one of these globs speaks of the name."""
    return any(fnmatchcase(name, glob) for glob in patterns)


def _refuse_own_name(module: str, what: str, patterns: tuple[str, ...] | Callable[[str], bool]) -> None:
    """ConfigurationError for a pattern with the module's own name in front: it fits nothing, and an exclude without effect is
    found out too late. A member of the module's name (datetime.datetime) is meant as that."""
    if callable(patterns) or hasattr(sys.modules.get(module), module.rpartition(".")[2]):
        return
    for glob in patterns:
        if glob.startswith(f"{module}."):
            inner = glob.removeprefix(f"{module}.")
            raise ConfigurationError(
                f"module {module!r}: {what} has {glob!r}, which fits nothing; names are those within it: write {inner!r}"
            )


def _is_glob(glob: object) -> bool:
    return isinstance(glob, str) and bool(glob)


def _listed(
    module: ModuleType, wanted: tuple[str, ...] | Callable[[str], bool], recursive: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names to include, and names of class members to exclude."""
    included: list[str] = []
    narrowed: list[str] = []
    for dotted, value in _members(module, recursive):
        inner = [f"{dotted}.{name}" for name in _class_members(value)]
        kept = {member for member in inner if _asked(wanted, member)}
        if kept or _asked(wanted, dotted):
            included.append(dotted)
            narrowed += [member for member in inner if kept and member not in kept]
    parents = {".".join(parts[:depth]) for parts in map(_parts, included) for depth in range(1, len(parts))}
    return tuple(sorted({*included, *parents})), tuple(narrowed)


def _parts(dotted: str) -> list[str]:
    return dotted.split(".")


def _asked(question: tuple[str, ...] | Callable[[str], bool], dotted: str) -> bool:
    if callable(question):
        return bool(question(dotted))
    return any(fnmatchcase(dotted, glob) for glob in question)


def _with_class_members(module: ModuleType, recursive: bool) -> Iterator[str]:
    for dotted, value in _members(module, recursive):
        yield dotted
        for name in _class_members(value):
            yield f"{dotted}.{name}"


def _members(module: ModuleType, recursive: bool) -> Iterator[tuple[str, Any]]:
    for name, value in public_members(module).items():
        if not inspect.ismodule(value):
            yield name, value
    if recursive:
        prefix = module.__name__ + "."
        for full, loaded in sorted(sys.modules.items()):
            path = full.removeprefix(prefix)
            if full.startswith(prefix) and not any(part.startswith("_") for part in _parts(path)):
                yield path, loaded
                for name, value in public_members(loaded).items():
                    if not inspect.ismodule(value):
                        yield f"{path}.{name}", value


def _class_members(value: object) -> list[str]:
    if not isinstance(value, type):
        return []
    return [name for name in dir(value) if not name.startswith("_")]
