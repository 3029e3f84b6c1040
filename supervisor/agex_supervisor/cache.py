"""The cache of one session: what its code keeps from action to action and from task to task, as bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from agex_supervisor.cache_entry import CacheEntry, key_fault
from agex_supervisor.errors import StateError

MAX_ENTRIES = 10_000
MAX_BYTES = 256 << 20
# More could be written, and not be read again.
MAX_BUFFERS = 65_536


class CacheFull(Exception):
    """An entry does not fit beside the others; the message says by how much, and what bounds them."""


class Cache(Mapping[str, bytes]):
    """Key -> the entry's envelope as bytes, for whoever stores it. For all threads.

    max_bytes bounds all entries together. `changed()` is what a commit has to write; `committed()` says that it has.
    """

    def __init__(self, entries: Mapping[str, bytes] = MappingProxyType({}), *, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self._lock = threading.Lock()
        self._entries = {key: CacheEntry.from_bytes(data) for key, data in entries.items()}
        self._size = sum(map(_size, self._entries, self._entries.values()))
        self._changed: set[str] = set()

    def __getitem__(self, key: str) -> bytes:
        return self.entry(key).to_bytes()

    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(list(self._entries))

    def __len__(self) -> int:
        return len(self._entries)

    def entry(self, key: str) -> CacheEntry:
        """The entry itself; KeyError where there is none."""
        with self._lock:
            return self._entries[key]

    def listed(self) -> list[tuple[str, str]]:
        """Key and type of each entry, in the order in which they came."""
        with self._lock:
            return [(key, entry.type) for key, entry in self._entries.items()]

    def keep(self, key: str, entry: CacheEntry) -> None:
        """Have this under the key. CacheFull where it does not fit, and then what was there stays."""
        if fault := key_fault(key):
            raise StateError(f"{key[:60]!r} cannot be a key of the cache: {fault}")
        if len(entry.buffers) > MAX_BUFFERS:
            raise CacheFull(f"{key[:60]!r} is of more than {MAX_BUFFERS} parts; join arrays and texts into fewer")
        with self._lock:
            before = self._entries.get(key)
            size = self._size + _size(key, entry) - (0 if before is None else _size(key, before))
            if size > self.max_bytes:
                raise CacheFull(
                    f"with {key[:60]!r} the cache would hold {size} bytes, and results.max_size of the policy lets it hold"
                    f" {self.max_bytes}; delete what is not needed, or write files"
                )
            if before is None and len(self._entries) >= MAX_ENTRIES:
                raise CacheFull(f"the cache holds {MAX_ENTRIES} entries, and can hold no more; put several into one")
            self._entries[key] = entry
            self._size = size
            self._changed.add(key)

    def forget(self, key: str) -> None:
        """Take the key out; KeyError where it is not in."""
        with self._lock:
            entry = self._entries.pop(key)
            self._size -= _size(key, entry)
            self._changed.add(key)

    def changed(self) -> dict[str, bytes | None]:
        """What was kept since the last commit, and None for each key that is gone."""
        with self._lock:
            entries = {key: self._entries.get(key) for key in sorted(self._changed)}
        return {key: None if entry is None else entry.to_bytes() for key, entry in entries.items()}

    def committed(self) -> None:
        """From here on `changed()` counts anew. Only while no code of the session runs."""
        with self._lock:
            self._changed.clear()


def _size(key: str, entry: CacheEntry) -> int:
    return len(key) + entry.size_bytes
