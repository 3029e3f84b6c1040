"""What a worker asks of its session's cache, answered. It chooses keys and bytes; the bytes are kept and given back as they are."""

from __future__ import annotations

from typing import assert_never

from agex_protocol import messages as m
from agex_protocol.buffers import enclose
from agex_protocol.errors import ProtocolError
from agex_protocol.placing import MIN_BYTES, total_bytes
from agex_supervisor.arenas import Bulk
from agex_supervisor.cache import Cache, CacheFull
from agex_supervisor.cache_entry import SEALED_HEAD, CacheEntry, Origin, key_fault
from agex_supervisor.host_calls import answer
from agex_supervisor.outbound import dump_entry
from agex_supervisor.turn import Value


class CacheService:
    """Answers for one worker. origin: the isolation that what it writes is marked with."""

    def __init__(self, cache: Cache, origin: Origin) -> None:
        self._cache = cache
        self._origin: Origin = origin

    def __call__(self, asked: m.OfCache, value: Value | None) -> list[object]:
        """The messages that answer. ProtocolError for what no worker of ours asks."""
        if not isinstance(asked, m.Recount) and (fault := key_fault(asked.key)):
            raise ProtocolError(f"a key of the cache that cannot be one: {fault}")
        match asked:
            case m.Recount():
                return answer(asked.action, asked.call, self._cache.listed())
            case m.Recall():
                return self._recalled(asked)
            case m.Remember():
                return self._remembered(asked, value)
            case m.Forget(action, call, key):
                try:
                    self._cache.forget(key)
                except KeyError:
                    return answer(action, call, error_type="KeyError", error=key)
                return answer(action, call)
            case _:
                assert_never(asked)

    def _recalled(self, asked: m.Recall) -> list[object]:
        try:
            entry = self._cache.entry(asked.key)
        except KeyError:
            return answer(asked.action, asked.call, error_type="KeyError", error=asked.key)
        if entry.form == "sealed" and entry.origin == "kernel" and self._origin != "kernel":
            # Whoever made the bytes decides what runs where they are opened, and was held by more than this worker is.
            error = (
                f"cache[{asked.key!r}] ({entry.type}) was stored by code of isolation 'kernel', and is not opened where"
                " code is held by less; use isolation 'kernel'"
            )
            return answer(asked.action, asked.call, error_type="ValueError", error=error)
        head, buffers = dump_entry(entry.form, entry.head, entry.buffers)
        if total_bytes(head, buffers) >= MIN_BYTES:
            return [Bulk(m.Answer(asked.action, asked.call, m.Encoded(b"")), head, buffers)]
        first, encoded = enclose(asked.action, head, buffers)
        return [*first, m.Answer(asked.action, asked.call, encoded)]

    def _remembered(self, asked: m.Remember, value: Value | None) -> list[object]:
        if value is None:
            raise ProtocolError("Remember came without its value")
        head, buffers = value
        if asked.form == "sealed" and (head != SEALED_HEAD or len(buffers) != 1):
            raise ProtocolError("a sealed cache entry is one buffer and nothing else")
        own = tuple(map(bytes, buffers))
        entry = CacheEntry.of(asked.form, self._origin, asked.type, asked.repr, bytes(head), own)
        try:
            self._cache.keep(asked.key, entry)
        except CacheFull as error:
            return answer(asked.action, asked.call, error_type="ValueError", error=str(error))
        return answer(asked.action, asked.call)
