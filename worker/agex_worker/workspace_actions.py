"""The three actions on the workspace that are no Python: shell commands, writing a file, editing one. Knows no transport, so
`none` uses it as it is; what a file may hold and where it may lie is decided here, where its bytes are."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass

from agex_protocol import messages as m
from agex_worker.edits import EditRefused, edited
from agex_worker.from_outside import FROM_OUTSIDE
from agex_worker.sandbox.tree import WorkspaceTree
from agex_worker.turn import Ended, raised

MAX_EDITED_BYTES = 8 << 20
# How many changed files an ending names.
MAX_NAMED = 200

# Runs shell commands; gives the exit code.
RunShell = Callable[[str, WorkspaceTree], int]


@dataclass(frozen=True, slots=True)
class Told:
    text: str = ""
    exit_code: int = 0


def tend(asked: m.OnWorkspace, tree: WorkspaceTree, run_shell: RunShell) -> Ended:
    """Do it, and say how it ended."""
    try:
        match asked:
            case m.Shell(_, commands):
                told = Told(exit_code=run_shell(commands, tree))
            case m.Write():
                told = _write(asked, tree)
            case m.Edit():
                told = _edit(asked, tree)
    except FROM_OUTSIDE:
        raise
    except BaseException as error:
        return raised(error.with_traceback(None))  # no line of it is the agent's
    added, modified = tree.added[:MAX_NAMED], tree.modified[:MAX_NAMED]
    return Ended("done", text=told.text, exit_code=told.exit_code, added=added, modified=modified)


def _write(asked: m.Write, tree: WorkspaceTree) -> Told:
    _require_name(asked.path)
    data = asked.content.encode("utf-8", "backslashreplace")
    tree.write(asked.path, data, "a" if asked.append else "w")
    how = "appended to" if asked.append and not tree.added else "wrote"
    return Told(f"{how} {asked.path}: {len(data)} bytes, {len(asked.content.splitlines())} lines")


def _edit(asked: m.Edit, tree: WorkspaceTree) -> Told:
    _require_name(asked.path)
    before = _text_of(asked.path, tree)
    made = edited(before, asked.search, asked.replace, all=asked.all)
    if made.text != before:
        _put(asked.path, made.text.encode("utf-8", "surrogatepass"), before.encode(), tree)
    return Told(f"{asked.path}: {made.note}")


def _require_name(path: str) -> None:
    if not path.strip():
        raise ValueError("path is empty: name a file of the workspace")
    if "\0" in path:
        raise ValueError("path has a character 0 in it, which no name of a file can have")
    if path.endswith("/"):
        raise IsADirectoryError(errno.EISDIR, "The name of a folder, and a file is wanted", path)


def _text_of(path: str, tree: WorkspaceTree) -> str:
    """The file as text. EditRefused for one that is too large to be edited or is none."""
    if not tree.exists(path):
        tree.open(path, "rb").close()  # where it leads outside this says so
    data = tree.read(path, 0, MAX_EDITED_BYTES + 1)
    if len(data) > MAX_EDITED_BYTES:
        raise EditRefused(f"{path} has more than {MAX_EDITED_BYTES >> 20} MiB: change it by a script, piece by piece")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise EditRefused(
            f"{path} is not UTF-8 text (byte {error.start}): change it by a script that knows what it is"
        ) from None


def _put(path: str, data: bytes, before: bytes, tree: WorkspaceTree) -> None:
    """Write the new bytes; where there is no room for them, the old ones again, which had room."""
    try:
        tree.write(path, data)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            tree.write(path, before)
        raise
