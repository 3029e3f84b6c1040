"""Descriptors: a worker holds its stdio and its channel, and nothing that the zygote happened to have open."""

from __future__ import annotations

import array
import ctypes
import os
import resource
import sys
from collections.abc import Set as AbstractSet

from agex_worker.lockdown import kernel
from agex_worker.lockdown.errors import LayerFailed

_LAST_DESCRIPTOR = 0xFFFFFFFF
_POLLNVAL = 0x20
_CHECKED = 4096  # how far assert_only looks: well beyond what a zygote ever opens


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
    """One poll(2) over all numbers: those that are not open answer POLLNVAL."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = _CHECKED if soft == resource.RLIM_INFINITY else min(soft, _CHECKED)
    # struct pollfd {int fd; short events, revents;} as two ints; only revents can come back set.
    table = array.array("i", [0, 0]) * count
    table[::2] = array.array("i", range(count))
    address, _ = table.buffer_info()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.poll(ctypes.c_void_p(address), ctypes.c_ulong(count), ctypes.c_int(0)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)}: poll")
    return {table[2 * i] for i in range(count) if not table[2 * i + 1] & (_POLLNVAL << 16 | _POLLNVAL)}


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
