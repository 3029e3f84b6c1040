"""Reading a workspace as what it is: ground that somebody hostile has made.

Only while its worker stands still or is dead. Everything is reached through the descriptor of its directory; no link is
followed, nothing is opened that could block or act, and nothing but regular files with one name is read. What is left out
is named, with the reason. A file that the kernel says was not touched is not read again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from agex_supervisor.display import display
from agex_supervisor.stored_paths import why_unfit
from agex_supervisor.transfer import MAX_DEPTH

MAX_NAMED = 50  # of what is left out; of the rest only the number is told


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that was not read; `path` is safe to look at."""

    path: str
    why: str


@dataclass(frozen=True, slots=True)
class WorkspaceChanges:
    """What is new since the last reading that was committed. more: how many were left out beyond those that are named.
    added: those of the files that were not there before."""

    files: Mapping[str, bytes]
    removed: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    more: int = 0
    added: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def modified(self) -> tuple[str, ...]:
        return tuple(sorted(self.files.keys() - self.added))


class WorkspaceReading:
    """One workspace, read again and again. What `read` gave is new until `committed` says that it was stored.

    max_bytes and max_files: of all files together, as the policy's limits say. known: the sha256 of what is stored of it
    already, by path. apart: names at its top that are not of the session, such as mounted ones.
    """

    def __init__(
        self, *, max_bytes: int, max_files: int, known: Mapping[str, bytes] | None = None, apart: Collection[str] = ()
    ) -> None:
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._apart = frozenset(apart)
        self._digests: dict[str, bytes] = dict(known or {})
        self._marks: dict[str, _Mark] = {}
        self._new: tuple[dict[str, bytes], tuple[str, ...], dict[str, _Mark]] = {}, (), {}

    def read(self, directory: int, *, again: bool = False) -> WorkspaceChanges:
        """What changed below an open directory. again: read also what seems untouched.

        A worker that keeps a shared mapping of a file can write to it without a trace; only `again` sees that.
        """
        walk = _Walk(self._max_bytes, self._max_files, {} if again else self._marks, self._apart)
        walk.directory(os.open(".", _DIRECTORY, dir_fd=directory), "", 0)
        digests = {path: hashlib.sha256(content).digest() for path, content in walk.contents.items()}
        changed = {path: digest for path, digest in digests.items() if self._digests.get(path) != digest}
        # Where there were too many, nobody knows of those that were not looked at.
        gone = () if walk.is_cut else tuple(sorted(self._digests.keys() - walk.seen))
        self._new = changed, gone, walk.marks
        return WorkspaceChanges(
            {path: walk.contents[path] for path in changed},
            gone,
            tuple(walk.left_out),
            walk.more,
            frozenset(changed.keys() - self._digests.keys()),
        )

    def committed(self) -> None:
        """What the last `read` gave is stored."""
        changed, gone, marks = self._new
        self._digests.update(changed)
        for path in gone:
            self._digests.pop(path, None)
        self._marks = marks


