"""An arena: shared memory that the supervisor makes, sizes, seals and keeps mapped. A worker gets a descriptor of it.

Its size can never change, so no reader is ever cut off. One for inputs can be written by this process alone: whoever else
maps it has it read-only or a copy of its own. Both are held by seals; in large ones for inputs by a descriptor of a read-only
mount, as what has huge pages cannot be sealed.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from agex_protocol.placing import Parted
from agex_supervisor import huge_pages
from agex_supervisor.huge_pages import HUGE_PAGES

MIN_BYTES = 1 << 20

_SHRINK, _GROW, _FUTURE_WRITE, _SEAL = 0x2, 0x4, 0x10, 0x1
# Never a program, whatever is written to it; kernels before 6.3 do not know it, and there seccomp alone refuses to run one.
_NOEXEC_SEAL = 0x8
_DONTFORK = getattr(mmap, "MADV_DONTFORK", None)
_PIECE = 1 << 20
_ZEROS = bytes(_PIECE)


@dataclass(eq=False)
class Tenant:
    """Whose bytes are in an arena: a session. confined: when its workers are dead, nobody has its arenas mapped any more."""

    confined: bool
    over: bool = False


class Arena:
    """Made for inputs (`inward`) or for what a worker gives. Raises OSError where there is no room for another.

    claims: how many hold it; guarded by the stock, like the other two. tenant: whose bytes are in it. holders: an event for
    each worker that was ever given it, also if it says that it looks no more: set when that is dead.
    """

    def __init__(self, size: int, *, inward: bool) -> None:
        self.size = size
        self.inward = inward
        self.tenant: Tenant | None = None
        self.holders: set[threading.Event] = set()
        self.claims = 0
        # A process that was forked while it was lent may look at it for ever.
        self.spoiled = False
        self.idle_since = 0.0
        self.descriptor, self._map = (_huge(size) if inward else None) or _sealed(size, inward)
        if _DONTFORK is not None:
            self._map.madvise(_DONTFORK)  # a forked child would keep the memory, and has no use for it

    def __del__(self) -> None:
        # One that was lent by a pool that is gone has nobody else to close it.
        if getattr(self, "descriptor", -1) >= 0:
            self.close()

    @property
    def free(self) -> bool:
        """Whether every worker that was given it is dead."""
        return all(gone.is_set() for gone in tuple(self.holders))

    @property
    def resident_bytes(self) -> int:
        """What it takes of the machine's memory."""
        return os.fstat(self.descriptor).st_blocks * 512

    def write(self, parted: Parted) -> None:
        """Put the buffers of a value where they belong."""
        with memoryview(self._map) as memory:
            for _ in parted.write(memory):
                pass

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill `target` with what lies from `offset` on. Piece by piece, so that other threads have their turn."""
        with memoryview(self._map) as memory:
            for at in range(0, len(target), _PIECE):
                piece = target[at : at + _PIECE]
                piece[:] = memory[offset + at : offset + at + len(piece)]

    def lent(self, size: int) -> mmap.mmap:
        """Its first bytes as memory of the caller's own: what is written there stays there."""
        return mmap.mmap(self.descriptor, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)

    def wipe(self) -> None:
        """Overwrite all that was ever written. What never was is no memory yet, and reads as zeros."""
        for start, end in self._written():
            for at in range(start, end, _PIECE):
                stop = min(at + _PIECE, end)
                self._map[at:stop] = _ZEROS[: stop - at]

    def close(self) -> None:
        """Let go of it. Memory that somebody else has mapped stays theirs."""
        if self.descriptor >= 0:
            descriptor, self.descriptor = self.descriptor, -1
            self._map.close()
            os.close(descriptor)

    def _written(self) -> Iterator[tuple[int, int]]:
        end = 0
        while end < self.size:
            try:
                start = os.lseek(self.descriptor, end, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # there is nothing more
                    return
                raise
            end = os.lseek(self.descriptor, start, os.SEEK_HOLE)
            yield start, end


def class_of(need_bytes: int) -> int:
    """The next power of two: arenas are used again, so they have few sizes. What is not written takes no memory."""
    return max(MIN_BYTES, 1 << (need_bytes - 1).bit_length())


def _huge(size: int) -> tuple[int, mmap.mmap] | None:
    """A descriptor for everybody, with which nothing can be written, and the memory; None where there are no huge pages."""
    files = HUGE_PAGES.file(size) if size >= huge_pages.MIN_BYTES else None
    if files is None:
        return None
    ours, theirs = files
    try:
        return theirs, mmap.mmap(ours, size)
    except BaseException:
        os.close(theirs)
        raise
    finally:
        os.close(ours)  # the mapping has one of its own


def _sealed(size: int, inward: bool) -> tuple[int, mmap.mmap]:
    """A descriptor for everybody, and the memory."""
    descriptor = _memory_file()
    try:
        os.ftruncate(descriptor, size)
        memory = mmap.mmap(descriptor, size)
        seals = _SHRINK | _GROW | (_FUTURE_WRITE if inward else 0)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals | _SEAL)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, memory


def _memory_file() -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create("agex-arena", flags | _NOEXEC_SEAL)
    except OSError:
        return os.memfd_create("agex-arena", flags)
