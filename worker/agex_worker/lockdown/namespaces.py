"""Namespaces: a zygote, and each worker, with users, mounts, processes, network, IPC and host name of their own.

What costs is done once, in the zygote: the user namespace, the view of the files (view.py), an empty network. A worker adds
its own process and mount namespace and the file system, of bounded size, that holds its files.

The first process of a zygote (the porter) stays outside its process namespace, because a process never changes its own;
it does nothing but wait. When the zygote ends, the kernel ends every process in it, workers and all.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NoReturn

from agex_protocol.messages import SLOT, WORK
from agex_protocol.plan import Limits
from agex_protocol.zygote_messages import UIDS
from agex_worker.lockdown import capabilities, kernel, mounts
from agex_worker.lockdown.errors import LayerFailed

_NEWNS = 0x0002_0000
_NEWUTS = 0x0400_0000
_NEWIPC = 0x0800_0000
_NEWUSER = 0x1000_0000
_NEWPID = 0x2000_0000
_NEWNET = 0x4000_0000

_PR_SET_PDEATHSIG = 1
_HOST_NAME = "sandbox"


def enter(build_view: Callable[[], int], uids: int) -> str:
    """Move the zygote into namespaces of its own. LayerFailed where the machine does not let us.

    This process must have one thread. It becomes the porter; the zygote, in which this returns, is a child of it.
    build_view: makes the view and enters it, and gives the number of its paths. uids: the first of UIDS user ids to which
    root maps workers; 0 leaves the user as it is.
    """
    try:
        paths = _as_root(build_view, uids) if uids else _as_user(build_view)
        porter = os.pidfd_open(os.getpid())
        zygote = os.fork()
    except OSError as error:
        raise LayerFailed("namespaces", f"they cannot be made here: {error.strerror or error}") from error
    if zygote:
        _end_with(zygote)
    kernel.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # Only after the request: a porter that ended before it would never have been noticed.
    if select.select([porter], [], [], 0)[0]:
        os._exit(1)
    os.close(porter)
    return f"enforced: user mount pid net ipc uts, {paths} paths"


@dataclass(frozen=True, slots=True)
class Nursery:
    """What a zygote in namespaces needs for each fork. `own` is a descriptor of its process namespace."""

    own: int

    def new_files(self, limits: Limits, uid: int, gid: int) -> int:
        """The file system of one worker: bounded in bytes and in files, placed nowhere yet. It holds an empty WORK."""
        files = mounts.new(
            "tmpfs",
            {
                "size": str(limits.workspace_size_bytes),
                # The root is ours; WORK counts, as it does for the watch.
                "nr_inodes": str(limits.workspace_files + 1),
                "mode": "0700",
                "uid": str(uid),
                "gid": str(gid),
            },
            # Not without exec: callbacks of ctypes live in a file that is mapped so.
            mounts.NO_SUID | mounts.NO_DEVICES,
        )
        try:
            os.mkdir(WORK, 0o700, dir_fd=files)
            os.chown(WORK, uid, gid, dir_fd=files)
        except BaseException:
            os.close(files)
            raise
        return files

    def fork(self) -> int:
        """As os.fork(); the child is the first process of a process namespace of its own."""
        kernel.syscall("unshare", _NEWPID)
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid:  # the parent, whose next child would go into the same one
                kernel.syscall("setns", self.own, _NEWPID)
        return pid


@dataclass(frozen=True, slots=True)
class _Calls:
    """What enter_worker() calls; `files` is set before `place`, which puts that at SLOT."""

    unshare: kernel.Call
    place: kernel.Call
    files: ctypes.c_long


def prepare() -> None:
    """Make what enter_worker() needs. For before the fork."""
    _calls()


@cache
def _calls() -> _Calls:
    files = ctypes.c_long()
    return _Calls(kernel.prepared("unshare", _NEWNS), mounts.placing(files, SLOT), files)


def enter_worker(files: int, uid: int | None) -> str:
    """Give this worker, while it has the privileges of its zygote, its files at SLOT and a user of its own.

    uid: which of the zygote's user ids it takes; None keeps the zygote's. Closes `files`.
    """
    os.setsid()  # or kill(0) would reach the zygote and all its other workers: a process group spans process namespaces
    calls = _calls()
    kernel.made(calls.unshare, "unshare")
    calls.files.value = files
    kernel.made(calls.place, "move_mount")
    os.close(files)
    os.chdir(SLOT)
    if uid is not None:
        capabilities.bound()  # while we may: another user has no privileges
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        if os.getresuid() != (uid, uid, uid) or os.getresgid() != (uid, uid, uid) or os.getgroups():
            raise LayerFailed("namespaces", f"the user is still {os.getresuid()}, in groups {os.getgroups()}")
    return "enforced: user mount pid net ipc uts"


def _as_user(build_view: Callable[[], int]) -> int:
    uid, gid = os.geteuid(), os.getegid()
    kernel.syscall("unshare", _NEWUSER | _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS)
    # The kernel lets nobody map groups who could still leave one and so gain what was denied to it.
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid} {uid} 1")
    _write("/proc/self/gid_map", f"{gid} {gid} 1")
    socket.sethostname(_HOST_NAME)
    return build_view()


def _as_root(build_view: Callable[[], int], uids: int) -> int:
    """With real privileges the view can hold what only root may open, as an interpreter below a private home."""
    map_users, mapped = _mapper(uids)
    kernel.syscall("unshare", _NEWNS | _NEWNET | _NEWIPC | _NEWUTS)
    socket.sethostname(_HOST_NAME)
    paths = build_view()
    # The mount namespace once more: the one above belongs to those who are root outside.
    kernel.syscall("unshare", _NEWUSER | _NEWNS | _NEWPID)
    os.close(map_users)
    if os.read(mapped, 1) != b"m":
        raise PermissionError("the user ids of the workers could not be mapped")
    os.close(mapped)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    return paths


def _mapper(uids: int) -> tuple[int, int]:
    """A child that maps our user ids, once the first descriptor is closed, with the privileges that we have now and give up.

    It writes to the second one when that is done.
    """
    us = os.getpid()
    asked, ask = os.pipe()
    answer, done = os.pipe()
    if os.fork():
        os.close(asked)
        os.close(done)
        return ask, answer
    try:
        os.close(ask)
        os.read(asked, 1)
        for kind in ("uid", "gid"):
            _write(f"/proc/{us}/{kind}_map", f"0 {uids} {UIDS}")
        os.write(done, b"m")
    finally:
        os._exit(0)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _end_with(zygote: int) -> NoReturn:
    """The porter's life. Its descriptors are the zygote's, too: it must not keep a channel open that the zygote has closed."""
    os.closerange(0, os.sysconf("SC_OPEN_MAX"))
    while True:
        pid, status = os.waitpid(-1, 0)  # the mapper is a child, too
        if pid == zygote:
            if os.WIFSIGNALED(status):
                os.kill(os.getpid(), os.WTERMSIG(status))  # so that it ends as the zygote did
            os._exit(os.WEXITSTATUS(status))
