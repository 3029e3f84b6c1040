"""Functions of registered modules that read, set or evaluate by name: given in a form that asks the gates.

They stand in wherever the real object appears, so a module that merely imported `attrgetter` gives the same one.
"""

from __future__ import annotations

import copy
import dataclasses
import enum
import functools
import io
import operator
import types
import typing
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

from agex_worker.sandbox.classes import EnumBase
from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.sandbox.images import image_opened
from agex_worker.sandbox.names import REFUSED_TO_BIND, Refused, is_dunder
from agex_worker.sandbox.own import is_own, is_own_class
from agex_worker.sandbox.paths import with_opened, with_picture_opened
from agex_worker.sandbox.types_shown import is_closed

# By package and name: functions whose first argument may be a path, its keyword, and how the file is opened.
_PATH_FUNCTIONS: dict[tuple[str, str], tuple[str, str]] = {
    **{("pandas", name): ("filepath_or_buffer", "rb") for name in ("read_csv", "read_table", "read_fwf")},
    ("pandas", "read_json"): ("path_or_buf", "rb"),
    ("pandas", "read_parquet"): ("path", "rb"),
    ("pandas", "read_feather"): ("path", "rb"),
    ("pandas", "read_orc"): ("path", "rb"),
    ("pandas", "read_excel"): ("io", "rb"),
    ("numpy", "load"): ("file", "rb"),
    ("numpy", "loadtxt"): ("fname", "rb"),
    ("numpy", "genfromtxt"): ("fname", "rb"),
    ("numpy", "save"): ("file", "wb"),
    ("numpy", "savez"): ("file", "wb"),
    ("numpy", "savez_compressed"): ("file", "wb"),
    ("numpy", "savetxt"): ("fname", "wb"),
    ("matplotlib", "imread"): ("fname", "rb"),
}
_PICTURES = frozenset({("matplotlib", "savefig"), ("matplotlib", "imsave")})
_COPIED = ("__module__", "__name__", "__qualname__", "__doc__")


class Get(Protocol):
    """Reads an attribute by a name that was computed, or refuses."""

    def __call__(self, value: Any, name: object, /) -> Any: ...


class Namespace(types.SimpleNamespace):
    """types.SimpleNamespace without names that C code would take for a description of memory."""

    def __init__(self, /, **named: Any) -> None:
        for name in named:
            if type(name) is not str or is_dunder(name):
                raise Refused(f"the attribute {name} is not allowed in a namespace", str(name))
        super().__init__(**named)


class Replacements:
    """The stand-ins of one namespace."""

    def __init__(self, get: Get, files: WorkspaceFiles | None) -> None:
        self._get = get
        self._files = files
        table: list[tuple[object, object]] = [
            (operator.attrgetter, self._attrgetter),
            (operator.methodcaller, self._methodcaller),
            (functools.update_wrapper, update_wrapper),
            (functools.wraps, wraps),
            (functools.total_ordering, total_ordering),
            (dataclasses.dataclass, dataclass),
            (dataclasses.replace, replaced),
            (getattr(copy, "replace", dataclasses.replace), replaced),  # of Python 3.13 on
            (typing.get_type_hints, get_type_hints),
            (types.SimpleNamespace, Namespace),
            (io.open, files.open if files is not None else no_files),
            *((each, EnumBase(each)) for each in vars(enum).values() if _is_enum(each)),
        ]
        self._table = {id(real): stand_in for real, stand_in in table}

    def of(self, value: Any) -> Any:
        """What stands in for this object; None for most."""
        if (stand_in := self._table.get(id(value))) is not None:
            return stand_in
        package = str(getattr(value, "__module__", None)).partition(".")[0]
        key = (package, str(getattr(value, "__name__", None)))
        if key in _PICTURES:
            return self._standing_in(value, with_picture_opened)
        if key == ("PIL", "open"):
            return self._standing_in(value, image_opened)
        if key not in _PATH_FUNCTIONS:
            return None
        return self._opening(value, *_PATH_FUNCTIONS[key], fixed={"allow_pickle": False} if key[1] == "load" else {})

    def _opening(self, real: Callable[..., Any], keyword: str, mode: str, fixed: dict[str, Any]) -> Callable[..., Any]:
        files = self._files
        infers = real.__name__ in ("read_csv", "read_table", "read_fwf", "read_json")

        def call(*args: Any, **named: Any) -> Any:
            return with_opened(real, files, mode, (keyword,), args, named | fixed, infers_compression=infers)

        return functools.update_wrapper(call, real, assigned=(*_COPIED,), updated=())

    def _standing_in(self, real: Callable[..., Any], stand_in: Callable[..., Any]) -> Callable[..., Any]:
        files = self._files

        def call(*args: Any, **named: Any) -> Any:
            return stand_in(real, files, args, named)

        return functools.update_wrapper(call, real, assigned=(*_COPIED,), updated=())

    def _attrgetter(self, *names: str) -> Callable[[Any], Any]:
        get = self._get

        def one(value: Any, dotted: str) -> Any:
            for name in dotted.split("."):
                value = get(value, name)
            return value

        if not names or any(type(name) is not str for name in names):
            raise TypeError("attrgetter() takes plain names")
        if len(names) == 1:
            return lambda value: one(value, names[0])
        return lambda value: tuple(one(value, name) for name in names)

    def _methodcaller(self, name: str, /, *args: Any, **named: Any) -> Callable[[Any], Any]:
        get = self._get
        return lambda value: get(value, name)(*args, **named)


