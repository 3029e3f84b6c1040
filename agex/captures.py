"""What a function or class would carry along if it were sent to a worker by value.

A function defined in a script takes the globals it reads with it, and a global may be a key. So only what is code or a
number travels in silence; anything else is refused by name.
"""

from __future__ import annotations

import dataclasses
import dis
import enum
import functools
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agex.containers import replaced
from agex.errors import ConfigurationError, ContractError
from agex_protocol.leaves import LEAVES
from agex_supervisor.outbound import is_importable


def captured_by(obj: object, name: str, allowed: frozenset[str] | None = None) -> tuple[str, ...]:
    """What goes along when `obj` is sent by value, each in words. ConfigurationError where that would carry data of this
    process into the worker: anything but code and numbers, unless `allowed` holds its name. None: nothing can be named."""
    if not isinstance(obj, type | types.FunctionType):
        raise ConfigurationError(
            f"{name} would carry the object behind it (a {type(obj).__name__}) into the worker. "
            "Write a def that takes what it needs as parameters, or register it with runs='host'."
        )
    found: dict[str, None] = {}
    unused = set(allowed or ())
    for where, value in _captured(obj, seen=set()):
        known = where.split("`")[1] if "`" in where else ""
        unused.discard(known)
        if not _travels_in_silence(value) and known not in (allowed or ()):
            named = f", name it (captures=[{known!r}])" if known and allowed is not None else ""
            raise ConfigurationError(
                f"{name} would carry {where} (a {type(value).__name__}) of this process into the worker. "
                f"Make it a parameter{named}, move the code to an importable module, or register it with runs='host'."
            )
        if not isinstance(value, types.ModuleType | types.BuiltinFunctionType):
            found[f"{name} takes along {where} (a {type(value).__name__})"] = None
    if unused:
        raise ConfigurationError(f"{name}: captures= names {', '.join(sorted(unused))}, which it does not use")
    return tuple(found)


def ridden_by(inputs: Mapping[str, object]) -> tuple[str, ...]:
    """What goes along with functions among a task's inputs, each in words. ContractError as of `refuse_riders`."""
    found: list[str] = []

    def note(name: str, part: object) -> object:
        if isinstance(part, types.FunctionType) and not is_importable(part) and not _is_installed(part):
            try:
                found.extend(captured_by(part, f"the function {part.__name__!r} in input {name!r}"))
            except ConfigurationError as error:
                raise ContractError(str(error)) from error
        return part

    for name, value in inputs.items():
        replaced(value, functools.partial(note, name))
    return tuple(found)


def refuse_riders(obj: object) -> None:
    """For what is pickled with an input or a host function's result: ContractError for a class or function of the
    application's own that would carry data along. A library's inner functions hold what the library made."""
    if _is_installed(obj):
        return
    try:
        captured_by(obj, f"{getattr(obj, '__qualname__', obj)!s}, which a value belongs to,")
    except ConfigurationError as error:
        raise ContractError(str(error)) from error


def _is_installed(obj: Any) -> bool:
    module = sys.modules.get(getattr(obj, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    return file is not None and any(Path(file).is_relative_to(root) for root in _installed_roots())


@functools.cache
def _installed_roots() -> tuple[str, ...]:
    return tuple({sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")})


def _travels_in_silence(value: object) -> bool:
    if isinstance(value, types.ModuleType):
        return sys.modules.get(value.__name__) is value  # any other is sent with all that is in it
    if isinstance(value, types.BuiltinFunctionType):
        return value.__self__ is None or isinstance(value.__self__, types.ModuleType | type)
    code = isinstance(value, type | types.FunctionType)
    return code or value is None or type(value) in (bool, int, float, complex)


def _captured(obj: object, seen: set[int]) -> Iterator[tuple[str, object]]:
    if id(obj) in seen:
        return
    seen.add(id(obj))
    if isinstance(obj, type):
        sent = [kind for kind in obj.__mro__ if not is_importable(kind)]
        own = {id(value) for kind in sent for value in _values_of(kind)}
        for member in [member for kind in sent for member in vars(kind).values()]:
            for function in _functions_of(member):
                # The class of an Enum has some functions of Enum itself.
                if isinstance(function, type | types.FunctionType) and not is_importable(function):
                    found = _captured(function, seen)
                    yield from ((where, value) for where, value in found if id(value) not in own)
    elif isinstance(obj, types.FunctionType):
        for where, value in _referenced(obj):
            yield where, value
            if isinstance(value, type | types.FunctionType) and not is_importable(value):
                yield from _captured(value, seen)


def _values_of(cls: type) -> Iterator[object]:
    """What a class holds, which travels with it: the defaults of its fields, too, of which its own `__init__` has them."""
    for value in vars(cls).values():
        if not isinstance(value, type | types.FunctionType):
            yield value
    yield from getattr(cls, "_field_defaults", {}).values()
    if dataclasses.is_dataclass(cls):
        yield from (each.default for each in dataclasses.fields(cls))


def _functions_of(member: object) -> tuple[object, ...]:
    match member:
        case staticmethod() | classmethod():
            return (member.__func__,)
        case property():
            return (member.fget, member.fset, member.fdel)
        case functools.cached_property():
            return (member.func,)
        case _:
            return (member,)


def _referenced(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    if function.__globals__.get("__name__") in sys.stdlib_module_names:
        # Made by the standard library, as the repr of a dataclass is: what it holds but code is the library's own.
        for cell in function.__closure__ or ():
            if isinstance(cell.cell_contents, types.FunctionType):
                yield "a wrapped function", cell.cell_contents
        return
    for name in sorted(_global_names(function.__code__)):
        if name in function.__globals__:
            yield f"the global `{name}`", function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            continue  # not assigned yet: there is nothing to carry
        if type(value).__module__ != "dataclasses":  # as it stands for "made for each object anew"
            yield f"the variable `{name}` of an outer function", value
    for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        if not _is_plain(value):
            yield "the default of a parameter", value


def _is_plain(value: object) -> bool:
    return (
        type(value) in _LEAVES or isinstance(value, enum.Enum) or type(value).__module__ in ("builtins", "dataclasses")
    )


_LEAVES = frozenset(leaf.type for leaf in LEAVES.values())


def _global_names(code: types.CodeType) -> set[str]:
    names = {str(step.argval) for step in dis.get_instructions(code) if step.opname == "LOAD_GLOBAL"}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _global_names(constant)
    return names
