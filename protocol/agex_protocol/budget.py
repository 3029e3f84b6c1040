"""What reading one value may cost. Sizes alone do not bound it: short bytes can unfold to much memory or much work.

Both sides count alike: the worker so that its code hears of a limit in words, the supervisor because it trusts nobody.
Every breach is a ValueError here; `encode` and `decode` make it the error of their side.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

MAX_INT_BITS = 4096
MAX_DECIMAL_EXPONENT = 9999
MAX_PATTERN_BYTES = 1024
MAX_SHARED_HASH = 16

# One unit of work is at most 0.5 us of a decoder's time, so that a megabyte takes at most a tenth of a second: an allowance
# for any value, or so much for each byte where that is more.
CONTAINER_WORK = 2
NESTED_WORK = 3  # more, where not all in it is plain
DICT_WORK = 3
ENUM_WORK = 2
FLAG_WORK = 5
ARRAY_WORK = 15
SCALAR_WORK = 10
PANDAS_WORK = {"frame": 45, "series": 45, "index": 25, "timestamp": 25, "duration": 25, "missing": 4}
_RECORD_WORK = 14
MADE_TOGETHER_SAVES = 10  # for each of many records with the same fields
_FREE_WORK = 200_000
_BYTES_PER_WORK = 5
# Of the largest head.
MOST_WORK = (16 << 20) // _BYTES_PER_WORK
TOO_MUCH_WORK = "too many small items for its size; give many of them as an array or a DataFrame"

# No kind of value has so many arrays for a unit of its work.
CONTAINERS_PER_WORK = 2
# Bytes that open an array or a map in msgpack; an empty one takes 72 bytes of memory, any other byte at most 24.
_CONTAINERS = bytes((*range(0x80, 0xA0), *range(0xDC, 0xE0)))
_CONTAINER_MEMORY = 72
_BYTE_MEMORY = 24


@dataclass(frozen=True)
class Caps:
    """What a decoder accepts. Sizes in bytes; `memory_bytes` bounds what a head could unfold to, before it does."""

    head_bytes: int = 16 << 20
    memory_bytes: int = 1 << 30
    buffer_bytes: int = 1 << 30
    buffers: int = 20_000
    depth: int = 64

    @classmethod
    @cache
    def within(cls, max_bytes: int) -> Caps:
        """The usual caps for a value of at most this many bytes altogether."""
        return cls(head_bytes=min(max_bytes, cls.head_bytes), buffer_bytes=max_bytes)

    def check_sizes(self, head: bytes | bytearray | memoryview, sizes: Collection[int]) -> None:
        """Raise ValueError for a head or buffers that are too large to be looked at."""
        if len(head) > self.head_bytes:
            raise ValueError(f"{len(head)} bytes of structure, the cap is {self.head_bytes}")
        if len(sizes) > self.buffers:
            raise ValueError(f"{len(sizes)} buffers, the cap is {self.buffers}")
        if sum(sizes) > self.buffer_bytes:
            raise ValueError(f"{sum(sizes)} bytes in buffers, the cap is {self.buffer_bytes}")
        if len(head) * (_CONTAINER_MEMORY + _BYTE_MEMORY) <= self.memory_bytes:
            return  # whatever is in it
        memory = _most_containers(head) * _CONTAINER_MEMORY + len(head) * _BYTE_MEMORY
        if memory > self.memory_bytes:
            raise ValueError(
                f"{len(head)} bytes of structure could unfold to {memory}, the cap is {self.memory_bytes}; give many items as an array"
            )


class Work:
    """Counts units of work against what a head of that size may cost."""

    __slots__ = ("left",)

    def __init__(self, head_bytes: int) -> None:
        self.left = max(_FREE_WORK, head_bytes // _BYTES_PER_WORK)

    def charge(self, units: int) -> None:
        """Raise ValueError when the value costs more than its bytes allow."""
        self.left -= units
        if self.left < 0:
            raise ValueError(TOO_MUCH_WORK)


def container_counter(head: bytes) -> Callable[[Any], Any] | None:
    """What msgpack shall call with each array that it has made; it raises ValueError once there are more than any value has.

    To make them first and to charge for them later takes msgpack as long as a value may take. None for a head whose bytes
    show that it has not so many.
    """
    left = CONTAINERS_PER_WORK * max(_FREE_WORK, len(head) // _BYTES_PER_WORK)
    if len(head) <= left or _most_containers(head) <= left:
        return None

    def count(container: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise ValueError(TOO_MUCH_WORK)
        return container

    return count


def _most_containers(head: bytes | bytearray | memoryview) -> int:
    return len(head) - len(bytes(head).translate(None, _CONTAINERS))


def record_work(fields: int) -> int:
    """Reading one instance of a class that declares so many fields; each may have a default that has to be made."""
    return _RECORD_WORK + fields // 3


def collector_paused() -> _Paused:
    """No garbage collection meanwhile: it walks all that is being built, again and again, and none of it is garbage."""
    return _Paused()


class _Paused:
    __slots__ = ("_was_on",)

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_on:
            gc.enable()


def check_int(number: int) -> None:
    """Raise ValueError for a number whose arithmetic would be slow."""
    if number.bit_length() > MAX_INT_BITS:
        raise ValueError(f"an int of {number.bit_length()} bits, the limit is {MAX_INT_BITS}")
