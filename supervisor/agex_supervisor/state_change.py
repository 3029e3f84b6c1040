"""What one commit is to change, checked before anything is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agex_supervisor.display import display
from agex_supervisor.errors import StateError
from agex_supervisor.events import NoteEvent
from agex_supervisor.stored_event import MAX_EVENTS, stored_form
from agex_supervisor.stored_paths import folders_of, why_unfit

# What a name is stored under: files and cache entries are one tree of keys.
FILE = "f/"
CACHE = "c/"

MAX_MESSAGE_CHARS = 1000
MAX_KEY_BYTES = 1024


@dataclass(frozen=True, slots=True)
class StateChange:
    """Keys to be written and keys to be removed, with the events that go with it. note: of whom an event is that had to be
    added."""

    written: Mapping[str, bytes]
    removed: frozenset[str]
    events: tuple[str, ...] = ()
    message: str = ""
    note: NoteEvent = field(default_factory=lambda: NoteEvent(message=""))

    @property
    def keys(self) -> frozenset[str]:
        return self.removed.union(self.written)


def state_change(
    files: Mapping[str, bytes],
    removed: Iterable[str],
    cache: Mapping[str, bytes | None],
    events: Sequence[str],
    message: str,
) -> StateChange:
    """StateError for a name that cannot be stored, or events that are none. A cache entry of None is removed."""
    gone = set(removed)
    for path in (*files, *gone):
        if (why := why_unfit(path)) is not None:
            raise StateError(f"the file {display(path, limit=300, one_line=True)} cannot be stored: {why}")
    if both := gone.intersection(files):
        raise StateError(f"{display(min(both), one_line=True)} is both written and removed")
    for path in files:
        if (folder := next((each for each in folders_of(path) if each in files), None)) is not None:
            raise StateError(f"{display(folder, limit=300, one_line=True)} is both a file and a folder")
    if len(events) > MAX_EVENTS:
        raise StateError(f"{len(events)} events in one commit; {MAX_EVENTS} are allowed")
    written = {FILE + path: _data(content) for path, content in files.items()}
    written |= {_cache_key(key): _data(entry) for key, entry in cache.items() if entry is not None}
    dropped = [FILE + path for path in gone] + [_cache_key(key) for key, entry in cache.items() if entry is None]
    return StateChange(written, frozenset(dropped), tuple(map(stored_form, events)), message[:MAX_MESSAGE_CHARS])


def _data(content: object) -> bytes:
    if not isinstance(content, bytes):
        raise TypeError(f"bytes are stored, not {type(content).__name__}")
    return content


def _cache_key(key: str) -> str:
    try:
        fits = 0 < len(key.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:
        fits = False
    if not fits:
        raise StateError(
            f"a key of the cache must be text of 1 to {MAX_KEY_BYTES} bytes, not '{display(key, limit=100, one_line=True)}'"
        )
    return CACHE + key
