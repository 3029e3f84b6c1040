"""Descriptors: a worker holds its stdio and its channel, and nothing that the zygote happened to have open."""

from __future__ import annotations

import array
import os
import resource
import sys
from collections.abc import Set as AbstractSet

from agex_worker.lockdown import kernel
from agex_worker.lockdown.errors import LayerFailed

_LAST_DESCRIPTOR = 0xFFFFFFFF
_NOT_OPEN = 0x20 << 16  # POLLNVAL in revents, the upper half
_CHECKED = 1024  # how far assert_only looks: well beyond what a zygote ever opens


def close_others(keep: AbstractSet[int]) -> None:
    """Close every descriptor but `keep`. Raises OSError where the kernel has no close_range (before 5.9)."""
    lowest = 0
    for kept in sorted(keep):
        _close(lowest, kept - 1)
        lowest = kept + 1
    _close(lowest, _LAST_DESCRIPTOR)


def assert_only(keep: AbstractSet[int]) -> str:
    """Verify that exactly `keep` is open, without /proc: the zygote's domain has already closed it. LayerFailed if not."""
    found = _open_descriptors()
    missing = sorted(descriptor for descriptor in keep if not _is_open(descriptor))
    surplus = sorted(found - keep)
    if missing:
        raise LayerFailed("descriptors", f"{missing} must stay open and are closed; pass them to the fork")
    if surplus:
        raise LayerFailed("descriptors", f"{surplus} are open beside the permitted {sorted(keep)}")
    return f"enforced: {len(keep)} open"


def _close(first: int, last: int) -> None:
    # os.closerange with an empty range closes everything from there on: never call it, nor the call beneath, with one.
    if first > last:
        return
    if sys.platform == "linux":
        kernel.syscall("close_range", first, last, 0)
    else:
        os.closerange(first, min(last + 1, os.sysconf("SC_OPEN_MAX")))


def _open_descriptors() -> set[int]:
    if sys.platform != "linux":
        return set(filter(_is_open, map(int, os.listdir("/dev/fd"))))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = _CHECKED if soft == resource.RLIM_INFINITY else min(soft, _CHECKED)
    # One call asks for all: struct pollfd {int fd; short events, revents;} as two ints, where POLLNVAL is "not open".
    table = array.array("i", bytes(8 * count))
    table[::2] = array.array("i", range(count))
    at_once = array.array("q", (0, 0))  # struct timespec
    kernel.syscall("ppoll", table.buffer_info()[0], count, at_once.buffer_info()[0], 0, 0)
    return {number for number, answer in enumerate(table[1::2]) if answer != _NOT_OPEN}


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
