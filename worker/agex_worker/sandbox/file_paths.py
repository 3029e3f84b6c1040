"""`pathlib.Path` as agent code has it: the class itself but for what touches files, which is done on the workspace."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PosixPath
from typing import IO, Any, Self, cast

from agex_worker.sandbox.tree import WorkspaceTree

Given = str | os.PathLike[str]
# A name that no code can write, and no gate gives.
_TREE = "<tree>"


def path_class(tree: WorkspaceTree) -> type[WorkspacePath]:
    """The class for one namespace."""
    texts = {"__module__": "pathlib", "__qualname__": "Path", "__doc__": Path.__doc__}
    return cast("type[WorkspacePath]", type("Path", (WorkspacePath,), {_TREE: tree, "__slots__": (), **texts}))


class WorkspacePath(PosixPath):
    """Made by `path_class()` for the namespace that it belongs to. What is not named here the gates refuse."""

    __slots__ = ()

    # --- reading and writing ---

    def open(self, mode: str = "r", *rest: Any, **named: Any) -> IO[Any]:  # type: ignore[override]
        return _tree(self).open(self, mode, *rest, **named)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        with self.open("r", encoding=encoding, errors=errors) as file:
            return str(file.read())

    def read_bytes(self) -> bytes:
        return _tree(self).read(str(self))

    def write_text(
        self, data: str, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> int:
        with self.open("w", encoding=encoding, errors=errors, newline=newline) as file:
            return int(file.write(data))

    def write_bytes(self, data: Any) -> int:
        with self.open("wb") as file:
            return int(file.write(data))

    def touch(self, mode: int = 0o666, exist_ok: bool = True) -> None:
        with self.open("ab" if exist_ok else "xb"):
            return

    # --- the tree ---

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        _tree(self).mkdir(str(self), parents=parents, exist_ok=exist_ok)

    def unlink(self, missing_ok: bool = False) -> None:
        if not missing_ok or self.exists():
            _tree(self).remove(str(self))

    def rmdir(self) -> None:
        _tree(self).rmdir(str(self))

    def rename(self, target: Given) -> Self:
        _tree(self).rename(str(self), text_of(target))
        return type(self)(target)

    def replace(self, target: Given) -> Self:
        return self.rename(target)

    # --- what is there ---

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        return _tree(self).exists(str(self))

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return _tree(self).isfile(str(self))

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return _tree(self).isdir(str(self))

    def is_symlink(self) -> bool:
        return self.exists() and stat.S_ISLNK(self.stat().st_mode)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return _tree(self).status(str(self))

    def lstat(self) -> os.stat_result:
        return self.stat()

    def iterdir(self) -> Iterator[Self]:  # type: ignore[override]
        return iter([self / name for name in _tree(self).entries(str(self))])

    def glob(self, pattern: str, **_named: Any) -> Iterator[Self]:  # type: ignore[override]
        found = globbed(_tree(self), os.path.join(str(self), pattern), recursive=True, hidden=True)
        return (type(self)(each) for each in found)

    def rglob(self, pattern: str, **_named: Any) -> Iterator[Self]:  # type: ignore[override]
        return self.glob(os.path.join("**", pattern))

    def walk(self, top_down: bool = True) -> Iterator[tuple[Self, list[str], list[str]]]:
        found = walked(_tree(self), str(self), top_down)
        return ((type(self)(above), folders, names) for above, folders, names in found)

    # --- where it is ---

    @classmethod
    def cwd(cls) -> Self:
        return cls(_tree(cls).getcwd())

    def absolute(self) -> Self:
        return type(self)(_tree(self).getcwd(), self)

    def resolve(self, strict: bool = False) -> Self:
        if strict:
            self.stat()
        return type(self)(os.path.normpath(self.absolute()))

    def __reduce__(self) -> tuple[Any, ...]:
        return Path, (str(self),)  # elsewhere it is an ordinary path


# What the gates give of such a path, although of others they refuse it.
FILE_MEMBERS = frozenset(name for name in vars(WorkspacePath) if not name.startswith("_"))


def text_of(path: Given) -> str:
    """A path as a text of exactly that class: nothing of it is asked twice."""
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if type(text) is not str:
        raise TypeError(f"a path is a str or a pathlib.Path, not {type(text).__name__}")
    return text


def walked(tree: WorkspaceTree, top: str, topdown: bool) -> Iterator[tuple[str, list[str], list[str]]]:
    """As os.walk, without links; a folder that is not there is empty."""
    if not tree.isdir(top):
        return
    entries = tree.entries(top)
    folders = [name for name in entries if tree.isdir(os.path.join(top, name))]
    names = [name for name in entries if name not in set(folders)]
    if topdown:
        yield top, folders, names
    for name in list(folders):
        yield from walked(tree, os.path.join(top, name), topdown)
    if not topdown:
        yield top, folders, names


def globbed(tree: WorkspaceTree, pattern: str, *, recursive: bool, hidden: bool) -> Iterator[str]:
    """The paths that fit, as glob.glob gives them: `*` stops at a slash, `**` does not where recursive says so."""
    parts = [part for part in pattern.split(os.sep) if part not in ("", os.curdir)]
    top = os.sep if pattern.startswith(os.sep) else ""
    return iter(sorted(dict.fromkeys(_fitting(tree, top, parts, recursive, hidden))))


def _fitting(tree: WorkspaceTree, above: str, parts: list[str], recursive: bool, hidden: bool) -> Iterator[str]:
    if not parts:
        if above:
            yield above
        return
    part, rest = parts[0], parts[1:]
    if part == "**" and recursive:
        yield from _fitting(tree, above, rest, recursive, hidden)
        for name in _names(tree, above, "*", hidden):
            below = os.path.join(above, name)
            if tree.isdir(below):
                yield from _fitting(tree, below, parts, recursive, hidden)
            elif not rest:
                yield below
        return
    if not any(sign in part for sign in "*?["):
        below = os.path.join(above, part)
        if tree.exists(below) or tree.isdir(below):
            yield from _fitting(tree, below, rest, recursive, hidden)
        return
    for name in _names(tree, above, part, hidden):
        below = os.path.join(above, name)
        if not rest or tree.isdir(below):
            yield from _fitting(tree, below, rest, recursive, hidden)


def _names(tree: WorkspaceTree, folder: str, pattern: str, hidden: bool) -> list[str]:
    if not tree.isdir(folder or os.curdir):
        return []
    names = tree.entries(folder or os.curdir)
    shown = hidden or pattern.startswith(".")
    return [name for name in names if fnmatchcase(name, pattern) and (shown or not name.startswith("."))]


def _tree(path: object) -> WorkspaceTree:
    return cast(WorkspaceTree, getattr(path, _TREE))
