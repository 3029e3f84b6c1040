"""Classes as agent code holds them: `type` tells an object's class but makes none, and some classes only say what is one.

A stand-in answers isinstance() for a class that must not be called, or inherited from, as one likes: FileIO opens any
path, and an array of objects over bytes makes pointers of them.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable
from typing import Any, NoReturn

from agex_worker.sandbox.dangerous import MEMBERS, UNCONSTRUCTIBLE
from agex_worker.sandbox.names import Refused, kind_of


class _Asked(type):
    def __call__(cls, *args: Any, **named: Any) -> Any:
        if len(args) != 1 or named:
            raise Refused("type() with three arguments is not allowed here: write a class statement", "type")
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


class StandIn(type):
    """The class of stand-ins; `__real__` is what each stands for."""

    __real__: Any

    def __call__(cls, *args: Any, **named: Any) -> Any:
        if cls.__real__.__name__ != "ndarray":
            raise Refused(
                f"{cls.__name__}() is not allowed here: objects of this class come from elsewhere", cls.__name__
            )
        made_of_bytes = len(args) > 2 or named.get("buffer") is not None
        if made_of_bytes or "strides" in named:
            raise Refused("ndarray() with a buffer is not allowed here: use numpy.frombuffer()", "ndarray")
        return cls.__real__(*args, **named)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.__real__)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(getattr(subclass, "__real__", subclass), cls.__real__)

    def __getattr__(cls, name: str) -> Any:
        package = cls.__real__.__module__.partition(".")[0]
        if kind_of(name) != "plain" or name.startswith("_") or name in MEMBERS.get(package, ()):
            raise AttributeError(f"{cls.__name__} gives no {name!r} here: use it on an instance")
        return getattr(cls.__real__, name)

    def __setattr__(cls, name: str, value: object) -> NoReturn:
        raise Refused(f"assigning to the attribute {name} of the class {cls.__name__} is not allowed here", name)

    def __repr__(cls) -> str:
        return repr(cls.__real__)


def close(kinds: Iterable[tuple[str, str]]) -> None:
    """Of these classes, by module and qualified name, code makes no objects from now on; nobody's code in this process."""
    _closed.update(kinds)


def type_of(value: Any) -> Any:
    """The class of a value as agent code may hold it."""
    kind = type(value)
    return Type if issubclass(kind, type) else shown(kind)


def shown(kind: Any) -> Any:
    """The class itself, or its stand-in."""
    return _stand_in(kind) if (kind.__module__, kind.__qualname__) in _closed else kind


def is_closed(kind: Any) -> bool:
    """Whether the class stands for, or inherits from, one that only has stand-ins."""
    return issubclass(type(kind), StandIn) or any(
        (base.__module__, base.__qualname__) in _closed for base in kind.__mro__
    )


_closed = set(UNCONSTRUCTIBLE)


@functools.lru_cache(maxsize=32)
def _stand_in(kind: Any) -> Any:
    texts = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    members = {"__real__": kind, **texts}
    return type.__new__(StandIn, kind.__name__, (), members)
