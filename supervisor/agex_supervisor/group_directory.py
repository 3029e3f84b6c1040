"""The directories that hold each pool's control groups: locked while their owner lives, swept once it does not.

The name carries the process id and start time of the owner, for people; that it lives is told by the lock alone, which
the kernel lets go of with it, in whatever pid namespace it was.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agex_supervisor.hierarchies import Hierarchy, write
from agex_supervisor.wire import wait_readable

PREFIX = "agex"
REMOVE_TIMEOUT_S = 0.1
KILL_TIMEOUT_S = 1.0

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class GroupDirectory:
    """One pool's directory in one hierarchy; `lock` is the descriptor that says that it has an owner."""

    hierarchy: Hierarchy
    path: Path
    lock: int

    def close(self) -> None:
        """End whatever is left in the groups, and remove them with the directory."""
        _clear(self.path)
        os.close(self.lock)


def make(hierarchies: Iterable[Hierarchy], prefix: str = PREFIX) -> list[GroupDirectory]:
    """A directory in each of the hierarchies. Raises OSError; nothing stays behind then."""
    name = f"{prefix}-{os.getpid()}-{_start_time()}-{next(_numbers)}"
    with contextlib.ExitStack() as made:
        directories: list[GroupDirectory] = []
        for hierarchy in hierarchies:
            directory = GroupDirectory(hierarchy, *_make_locked(hierarchy.directory / name))
            made.callback(directory.close)
            if hierarchy.version == 2:
                enable = " ".join(f"+{controller}" for controller in hierarchy.controllers)
                write(directory.path / "cgroup.subtree_control", enable)
            directories.append(directory)
        made.pop_all()
        return directories


def sweep(hierarchies: Iterable[Hierarchy], prefix: str = PREFIX) -> None:
    """Remove the groups of supervisors that no longer live, and end what is left in them. No other group is touched."""
    ours = re.compile(rf"{re.escape(prefix)}-[0-9]+-[0-9]+-[0-9]+")
    for hierarchy in hierarchies:
        with contextlib.suppress(OSError), os.scandir(hierarchy.directory) as entries:
            for entry in entries:
                if ours.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                    _sweep(Path(entry.path))


def remove(group: Path, timeout_s: float = REMOVE_TIMEOUT_S) -> bool:
    """Whether a group is gone now. A process that has just died may hold on to it for a moment."""
    until = time.monotonic() + timeout_s
    while True:
        try:
            group.rmdir()
            return True
        except FileNotFoundError:
            return True
        except OSError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.002)


def _sweep(directory: Path) -> None:
    with contextlib.suppress(OSError):  # another sweep came first, or its owner lives
        lock = os.open(directory, _DIRECTORY)
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _clear(directory)
        finally:
            os.close(lock)


def _make_locked(directory: Path) -> tuple[Path, int]:
    while True:
        directory.mkdir(mode=0o700)
        try:
            lock = os.open(directory, _DIRECTORY)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        # A sweep that came before the lock took it for a dead one's: then it is gone, and made again.
        if directory.exists():
            return directory, lock
        os.close(lock)


def _clear(top: Path) -> None:
    """End what is left in a pool's groups, and remove them; what cannot be removed now is left to a later sweep."""
    with contextlib.suppress(OSError):
        for name in os.listdir(top):
            if name.isdecimal():
                _kill(top / name)
                remove(top / name)
        remove(top)


def _kill(group: Path) -> None:
    for pid in _processes(group):
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid)
            try:
                # The number may have passed to another process since it was read.
                if pid in _processes(group):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
                    wait_readable(pidfd, time.monotonic() + KILL_TIMEOUT_S)
            finally:
                os.close(pidfd)


def _processes(group: Path) -> list[int]:
    """Who is in it. A process that this one cannot see, in another pid namespace, has the number 0 and is not listed."""
    try:
        words = (group / "cgroup.procs").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return []
    return [int(word) for word in words if word.isdecimal() and 0 < len(word) < 10 and int(word) != 0]


def _start_time() -> int:
    """When this process began, in ticks since the machine did: with the process id it names it for good."""
    with open("/proc/self/stat", "rb") as stat:
        return int(stat.read().rsplit(b")", 1)[1].split()[19])
