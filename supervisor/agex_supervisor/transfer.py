"""Copying a tree of files out of, or into, ground that somebody hostile has made.

Everything is reached through the descriptor of its directory; no link is followed, and nothing but directories, regular
files and symbolic links is taken: a device or a FIFO has no content of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import threading
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from agex_protocol.messages import FOLDERS_DEEP

# What lies deeper is left behind, so that the watch (watch.py) lets the next worker live in what came home.
MAX_DEPTH = FOLDERS_DEEP

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 64 << 20

_libc = ctypes.CDLL(None)


class Late(Exception):
    """There was no time left, as a rule to bring all of a workspace to where it should go."""

    def __init__(self, what: str = "the files of the workspace were not brought to a worker in time") -> None:
        super().__init__(what)


def copy_tree(source: int, target: int, *, owner: tuple[int, int] | None = None, until: float = float("inf")) -> None:
    """Copy what is below one open directory into another, which is empty. OSError (ENOSPC) where it does not fit.

    owner: user and group id that the copies get; None leaves them the caller's. until: Late is raised beyond this time, as
    time.monotonic() counts. Holes stay holes, times are kept, modes come down to what their owner may do; files with several
    names become several files.
    """
    if owner is None:
        _Copy(None, until).tree(source, target)
        return
    # On a thread of its own, for a while another user to the kernel: no interrupt of the caller's can leave it so.
    done: list[BaseException] = []
    thread = threading.Thread(target=_copy_on_thread, args=(_Copy(owner, until), source, target, done), daemon=True)
    thread.start()
    thread.join()
    if done:
        raise done[0]


def _copy_on_thread(copy: _Copy, source: int, target: int, failed: list[BaseException]) -> None:
    try:
        copy.tree(source, target)
    except BaseException as error:
        failed.append(error)


def is_empty(directory: int) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is None


@dataclass(frozen=True, slots=True)
class _Copy:
    """One copying: for whom, and until when."""

    owner: tuple[int, int] | None
    until: float

    def tree(self, source: int, target: int) -> None:
        """Down and up again with a descriptor for each of the two places at hand: depth must not use up this process's."""
        here, there = os.dup(source), os.dup(target)
        above: list[_Above] = []
        names = iter(os.listdir(here))
        try:
            while True:
                if time.monotonic() > self.until:
                    raise Late
                name = next(names, None)
                if name is not None:
                    facts = os.stat(name, dir_fd=here, follow_symlinks=False)
                    if not stat.S_ISDIR(facts.st_mode):
                        self._other(name, facts, here, there)
                    elif len(above) < MAX_DEPTH:
                        self._directory(name, facts, here, there)
                        above.append(_Above(names, _identity(here), _identity(there)))
                        here, there = _through(here, name), _through(there, name)
                        names = iter(os.listdir(here))
                elif above:
                    names, came_from, went_to = above.pop()
                    here, there = _through(here, "..", came_from), _through(there, "..", went_to)
                else:
                    return
        finally:
            os.close(here)
            os.close(there)

    def _other(self, name: str, facts: os.stat_result, source: int, target: int) -> None:
        if stat.S_ISREG(facts.st_mode):
            self._file(name, facts, source, target)
        elif stat.S_ISLNK(facts.st_mode):
            text = os.readlink(name, dir_fd=source)
            with _as(self.owner):
                os.symlink(text, name, dir_fd=target)

    def _directory(self, name: str, facts: os.stat_result, source: int, target: int) -> None:
        with _as(self.owner):
            os.mkdir(name, 0o700, dir_fd=target)
        _make_readable(name, facts, source, 0o700)

    def _file(self, name: str, facts: os.stat_result, source: int, target: int) -> None:
        _make_readable(name, facts, source, 0o600)
        # Not to wait for a writer, should it have become a FIFO; the type is that of what was opened.
        original = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source)
        try:
            facts = os.fstat(original)
            if not stat.S_ISREG(facts.st_mode):
                return
            with _as(self.owner):
                copy = os.open(name, _NEW_FILE, 0o600 | facts.st_mode & 0o100, dir_fd=target)
            try:
                if facts.st_size:
                    self._content(original, copy, facts.st_size)
                os.utime(copy, ns=(facts.st_atime_ns, facts.st_mtime_ns))
            finally:
                os.close(copy)
        finally:
            os.close(original)

    def _content(self, original: int, copy: int, size: int) -> None:
        """By the pieces that hold data, so that a sparse file does not become a full one."""
        position = 0
        while position < size:
            try:
                start = os.lseek(original, position, os.SEEK_DATA)
            except OSError:  # ENXIO: nothing but a hole from here on
                break
            end = min(os.lseek(original, start, os.SEEK_HOLE), size)
            os.lseek(copy, start, os.SEEK_SET)
            position = start
            while position < end:
                if time.monotonic() > self.until:
                    raise Late
                sent = os.sendfile(copy, original, position, min(end - position, _PIECE))
                if not sent:
                    break
                position += sent
            position = max(position, end)
        os.ftruncate(copy, size)


class _Above(NamedTuple):
    """What is to be gone on with when a directory is done: names that are left, and which two directories those are of."""

    names: Iterator[str]
    source: tuple[int, int]
    target: tuple[int, int]


def _through(directory: int, name: str, expected: tuple[int, int] | None = None) -> int:
    """Open a directory from another, which is closed. OSError if it is not the expected one: somebody has moved it."""
    opened = os.open(name, _DIRECTORY, dir_fd=directory)
    if expected is not None and _identity(opened) != expected:
        os.close(opened)
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), name)
    os.close(directory)
    return opened


def _identity(directory: int) -> tuple[int, int]:
    facts = os.fstat(directory)
    return facts.st_dev, facts.st_ino


def _make_readable(name: str, facts: os.stat_result, directory: int, mode: int) -> None:
    """Files can be made with a mode that keeps even an owner without privileges from reading them."""
    if facts.st_mode & mode & 0o500 != mode & 0o500:
        os.chmod(name, mode, dir_fd=directory)


@contextlib.contextmanager
def _as(owner: tuple[int, int] | None) -> Generator[None]:
    """Make files as this user and group; for this thread alone. Root is nobody on a file system of another user namespace,
    and cannot make one there in its own name."""
    if owner is None:
        yield
        return
    uid, gid = owner
    before = _libc.setfsgid(gid), _libc.setfsuid(uid)
    try:
        yield
    finally:
        _libc.setfsuid(before[1])
        _libc.setfsgid(before[0])
