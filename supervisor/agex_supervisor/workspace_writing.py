"""Putting the files of a commit into an empty directory, which then is the workspace of a session."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from agex_supervisor.display import display
from agex_supervisor.errors import StateError
from agex_supervisor.stored_paths import why_unfit

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_workspace(files: Mapping[str, bytes], directory: int) -> dict[str, bytes]:
    """Write the files below an open directory, which is empty. Gives the sha256 of each, for `WorkspaceReading`.

    StateError for names that cannot stand there, before anything is written; OSError where the disk refuses.
    """
    paths = sorted(files)
    for path in paths:
        if (why := why_unfit(path)) is not None:
            raise StateError(f"the stored file {display(path, limit=300, one_line=True)} cannot be written: {why}")
    digests: dict[str, bytes] = {}
    for path in paths:
        content = files[path]
        *folders, name = path.split("/")
        folder = _folder(directory, folders)
        try:
            _write(folder, name, content)
        finally:
            os.close(folder)
        digests[path] = hashlib.sha256(content).digest()
    return digests


def _folder(directory: int, names: list[str]) -> int:
    """The folder of these names, made where it is not there."""
    here = os.open(".", _DIRECTORY, dir_fd=directory)
    try:
        for name in names:
            try:
                below = os.open(name, _DIRECTORY, dir_fd=here)
            except FileNotFoundError:
                os.mkdir(name, 0o700, dir_fd=here)
                below = os.open(name, _DIRECTORY, dir_fd=here)
            os.close(here)
            here = below
    except BaseException:
        os.close(here)
        raise
    return here


def _write(folder: int, name: str, content: bytes) -> None:
    opened = os.open(name, _NEW_FILE, 0o600, dir_fd=folder)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(opened, rest) :]
    finally:
        os.close(opened)
