"""A worker dies with its zygote, and no process of the same user looks into it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from agex_worker.lockdown import kernel
from agex_worker.lockdown.errors import LayerFailed

_PR_SET_PDEATHSIG = 1
_PR_GET_PDEATHSIG = 2
_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4
_KILL = int(signal.SIGKILL)

_asked = ctypes.c_int(0)
_asked_at = ctypes.addressof(_asked)


def die_with(zygote_pid: int) -> str:
    """Ask for SIGKILL at the zygote's end, and see that it has not come. A change of user withdraws the request."""
    os.umask(0o077)
    if sys.platform == "linux":
        kernel.prctl(_PR_SET_PDEATHSIG, _KILL)
        _asked.value = 0
        kernel.prctl(_PR_GET_PDEATHSIG, _asked_at)
        if _asked.value != _KILL:
            raise LayerFailed("parent", f"the signal at the parent's death is {_asked.value}, not SIGKILL")
    # Only after the request: a zygote that died before it would never have been noticed.
    parent = os.getppid()
    if parent != zygote_pid:
        raise LayerFailed("parent", f"the parent is process {parent}, not the zygote {zygote_pid}: the zygote has died")
    if sys.platform != "linux":
        return "unavailable: only Linux ends a process with its parent; the closed channel must do"
    return "enforced: dies with the zygote"


def hide() -> str:
    """Close /proc/PID and ptrace to other processes of the same user; also no core dump. A change of user undoes it."""
    kernel.prctl(_PR_SET_DUMPABLE, 0)
    dumpable = kernel.prctl(_PR_GET_DUMPABLE)
    if dumpable != 0:
        raise LayerFailed("dumpable", f"the process is still dumpable ({dumpable})")
    return "enforced: not dumpable"
