"""Records to msgpack and back, checked field by field while decoding: named tuples, which messages are, and frozen dataclasses.

The wire form of a record is the array of its fields; of a message, the same with its class name in front. What may stand in a
field is read once from its annotation; nothing else is accepted, and no field is ever missing or surplus.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import types
import typing
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import msgpack

from agex_protocol.errors import ProtocolError

# In one message: two for each argument of a call, one for each parameter of a registered function.
MAX_CONTAINERS = 20_000

_EXACT = (bool, int, str, bytes)

T = TypeVar("T")
Reader = Callable[[object], Any]


def pack(record: Any) -> bytes:
    """The fields of a record as bytes. TypeError for what is none."""
    return _dump(_fields(record))


def unpack(kind: type[T], data: bytes) -> T:
    """The record again. ProtocolError if the bytes are not exactly one of its kind."""
    return cast(T, _record_reader(cast(type, kind))(_load(data)))


def pack_message(message: Any) -> bytes:
    """A message as the payload of one frame."""
    return _dump((type(message).__name__, *message))


def unpack_message(data: bytes, kinds: types.UnionType) -> Any:
    """The message again. ProtocolError if it is none of `kinds`, or any field is not what the kind declares."""
    parts = _load(data)
    if type(parts) is not list or not parts or type(parts[0]) is not str:
        raise ProtocolError("a frame does not hold a message")
    read = _by_name(kinds).get(parts[0])
    if read is None:
        raise ProtocolError(f"a message of kind {parts[0][:40]!r} has no place here")
    del parts[0]
    return read(parts)


def _fields(record: Any) -> tuple[object, ...]:
    """All fields of a record; those that are dataclasses themselves msgpack asks for."""
    kind: Any = type(record)
    return _field_reader(kind)(record)


def _names(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else list(kind._fields)


def _is_record(annotation: Any) -> bool:
    return dataclasses.is_dataclass(annotation) or hasattr(annotation, "_fields")


@cache
def _field_reader(kind: type) -> Callable[[object], tuple[object, ...]]:
    if not _is_record(kind):
        raise TypeError(f"{kind.__name__} has no form on the wire")
    names = _names(kind)
    if len(names) < 2:
        return lambda record: tuple(getattr(record, name) for name in names)
    return cast(Callable[[object], tuple[object, ...]], operator.attrgetter(*names))


def _dump(parts: tuple[object, ...]) -> bytes:
    # Half a surrogate pair (a file name that is not UTF-8, a model's broken escape) is written out: no text is unsendable.
    return cast(bytes, msgpack.packb(parts, default=_fields, use_bin_type=True, unicode_errors="backslashreplace"))


def _load(data: bytes) -> Any:
    containers = 0

    def count(container: Any) -> Any:
        # One frame can hold millions of empty arrays, each of which takes time and memory to make.
        nonlocal containers
        containers += 1
        if containers > MAX_CONTAINERS:
            raise ValueError("too many arrays and maps")
        return container

    # Each takes a byte at least, so that a short frame needs no counting.
    hook = count if len(data) > MAX_CONTAINERS else None
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_ext_len=0,
            max_array_len=65_536,
            max_map_len=4_096,
            list_hook=hook,
            object_hook=hook,
        )
    except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
        raise ProtocolError(f"a frame is not msgpack within the caps: {type(error).__name__}") from error


def _by_name(kinds: types.UnionType) -> dict[str, Reader]:
    # By identity: to hash a union of twenty takes longer than to read a message. It is kept, so its id stays its own.
    known = _NAMED.get(id(kinds))
    if known is None:
        known = _NAMED[id(kinds)] = (kinds, {kind.__name__: _record_reader(kind) for kind in get_args(kinds)})
    return known[1]


_NAMED: dict[int, tuple[types.UnionType, dict[str, Reader]]] = {}


@cache
def _record_reader(kind: type) -> Reader:
    hints = get_type_hints(kind)
    names = _names(kind)
    make: Callable[[list[Any]], Any] = _making(kind)
    readers = [_reader(hints[name]) for name in names]
    # Of most fields the type alone decides, and all of one record are looked at together.
    raw = [_raw_type(hints[name]) for name in names]
    nested = [
        (place, reader)
        for place, (name, reader) in enumerate(zip(names, readers, strict=True))
        if hints[name] not in _EXACT
    ]

    def read(parts: Any) -> Any:
        if type(parts) is not list or list(map(type, parts)) != raw:
            return careful(parts)
        place = -1
        try:
            for place, reader in nested:
                parts[place] = reader(parts[place])
        except ProtocolError as error:
            raise ProtocolError(f"{kind.__name__}.{names[place]}: {error}") from error
        return make(parts)

    def careful(parts: Any) -> Any:
        if type(parts) is not list or len(cast(list[object], parts)) != len(raw):
            raise ProtocolError(f"{kind.__name__} does not have its {len(raw)} fields")
        values: list[Any] = []
        try:
            for reader, part in zip(readers, cast(list[object], parts), strict=True):
                values.append(reader(part))
        except ProtocolError as error:
            raise ProtocolError(f"{kind.__name__}.{names[len(values)]}: {error}") from error
        return make(values)

    return read


def _making(kind: type) -> Callable[[list[Any]], Any]:
    """How an instance is made of all its fields, in order and checked."""
    if issubclass(kind, tuple):
        return cast(Callable[[list[Any]], Any], functools.partial(tuple.__new__, kind))
    return lambda values: kind(*values)


def _raw_type(annotation: Any) -> type:
    """What msgpack most often makes of a field; it may be another type as well."""
    if annotation in _EXACT or annotation is float:
        return cast(type, annotation)
    if get_origin(annotation) is Literal:
        return str
    return dict if get_origin(annotation) is dict else list


def _reader(annotation: Any) -> Reader:
    if _is_record(annotation):
        return _record_reader(cast(type, annotation))
    if annotation in _EXACT:
        return _exactly(annotation)
    if annotation is float:
        return _number
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return _one_of(arguments)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return _many(_reader(arguments[0]))
    if origin is tuple:
        return _row([_reader(argument) for argument in arguments])
    if origin is dict and arguments == (str, str):
        return _mapping
    raise TypeError(f"{annotation!r} has no form on the wire")


def _exactly(kind: type) -> Reader:
    def read(part: object) -> object:
        if type(part) is not kind:
            raise ProtocolError(f"expected {kind.__name__}, found {type(part).__name__}")
        return part

    return read


def _number(part: object) -> float:
    if type(part) is not float and type(part) is not int:
        raise ProtocolError(f"expected a number, found {type(part).__name__}")
    return float(part)


def _one_of(choices: tuple[Any, ...]) -> Reader:
    def read(part: object) -> object:
        if type(part) is not str or part not in choices:
            raise ProtocolError(f"expected one of {choices!r}")
        return part

    return read


def _many(item: Reader) -> Reader:
    def read(part: Any) -> tuple[Any, ...]:
        if type(part) is not list:
            raise ProtocolError(f"expected an array, found {type(part).__name__}")
        return tuple([item(each) for each in part]) if part else ()

    return read


def _row(items: list[Reader]) -> Reader:
    def read(part: object) -> tuple[Any, ...]:
        if type(part) is not list or len(cast(list[object], part)) != len(items):
            raise ProtocolError(f"expected an array of {len(items)}")
        return tuple(item(each) for item, each in zip(items, cast(list[object], part), strict=True))

    return read


def _mapping(part: object) -> dict[str, str]:
    if type(part) is not dict:
        raise ProtocolError(f"expected a map, found {type(part).__name__}")
    entries = cast(dict[object, object], part)
    if not all(type(key) is str and type(value) is str for key, value in entries.items()):
        raise ProtocolError("expected a map of strings")
    return typing.cast(dict[str, str], entries)
