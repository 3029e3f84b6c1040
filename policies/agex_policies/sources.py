"""The way to a policy file. Whoever can write in a directory on it decides what the policy says.

So no such directory may be one that agent code works in: not the file's own, and not one that a symbolic link on the way
lies in.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from dataclasses import dataclass
from pathlib import Path

# What the supervisor calls its own directories, all workspaces among them, and the file in each that says so.
SCRATCH_PREFIX = "agex-"
SCRATCH_LOCK = "owner.lock"

# As many as Linux follows.
_MOST_LINKS = 40


@dataclass(frozen=True, slots=True)
class Way:
    """How a file was reached: its real path, and the real directories in which a name was looked up on the way."""

    file: Path
    through: tuple[Path, ...]

    def leads_through(self, place: Path) -> bool:
        """Whether this file, or a directory that it was looked for in, is this place or lies beneath it, by whatever name."""
        return any(_same(each, place) for each in (*self.through, self.file))

    def scratch(self) -> Path | None:
        """The directory of a running supervisor that this leads through, with the workspaces of all its workers."""
        for each in self.through:
            if each.name.startswith(SCRATCH_PREFIX) and os.path.lexists(each / SCRATCH_LOCK):
                return each
        return None


def way_to(path: Path) -> Way:
    """Follow this path as the kernel would, and keep what it leads through. OSError where there is nothing."""
    names = deque(_names(path.absolute()))
    current = Path("/")
    through: list[Path] = []
    links = 0
    while names:
        name = names.popleft()
        if name == "..":
            current = current.parent
            continue
        through.append(current)
        found = current / name
        if not stat.S_ISLNK(os.lstat(found).st_mode):
            current = found
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = Path(os.readlink(found))
        current = Path("/") if target.is_absolute() else current
        names.extendleft(reversed(_names(target)))
    return Way(current, tuple(dict.fromkeys(through)))


def _names(path: Path) -> tuple[str, ...]:
    return path.parts[1:] if path.is_absolute() else path.parts


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return one == other
