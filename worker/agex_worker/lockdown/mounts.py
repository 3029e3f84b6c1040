"""The kernel's calls that make, change and place mounts, by descriptor: nothing is ever mounted at a path twice looked up.

They came with Linux 5.12; an older kernel answers ENOSYS.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping

from agex_worker.lockdown import kernel

READ_ONLY = 0x1
NO_SUID = 0x2
NO_DEVICES = 0x4
NO_PROGRAMS = 0x8

_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_AT_EMPTY_PATH = 0x1000
_CLONE = 0x1
_CLOEXEC = os.O_CLOEXEC
_FSOPEN_CLOEXEC = 0x1
_FSMOUNT_CLOEXEC = 0x1
_SET_STRING = 1
_CREATE = 6
_MOVE_FROM_EMPTY_PATH = 0x4
_MOVE_TO_EMPTY_PATH = 0x40
_PRIVATE = 1 << 18
_DETACH = 2


def new(kind: str, options: Mapping[str, str], attributes: int) -> int:
    """A new file system of this kind, placed nowhere yet; gives a descriptor of its root."""
    context = kernel.syscall("fsopen", kind.encode(), _FSOPEN_CLOEXEC)
    try:
        for key, value in options.items():
            kernel.syscall("fsconfig", context, _SET_STRING, key.encode(), value.encode(), 0)
        kernel.syscall("fsconfig", context, _CREATE, 0, 0, 0)
        return kernel.syscall("fsmount", context, _FSMOUNT_CLOEXEC, attributes)
    finally:
        os.close(context)


def copy(path: str) -> int:
    """What is seen at this path, with all that is mounted beneath, as a mount of its own that is placed nowhere yet."""
    return kernel.syscall("open_tree", _AT_FDCWD, os.fsencode(path), _CLONE | _AT_RECURSIVE | _CLOEXEC)


def again(mount: int) -> int:
    """A placed mount once more, as one of its own that is placed nowhere. It stays when the first is gone."""
    return kernel.syscall("open_tree", mount, b"", _CLONE | _AT_EMPTY_PATH | _CLOEXEC)


def restrict(mount: int, attributes: int, *, beneath: bool) -> None:
    """Add attributes to a mount, and to those beneath it if asked. Nobody in a user namespace takes them away again."""
    wanted = _Attributes(attributes, 0, _PRIVATE, 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if beneath else 0)
    kernel.syscall("mount_setattr", mount, b"", flags, ctypes.addressof(wanted), ctypes.sizeof(wanted))


def place(mount: int, directory: int, path: str) -> None:
    """Place a mount at a path below an open directory, or on the directory itself if the path is empty."""
    flags = _MOVE_FROM_EMPTY_PATH | (0 if path else _MOVE_TO_EMPTY_PATH)
    kernel.syscall("move_mount", mount, b"", directory, os.fsencode(path), flags)


def placing(mount: ctypes.c_long, path: str) -> kernel.Call:
    """The call that places a mount, which is known only later, at this absolute path."""
    return kernel.prepared("move_mount", mount, b"", _AT_FDCWD, os.fsencode(path), _MOVE_FROM_EMPTY_PATH)


def make_private() -> None:
    """Nothing that is mounted from now on is seen outside of this mount namespace, nor the other way round."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        restrict(root, 0, beneath=True)
    finally:
        os.close(root)


def enter(root: int) -> None:
    """Make a placed mount the root of everything, and let go of what was the root before."""
    os.fchdir(root)
    # Both at the same place: the old root ends up on top of the new one, whence it is taken away.
    kernel.syscall("pivot_root", b".", b".")
    kernel.syscall("umount2", b".", _DETACH)
    os.chdir("/")


class _Attributes(ctypes.Structure):
    """struct mount_attr."""

    _fields_ = [
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("user_namespace", ctypes.c_uint64),
    ]
