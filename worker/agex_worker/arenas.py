"""This worker's side of the arenas: inputs that it looks at, and memory that it writes its values to.

A mapped arena counts to limits.memory like any memory. Inputs are mapped as a copy of one's own: what is written to them
stays here, and the memory is given back when the last array in it is gone.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import mmap
import os
import weakref
from collections import deque
from dataclasses import dataclass

from agex_protocol.placing import Places, end_of

# Memory to write to stays mapped for the next value, unless it takes so much of the limit: to map it again takes as long as
# to copy into it.
KEPT_SHARE = 4
_PAGE = mmap.PAGESIZE
# Maps what is there already, sixteen pages at a time instead of one for each first touch. Kernels from 5.14.
_POPULATE_READ = 22


@dataclass(frozen=True, slots=True)
class Mapped:
    """An arena to write to. number: which of the supervisor's it is."""

    number: int
    memory: mmap.mmap


class Arenas:
    """memory_bytes: the policy's limit."""

    def __init__(self, memory_bytes: int) -> None:
        self._memory_bytes = memory_bytes
        self._count = 0
        self._dropped: deque[int] = deque()  # finalizers add to it, at any time and on any thread
        self._inputs: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
        self._output: Mapped | None = None

    def fetched(self, descriptor: int, places: Places) -> list[memoryview]:
        """The buffers that the supervisor placed, writeable. Closes the descriptor; MemoryError where they do not fit in."""
        self._count += 1
        number, size = self._count, end_of(places)
        try:
            if descriptor < 0:
                raise OSError(errno.EMFILE, "no descriptor was left for a large value; limits.open_files is the bound")
            memory = self._map(descriptor, size, mmap.MAP_PRIVATE)
        except BaseException:
            self._dropped.append(number)
            raise
        self._inputs.add(memory)
        weakref.finalize(memory, self._dropped.append, number).atexit = False
        view = memoryview(memory)
        return [view[offset : offset + length] for offset, length in places]

    def room(self, number: int, descriptor: int, size: int, limit: int) -> memoryview | None:
        """Memory of at least that size to write to, at most `limit`. Closes the descriptor; None where it does not fit in."""
        if self._output is not None and self._output.number == number and len(self._output.memory) >= size:
            os.close(descriptor)
            return memoryview(self._output.memory)
        self._output = None
        try:
            memory = self._map(descriptor, min(-(-size // _PAGE) * _PAGE, limit), mmap.MAP_SHARED)
        except (MemoryError, OSError):
            return None
        with contextlib.suppress(OSError):
            memory.madvise(_POPULATE_READ)
        self._output = Mapped(number, memory)
        return memoryview(memory)

    def written(self) -> None:
        """The value is where it belongs. Memory that takes much of the limit is given back."""
        if self._output is not None and len(self._output.memory) > self._memory_bytes // KEPT_SHARE:
            self._output = None

    def dropped(self, *, all_garbage: bool = False) -> tuple[int, ...]:
        """The numbers of the inputs that nothing looks at any more; each is told once.

        all_garbage: also those that only garbage looks at, which takes some time.
        """
        if all_garbage and self._inputs:
            gc.collect()
        if not self._dropped:
            return ()
        return tuple(self._dropped.popleft() for _ in range(len(self._dropped)))

    def _map(self, descriptor: int, size: int, flags: int) -> mmap.mmap:
        try:
            try:
                return mmap.mmap(descriptor, size, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
            except OSError:
                self._output = None
                gc.collect()  # what only garbage looks at may be all that is missing
                return mmap.mmap(descriptor, size, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
            raise MemoryError(
                f"{size} bytes of values do not fit into this worker's memory; limits.memory of the policy is its bound"
            ) from None
        finally:
            os.close(descriptor)
