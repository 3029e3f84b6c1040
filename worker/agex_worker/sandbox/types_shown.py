"""What `type` is for agent code: it tells an object's class, but makes no classes and gives no metaclass."""

from __future__ import annotations

import functools
import types
from typing import Any

from agex_worker.sandbox.dangerous import UNCONSTRUCTIBLE
from agex_worker.sandbox.names import Refused


class _Asked(type):
    def __call__(cls, *args: Any, **named: Any) -> Any:
        if len(args) != 1 or named:
            raise Refused("type() with three arguments is not allowed here: write a class statement")
        return type_of(args[0])

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, type)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, type)

    def __repr__(cls) -> str:
        return "<class 'type'>"


class Type(metaclass=_Asked):
    """The `type` of agent code."""

    def __class_getitem__(cls, item: Any) -> types.GenericAlias:
        return types.GenericAlias(cls, item)


Type.__name__ = Type.__qualname__ = "type"


def type_of(value: Any) -> type:
    """The class of a value; for classes that only Python itself should construct, one of the same name."""
    kind = type(value)
    if issubclass(kind, type):
        return Type
    if (kind.__module__, kind.__qualname__) in UNCONSTRUCTIBLE:
        return _stand_in(kind.__module__, kind.__name__)
    return kind


@functools.lru_cache(maxsize=32)
def _stand_in(module: str, name: str) -> type:
    return type(name, (), {"__doc__": "Stands for the class of that name.", "__module__": module})
