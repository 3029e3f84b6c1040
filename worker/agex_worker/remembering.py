"""The cache of a session as the supervisor has it: what `cache` in agent code stands on in a worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agex_protocol import messages as m
from agex_worker.cache import Packed

Value = tuple[bytes, list[Any]]
# Sends what the function makes of the number of the call and the value as it was sent; gives what is answered.
Ask = Callable[[Callable[[bytes, int, list[m.Encoded]], m.OfCache], list[Value]], Any]


class Remembering:
    """Each operation is one question, so that nothing is lost with the action."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def recall(self, key: str) -> object:
        return self._ask(lambda action, call, _: m.Recall(action, call, key), [])

    def remember(self, key: str, packed: Packed) -> None:
        def message(action: bytes, call: int, values: list[m.Encoded]) -> m.OfCache:
            return m.Remember(action, call, key, packed.form, packed.type, packed.repr, values[0])

        self._ask(message, [(packed.head, packed.buffers)])

    def forget(self, key: str) -> None:
        self._ask(lambda action, call, _: m.Forget(action, call, key), [])

    def recount(self) -> list[tuple[str, str]]:
        listed: list[tuple[str, str]] = self._ask(lambda action, call, _: m.Recount(action, call), [])
        return listed
