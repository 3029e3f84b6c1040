"""Which names a stored file may have: those that can be written again, below one directory, on any machine.

A worker chooses names. One that could lead elsewhere, or that has no text, is told from the others here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator

MAX_PART_BYTES = 255  # what Linux lets a name have
MAX_PATH_BYTES = 1024


def why_unfit(path: str) -> str | None:
    """What is wrong with a path as the name of a stored file; None if nothing is."""
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return "its name is not text (UTF-8)"
    if len(encoded) > MAX_PATH_BYTES:
        return f"its path is longer than {MAX_PATH_BYTES} bytes"
    if "\0" in path:
        return "its name holds a null character"
    for part in path.split("/"):
        if part in ("", ".", ".."):
            return "its path is not a plain one below the workspace"
        if len(part.encode()) > MAX_PART_BYTES:
            return f"a part of its path is longer than {MAX_PART_BYTES} bytes"
    return None


def folders_of(path: str) -> Iterator[str]:
    """The folders that hold a file, outermost first."""
    end = path.find("/")
    while end >= 0:
        yield path[:end]
        end = path.find("/", end + 1)
