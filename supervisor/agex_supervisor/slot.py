"""Slots: where a worker's own files lie, and how the workspace of a session gets there and back.

With namespaces it is a file system in memory, of bounded size, that the supervisor holds by a descriptor, also after the
worker's death. Without, it is a directory of the supervisor's, into which the workspace is moved. What stands in either when
the worker had it is hostile.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Protocol

from agex_protocol.messages import SLOT, WORK
from agex_supervisor.errors import WorkerFailed
from agex_supervisor.scratch import remove_tree
from agex_supervisor.transfer import copy_tree, is_empty


class Slot(Protocol):
    """`workspace` is the path of the session's workspace as the worker sees it; `place` is where to measure what it holds:
    a path, or an open directory."""

    @property
    def workspace(self) -> str: ...

    @property
    def place(self) -> Path | int: ...

    def lend(self, home: Path, until: float = float("inf")) -> None:
        """Bring a workspace in. Only before the worker has run anything. Late if time.monotonic() passes `until`."""
        ...

    def opened(self) -> int:
        """A descriptor of the workspace, while the worker stands still. OSError where it left none."""
        ...

    def is_empty(self) -> bool:
        """Whether nothing is in the workspace. Only before the worker has run anything."""
        ...

    @property
    def is_light(self) -> bool:
        """Whether bringing it home takes no time to speak of."""
        ...

    def give_back(self, home: Path) -> None:
        """Bring it home. Only after the worker's death."""
        ...

    def copy_home(self, home: Path) -> None:
        """Bring a copy of it home, while the worker stands still; it keeps its own."""
        ...

    def remove(self) -> None:
        """Forget all that is left in it."""
        ...


class FolderSlot:
    """A directory; the workspace is moved into it and out again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def workspace(self) -> str:
        return str(self._path / WORK)

    @property
    def place(self) -> Path:
        return self._path

    def opened(self) -> int:
        lent = self._path / WORK
        if stat.S_ISDIR(lent.lstat().st_mode):
            lent.chmod(0o700)  # whatever mode the worker gave it
        return os.open(lent, _DIRECTORY)

    def is_empty(self) -> bool:
        return _has_nothing(self.opened())

    @property
    def is_light(self) -> bool:
        return True

    def lend(self, home: Path, until: float = float("inf")) -> None:
        os.rename(home, self._path / WORK)

    def give_back(self, home: Path) -> None:
        lent = self._path / WORK
        # The worker owned the slot: what stands there now may be a link, or gone. Only a directory is taken.
        try:
            is_directory = stat.S_ISDIR(lent.lstat().st_mode)
        except OSError:
            is_directory = False
        if is_directory:
            lent.chmod(0o700)  # one made with another mode could not be moved
            os.rename(lent, home)
        elif not home.exists():
            home.mkdir(mode=0o700)

    def copy_home(self, home: Path) -> None:
        home.mkdir(mode=0o700)
        try:
            source = os.open(self._path / WORK, _DIRECTORY)
        except OSError:
            return  # as in give_back
        try:
            target = _opened(home)
            try:
                copy_tree(source, target)
            finally:
                os.close(target)
        except BaseException:
            remove_tree(home)
            raise
        finally:
            os.close(source)

    def remove(self) -> None:
        try:
            remove_tree(self._path)
        except FileNotFoundError:
            return


class MemorySlot:
    """A file system in memory; the workspace is copied into it, and back when the worker is dead.

    root: a descriptor of its root, which this owns. owner: user and group id, as the supervisor counts them, of a worker
    that has ones of its own.
    """

    def __init__(self, root: int, owner: tuple[int, int] | None) -> None:
        self._root = root
        self._owner = owner

    @property
    def workspace(self) -> str:
        return f"{SLOT}/{WORK}"

    @property
    def place(self) -> int:
        return self._root

    def opened(self) -> int:
        return os.open(WORK, _DIRECTORY, dir_fd=self._root)

    def is_empty(self) -> bool:
        return _has_nothing(self.opened())

    @property
    def is_light(self) -> bool:
        used = os.fstatvfs(self._root)
        size, files = (used.f_blocks - used.f_bfree) * used.f_frsize, used.f_files - used.f_ffree
        return size <= _LIGHT_BYTES and files <= _LIGHT_FILES

    def lend(self, home: Path, until: float = float("inf")) -> None:
        source = _opened(home)
        try:
            if is_empty(source):
                return
            target = os.open(WORK, _DIRECTORY, dir_fd=self._root)
            try:
                copy_tree(source, target, owner=self._owner, until=until)
            finally:
                os.close(target)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise WorkerFailed(
                "workspace",
                "the workspace holds more than limits.workspace_size or limits.workspace_files let a worker have;"
                " remove files from it, or use a policy that allows more",
            ) from error
        finally:
            os.close(source)

    def give_back(self, home: Path) -> None:
        try:
            source = os.open(WORK, _DIRECTORY, dir_fd=self._root)
        except OSError:
            return  # the worker put something else there, or nothing: the workspace stays as it was
        fresh = home.with_name(f"{home.name}.new")
        try:
            # The common case costs nothing: nothing was there, and nothing has come.
            before = _opened(home)
            try:
                if is_empty(source) and is_empty(before):
                    return
            finally:
                os.close(before)
            fresh.mkdir(mode=0o700)
            target = _opened(fresh)
            try:
                copy_tree(source, target)
            finally:
                os.close(target)
            # Only when all of it is there: whatever goes wrong before, the old one is whole.
            remove_tree(home)
            os.rename(fresh, home)
        finally:
            os.close(source)
            if fresh.exists():
                remove_tree(fresh)

    def copy_home(self, home: Path) -> None:
        self.give_back(home)  # which is a copy

    def remove(self) -> None:
        if self._root >= 0:
            os.close(self._root)
            self._root = -1


# Copied within a few milliseconds.
_LIGHT_BYTES = 8 << 20
_LIGHT_FILES = 200

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _opened(directory: Path) -> int:
    return os.open(directory, _DIRECTORY)


def _has_nothing(directory: int) -> bool:
    try:
        return is_empty(directory)
    finally:
        os.close(directory)
