"""What a live object, or a class whose instances stay in this process, offers to agent code: settled when it is registered.

Public names of its class, as include and exclude say, and of a live object what it holds itself. Names with a leading
underscore are never offered, except an operator that `include` names in full ("__getitem__").
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any, Literal

from agex.errors import ConfigurationError
from agex.members import Pattern, globs
from agex.signatures import resolved_signature
from agex_supervisor.host_objects import OPERATORS, Member

Kind = Literal["method", "attribute", "static"]
Signed = Callable[..., Any]

# What Python gives of a compiled method that does not tell: any plain data.
UNKNOWN = inspect.Signature(
    [
        inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
    ]
)


def offered(cls: type, live: object | None, include: Pattern, exclude: Pattern, where: str) -> tuple[Member, ...]:
    """The members in the order of their names. ConfigurationError where a pattern leaves nothing or names nothing."""
    wanted, refused = globs(include, where, "include"), globs(exclude, where, "exclude")
    operators = () if callable(wanted) else tuple(name for name in wanted if name.startswith("__"))
    found: dict[str, Kind] = {
        name: kind for name, kind in _members(cls, live) if _asked(wanted or ("*",), refused, name)
    }
    named = () if callable(wanted) else (name for name in wanted if name.isidentifier() and name not in operators)
    for name in named:
        if live is None and name not in dir(cls) and not name.startswith("_"):
            found.setdefault(name, "attribute")  # as far as anybody knows, instances have it
        if name not in found:
            raise ConfigurationError(f"{where}: include names {name!r}, which it does not have or exclude takes away")
    for name in operators:
        if name not in OPERATORS:
            raise ConfigurationError(
                f"{where}: {name} cannot be given; of such names only {', '.join(sorted(OPERATORS))}"
            )
        if not callable(getattr(cls, name, None)):
            raise ConfigurationError(f"{where}: include names {name}, which {cls.__name__} does not have")
        found[name] = "method"
    if not found:
        raise ConfigurationError(f"{where}: nothing of it is left to offer; see include and exclude")
    return tuple(_member(cls, live, name, kind, where) for name, kind in sorted(found.items()))


def told_signature(function: Signed, where: str) -> inspect.Signature:
    """What a function, or a class, takes when it is called; of a compiled one that does not tell, any plain data."""
    try:
        inspect.signature(function)
    except (TypeError, ValueError):
        return UNKNOWN
    return resolved_signature(function, where)


def _members(cls: type, live: object | None) -> Iterator[tuple[str, Kind]]:
    """Names with what they are, without waking any property."""
    own: dict[str, object] = dict(getattr(live, "__dict__", None) or {})
    declared = {name for base in cls.__mro__ for name in getattr(base, "__annotations__", {})}
    for name in sorted({*dir(cls), *own, *declared}):
        if name.startswith("_"):
            continue
        value = own[name] if name in own else inspect.getattr_static(cls, name, None)
        if isinstance(value, type | types.ModuleType):
            continue
        if isinstance(value, staticmethod | classmethod | types.ClassMethodDescriptorType):
            yield name, "static"
        elif isinstance(value, property) or not callable(value):
            yield name, "attribute"
        else:
            yield name, "method"


def _asked(wanted: Any, refused: Any, name: str) -> bool:
    return _matches(wanted, name) and not (refused and _matches(refused, name))


def _matches(pattern: Any, name: str) -> bool:
    return bool(pattern(name)) if callable(pattern) else any(fnmatchcase(name, glob) for glob in pattern)


def _member(cls: type, live: object | None, name: str, kind: Kind, where: str) -> Member:
    if kind == "attribute":
        described = inspect.getattr_static(cls, name, None)
        doc = described.__doc__ if isinstance(described, property) else None
        return Member(name, kind, inspect.Signature(), doc)
    own: dict[str, Any] = dict(getattr(live, "__dict__", None) or {})
    function = own[name] if name in own else getattr(cls, name)
    signature = _LISTED if name == "__iter__" else told_signature(function, f"{where}.{name}")
    if kind == "method" and name not in own and name != "__iter__" and signature is not UNKNOWN:
        signature = _without_self(signature)
    return Member(name, kind, signature, inspect.getdoc(function))


def _without_self(signature: inspect.Signature) -> inspect.Signature:
    first, *others = signature.parameters.values() or [None]
    if first is None or first.kind is first.VAR_POSITIONAL:
        return signature
    return signature.replace(parameters=[each for each in others if each is not None])


_LISTED = inspect.Signature()
