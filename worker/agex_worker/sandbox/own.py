"""Telling the agent's own classes and functions from everybody else's.

Every class body of agent code begins by binding a mark under a name that no code can write. Being in the class's
dictionary from the first moment it also holds while the class is still being made (enum members, __init_subclass__) and
in the copies that libraries make of a class (slotted dataclasses, named tuples).
"""

from __future__ import annotations

import types
from typing import Any

# Begins as it does so that typing.Protocol does not count it as a member; `<` so that it is no identifier.
MARK_NAME = "_abc_<own>"
# Present in the globals of every function compiled from agent code.
GATE_NAME = "<attr>"


class Own:
    """What an object of the agent's own answers under MARK_NAME: this class itself."""


def _answer(_: object) -> type[Own]:
    return Own


# A plain property, because enum, pydantic and their like leave those alone in a class body, and CPython reads them fast.
MARK = property(_answer)


def is_own_class(kind: Any) -> bool:
    """Whether this class, or one that it inherits from, was defined by agent code; also after it was pickled."""
    mark = getattr(kind, MARK_NAME, None)
    return type(mark) is property and mark.fget is _answer


def is_own(value: Any) -> bool:
    """Whether this is an instance of such a class, or such a class, or a function that agent code defined."""
    kind = type(value)
    if is_own_class(value if issubclass(kind, type) else kind):
        return True
    return kind is types.FunctionType and GATE_NAME in value.__globals__


def class_of(value: Any) -> type:
    """The class whose members a read of `value.name` finds: of an instance, of super(), or the class itself."""
    kind = type(value)
    if kind is super:
        found: type | None = super.__self_class__.__get__(value)  # type: ignore[attr-defined]
        return found or object
    return value if issubclass(kind, type) else kind
