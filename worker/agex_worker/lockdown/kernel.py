"""The door to the kernel: prctl, and the system calls that the standard library has no function for.

A refusal is always an OSError that names the call. Nothing here decides anything.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

# Numbers differ by machine, and a wrong one is another call: a machine that is not listed gets ENOSYS.
_MACHINES = ("x86_64", "aarch64")
_NUMBERS = {
    "clone": (56, 220),
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "ppoll": (271, 73),
    "capget": (125, 90),
    "capset": (126, 91),
    "seccomp": (317, 277),
    "close_range": (436, 436),
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def syscall(name: str, *arguments: int) -> int:
    """Make the call and give its result. A pointer is passed as its address; the caller keeps what it points to alive."""
    number = _number(name)
    result: int = _libc.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
    if result < 0:
        raise _refusal(name)
    return result


def prctl(option: int, *arguments: int) -> int:
    """prctl(2) with the arguments that are not given as zeros, which the newer options insist on."""
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, f"{os.strerror(errno.ENOSYS)}: prctl is a call of Linux, this is {sys.platform}")
    padded = (*arguments, 0, 0, 0, 0)[:4]
    result: int = _libc.prctl(ctypes.c_int(option), *(ctypes.c_ulong(argument) for argument in padded))
    if result < 0:
        raise _refusal(f"prctl({option})")
    return result


def _number(name: str) -> int:
    machine = os.uname().machine
    # A 32-bit interpreter on a 64-bit kernel speaks another table of numbers.
    if sys.platform != "linux" or machine not in _MACHINES or sys.maxsize < 1 << 32:
        listed = " and ".join(_MACHINES)
        raise OSError(errno.ENOSYS, f"{os.strerror(errno.ENOSYS)}: {name} is known for 64-bit Linux on {listed} only")
    return _NUMBERS[name][_MACHINES.index(machine)]


def _refusal(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{os.strerror(number)}: {call}")
