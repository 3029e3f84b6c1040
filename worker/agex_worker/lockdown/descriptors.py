"""Descriptors: a worker holds its stdio and its channel, and nothing that the zygote happened to have open."""

from __future__ import annotations

import array
import ctypes
import itertools
import os
import resource
import sys
from collections.abc import Set as AbstractSet
from functools import cache

from agex_worker.lockdown import kernel
from agex_worker.lockdown.errors import LayerFailed

_LAST_DESCRIPTOR = 0xFFFFFFFF
_NOT_OPEN = 0x20 << 16  # POLLNVAL in revents, the upper half
_CHECKED = 1024  # how far assert_only looks: well beyond what a zygote ever opens


def prepare() -> None:
    """Make what close_others() and assert_only() need. For before the fork."""
    if sys.platform == "linux":
        _question()
        _closing()


def close_others(keep: AbstractSet[int]) -> None:
    """Close every descriptor but `keep`. Raises OSError where the kernel has no close_range (before 5.9)."""
    close = _closing()
    lowest = 0
    for kept in sorted(keep):
        # os.closerange with an empty range closes everything from there on: never call it, nor the call beneath, with one.
        if lowest < kept:
            close(lowest, kept - 1)
        lowest = kept + 1
    close(lowest, _LAST_DESCRIPTOR)


def assert_only(keep: AbstractSet[int], spent: AbstractSet[int] = frozenset()) -> str:
    """Verify that exactly `keep` is open, without /proc: the zygote's domain has already closed it. LayerFailed if not.

    spent: descriptors that were opened as paths and must be closed, too. No poll sees those, so they are asked for by number.
    """
    if sys.platform == "linux":
        unseen, surplus = _question().ask(keep)
    else:
        seen = set(filter(_is_open, map(int, os.listdir("/dev/fd"))))
        unseen, surplus = keep - seen, seen - keep
    missing = [*itertools.filterfalse(_is_open, sorted(unseen))]
    surplus |= {*filter(_is_open, spent)}
    if missing:
        raise LayerFailed("descriptors", f"{missing} must stay open and are closed; pass them to the fork")
    if surplus:
        raise LayerFailed("descriptors", f"{sorted(surplus)} are open beside the permitted {sorted(keep)}")
    return f"enforced: {len(keep)} open"


class _Closing:
    """The call that closes a range of descriptors."""

    def __init__(self) -> None:
        self._first, self._last = ctypes.c_long(), ctypes.c_long()
        if sys.platform == "linux":
            self._call = kernel.prepared("close_range", self._first, self._last, 0)

    def __call__(self, first: int, last: int) -> None:
        if sys.platform == "linux":
            self._first.value, self._last.value = first, last
            kernel.made(self._call, "close_range")
        else:
            os.closerange(first, min(last + 1, os.sysconf("SC_OPEN_MAX")))


@cache
def _closing() -> _Closing:
    return _Closing()


class _Question:
    """One ppoll that asks for all descriptors. Made once, in the zygote: what is left to a worker is to make the call."""

    def __init__(self) -> None:
        # struct pollfd {int fd; short events, revents;} as two ints, where POLLNVAL is "not open".
        self._all_closed = array.array("i", [_NOT_OPEN] * (2 * _CHECKED))
        self._all_closed[::2] = array.array("i", range(_CHECKED))
        self._table = self._all_closed[:]
        self._at_once = array.array("q", (0, 0))  # struct timespec
        self._count = ctypes.c_long()
        addresses = self._table.buffer_info()[0], self._at_once.buffer_info()[0]
        self._call = kernel.prepared("ppoll", addresses[0], self._count, addresses[1], 0, 0)

    def ask(self, keep: AbstractSet[int]) -> tuple[AbstractSet[int], AbstractSet[int]]:
        """Those of `keep` that are not seen open, and what is seen open beside."""
        # The kernel lets nobody ask for more than may be open.
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        count = _CHECKED if soft == resource.RLIM_INFINITY else min(soft, _CHECKED)
        self._count.value = count
        kernel.made(self._call, "ppoll")
        answers = self._table
        seen: set[int] = set()
        for number in keep:
            if number < count and answers[2 * number + 1] != _NOT_OPEN:
                seen.add(number)
                answers[2 * number + 1] = _NOT_OPEN
        # As a whole first: to look at each answer takes longer than all the rest.
        if answers == self._all_closed:
            return keep - seen, frozenset()
        return keep - seen, {number for number in range(count) if answers[2 * number + 1] != _NOT_OPEN}


@cache
def _question() -> _Question:
    return _Question()


def _is_open(descriptor: int) -> bool:
    try:
        os.get_inheritable(descriptor)
    except OSError:
        return False
    return True