_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not to wait for a writer, should it have become a FIFO.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class _Mark:
    """What the kernel says of a file as it was read. A worker cannot set the time of change (ctime)."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


@dataclass(slots=True)
class _Walk:
    max_bytes: int
    max_files: int
    known: Mapping[str, _Mark]
    apart: frozenset[str]
    contents: dict[str, bytes] = field(default_factory=dict[str, bytes])
    marks: dict[str, _Mark] = field(default_factory=dict[str, _Mark])
    seen: set[str] = field(default_factory=set[str])
    left_out: list[LeftOut] = field(default_factory=list[LeftOut])
    more: int = 0
    entries: int = 0
    size: int = 0
    device: int = -1
    is_cut: bool = False

    def directory(self, here: int, above: str, depth: int) -> None:
        """All below an open directory, which is closed."""
        below: list[str] = []
        try:
            if depth == 0:
                self.device = os.fstat(here).st_dev
            for name in self._names(here, above):
                path = f"{above}{name}"
                try:
                    facts = os.stat(name, dir_fd=here, follow_symlinks=False)
                except OSError as error:
                    self._leave(path, _told(error))
                    continue
                if path not in self.known and (why := why_unfit(path)) is not None:
                    self._leave(path, why)
                elif stat.S_ISDIR(facts.st_mode):
                    below.append(name)
                elif (why := self._unread(path, facts)) is not None:
                    self._leave(path, why)
                else:
                    self._file(here, name, path, facts)
            for name in below:
                self._below(here, name, f"{above}{name}", depth)
        finally:
            os.close(here)

    def _names(self, here: int, above: str) -> Iterator[str]:
        with os.scandir(here) as entries:
            for entry in entries:
                if not above and entry.name in self.apart:
                    continue
                self.entries += 1
                if self.entries > self.max_files:
                    if not self.is_cut:
                        self._leave(
                            above or ".",
                            f"more than limits.workspace_files ({self.max_files}) files: the rest is not read",
                        )
                    self.is_cut = True
                    return
                yield entry.name

    def _below(self, here: int, name: str, path: str, depth: int) -> None:
        if self.is_cut:
            return
        if depth >= MAX_DEPTH:
            self._leave(path, f"it lies more than {MAX_DEPTH} folders deep")
            return
        try:
            opened = _readable(here, name, _DIRECTORY, 0o700)
        except OSError as error:
            self._leave(path, _told(error))
            return
        if os.fstat(opened).st_dev != self.device:
            os.close(opened)
            self._leave(path, "it is of another file system")
            return
        self.directory(opened, f"{path}/", depth + 1)

    def _unread(self, path: str, facts: os.stat_result) -> str | None:
        """Why something is not even opened."""
        if not stat.S_ISREG(facts.st_mode):
            return f"it is {_kind(facts.st_mode)}"
        if facts.st_nlink > 1:
            return f"it is a file of {facts.st_nlink} names (hard links)"
        if facts.st_dev != self.device:
            return "it is of another file system"
        if self.size + facts.st_size > self.max_bytes:
            return f"its {facts.st_size} bytes go beyond limits.workspace_size ({self.max_bytes} for all)"
        return None

    def _file(self, here: int, name: str, path: str, facts: os.stat_result) -> None:
        self.size += facts.st_size
        mark = _mark(facts)
        if self.known.get(path) == mark:
            self.marks[path] = mark
            self.seen.add(path)
            return
        # The clock of file times goes in steps: a file changed in the step of its reading might change in it once more.
        before_ns = time.clock_gettime_ns(_FILE_CLOCK)
        try:
            opened = _readable(here, name, _FILE, 0o600)
        except OSError as error:
            self._leave(path, _told(error))
            return
        try:
            if _mark(os.fstat(opened)).inode != mark.inode:
                self._leave(path, "it was replaced while it was read")
                return
            content = _content(opened, facts.st_size)
            now = _mark(os.fstat(opened))
        finally:
            os.close(opened)
        self.contents[path] = content
        self.seen.add(path)
        if now.changed_ns < before_ns and now.size == len(content):
            self.marks[path] = now

    def _leave(self, path: str, why: str) -> None:
        if len(self.left_out) < MAX_NAMED:
            self.left_out.append(LeftOut(display(path, limit=300, one_line=True), why))
        else:
            self.more += 1


# What the kernel stamps files with; elsewhere the clock is fine enough.
_FILE_CLOCK = getattr(time, "CLOCK_REALTIME_COARSE", time.CLOCK_REALTIME)


def _mark(facts: os.stat_result) -> _Mark:
    return _Mark(facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def _readable(here: int, name: str, flags: int, mode: int) -> int:
    """Open a file of ours that may have been made with a mode that keeps even its owner out."""
    try:
        opened = os.open(name, flags, dir_fd=here)
        if flags & os.O_DIRECTORY and os.fstat(opened).st_mode & 0o500 != 0o500:
            os.fchmod(opened, mode)  # listed, but not entered
        return opened
    except PermissionError:
        # By way of a descriptor, for chmod itself follows links.
        place = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
        try:
            os.chmod(f"/proc/self/fd/{place}", mode)
        finally:
            os.close(place)
        return os.open(name, flags, dir_fd=here)


def _content(opened: int, size: int) -> bytes:
    """At most so many bytes: a file that grows is not read for ever."""
    pieces: list[bytes] = []
    while size > 0 and (piece := os.read(opened, min(size, 1 << 24))):
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"))
    return next((text for test, text in kinds if test(mode)), "a device")


def _told(error: OSError) -> str:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        raise error  # of this process, not of the file
    return f"it cannot be opened ({os.strerror(error.errno or 0)})"
