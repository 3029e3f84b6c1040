"""Memory for values that came from a live worker: copied here first, where nobody else can change what is then checked.

It is handed to the caller as part of the value, and used again when the last array in it is gone, because the first touch of
fresh memory costs as much as the copy itself.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable
from typing import Any

from agex_supervisor.arena import class_of

# Below this the allocator has warm memory itself.
MIN_BYTES = 4 << 20


class Block:
    """Anonymous memory of this process. Not shared with anybody: a forked child gets a copy, as of any memory."""

    def __init__(self, need_bytes: int) -> None:
        self.size = class_of(need_bytes)
        self.resident_bytes = 0
        self.idle_since = 0.0
        self._map = mmap.mmap(-1, self.size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._map.madvise(mmap.MADV_HUGEPAGE)

    def view(self, size: int, watch: Callable[[Any, Block], object]) -> memoryview:
        """Its first bytes. `watch` is given the object that lives as long as anything that looks at them.

        That is an array of numpy, to which every view holds on. Only for a process that has numpy loaded.
        """
        numpy: Any = sys.modules["numpy"]
        self.resident_bytes = max(self.resident_bytes, size)
        whole = numpy.frombuffer(self._map, numpy.uint8, size)
        watch(whole, self)
        return memoryview(whole)

    def close(self) -> None:
        """Nothing to do: the memory goes with the last that looks at it."""


def is_pooled(size: int) -> bool:
    """Whether memory of that size comes in blocks, which takes numpy to know when one is free again."""
    return size >= MIN_BYTES and "numpy" in sys.modules
