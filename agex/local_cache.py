"""The cache for code that runs in this process: the same bytes as from workers, opened here only if such code wrote them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from agex_supervisor.cache import Cache, CacheFull
from agex_supervisor.cache_entry import CacheEntry, decoded
from agex_worker.cache import Packed
from agex_worker.sealing import reopen


class LocalCache:
    """What `cache` in agent code stands on. `away` is entered where code must not be ended: a lock would stay taken."""

    def __init__(self, cache: Cache, away: Callable[[], AbstractContextManager[None]]) -> None:
        self._cache = cache
        self._away = away

    def recall(self, key: str) -> object:
        with self._away():
            entry = self._cache.entry(key)
        if entry.form == "plain":
            return decoded(entry)
        if entry.origin != "none":
            # Whoever made the bytes decides what runs when they are opened.
            raise ValueError(
                f"cache[{key!r}] ({entry.type}) was not stored by code of isolation 'none', and is opened in workers only;"
                " use isolation 'process' or 'kernel'"
            )
        return reopen(entry.buffers[0])

    def remember(self, key: str, packed: Packed) -> None:
        own = tuple(bytes(each) for each in packed.buffers)
        entry = CacheEntry.of(packed.form, "none", packed.type, packed.repr, packed.head, own)
        try:
            with self._away():
                self._cache.keep(key, entry)
        except CacheFull as error:
            raise ValueError(str(error)) from None

    def forget(self, key: str) -> None:
        with self._away():
            self._cache.forget(key)

    def recount(self) -> list[tuple[str, str]]:
        with self._away():
            return self._cache.listed()
