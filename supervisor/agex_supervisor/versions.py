"""What is said of versions of a state: a commit, an event with the commit that brought it, and how two commits differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Commit:
    """One version of a session: files, cache and events together. `time` in seconds since the epoch."""

    hash: str
    parent: str | None
    time: float
    message: str


class StoredEvent(NamedTuple):
    """An event as JSON text, and the hash of the commit that first held it: the state as its action left it."""

    text: str
    commit: str


@dataclass(frozen=True, slots=True)
class Changes:
    """Names added, removed and modified, each sorted."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between two commits: `files` by path, `cache` by key; the rest has both together."""

    files: Changes = Changes()
    cache: Changes = Changes()

    @property
    def added(self) -> tuple[str, ...]:
        return self.files.added + self.cache.added

    @property
    def removed(self) -> tuple[str, ...]:
        return self.files.removed + self.cache.removed

    @property
    def modified(self) -> tuple[str, ...]:
        return self.files.modified + self.cache.modified
