"""Members of a class whose instances live in the worker: which there are, as far as can be known, and which of them code has."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator

from agex.errors import ConfigurationError
from agex.members import Pattern, globs, matches
from agex_protocol.plan import ClassGrant


def class_grant(cls: type, include: Pattern, exclude: Pattern, constructable: bool, where: str) -> ClassGrant | None:
    """What a registration takes away of a class; None where it gives all of it."""
    wanted, refused = globs(include, where, "include") or ("*",), globs(exclude, where, "exclude")
    if callable(wanted):
        wanted = tuple(name for name in known_members(cls) if wanted(name))
    if callable(refused):
        refused = tuple(name for name in known_members(cls) if refused(name))
    if not any(matches(wanted, name) and not matches(refused, name) for name in known_members(cls)) and include:
        raise ConfigurationError(f"{where}: nothing of it is left to offer; see include and exclude")
    if wanted == ("*",) and not refused and constructable:
        return None
    return ClassGrant(cls.__module__, cls.__qualname__, wanted, refused, constructable)


def allows(grant: ClassGrant | None, name: str) -> bool:
    """Whether code has this member."""
    return grant is None or (matches(grant.include, name) and not matches(grant.exclude, name))


def known_members(cls: type) -> list[str]:
    """Public names: of the class, of its annotations, and of what its constructor assigns."""
    return sorted({*(name for name in dir(cls) if not name.startswith("_")), *attributes(cls)})


def attributes(cls: type) -> list[str]:
    """Public data of its instances, bases first: what is annotated, then what `__init__` assigns to self."""
    found: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        found |= dict.fromkeys(vars(base).get("__annotations__", {}))
        found |= dict.fromkeys(_assigned(base))
    return [name for name in found if not name.startswith("_") and not callable(getattr(cls, name, None))]


def _assigned(cls: type) -> Iterator[str]:
    """Names that the source of `__init__` assigns to its first parameter; none where there is no source."""
    init = vars(cls).get("__init__")
    if not inspect.isfunction(init):
        return
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, SyntaxError, TypeError):
        return
    first = next(iter(inspect.signature(init).parameters), "")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            if isinstance(node.value, ast.Name) and node.value.id == first:
                yield node.attr
