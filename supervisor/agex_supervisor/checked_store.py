"""A store whose contents are what their names say: kvgit names files and trees by the SHA-256 of their bytes.

kvgit itself takes a part of a tree that is missing for an empty one, and goes back a commit where a session's head cannot be
read. Here nothing that was stored is missing, or other than it was, without somebody being told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from kvgit.kv.base import KVStore

from agex_supervisor.errors import StateError

_BY_CONTENT = ("kvgit:blob:", "kvgit:keyset:")
_HEADS_BEFORE = "__branch_head_prev__"


class CheckedStore(KVStore):
    """Passes everything on to a store, and looks at what comes back."""

    def __init__(self, store: KVStore, name: str) -> None:
        self.store = store
        self._name = name

    def get(self, key: str) -> bytes | None:
        if key.startswith(_HEADS_BEFORE):
            return None
        value = self.store.get(key)
        if key.startswith(_BY_CONTENT):
            self._check(key, value)
        return value

    def get_many(self, *args: Any) -> Mapping[str, bytes]:
        keys = list(self._normalize_keys(args))
        found = self.store.get_many(keys)
        for key in keys:
            if key.startswith(_BY_CONTENT):
                self._check(key, found.get(key))
        return found

    def set(self, key: str, value: bytes) -> None:
        self.store.set(key, value)

    def set_many(self, items: Mapping[str, bytes] | None = None, /, **kwargs: bytes) -> None:
        self.store.set_many(self._normalize_items(items, kwargs))

    def items(self) -> Iterable[tuple[str, bytes]]:
        return self.store.items()

    def keys(self, prefix: str = "") -> Iterable[str]:
        return self.store.keys(prefix)

    def __contains__(self, key: str) -> bool:
        return key in self.store

    def remove(self, key: str) -> None:
        self.store.remove(key)

    def remove_many(self, *args: Any) -> None:
        self.store.remove_many(list(self._normalize_keys(args)))

    def cas_many(
        self, expected: Mapping[str, bytes | None], writes: Mapping[str, bytes], removes: Iterable[str] = ()
    ) -> bool:
        return self.store.cas_many(expected, writes, removes)

    def clear(self) -> None:
        self.store.clear()

    def _check(self, key: str, value: bytes | None) -> None:
        if value is None:
            raise StateError(f"the store {self._name} is damaged (something stored is missing); restore it from a copy")
        if hashlib.sha256(value).hexdigest() != key.rpartition(":")[2]:
            raise StateError(
                f"the store {self._name} is damaged (something stored was changed); restore it from a copy"
            )
