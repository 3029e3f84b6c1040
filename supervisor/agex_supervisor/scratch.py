"""The supervisor's directory for slots and workspaces, and the sweeping of those that a killed supervisor left behind.

Its name carries the process id; a lock on a file in it says that its owner lives, whoever has that id by now.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
import time
import uuid
from pathlib import Path

from agex_supervisor.transfer import Late

PREFIX = "agex-"
LOCK = "owner.lock"


class Scratch:
    """A private directory tree, removed by `close()` or, failing that, by the next supervisor's `sweep()`."""

    def __init__(self) -> None:
        sweep()
        self.root, self._lock = _made()
        self.slots = self.root / "slots"
        self._workspaces = self.root / "workspaces"
        self.slots.mkdir()
        self._workspaces.mkdir()

    def new_slot(self, serial: int) -> Path:
        slot = self.slots / str(serial)
        slot.mkdir(mode=0o700)
        return slot

    def new_workspace(self) -> Path:
        workspace = self._workspaces / uuid.uuid4().hex
        workspace.mkdir(mode=0o700)
        return workspace

    def close(self) -> None:
        remove_tree(self.root)
        os.close(self._lock)


def sweep() -> None:
    """Remove the directories of supervisors that no longer live. Others' and odd ones are left alone."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                continue
            try:
                lock = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                if _is_orphan(path):
                    remove_tree(path)
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(path)
            finally:
                os.close(lock)


def _made() -> tuple[Path, int]:
    """A new directory, and the descriptor that keeps it locked."""
    while True:
        root = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")).resolve()
        # Named only once it is locked: a sweep that came between would take the directory for a dead one's.
        unnamed = root / "unlocked"
        # The sweep of somebody who does not see our process id may still have come before that: then once more.
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(unnamed, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                unnamed.rename(root / LOCK)
            except FileNotFoundError:
                os.close(lock)
                raise
            return root, lock


def _is_orphan(path: Path) -> bool:
    """Whether a directory without a lock is that of a supervisor which was killed before it had locked it."""
    pid = path.name.removeprefix(PREFIX).partition("-")[0]
    if not pid.isdecimal() or any(each.name != "unlocked" for each in path.iterdir()):
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # somebody else's, or a number that no process has
        return False
    return False


def remove_tree(path: Path, until: float = float("inf")) -> None:
    """Remove a directory whose content is hostile: links are not followed and no depth of nesting is too deep.

    Every directory found is first moved up to the top, so that nothing is ever reached through a long path. Late where it
    is not done at `until`, as time.monotonic() counts; another call goes on with what is left.
    """
    try:
        top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        queue = _empty(top, top, until)
        while queue:
            name = queue.pop()
            each = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
            try:
                queue += _empty(each, top, until)
            finally:
                os.close(each)
            if time.monotonic() > until:
                raise Late
            os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(path)


def _empty(directory: int, top: int, until: float) -> list[str]:
    moved: list[str] = []
    with os.scandir(directory) as entries:
        for entry in list(entries):
            if time.monotonic() > until:
                raise Late
            if entry.is_dir(follow_symlinks=False):
                name = uuid.uuid4().hex
                # mkdir(mode=0) would keep an unprivileged owner from entering it, and from moving it.
                os.chmod(entry.name, 0o700, dir_fd=directory)
                os.rename(entry.name, name, src_dir_fd=directory, dst_dir_fd=top)
                moved.append(name)
            else:
                os.unlink(entry.name, dir_fd=directory)
    return moved
