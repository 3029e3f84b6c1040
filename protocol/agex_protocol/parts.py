"""What the codecs of libraries need of the encoder and of the decoder: a place for bytes, plain values, and an account."""

from __future__ import annotations

from typing import Any, Protocol


class Writer(Protocol):
    """What packing needs of the encoder."""

    def put(self, data: bytes | memoryview) -> bytes | int:
        """Bytes into the head or, when they are many, into a buffer of their own."""
        ...

    def put_any(self, values: list[Any]) -> list[Any]:
        """Values of any type that crosses."""
        ...

    def charge(self, units: int) -> None:
        """Count work as the reader will."""
        ...


class Reader(Protocol):
    """What unpacking needs of the decoder."""

    def get(self, wire: object) -> memoryview:
        """The bytes that `put` wrote. Those that can be written are the value's own from now on."""
        ...

    def get_any(self, wire: object) -> list[Any]:
        """The values that `put_any` wrote."""
        ...

    def charge(self, units: int) -> None:
        """Count work (budget.Work)."""
        ...

    def enter(self, units: int) -> None:
        """Count work, and one level of nesting more; ValueError beyond what may be."""
        ...

    def leave(self) -> None:
        """One level less."""
        ...


def owned(data: memoryview) -> bytes:
    """A copy that nobody can change: what a worker sent is never referred to."""
    return bytes(data)
