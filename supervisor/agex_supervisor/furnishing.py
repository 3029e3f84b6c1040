"""Files of the application's that every worker is to find in the workspace, as they were given.

The workspace is hostile ground: agent code may have put links, other files or nothing where they stood. So they are looked
at through descriptors, without following anything, and whatever differs is taken away and made anew.
"""

from __future__ import annotations

import logging
import os
import stat
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agex_supervisor.scratch import remove_tree

logger = logging.getLogger("agex")

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # not to wait for a writer, should it be a FIFO
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Furniture:
    """files: contents by their paths below `folder`, which lies in the workspace and holds nothing else."""

    folder: str
    files: Mapping[str, bytes]

    def place(self, home: Path) -> None:
        """See that it stands in this workspace, which no worker has at the moment."""
        workspace = os.open(home, _DIRECTORY)
        try:
            kind = _kind(workspace, self.folder)
            if kind == stat.S_IFDIR:
                _let_in(workspace, self.folder)
            if kind == stat.S_IFDIR and self._stands(workspace):
                return
            if kind:
                logger.warning("%s/ of a workspace was changed by agent code; it is as it was given again", self.folder)
                _remove(workspace, self.folder, home)
            self._make(workspace)
        finally:
            os.close(workspace)

    def _stands(self, workspace: int) -> bool:
        folders = self._folders()
        found: set[str] = set()
        top = os.open(self.folder, _DIRECTORY, dir_fd=workspace)
        try:
            for at, names, others, directory in os.fwalk(".", dir_fd=top):
                here = os.path.relpath(at, ".").removeprefix(".")
                if any(os.path.join(here, name) not in folders for name in names):
                    return False
                for name in others:
                    path = os.path.join(here, name)
                    if path not in self.files or not _holds(directory, name, self.files[path]):
                        return False
                    found.add(path)
        finally:
            os.close(top)
        return found == set(self.files)

    def _make(self, workspace: int) -> None:
        os.mkdir(self.folder, 0o700, dir_fd=workspace)
        top = os.open(self.folder, _DIRECTORY, dir_fd=workspace)
        try:
            for folder in sorted(self._folders()):
                os.mkdir(folder, 0o700, dir_fd=top)
            for path, content in self.files.items():
                with open(os.open(path, _NEW_FILE, 0o400, dir_fd=top), "wb") as file:
                    file.write(content)
        finally:
            os.close(top)

    def _folders(self) -> set[str]:
        parts = [path.split("/")[:-1] for path in self.files]
        return {"/".join(each[:depth]) for each in parts for depth in range(1, len(each) + 1)}


def _kind(directory: int, name: str) -> int:
    """What lies there, as stat tells it; 0 for nothing."""
    try:
        return stat.S_IFMT(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return 0


def _let_in(workspace: int, name: str) -> None:
    """Open to its owner a directory that may have been made with a mode that keeps even that one out."""
    if os.stat(name, dir_fd=workspace, follow_symlinks=False).st_mode & 0o700 == 0o700:
        return
    # By way of a descriptor, for chmod itself follows links.
    place = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=workspace)
    try:
        os.chmod(f"/proc/self/fd/{place}", 0o700)
    finally:
        os.close(place)


def _holds(directory: int, name: str, content: bytes) -> bool:
    """Whether it is a regular file with this content and nothing else."""
    try:
        opened = os.open(name, _FILE, dir_fd=directory)
    except OSError:
        return False
    with open(opened, "rb") as file:
        facts = os.fstat(opened)
        return stat.S_ISREG(facts.st_mode) and facts.st_size == len(content) and file.read(len(content) + 1) == content


def _remove(workspace: int, name: str, home: Path) -> None:
    """Out of the way first, so that what is hostile is removed outside of the workspace, whatever it is."""
    aside = home.with_name(f"{home.name}.{uuid.uuid4().hex}")
    os.rename(name, aside, src_dir_fd=workspace)
    if stat.S_ISDIR(aside.lstat().st_mode):
        aside.chmod(0o700)
        remove_tree(aside)
    else:
        aside.unlink()
