"""What `os`, `os.path`, `shutil`, `glob` and `pathlib` give in agent code: functions on the workspace, by the names that
everybody knows. The real ones work on the whole machine, and stay behind."""

from __future__ import annotations

import os
import stat
import types
from collections.abc import Callable, Iterator, Mapping

from agex_worker.sandbox.file_paths import Given, WorkspacePath, globbed, path_class, text_of, walked
from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.sandbox.tree import WorkspaceTree


class FileModules:
    """The stand-ins of one namespace, each module's made when code first asks for it."""

    def __init__(self, files: WorkspaceFiles) -> None:
        self._files = files
        self._made: dict[str, Mapping[str, object]] = {}

    def members(self, module: str) -> Mapping[str, object]:
        """What stands in this module's place, by name; nothing for most modules."""
        if module not in _MAKERS:
            return {}
        if module not in self._made:
            # One of its own: whoever runs a terminal action counts what is changed through theirs.
            self._made[module] = _MAKERS[module](WorkspaceTree(self._files.root, self._files.read_only))
        return self._made[module]


class _Os:
    def __init__(self, tree: WorkspaceTree) -> None:
        self._tree = tree

    def getcwd(self) -> str:
        return self._tree.getcwd()

    def listdir(self, path: Given = ".") -> list[str]:
        return self._tree.entries(text_of(path))

    def mkdir(self, path: Given, mode: int = 0o777) -> None:
        self._tree.mkdir(text_of(path))

    def makedirs(self, name: Given, mode: int = 0o777, exist_ok: bool = False) -> None:
        self._tree.makedirs(text_of(name), exist_ok=exist_ok)

    def remove(self, path: Given) -> None:
        self._tree.remove(text_of(path))

    def unlink(self, path: Given) -> None:
        self._tree.remove(text_of(path))

    def rmdir(self, path: Given) -> None:
        self._tree.rmdir(text_of(path))

    def rename(self, src: Given, dst: Given) -> None:
        self._tree.rename(text_of(src), text_of(dst))

    def replace(self, src: Given, dst: Given) -> None:
        self._tree.rename(text_of(src), text_of(dst))

    def stat(self, path: Given) -> os.stat_result:
        return self._tree.status(text_of(path))

    def walk(self, top: Given, topdown: bool = True) -> Iterator[tuple[str, list[str], list[str]]]:
        return walked(self._tree, text_of(top), topdown)


class _OsPath:
    def __init__(self, tree: WorkspaceTree) -> None:
        self._tree = tree

    def exists(self, path: Given) -> bool:
        return self._tree.exists(text_of(path))

    def lexists(self, path: Given) -> bool:
        return self._tree.exists(text_of(path))

    def isfile(self, path: Given) -> bool:
        return self._tree.isfile(text_of(path))

    def isdir(self, path: Given) -> bool:
        return self._tree.isdir(text_of(path))

    def islink(self, path: Given) -> bool:
        text = text_of(path)
        return self._tree.exists(text) and stat.S_ISLNK(self._tree.status(text).st_mode)

    def getsize(self, path: Given) -> int:
        return self._tree.status(text_of(path)).st_size

    def getmtime(self, path: Given) -> float:
        return self._tree.status(text_of(path)).st_mtime

    def abspath(self, path: Given) -> str:
        return os.path.normpath(os.path.join(self._tree.getcwd(), text_of(path)))

    def realpath(self, path: Given) -> str:
        return self.abspath(path)

    def relpath(self, path: Given, start: Given = ".") -> str:
        return os.path.relpath(self.abspath(path), self.abspath(start))


class _Shutil:
    def __init__(self, tree: WorkspaceTree) -> None:
        self._tree = tree

    def copyfile(self, src: Given, dst: Given) -> Given:
        self._tree.write(text_of(dst), self._tree.read(text_of(src)))
        return dst

    def copy(self, src: Given, dst: Given) -> str:
        target = self._into(src, dst)
        self._tree.write(target, self._tree.read(text_of(src)))
        return target

    def copy2(self, src: Given, dst: Given) -> str:
        return self.copy(src, dst)

    def move(self, src: Given, dst: Given) -> str:
        target = self._into(src, dst)
        self._tree.rename(text_of(src), target)
        return target

    def copytree(self, src: Given, dst: Given, dirs_exist_ok: bool = False) -> Given:
        here, there = text_of(src), text_of(dst)
        names = self._tree.entries(here, recursive=True)  # before it is changed: `there` may lie within
        self._tree.makedirs(there, exist_ok=dirs_exist_ok)
        for name in names:
            if self._tree.isdir(os.path.join(here, name)):
                self._tree.makedirs(os.path.join(there, name))
            else:
                self._tree.write(os.path.join(there, name), self._tree.read(os.path.join(here, name)))
        return dst

    def rmtree(self, path: Given, ignore_errors: bool = False) -> None:
        top = text_of(path)
        if ignore_errors and not self._tree.exists(top):
            return
        for above, folders, names in walked(self._tree, top, topdown=False):
            for name in names:
                self._tree.remove(os.path.join(above, name))
            for name in folders:
                self._tree.rmdir(os.path.join(above, name))
        self._tree.rmdir(top)

    def _into(self, src: Given, dst: Given) -> str:
        there = text_of(dst)
        return os.path.join(there, os.path.basename(text_of(src))) if self._tree.isdir(there) else there


class _Glob:
    def __init__(self, tree: WorkspaceTree) -> None:
        self._tree = tree

    def glob(self, pathname: Given, *, recursive: bool = False, include_hidden: bool = False) -> list[str]:
        return list(self.iglob(pathname, recursive=recursive, include_hidden=include_hidden))

    def iglob(self, pathname: Given, *, recursive: bool = False, include_hidden: bool = False) -> Iterator[str]:
        return globbed(self._tree, text_of(pathname), recursive=recursive, hidden=include_hidden)


def place_of(value: object) -> tuple[str, str] | None:
    """The module and the name under which code has this stand-in; None for anything else."""
    if type(value) is types.MethodType and (module := _MODULES.get(type(value.__self__))) is not None:
        return module, value.__name__
    is_ours = isinstance(value, type) and issubclass(value, WorkspacePath)
    return ("pathlib", "Path") if is_ours else None


def _public(made: object) -> dict[str, object]:
    return {name: getattr(made, name) for name in vars(type(made)) if not name.startswith("_")}


def _paths(tree: WorkspaceTree) -> dict[str, object]:
    cls = path_class(tree)
    return {"Path": cls, "PosixPath": cls}


_MODULES: dict[type, str] = {_Os: "os", _OsPath: "os.path", _Shutil: "shutil", _Glob: "glob"}
_MAKERS: dict[str, Callable[[WorkspaceTree], Mapping[str, object]]] = {
    "os": lambda tree: _public(_Os(tree)),
    "os.path": lambda tree: _public(_OsPath(tree)),
    "shutil": lambda tree: _public(_Shutil(tree)),
    "glob": lambda tree: _public(_Glob(tree)),
    "pathlib": _paths,
}
