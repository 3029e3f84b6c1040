"""What agent code sees of objects that stay in the supervisor: instances of a class that has their methods and nothing else.

Each such object says when it is collected, so that the supervisor lets go of what stands behind it.
"""

from __future__ import annotations

import importlib
import io
import pickle
import sys
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from agex_protocol.host_handle import HostHandle, HostReference, target_of
from agex_protocol.messages import HostFunction, HostObject
from agex_worker.host_function import Ask, method, proxy

Gone = Callable[[str], object]


@dataclass(frozen=True)
class HostNames:
    """The functions, objects and classes of the supervisor: those under bare names, and those that are members of modules."""

    names: dict[str, object] = field(default_factory=dict[str, object])
    modules: dict[str, dict[str, object]] = field(default_factory=dict[str, dict[str, object]])
    classes: list[type[HostHandle]] = field(default_factory=list[type[HostHandle]])

    def restore(self, target: str, kind: int) -> object:
        """The object that stands for what the supervisor calls `target`."""
        return self.names[target] if target in self.names else _instance(self.classes[kind], target)

    def load(self, head: bytes, buffers: Sequence[memoryview]) -> Any:
        """A value from the supervisor, with what stands for its objects in their places."""
        if not self.classes:
            return pickle.loads(head, buffers=buffers)
        loader = _Loader(io.BytesIO(head), buffers=buffers)
        loader.restore = self.restore
        return loader.load()

    def install(self, granted: Iterable[str]) -> None:
        """For ordinary Python, which imports by itself: members take their places in the modules of this process."""
        known = frozenset(granted)
        for name, members in self.modules.items():
            module = importlib.import_module(name) if name in known else _module(name)
            vars(module).update(members)


def host_names(functions: Iterable[HostFunction], objects: Iterable[HostObject], ask: Ask, gone: Gone) -> HostNames:
    """All that a session may use of the supervisor. `gone` is told the name of each object that code no longer holds."""
    bound = HostNames()
    for function in functions:
        _put(bound, function.name, proxy(function, ask))
    for each in objects:
        cls = _class(each, ask, gone)
        bound.classes.append(cls)
        _put(bound, each.name, _instance(cls, each.name) if each.live else cls)
    return bound


class _Held(HostHandle):
    """Cannot be copied, stored or changed: there is one of it for each name that the supervisor gave."""

    __slots__ = ()

    def __copy__(self) -> _Held:
        return self

    def __deepcopy__(self, memo: object) -> _Held:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{self!r} stays in the process that called this code; it can be neither sent nor stored")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if cls.__base__ is not _Held:
            raise TypeError(f"{cls.__mro__[1].__name__} cannot be inherited from: its instances are in another process")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} in the calling process>"


def _class(declared: HostObject, ask: Ask, gone: Gone) -> type[HostHandle]:
    members: dict[str, Any] = {"__slots__": (), "__doc__": declared.doc, "__module__": "host"}
    for each in declared.methods:
        member = each.name.rpartition(".")[2]
        members[member] = _iterating(method(each, ask)) if member == "__iter__" else method(each, ask)
    members |= {name: property(_reading(name, ask)) for name in declared.attributes}
    constructors = [proxy(each, ask) for each in declared.functions if each.name == declared.name]
    members["__new__"] = _constructing(declared, constructors)
    members["__del__"] = _departing(gone)
    if not declared.live:
        for each in declared.functions:
            if each.name != declared.name:
                member = each.name.rpartition(".")[2]
                members[member] = _Either(proxy(each, ask), members[member])
    return type(declared.type, (_Held,), members)


class _Either:
    """A static or class method: asked of the class, or of one of its instances."""

    def __init__(self, of_class: Callable[..., object], of_instance: Callable[..., object]) -> None:
        self._of_class = of_class
        self._of_instance = of_instance

    def __get__(self, instance: object, owner: type) -> Callable[..., object]:
        return self._of_class if instance is None else types.MethodType(self._of_instance, instance)


def _constructing(declared: HostObject, constructors: list[Callable[..., object]]) -> Callable[..., object]:
    def new(cls: type, *args: object, **kwargs: object) -> object:
        if not constructors:
            raise TypeError(f"{declared.name} is not made here; functions and methods give instances of it")
        return constructors[0](*args, **kwargs)

    return new


def _departing(gone: Gone) -> Callable[[HostHandle], None]:
    def depart(self: HostHandle) -> None:
        target = target_of(self)
        if target[:1] == "@":
            gone(target)

    return depart


def _reading(name: str, ask: Ask) -> Callable[[HostHandle], object]:
    def read(self: HostHandle) -> object:
        return ask(f"{target_of(self)}.{name}", {}, {})

    return read


def _iterating(listed: Callable[..., object]) -> Callable[..., object]:
    def iterate(self: HostHandle) -> object:
        items: Any = listed(self)
        return iter(items)

    return iterate


def _instance(cls: type[HostHandle], target: str) -> HostHandle:
    made = object.__new__(cls)
    object.__setattr__(made, "__target__", target)
    return made


def _put(bound: HostNames, name: str, value: object) -> None:
    module, _, member = name.rpartition(".")
    if not module:
        bound.names[name] = value
        return
    bound.modules.setdefault(module, {})[member] = value
    if isinstance(value, type | types.FunctionType):
        value.__module__ = module  # or it would count as imported into it from elsewhere


def _module(name: str) -> types.ModuleType:
    """The module of that name with nothing in it, and packages above it where there are none."""
    made = types.ModuleType(name)
    sys.modules[name] = made
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules.get(parent) or _module(parent), last, made)
    return made


class _Loader(pickle.Unpickler):
    restore: Callable[[str, int], object]

    def find_class(self, module: str, name: str, /) -> Any:
        if module == HostReference.__module__ and name == HostReference.__name__:
            return self.restore
        return super().find_class(module, name)
