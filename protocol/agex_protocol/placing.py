"""Where the buffers of a value lie in an arena, which is memory that both sides see. Offsets and lengths, and nothing else.

Both sides use this: whoever writes lays buffers out with it, and the supervisor holds a worker's word to the same rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from agex_protocol.buffers import HEAD_BYTES, Bytes
from agex_protocol.errors import ProtocolError
from agex_protocol.messages import Encoded

# A line of the processor's cache, and more than any element of an array asks for.
ALIGNMENT = 64
# Below this a descriptor and a mapping cost more than to send the bytes: measured, see bench/README.md.
MIN_BYTES = 256 << 10
# In one message. What a value has beyond them are small buffers, which are sent as such.
MAX_PLACED = 4096
# How much is copied at once.
PIECE_BYTES = 4 << 20
# What the gaps between buffers can add to their sizes.
MAX_GAPS = MAX_PLACED * ALIGNMENT

Places = tuple[tuple[int, int], ...]


def laid_out(sizes: Sequence[int], start: int = 0) -> Places:
    """(offset, length) of each buffer, one after the other from `start` on."""
    ends = accumulate((aligned(size) for size in sizes), initial=aligned(start))
    return tuple(zip(ends, sizes, strict=False))


def aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def end_of(places: Places) -> int:
    """How many bytes of an arena are needed for all of them."""
    return max((offset + length for offset, length in places), default=0)


def check_places(places: Places, size: int) -> None:
    """ProtocolError unless all lie in an arena of `size` bytes, aligned, in rising order and apart from each other."""
    if len(places) > MAX_PLACED:
        raise ProtocolError(f"{len(places)} buffers in an arena, at most {MAX_PLACED} can be")
    free = 0
    for offset, length in places:
        if offset < free or offset % ALIGNMENT or length < 0 or offset + length > size:
            raise ProtocolError(f"a buffer at {offset} of {length} bytes has no place in an arena of {size}")
        free = offset + length


class Parted:
    """A value's buffers in two parts: those for an arena, laid out, and the rest, which is sent. A large head is a buffer."""

    def __init__(self, head: Bytes, buffers: Sequence[Bytes], *, start: int = 0, room: int = MAX_PLACED) -> None:
        every = [head, *buffers] if len(head) > HEAD_BYTES else buffers
        self.placed: list[memoryview] = [memoryview(buffer).cast("B") for buffer in every[:room]]
        self.sent: Sequence[Bytes] = every[room:]
        self.places = laid_out([len(view) for view in self.placed], start)
        self.encoded = Encoded(b"" if every is not buffers else bytes(head), len(self.sent), self.places)

    @property
    def end(self) -> int:
        return end_of(self.places)

    def write(self, memory: memoryview) -> Iterator[int]:
        """Copy what is to be placed into an arena; gives how far it came after each piece, so that others have their turn."""
        for view, (offset, length) in zip(self.placed, self.places, strict=True):
            for at in range(0, length, PIECE_BYTES):
                piece = view[at : at + PIECE_BYTES]
                end = offset + at + len(piece)
                memory[offset + at : end] = piece
                yield end


def total_bytes(head: Bytes, buffers: Sequence[Bytes]) -> int:
    """What a value takes, to see whether it is worth an arena."""
    return len(head) + (sum(memoryview(buffer).nbytes for buffer in buffers) if buffers else 0)
