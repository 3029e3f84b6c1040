"""The workspace as agent code opens it: every path resolves beneath one directory, and no symlink is followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

from agex_worker import denials

_ACCESS = {
    "r": (os.O_RDONLY, os.O_RDWR),
    "w": (os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_RDWR | os.O_CREAT | os.O_TRUNC),
    "a": (os.O_WRONLY | os.O_CREAT | os.O_APPEND, os.O_RDWR | os.O_CREAT | os.O_APPEND),
    "x": (os.O_WRONLY | os.O_CREAT | os.O_EXCL, os.O_RDWR | os.O_CREAT | os.O_EXCL),
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class WorkspaceFiles:
    """Opens files beneath `root`. Paths are relative to it; an absolute one counts if it begins with `root`.

    read_only: folders at its top in which nothing is opened for writing.
    """

    def __init__(self, root: Path, read_only: Collection[str] = ()) -> None:
        self._root = Path(os.path.abspath(root))
        self._read_only = frozenset(read_only)

    @property
    def root(self) -> Path:
        return self._root

    @property
    def read_only(self) -> frozenset[str]:
        return self._read_only

    def open(
        self,
        path: str | os.PathLike[str],
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """As the builtin open(); PermissionError names a path that lies, or leads, outside the workspace."""
        flags = _flags(mode)
        parts = self._parts(path, flags)

        def opener(_path: str, _flags: int) -> int:
            return self._descend(parts, flags)

        return open(os.sep.join(parts), mode, buffering, encoding, errors, newline, opener=opener)

    def kind_of(self, path: str) -> str:
        """ "file", "folder", or "" for what is neither, or lies behind a link, or is not there."""
        try:
            with denials.apart():
                descriptor = self._descend(self._parts(path, os.O_RDONLY), os.O_RDONLY)
        except OSError:
            return ""
        try:
            mode = os.fstat(descriptor).st_mode
        finally:
            os.close(descriptor)
        return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else ""

    def listed(self, folder: str) -> list[tuple[str, bool]]:
        """The files and folders in a folder, each with whether it is one; [] where there is no such folder."""
        try:
            with denials.apart():
                parts = self._parts(folder or ".", os.O_RDONLY)
                descriptor = self._descend(parts, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return []
        try:
            with os.scandir(descriptor) as entries:
                return sorted(
                    (entry.name, entry.is_dir(follow_symlinks=False))
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
                )
        finally:
            os.close(descriptor)

    def _parts(self, path: object, flags: int) -> list[str]:
        text = os.fspath(path) if isinstance(path, os.PathLike) else path
        if type(text) is not str:
            raise TypeError(f"open() takes the path as a str or a pathlib.Path, not {type(path).__name__}")
        whole = os.path.normpath(os.path.join(self._root, text))
        parts = os.path.relpath(whole, self._root).split(os.sep)
        if "\0" in text or parts[0] == os.pardir:
            raise outside(text, flags)
        if flags & _WRITING:
            self._require_changeable(parts, os.sep.join(parts) if os.path.isabs(text) else text)
        return parts

    def _require_changeable(self, parts: list[str], shown: str) -> None:
        if parts[0] in self._read_only:
            denials.note("sandbox", "write", shown)
            raise PermissionError(
                f"open of {shown!r} for writing refused: {parts[0]}/ is read-only; copy what you want to change elsewhere"
            )

    def _descend(self, parts: list[str], flags: int) -> int:
        """A descriptor of the last part, from the root down one directory at a time, so that nothing can redirect it."""
        shown = os.sep.join(parts)
        here = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts[:-1]:
                below = _open_at(here, part, os.O_RDONLY | os.O_DIRECTORY, shown, flags)
                os.close(here)
                here = below
            # O_NONBLOCK: to open a pipe that has no other end must not wait for one.
            return _open_at(here, parts[-1], flags | os.O_NONBLOCK, shown, flags)
        finally:
            os.close(here)


def open_below(directory: int, name: str, flags: int, shown: str) -> int:
    """A descriptor of one entry of an open directory, unless it is a symbolic link."""
    return _open_at(directory, name, flags, shown, flags)


def _open_at(directory: int, name: str, flags: int, shown: str, wanted: int) -> int:
    """`shown` and `wanted`: the whole path and its flags, of which this may be one step."""
    try:
        return os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666, dir_fd=directory)
    except OSError as error:
        if _is_link(directory, name):
            raise outside(shown, wanted) from None
        raise type(error)(error.errno, error.strerror, shown) from None


def _is_link(directory: int, name: str) -> bool:
    try:
        os.readlink(name, dir_fd=directory)
    except OSError:
        return False
    return True


def _flags(mode: object) -> int:
    if type(mode) is not str or len(set(mode)) != len(mode) or not set(mode) <= set("rwaxbt+"):
        raise ValueError(f"invalid mode: {mode!r}")
    kinds = [kind for kind in _ACCESS if kind in mode]
    if len(kinds) != 1:
        raise ValueError("mode must have exactly one of r, w, a and x")
    return _ACCESS[kinds[0]]["+" in mode]


def outside(path: str, flags: int) -> PermissionError:
    """The error for a path that lies, or leads, outside; it is noted as a refusal."""
    denials.note("sandbox", "write" if flags & _WRITING else "read", path)
    return PermissionError(
        f"open of {path!r} refused: it is, or leads, outside the workspace, and agent code opens workspace files only;"
        " give a relative path without symbolic links, or grant the path in the policy under [filesystem] and register"
        " a function that reads it"
    )
