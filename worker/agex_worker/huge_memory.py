"""A program of the trusted side that makes a file system in memory of huge pages, hands it over, and ends.

Memory files cannot have huge pages unless the whole machine is set so; a file system of one's own can. To place it somewhere
takes a mount namespace, which the supervisor's process cannot enter: so it is done here. Nothing of an agent's runs here.
"""

from __future__ import annotations

import os
import socket

from agex_worker.lockdown import kernel, mounts

_NEWNS, _NEWUSER = 0x00020000, 0x10000000
# Pages as large as a file has room for, and as many as the machine gives: the bound is that of memory files, none.
_OPTIONS = {"huge": "within_size", "size": "0", "nr_inodes": "0", "mode": "0700"}


def main(control: int) -> None:
    """Send two descriptors over the socket: the file system, and the same to be read only. Raises OSError."""
    _leave()
    mounts.make_private()
    attributes = mounts.NO_SUID | mounts.NO_DEVICES | mounts.NO_PROGRAMS
    mount = mounts.new("tmpfs", _OPTIONS, attributes)
    # Only a placed mount can be had again. It goes with this process; what is had of it stays.
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    mounts.place(mount, root, "")
    written, read = mounts.again(mount), mounts.again(mount)
    mounts.restrict(read, attributes | mounts.READ_ONLY, beneath=False)
    with socket.socket(fileno=control) as channel:
        socket.send_fds(channel, [b"."], [written, read])


def _leave() -> None:
    """Into a mount namespace of our own; without the privilege, in a user namespace of our own."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        kernel.syscall("unshare", _NEWNS)
    except PermissionError:
        kernel.syscall("unshare", _NEWUSER | _NEWNS)
        # Or the supervisor, as whom we run, would be nobody there, and could make no file.
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
