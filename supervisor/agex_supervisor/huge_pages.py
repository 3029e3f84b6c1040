"""Memory for inputs in pages of 2 MiB: a worker maps it in a hundredth of the time, and its first touch is many times as fast.

Each is a file without a name in a file system of this process's own, which is mounted nowhere. Of it nobody else ever gets
more than a descriptor by way of a read-only mount: with that no file can be written, resized, or opened for writing again.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
import subprocess
import sys
import threading
from pathlib import Path

# To have the file system made takes some tens of milliseconds once, which less than this does not win back.
MIN_BYTES = 16 << 20
_START_TIMEOUT_S = 10.0
_BOOTSTRAP = "import sys; sys.path[:0] = sys.argv[2:]; from agex_worker.huge_memory import main; main(int(sys.argv[1]))"


class HugePages:
    """Asked for once, at its first use; for a process's whole life it can be had or not. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mounts: tuple[int, int] | None = None
        self._asked = False

    @property
    def available(self) -> bool:
        """Whether this machine lets this process have them."""
        return self._both() is not None

    def file(self, size: int) -> tuple[int, int] | None:
        """Descriptors of a new file of that size: one to write it with, and one for everybody else. None without them."""
        both = self._both()
        if both is None:
            return None
        writable, readable = both
        name = f"agex-arena-{secrets.token_hex(8)}"
        ours = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=writable)
        try:
            try:
                theirs = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=readable)
            finally:
                os.unlink(name, dir_fd=writable)
            os.ftruncate(ours, size)
        except BaseException:
            os.close(ours)
            raise
        return ours, theirs

    def _both(self) -> tuple[int, int] | None:
        """The file system, and the same to be read only."""
        with self._lock:
            if not self._asked:
                self._mounts = _made()
                self._asked = True
            return self._mounts

    def forked(self) -> None:
        """In a child: no thread holds the lock there."""
        self._lock = threading.Lock()


HUGE_PAGES = HugePages()
os.register_at_fork(after_in_child=HUGE_PAGES.forked)


def _made() -> tuple[int, int] | None:
    spec = importlib.util.find_spec("agex_worker")
    if sys.platform != "linux" or spec is None or spec.origin is None:
        return None
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(_START_TIMEOUT_S)
        command = [
            sys.executable,
            "-I",
            "-S",
            "-c",
            _BOOTSTRAP,
            str(theirs.fileno()),
            str(Path(spec.origin).parent.parent),
        ]
        try:
            process = subprocess.Popen(
                command,
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
        except OSError:
            return None
        theirs.close()
        with process:
            try:
                return _received(ours)
            finally:
                process.kill()


def _received(channel: socket.socket) -> tuple[int, int] | None:
    """Two descriptors, or None where the program ended without them."""
    try:
        _, found, _, _ = socket.recv_fds(channel, 1, 2, socket.MSG_CMSG_CLOEXEC)
    except OSError:
        return None
    if len(found) == 2:
        return found[0], found[1]
    for descriptor in found:
        os.close(descriptor)
    return None
