"""Values that do not cross as what they are: objects that stay in their process, on either side, and objects as sealed bytes.

    handle   [number, name of its type, its repr]    the number is the worker's own
    opaque   [bytes, name of its type, its repr]     a pickle, which only workers open
    pickle   bytes                                   the same, for a task that trusts the agent with its process
    hosted   its name, as host_handle.py has it      an object of the supervisor, to which a worker was given that name

Nothing here opens a pickle. Names and reprs are texts of the worker's choice, bounded.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from agex_protocol.host_handle import HostHandle, target_of
from agex_protocol.kinds import reference
from agex_protocol.misfit import Misfit, unlike
from agex_protocol.shapes import Shape

# Objects of one worker behind handles at once, and over its whole life.
MAX_HANDLES = 1_000
MAX_NUMBER = 100_000

MAX_TYPE_CHARS = 200
MAX_REPR_CHARS = 1_000

# Makes what stands for the value: of a handle from (number, type, repr), of sealed bytes from (bytes, type, repr).
Adopt = Callable[[Shape, "tuple[Any, str, str]"], object]


# Gives the object of this process that a worker names.
Find = Callable[[str], object]


class Keep(Protocol):
    """What a worker does with objects that are not to cross. ValueError says why it cannot."""

    def hold(self, value: object) -> int:
        """Keep the object, and give it a number that no other one had."""
        ...

    def seal(self, value: object) -> bytes:
        """The object as bytes from which another worker can make it again."""
        ...


class _Encoder(Protocol):
    @property
    def keep(self) -> Keep | None: ...

    def charge(self, units: int) -> None: ...

    def put(self, data: bytes) -> bytes | int: ...


class _Decoder(Protocol):
    @property
    def adopt(self) -> Adopt | None: ...

    @property
    def find(self) -> Find | None: ...

    @property
    def charge(self) -> Callable[[int], None]: ...

    def get(self, wire: object) -> memoryview: ...


def pack_handle(encoder: _Encoder, value: Any, shape: Shape) -> list[Any]:
    keep = _keeping(encoder, value, shape)
    return [keep.hold(value), *_charged(encoder, _described(value))]


def pack_opaque(encoder: _Encoder, value: Any, shape: Shape) -> list[Any]:
    keep = _keeping(encoder, value, shape)
    return [encoder.put(keep.seal(value)), *_charged(encoder, _described(value))]


def pack_pickle(encoder: _Encoder, value: Any, shape: Shape) -> bytes | int:
    return encoder.put(_keeping(encoder, value, shape).seal(value))


def pack_hosted(encoder: _Encoder, value: Any, shape: Shape) -> str:
    if not isinstance(value, HostHandle):
        raise unlike(value, shape, "; it takes one that a host function gave")
    encoder.charge(_NAME_WORK)
    return target_of(value)


def unpack_handle(decoder: _Decoder, wire: Any, shape: Shape) -> object:
    match wire:
        case [int(number), str(kind), str(text)] if type(number) is int and 0 < number <= MAX_NUMBER:
            return _adopted(decoder, shape, (number, *_bounded(decoder, kind, text)))
        case _:
            raise ValueError("not a handle")


def unpack_opaque(decoder: _Decoder, wire: Any, shape: Shape) -> object:
    match wire:
        case [data, str(kind), str(text)]:
            return _adopted(decoder, shape, (bytes(decoder.get(data)), *_bounded(decoder, kind, text)))
        case _:
            raise ValueError("not a sealed object")


def unpack_pickle(decoder: _Decoder, wire: Any, shape: Shape) -> object:
    return _adopted(decoder, shape, (bytes(decoder.get(wire)), "", ""))


def unpack_hosted(decoder: _Decoder, wire: Any, shape: Shape) -> object:
    if decoder.find is None:
        raise ValueError("an object of this process where none can be named")
    if type(wire) is not str:
        raise ValueError(f"a {type(wire).__name__} where a str is expected")
    decoder.charge(_NAME_WORK)
    return decoder.find(wire)


def _keeping(encoder: _Encoder, value: Any, shape: Shape) -> Keep:
    if encoder.keep is None:
        raise Misfit("an object cannot stay behind here, nor be sealed")
    if isinstance(value, HostHandle) or (shape.flavour == "callable" and not callable(value)):
        raise unlike(value, shape)
    kind: type = type(value)
    if shape.cls and shape.cls not in map(reference, kind.__mro__):
        raise unlike(value, shape)
    encoder.charge(_WORK)
    return encoder.keep


def _described(value: Any) -> tuple[str, str]:
    try:
        text = str.__str__(repr(value))
    except Exception as error:
        text = f"<its repr cannot be made: {type(error).__name__}>"
    return _headed(str(type(value).__qualname__), MAX_TYPE_CHARS), _headed(text, MAX_REPR_CHARS)


def _charged(account: _Encoder | _Decoder, texts: tuple[str, str]) -> tuple[str, str]:
    """The texts; what is not plain ASCII in them is written out one by one where they are shown."""
    account.charge(2 * sum(len(_HARMLESS.sub("", text)) for text in texts))
    return texts


def _headed(text: str, limit: int) -> str:
    text = text if len(text) <= limit else f"{text[: limit - 3]}..."
    return text.encode("utf-8", "backslashreplace").decode()[:limit]


def _bounded(decoder: _Decoder, kind: str, text: str) -> tuple[str, str]:
    if len(kind) > MAX_TYPE_CHARS or len(text) > MAX_REPR_CHARS:
        raise ValueError("too long a description")
    return _charged(decoder, (kind, text))


def _adopted(decoder: _Decoder, shape: Shape, parts: tuple[Any, str, str]) -> object:
    decoder.charge(_WORK)
    if decoder.adopt is None:
        raise ValueError(f"{shape} has no place here")
    return decoder.adopt(shape, parts)


_WORK = 20
_HARMLESS = re.compile(r"[\n\t\x20-\x7e]+")
_NAME_WORK = 4
