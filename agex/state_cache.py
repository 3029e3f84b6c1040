"""The cache of a session, as the application sees it. Nothing that agent code pickled is opened here."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

from agex.errors import StateError
from agex.state_files import require_writable
from agex_supervisor.cache_entry import CacheEntry, for_host, key_fault, of_host
from agex_supervisor.display import display
from agex_supervisor.session_store import SessionStore


class StateCache(MutableMapping[str, Any]):
    """Key to plain data, or to an Opaque where it is anything else; either can be set, in a commit of its own."""

    def __init__(self, store: SessionStore, commit: str | None = None) -> None:
        self._store = store
        self._commit = commit

    def __getitem__(self, key: str) -> Any:
        return for_host(CacheEntry.from_bytes(self._store.cache(self._commit)[key]))

    def __setitem__(self, key: str, value: object) -> None:
        require_writable(self._commit)
        if fault := key_fault(key):
            raise StateError(f"{_shown(key)} cannot be a key of the cache: {fault}")
        entry = of_host(value).to_bytes()
        self._store.refresh()
        self._store.commit(cache={key: entry}, message=f"cache {key}")

    def __delitem__(self, key: str) -> None:
        require_writable(self._commit)
        self._store.refresh()
        if key not in self._store.cache(self._store.base):
            raise KeyError(key)
        self._store.commit(cache={key: None}, message=f"cache without {key}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._store.cache(self._commit))

    def __len__(self) -> int:
        return len(self._store.cache(self._commit))

    def __contains__(self, key: object) -> bool:
        return key in self._store.cache(self._commit)

    def types(self) -> dict[str, str]:
        """The type of each entry, as whoever wrote it said; safe to look at."""
        entries = self._store.cache(self._commit)
        return {key: CacheEntry.from_bytes(data).type for key, data in entries.items()}

    def __repr__(self) -> str:
        return f"<StateCache of session {self._store.session!r}: {len(self)} entries>"


def _shown(key: str) -> str:
    return f"'{display(key, limit=100, one_line=True)}'"
