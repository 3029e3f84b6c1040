"""Capabilities: none held, none to be had. Root without them is an ordinary owner of root's files, no more."""

from __future__ import annotations

import array
import ctypes
import errno
import sys
from dataclasses import dataclass
from functools import cache

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


# struct __user_cap_header_struct of version 3, for this process; two structs of effective, permitted, inheritable.
_header = array.array("I", (0x20080522, 0))
_words = array.array("I", (0,) * 6)
_NONE = array.array("I", (0,) * 6)
_capability = ctypes.c_long()


def prepare() -> None:
    """Make what bound() and drop() need. For before the fork."""
    if sys.platform == "linux":
        _calls()


def bound() -> bool:
    """Empty the bounding set, if this process may: nothing can be had again. What is held stays, until `drop()`.

    Gives whether it might.
    """
    privileged = bool(_held()[0] & _CAP_SETPCAP)
    if privileged:
        kernel.prctl(_PR_SET_SECUREBITS, _SECUREBITS)
        _answers(_calls().take_away)
    return privileged


def drop() -> str:
    """Empty every set that this process may empty, and verify. LayerFailed if one is left that should be empty."""
    privileged = bound()
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
    kernel.made(_calls().get, "capget")
    low, high = _words[:3], _words[3:]
    return (high[0] << 32 | low[0], high[1] << 32 | low[1], high[2] << 32 | low[2])


def _set_none() -> None:
    _words[:] = _NONE
    kernel.made(_calls().set, "capset")


def _bounding() -> list[int]:
    """The capabilities in the bounding set."""
    return [capability for capability, answer in enumerate(_answers(_calls().ask)) if answer]


def _answers(call: kernel.Call) -> list[int]:
    """What the kernel says of each capability that it knows."""
    answers: list[int] = []
    for capability in range(_calls().known):
        _capability.value = capability
        answers.append(kernel.made(call, "prctl"))
    return answers


@dataclass(frozen=True, slots=True)
class _Calls:
    get: kernel.Call
    set: kernel.Call
    # Of `_capability` and the bounding set: whether it is in there, and taking it out.
    ask: kernel.Call
    take_away: kernel.Call
    # How many capabilities this kernel has.
    known: int


@cache
def _calls() -> _Calls:
    addresses = _header.buffer_info()[0], _words.buffer_info()[0]
    ask = kernel.prepared("prctl", _PR_CAPBSET_READ, _capability, 0, 0, 0)
    return _Calls(
        kernel.prepared("capget", *addresses),
        kernel.prepared("capset", *addresses),
        ask,
        kernel.prepared("prctl", _PR_CAPBSET_DROP, _capability, 0, 0, 0),
        _known(ask),
    )


def _known(ask: kernel.Call) -> int:
    for capability in range(_MOST_CAPABILITIES):
        _capability.value = capability
        if ask() < 0:
            refusal = kernel.refusal("prctl")
            if refusal.errno != errno.EINVAL:
                raise refusal
            return capability
    return _MOST_CAPABILITIES
