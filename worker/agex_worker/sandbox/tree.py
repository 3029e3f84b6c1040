"""The workspace as a tree: made, listed, moved and removed beneath one directory, by the same rule as files are opened.

It is what the terminal's commands work on (termish's FileSystem), and what files are written and edited through. No
symbolic link is followed, and none is made.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias, TypedDict

from agex_protocol.messages import FOLDERS_DEEP
from agex_worker.sandbox.files import WorkspaceFiles, open_below, outside

if TYPE_CHECKING:
    from termish import FileInfo, FileMetadata

# A tree deeper or wider than this is refused rather than walked.
MAX_ENTRIES = 100_000
# By other names than `list`, which is that of a method here.
Entries = list[tuple[str, os.stat_result]]
Names = list[str]
Infos: TypeAlias = "list[FileInfo]"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class WorkspaceTree(WorkspaceFiles):
    """One action's view: it has a current directory, and counts which files were added and which changed."""

    def __init__(self, root: Path, read_only: Collection[str] = ()) -> None:
        super().__init__(root, read_only)
        self._cwd = str(self._root)
        self._changes: dict[str, bool] = {}  # path, and whether it is new

    @property
    def added(self) -> tuple[str, ...]:
        return tuple(path for path, new in self._changes.items() if new)

    @property
    def modified(self) -> tuple[str, ...]:
        return tuple(path for path, new in self._changes.items() if not new)

    # --- the current directory ---

    def getcwd(self) -> str:
        return self._cwd

    def chdir(self, path: str) -> None:
        if not self.isdir(path):
            kind = NotADirectoryError if self.exists(path) else FileNotFoundError
            raise kind(errno.ENOTDIR if self.exists(path) else errno.ENOENT, "No such directory", path)
        self._cwd = os.path.normpath(os.path.join(self._cwd, path))

    # --- files ---

    def read(self, path: str, offset: int = 0, size: int = -1) -> bytes:
        """The bytes of a regular file, or a range of them."""
        if offset < 0:
            raise ValueError(f"negative read offset: {offset}")
        with self._regular(path, "rb") as file:
            if offset:
                file.seek(offset)
            return bytes(file.read(size))

    def write(self, path: str, content: bytes, mode: str = "w") -> None:
        """Write or append bytes. Folders on the way are made."""
        where = self._absolute(path)
        if where == str(self._root):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        try:
            if (above := os.path.dirname(where)) != str(self._root):
                self.makedirs(above)
            is_new = not self.exists(where)
            with self._regular(where, mode + "b") as file:
                file.write(content)
        except OSError as error:
            if error.errno is None:
                raise
            raise type(error)(error.errno, error.strerror, path) from None  # by the path that was given
        self._note(where, is_new)

    def remove(self, path: str) -> None:
        """Remove a file, or a symbolic link itself."""
        self._on(path, lambda above, name: os.unlink(name, dir_fd=above))
        self._changes.pop(self._shown(path), None)

    def rename(self, src: str, dst: str) -> None:
        """Move a file or a directory; a file that is there is replaced."""
        is_new = not self.exists(dst)
        for each in (src, dst):
            self._require_changeable(self._shown(each).split(os.sep), each)
        if self.isdir(src):
            below = self._walk(self._absolute(src), "", recursive=True)
            inside = max((name.count(os.sep) + 1 for name, each in below if stat.S_ISDIR(each.st_mode)), default=0)
            self._require_shallow(dst, inside)
        with self._above(src) as (here, old), self._above(dst) as (there, new):
            self._renamed(here, old, there, new, src)
        self._changes.pop(self._shown(src), None)
        if self.isfile(dst):
            self._note(dst, is_new)

    # --- directories ---

    def mkdir(self, path: str, parents: bool = False, exist_ok: bool = False) -> None:
        if parents:
            return self.makedirs(path, exist_ok=exist_ok)
        if not (exist_ok and self.isdir(path)):
            self._require_shallow(path)
            self._on(path, lambda above, name: os.mkdir(name, dir_fd=above))
        return None

    def makedirs(self, path: str, exist_ok: bool = True) -> None:
        """Make a directory and those above it."""
        where = self._absolute(path)
        self._require_shallow(where)
        if self.isdir(where):
            if not exist_ok:
                raise FileExistsError(errno.EEXIST, "File exists", path)
            return
        if self.exists(where):
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", path)
        if where != str(self._root):
            self.makedirs(os.path.dirname(where))
        self.mkdir(where)

    def rmdir(self, path: str) -> None:
        self._on(path, lambda above, name: os.rmdir(name, dir_fd=above))

    # --- what is there ---

    def exists(self, path: str) -> bool:
        return self._status(path) is not None

    def isfile(self, path: str) -> bool:
        found = self._status(path)
        return found is not None and stat.S_ISREG(found.st_mode)

    def isdir(self, path: str) -> bool:
        if self._leads_here(path):
            return True
        found = self._status(path)
        return found is not None and stat.S_ISDIR(found.st_mode)

    def status(self, path: str) -> os.stat_result:
        """What the kernel says of an entry itself; a link is not followed. FileNotFoundError where there is none."""
        if (found := self._status(path)) is None:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        return found

    def stat(self, path: str) -> FileMetadata:
        found = self.status(path)
        # Here, because a file is written and edited without it.
        from termish import FileMetadata

        return FileMetadata(**_told(found))

    def list(self, path: str = ".", recursive: bool = False) -> Names:
        """The entries of a directory by their paths in it."""
        where = self._absolute(path, follow=False)
        if self._leads_here(where):
            return [os.path.relpath(self._root, where).split(os.sep)[0]]
        return [name for name, _ in self._walk(where, "", recursive)]

    def files_below(self, path: str) -> Names:
        """The regular files of a directory and those within it, by their paths from the root; none where it is not there."""
        if not self.exists(path):
            return []
        where = self._absolute(path)
        shown = "" if where == str(self._root) else self._shown(where)
        return sorted(name for name, each in self._walk(where, shown, recursive=True) if stat.S_ISREG(each.st_mode))

    def entries(self, path: str, recursive: bool = False) -> Names:
        """The same, but nothing is told of directories above the workspace."""
        return [name for name, _ in self._walk(self._absolute(path), "", recursive)]

    def list_detailed(self, path: str = ".", recursive: bool = False) -> Infos:
        """The same with sizes and times."""
        from termish import FileInfo

        where = self._absolute(path)
        return [
            FileInfo(name=os.path.basename(name), path=os.path.join(path, name), **_told(found))
            for name, found in self._walk(where, "", recursive)
        ]

    def glob(self, pattern: str) -> Names:
        """Files of the workspace whose path from its root fits the pattern; `*` does not stop at a slash."""
        found = self._walk(str(self._root), "", recursive=True)
        return sorted(name for name, each in found if stat.S_ISREG(each.st_mode) and fnmatchcase(name, pattern))

    # --- how ---

    @contextmanager
    def _regular(self, path: str, mode: str) -> Generator[IO[bytes]]:
        """An open regular file: a pipe or a device in its place would wait, or never end."""
        if self.isdir(path):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        with self.open(self._absolute(path), mode) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "Not a regular file", path)
            yield file

    def _absolute(self, path: str, *, follow: bool = True) -> str:
        """Where a path lies, from the current directory. PermissionError for one outside the workspace."""
        where = os.path.normpath(os.path.join(self._cwd, path))
        if where != str(self._root) and not where.startswith(str(self._root) + os.sep):
            if follow or not self._leads_here(where):
                raise outside(path, os.O_RDONLY)
        return where

    def _require_shallow(self, path: str, inside: int = 0) -> None:
        """OSError for a folder with so many around it, and in it, that no worker could be given the workspace again."""
        if self._shown(path).count(os.sep) + 1 + inside > FOLDERS_DEEP:
            raise OSError(errno.ENAMETOOLONG, f"More than {FOLDERS_DEEP} folders within one another", path)

    def _leads_here(self, path: str) -> bool:
        """Whether it is a directory above the workspace: a pattern with an absolute path is followed down from there."""
        where = os.path.normpath(os.path.join(self._cwd, path))
        return str(self._root).startswith(where.rstrip(os.sep) + os.sep)

    def _on(self, path: str, call: Callable[[int, str], None]) -> None:
        self._require_changeable(self._shown(path).split(os.sep), path)
        with self._above(path) as (above, name):
            try:
                call(above, name)
            except OSError as error:
                raise type(error)(error.errno, error.strerror, path) from None

    @contextmanager
    def _above(self, path: str) -> Generator[tuple[int, str]]:
        """A descriptor of the directory in which a path lies, and its last part."""
        where = self._absolute(path)
        if where == str(self._root):
            raise PermissionError(errno.EBUSY, "The workspace itself stays where it is", path)
        above = self._descend(self._parts(os.path.dirname(where), os.O_RDONLY), _DIRECTORY)
        try:
            yield above, os.path.basename(where)
        finally:
            os.close(above)

    def _renamed(self, here: int, old: str, there: int, new: str, shown: str) -> None:
        try:
            os.rename(old, new, src_dir_fd=here, dst_dir_fd=there)
        except OSError as error:
            raise type(error)(error.errno, error.strerror, shown) from None

    def _status(self, path: str) -> os.stat_result | None:
        try:
            where = self._absolute(path)
            if where == str(self._root):
                return os.stat(where)
            with self._above(path) as (above, name):
                return os.stat(name, dir_fd=above, follow_symlinks=False)
        except (OSError, ValueError):
            return None

    def _walk(self, where: str, below: str, recursive: bool) -> Entries:
        opened = self._descend(self._parts(where, os.O_RDONLY), _DIRECTORY)
        try:
            found: Entries = []
            self._gather(opened, below, recursive, found)
            return found
        finally:
            os.close(opened)

    def _gather(self, opened: int, below: str, recursive: bool, found: Entries) -> None:
        for name in sorted(os.listdir(opened)):
            try:
                status = os.stat(name, dir_fd=opened, follow_symlinks=False)
            except FileNotFoundError:
                continue  # removed meanwhile, by a thread of earlier code
            if len(found) >= MAX_ENTRIES:
                raise OSError(errno.EOVERFLOW, f"more than {MAX_ENTRIES} entries", below or ".")
            found.append((os.path.join(below, name), status))
            if recursive and stat.S_ISDIR(status.st_mode):
                inner = open_below(opened, name, _DIRECTORY, os.path.join(below, name))
                try:
                    self._gather(inner, os.path.join(below, name), recursive, found)
                finally:
                    os.close(inner)

    def _shown(self, path: str) -> str:
        return os.path.relpath(self._absolute(path), self._root)

    def _note(self, path: str, is_new: bool) -> None:
        self._changes.setdefault(self._shown(path), is_new)


class _Told(TypedDict):
    size: int
    created_at: str
    modified_at: str
    is_dir: bool


def _told(found: os.stat_result) -> _Told:
    is_dir = stat.S_ISDIR(found.st_mode)
    changed = datetime.fromtimestamp(found.st_mtime, UTC).isoformat()
    return {
        "size": 0 if is_dir else found.st_size,
        "created_at": changed,
        "modified_at": changed,
        "is_dir": is_dir,
    }
