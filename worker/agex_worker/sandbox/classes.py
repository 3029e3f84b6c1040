"""The class statement of agent code: which bases and metaclasses it may use, and hooks that must not see internals."""

from __future__ import annotations

import builtins
import enum
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agex_worker.sandbox.facade import Facade
from agex_worker.sandbox.names import REFUSED_TO_BIND, Refused, is_dunder
from agex_worker.sandbox.types_shown import Type, is_closed


@dataclass(frozen=True, slots=True)
class Metaclass:
    """Stands for a metaclass of the standard library: good for `metaclass=`, not for making classes by a call."""

    real: type


class CheckedEnumMeta(enum.EnumMeta):
    """Checks the names in `Color("Color", names)`, which makes a class without a class statement."""

    def __call__(cls, value: Any, *args: Any, **named: Any) -> Any:
        if args or "names" in named:
            check_member_names(args[0] if args else named["names"])
        return super().__call__(value, *args, **named)


@dataclass(frozen=True, slots=True)
class EnumBase:
    """Enum, IntEnum, ... as agent code holds them: bases for a class statement, and what isinstance() asks."""

    real: Any

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        return (self.real,)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self.real)

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, self.real)

    def __call__(self, value: Any, names: Any, **named: Any) -> Any:
        check_member_names(names)
        namespace = CheckedEnumMeta.__prepare__(value, (self.real,))
        base = CheckedEnumMeta(f"{value}Base", (self.real,), namespace)
        return base(value, names, **named)


def check_member_names(names: Any) -> None:
    """Plain, public names in plain containers. Refused otherwise."""
    if type(names) is str:
        names = names.replace(",", " ").split()
    if type(names) not in (list, tuple, dict):
        raise Refused("the names of an enum made by a call must be a str, list, tuple or dict")
    for each in names:
        name = each if isinstance(each, str) else each[0]
        if type(name) is not str or name.startswith("_") or name in REFUSED_TO_BIND:
            raise Refused(f"the enum member {name!r} is not allowed here: choose a public name", str(name))


def build_class(body: Callable[[], Any], name: str, *bases: Any, metaclass: Any = None, **named: Any) -> Any:
    """What the class statement calls."""
    resolved = types.resolve_bases(bases)
    for base in resolved:
        _check_base(base)
    if metaclass is not None:
        if type(metaclass) is not Metaclass:
            raise Refused(
                "metaclass= is not allowed here, except for ABCMeta and EnumMeta; use __init_subclass__", "metaclass"
            )
        named["metaclass"] = metaclass.real
    if any(type(base) in (enum.EnumMeta, CheckedEnumMeta) for base in resolved):
        named["metaclass"] = CheckedEnumMeta
    made = builtins.__build_class__(body, name, *bases, **named)
    _guard_getattr(made)
    return made


def _check_base(base: Any) -> None:
    if not issubclass(type(base), type):
        return
    if base is Type or type in base.__mro__:
        raise Refused("a class of classes is not allowed here; use __init_subclass__ or a class decorator")
    if BaseExceptionGroup in base.__mro__:
        raise Refused("a subclass of ExceptionGroup is not allowed here: except* trusts its split()")
    if Facade in base.__mro__ or is_closed(base):
        raise Refused(
            f"a subclass of {base.__name__} is not allowed here; hold one in an attribute instead", base.__name__
        )


def _guard_getattr(made: Any) -> None:
    """Let __getattr__ answer for ordinary names only: C code asks it for descriptions of memory and trusts them."""
    if not issubclass(type(made), type) or (hook := vars(made).get("__getattr__")) is None:
        return
    if type(hook) is not types.FunctionType:
        raise Refused("__getattr__ must be a plain method here, without a decorator")

    def __getattr__(self: Any, name: str) -> Any:
        if is_dunder(name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        return hook(self, name)

    made.__getattr__ = __getattr__
