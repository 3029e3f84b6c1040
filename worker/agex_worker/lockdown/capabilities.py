"""Capabilities: none held, none to be had. Root without them is an ordinary owner of root's files, no more."""

from __future__ import annotations

import ctypes
import errno

from agex_worker.lockdown import kernel
from agex_worker.lockdown.errors import LayerFailed

_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_SET_SECUREBITS = 28
_PR_CAP_AMBIENT = 47
_AMBIENT_CLEAR_ALL = 4

_CAP_SETPCAP = 1 << 8
_MOST_CAPABILITIES = 64

# NOROOT, KEEP_CAPS off, NO_CAP_AMBIENT_RAISE, each with its lock: user id 0 confers nothing, for good.
_SECUREBITS = 1 << 0 | 1 << 1 | 1 << 5 | 1 << 6 | 1 << 7


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


_VERSION_3 = 0x20080522


def drop() -> str:
    """Empty every set that this process may empty, and verify. LayerFailed if one is left that should be empty."""
    privileged = bool(_held()[0] & _CAP_SETPCAP)
    if privileged:
        kernel.prctl(_PR_SET_SECUREBITS, _SECUREBITS)
        for capability in _bounding():
            kernel.prctl(_PR_CAPBSET_DROP, capability)
    kernel.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    _set_none()
    held, bounding = _held(), _bounding()
    if any(held):  # effective, permitted, inheritable
        raise LayerFailed("capabilities", f"still held: {', '.join(map(hex, held))}")
    if not bounding:
        return "enforced: none held, bounding set empty"
    if privileged:
        raise LayerFailed("capabilities", f"the bounding set still holds {bounding}")
    return "enforced: none held; the bounding set is not ours to empty, no_new_privs keeps it idle"


def _held() -> tuple[int, int, int]:
    """Effective, permitted, inheritable."""
    header, words = _Header(_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    kernel.syscall("capget", ctypes.addressof(header), ctypes.addressof(words))
    low, high = words[:3], words[3:]
    return (high[0] << 32 | low[0], high[1] << 32 | low[1], high[2] << 32 | low[2])


def _set_none() -> None:
    header, words = _Header(_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    kernel.syscall("capset", ctypes.addressof(header), ctypes.addressof(words))


def _bounding() -> list[int]:
    """The capabilities in the bounding set; the kernel answers EINVAL beyond the last one that it knows."""
    found: list[int] = []
    for capability in range(_MOST_CAPABILITIES):
        try:
            if kernel.prctl(_PR_CAPBSET_READ, capability):
                found.append(capability)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break
    return found
