"""What a commit holds of one kind, files or cache entries, as a mapping that reads only what is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from agex_supervisor.state_store import StateStore

if TYPE_CHECKING:
    from kvgit import Snapshot


class StoredEntries(Mapping[str, bytes]):
    """Names to bytes, in the order of the names. It stays what it is whatever is committed later."""

    def __init__(self, store: StateStore, commit: str | None, kind: str) -> None:
        self._store = store
        self._kind = kind
        self._snapshot: Snapshot | None = None
        if commit is not None:
            with store.reading():
                self._snapshot = store.repo.snapshot(commit=commit)

    def __getitem__(self, name: str) -> bytes:
        if name not in self:
            raise KeyError(name)
        snapshot = self._snapshot
        assert snapshot is not None
        # A name that is there without its bytes is damage.
        with self._store.reading():
            return bytes(snapshot[self._kind + name])

    def __contains__(self, name: object) -> bool:
        if self._snapshot is None or not isinstance(name, str):
            return False
        with self._store.reading():
            return self._kind + name in self._snapshot

    def __iter__(self) -> Iterator[str]:
        if self._snapshot is None:
            return iter(())
        kind = self._kind
        with self._store.reading():
            return iter(sorted(key.removeprefix(kind) for key in self._snapshot if key.startswith(kind)))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} names>"
