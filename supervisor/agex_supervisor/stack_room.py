"""Room for deep calls: CPython's stack of Python frames grows by pieces of 16 KiB, and a piece is unmapped as soon as it is empty.

Where the calls of a loop happen to cross the end of a piece, each of them maps and unmaps memory. How deep that is, a worker can
choose by how deep its value is nested: 130 KB of nested lists took 190 ms in the place of 29.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# A frame of this many words of 8 bytes gets a piece of its own, of twice the size; the rest of it is for the calls below. A
# level of nesting takes about 150 words, and there are 64 at most.
_FRAME_WORDS = 16_384


def with_room(call: Callable[[], T]) -> T:
    """What the call gives, with one piece of the stack to itself and all that it calls. Costs some microseconds."""
    return call()


with_room.__code__ = with_room.__code__.replace(co_stacksize=_FRAME_WORDS)
