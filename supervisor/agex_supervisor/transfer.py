"""Copying a tree of files out of, or into, ground that somebody hostile has made.

Everything is reached through the descriptor of its directory; no link is followed, and nothing but directories, regular
files and symbolic links is taken: a device or a FIFO has no content of its own.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass

# As deep as a workspace may be (watch.py); what lies deeper is left behind.
MAX_DEPTH = 64

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE = 64 << 20

_libc = ctypes.CDLL(None)


class Late(Exception):
    """There was no time left to bring all of it to where it should go."""


def copy_tree(source: int, target: int, *, owner: tuple[int, int] | None = None, until: float = float("inf")) -> None:
    """Copy what is below one open directory into another, which is empty. OSError (ENOSPC) where it does not fit.

    owner: user and group id that the copies get; None leaves them the caller's. until: Late is raised beyond this time, as
    time.monotonic() counts. Holes stay holes, times are kept, modes come down to what their owner may do; files with several
    names become several files.
    """
    if owner is None:
        _Copy(None, until).directory(source, target, 0)
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
        copy.directory(source, target, 0)
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

    def directory(self, source: int, target: int, depth: int) -> None:
        with os.scandir(source) as entries:
            for entry in entries:
                if time.monotonic() > self.until:
                    raise Late
                facts = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(facts.st_mode) and depth < MAX_DEPTH:
                    self._directory(entry.name, facts, source, target, depth)
                elif stat.S_ISREG(facts.st_mode):
                    self._file(entry.name, facts, source, target)
                elif stat.S_ISLNK(facts.st_mode):
                    text = os.readlink(entry.name, dir_fd=source)
                    with _as(self.owner):
                        os.symlink(text, entry.name, dir_fd=target)

    def _directory(self, name: str, facts: os.stat_result, source: int, target: int, depth: int) -> None:
        with _as(self.owner):
            os.mkdir(name, 0o700, dir_fd=target)
        _make_readable(name, facts, source, 0o700)
        below = os.open(name, _DIRECTORY, dir_fd=source)
        try:
            copy = os.open(name, _DIRECTORY, dir_fd=target)
            try:
                self.directory(below, copy, depth + 1)
            finally:
                os.close(copy)
        finally:
            os.close(below)

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
