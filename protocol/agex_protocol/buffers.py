"""Large values as a run of Buffer messages before the message that counts them. Both sides use this, under a cap each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from agex_protocol.errors import ProtocolError
from agex_protocol.messages import Buffer, Encoded

PIECE_BYTES = 1 << 20
# A larger head travels as a buffer: a call's heads, one an argument, must fit into one frame together.
HEAD_BYTES = 1 << 14
Bytes = bytes | bytearray | memoryview
# From where buffers lie in the arena at hand to the buffers.
Fetch = Callable[[tuple[tuple[int, int], ...]], list[memoryview]]


def enclose(action: bytes, head: Bytes, buffers: Sequence[Bytes]) -> tuple[Iterable[Buffer], Encoded]:
    """The messages to send first, and the Encoded that counts them. A head too large for a frame goes as the first buffer."""
    if len(head) > HEAD_BYTES:
        return _pieces(action, [head, *buffers]), Encoded(b"", len(buffers) + 1)
    return _pieces(action, buffers) if buffers else (), Encoded(bytes(head), len(buffers))


def _pieces(action: bytes, buffers: Sequence[Bytes]) -> Iterator[Buffer]:
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        for start in range(0, max(len(view), 1), PIECE_BYTES):
            end = start + PIECE_BYTES
            yield Buffer(action, bytes(view[start:end]), end >= len(view))


class Inbox:
    """Gathers Buffer messages until the message that counts them comes. ProtocolError beyond `max_bytes`."""

    MAX_BUFFERS = 65_536

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._size = 0
        self._whole: list[bytearray] = []
        self._open: bytearray | None = None

    def take(self, message: Buffer) -> None:
        self._size += len(message.data)
        if self._size > self._max:
            raise ProtocolError(f"a value is larger than {self._max} bytes")
        if self._open is None:
            self._open = bytearray()
        self._open += message.data
        if message.last:
            self._whole.append(self._open)
            self._open = None
            if len(self._whole) > self.MAX_BUFFERS:
                raise ProtocolError(f"a value has more than {self.MAX_BUFFERS} buffers")

    def open(self, *values: Encoded, fetch: Fetch | None = None) -> list[tuple[bytes, list[memoryview]]]:
        """Head and buffers of each value; the inbox is empty afterwards. ProtocolError if the counts are not what came.

        Placed buffers come by `fetch`, which is asked once; without it there is no arena in which they could lie.
        """
        if not self._whole and self._open is None and not any([value.buffers or value.placed for value in values]):
            return [(value.head, []) for value in values]
        announced = [value.buffers for value in values]
        if self._open is not None or min(announced, default=0) < 0 or sum(announced) != len(self._whole):
            raise ProtocolError(f"{sum(announced)} buffers were announced, {len(self._whole)} came")
        placed = self._fetched([place for value in values for place in value.placed], fetch)
        whole, self._whole, self._size = self._whole, [], 0
        opened: list[tuple[bytes, list[memoryview]]] = []
        for value in values:
            own, placed = placed[: len(value.placed)], placed[len(value.placed) :]
            own += map(memoryview, whole[: value.buffers])
            whole = whole[value.buffers :]
            head = value.head
            if not head and own:
                head = bytes(own.pop(0))
            opened.append((head, own))
        return opened

    def _fetched(self, places: list[tuple[int, int]], fetch: Fetch | None) -> list[memoryview]:
        if not places:
            return []
        if fetch is None:
            raise ProtocolError("buffers were placed where there is no arena")
        if self._size + sum(length for _, length in places) > self._max:
            raise ProtocolError(f"a value is larger than {self._max} bytes")
        return fetch(tuple(places))