def no_files(path: object = "", *_args: object, **_named: object) -> NoReturn:
    """open() where there is no workspace."""
    raise Refused(f"{path!r} cannot be opened: there is no workspace here", str(path), "read")


def update_wrapper(wrapper: Any, wrapped: Any, assigned: Any = None, updated: Any = None) -> Any:
    """As functools.update_wrapper with its default names, onto a function or object of the agent's own."""
    if assigned is not None or updated is not None:
        raise Refused(
            "update_wrapper() copies its standard attributes only; leave out assigned= and updated=", "update_wrapper"
        )
    if not is_own(wrapper):
        raise Refused("update_wrapper() changes functions defined in this code only", "update_wrapper")
    for name in _COPIED:
        if hasattr(wrapped, name):
            setattr(wrapper, name, getattr(wrapped, name))
    if is_own(wrapped) and type(wrapped) is type(wrapper) is types.FunctionType:
        wrapper.__dict__.update(wrapped.__dict__)
    wrapper.__wrapped__ = wrapped
    return wrapper


def wraps(wrapped: Any, assigned: Any = None, updated: Any = None) -> Callable[[Any], Any]:
    """As functools.wraps, by the update_wrapper above."""
    return lambda wrapper: update_wrapper(wrapper, wrapped, assigned, updated)


def total_ordering(cls: Any) -> Any:
    """As functools.total_ordering, for a class of the agent's own."""
    return functools.total_ordering(_own_class(cls, "total_ordering()"))


def dataclass(cls: Any = None, /, **options: Any) -> Any:
    """As dataclasses.dataclass, for a class of the agent's own whose field names are plain: they become source code."""

    def decorate(cls: Any) -> Any:
        for name in vars(_own_class(cls, "dataclass()")).get("__annotations__", {}):
            if type(name) is not str or not name.isidentifier() or is_dunder(name) or name in REFUSED_TO_BIND:
                raise Refused(f"the field {name!r} is not allowed here: choose another name", str(name))
        return dataclasses.dataclass(**options)(cls)

    return decorate if cls is None else decorate(cls)


def replaced(obj: Any, /, **changes: Any) -> Any:
    """As dataclasses.replace, where code may make objects of the class."""
    if is_closed(type(obj)):
        raise Refused(f"replace() is not allowed here: objects of {type(obj).__name__} come from elsewhere", "replace")
    return obj.__replace__(**changes) if hasattr(obj, "__replace__") else dataclasses.replace(obj, **changes)


def get_type_hints(obj: Any, globalns: Any = None, localns: Any = None, include_extras: bool = False) -> dict[str, Any]:
    """The annotations of an own class or function, where none of them is text: that would have to be evaluated."""
    if not is_own(obj):
        raise Refused("get_type_hints() is open for classes and functions defined in this code", "get_type_hints")
    kinds = [each for each in reversed(obj.__mro__) if is_own_class(each)] if isinstance(obj, type) else [obj]
    hints = {name: hint for each in kinds for name, hint in vars(each).get("__annotations__", {}).items()}
    hints = hints or dict(getattr(obj, "__annotations__", {}))
    if any(isinstance(hint, str | typing.ForwardRef) for hint in hints.values()):
        raise Refused(
            "get_type_hints() does not evaluate annotations that are text; write them as types", "get_type_hints"
        )
    return hints


def _own_class(cls: Any, what: str) -> Any:
    if not issubclass(type(cls), type) or not is_own_class(cls):
        raise Refused(f"{what} changes the class it is given: it takes classes defined in this code", what)
    return cls


def _is_enum(value: object) -> bool:
    return isinstance(value, enum.EnumMeta) and not len(value)
