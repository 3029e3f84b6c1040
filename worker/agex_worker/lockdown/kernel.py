"""The door to the kernel: prctl, and the system calls that the standard library has no function for.

A refusal is always an OSError that names the call. Nothing here decides anything.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable
from functools import partial

# Numbers differ by machine, and a wrong one is another call: a machine that is not listed gets ENOSYS.
_MACHINES = ("x86_64", "aarch64")
_NUMBERS = {
    "clone": (56, 220),
    "prctl": (157, 167),
    "execve": (59, 221),
    "execveat": (322, 281),
    "socket": (41, 198),
    "ppoll": (271, 73),
    "capget": (125, 90),
    "capset": (126, 91),
    "seccomp": (317, 277),
    "unshare": (272, 97),
    "setns": (308, 268),
    "pivot_root": (155, 41),
    "umount2": (166, 39),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "mount_setattr": (442, 442),
    "close_range": (436, 436),
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
}

# A 32-bit interpreter on a 64-bit kernel speaks another table of numbers.
_IS_LISTED = sys.platform == "linux" and os.uname().machine in _MACHINES and sys.maxsize > 1 << 32
_COLUMN = _MACHINES.index(os.uname().machine) if _IS_LISTED else -1

# A call that is ready to be made. It gives the kernel's result; a negative one is a refusal, of which errno says why.
Call = Callable[[], int]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
if sys.platform == "linux":
    # Said once, so that a call need not make an object of each number.
    _libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


def syscall(name: str, *arguments: int | bytes) -> int:
    """Make the call and give its result. Bytes are passed as a pointer to them, which end in a null.

    Any other pointer is passed as its address; the caller keeps what it points to alive.
    """
    return made(prepared(name, *arguments), name)


def made(call: Call, name: str) -> int:
    """Make a prepared call and give its result."""
    result = call()
    if result < 0:
        raise refusal(name)
    return result


def prepared(name: str, *arguments: int | bytes | ctypes.c_long) -> Call:
    """The call with its arguments, to be made again and again: in a zygote, what a worker then need not do.

    As syscall(); an argument that is known only later is a c_long, whose value is set before the call.
    """
    if _COLUMN < 0:
        listed = " and ".join(_MACHINES)
        raise OSError(errno.ENOSYS, f"{os.strerror(errno.ENOSYS)}: {name} is known for 64-bit Linux on {listed} only")
    # A bare int would be passed as a C int, with whatever stands in the other half of the register.
    passed = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return partial(_libc.syscall, ctypes.c_long(_NUMBERS[name][_COLUMN]), *passed)


def prctl(option: int, *arguments: int) -> int:
    """prctl(2) with the arguments that are not given as zeros, which the newer options insist on."""
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, f"{os.strerror(errno.ENOSYS)}: prctl is a call of Linux, this is {sys.platform}")
    result: int = _libc.prctl(option, *(*arguments, 0, 0, 0, 0)[:4])
    if result < 0:
        raise refusal(f"prctl({option})")
    return result


def refusal(call: str) -> OSError:
    """What the kernel answered to the last call, which it refused."""
    number = ctypes.get_errno()
    return OSError(number, f"{os.strerror(number)}: {call}")
