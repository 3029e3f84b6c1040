"""What may be done with an object that stays where it is, by whoever holds a handle of it: a closed list, for both sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any


def perform(target: Any, operation: str, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Do it. KeyError for an operation that is none, AttributeError for a name that is not a public one."""
    return _OPERATIONS[operation](target, name, args, kwargs)


def is_public(name: str) -> bool:
    """Whether a name is one that handles reach; what begins with an underscore never is."""
    return name.isidentifier() and not name.startswith("_")


def _member(target: Any, name: str) -> Any:
    if not is_public(name):
        raise AttributeError(f"{name!r} is not a public name")
    return getattr(target, name)


_OPERATIONS: dict[str, Callable[[Any, str, Sequence[Any], Mapping[str, Any]], Any]] = {
    "self": lambda target, name, args, kwargs: target,
    "get": lambda target, name, args, kwargs: _member(target, name),
    "callable": lambda target, name, args, kwargs: callable(_member(target, name)),
    "call": lambda target, name, args, kwargs: target(*args, **kwargs),
    "method": lambda target, name, args, kwargs: _member(target, name)(*args, **kwargs),
    "len": lambda target, name, args, kwargs: len(target),
    "item": lambda target, name, args, kwargs: target[args[0]],
}
OPERATIONS = frozenset(_OPERATIONS)
