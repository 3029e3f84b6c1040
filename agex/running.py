"""The calls under way, so that they can be cancelled from anywhere in the process."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Protocol


class Cancellable(Protocol):
    """What can be ended from another thread."""

    def cancel(self) -> None: ...


@dataclass
class Running:
    """The calls of one agent, by task and session."""

    _calls: dict[tuple[str, str], list[Cancellable]] = field(default_factory=dict[tuple[str, str], list[Cancellable]])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, task: str, session: str, call: Cancellable) -> None:
        with self._lock:
            self._calls.setdefault((task, session), []).append(call)

    def remove(self, task: str, session: str, call: Cancellable) -> None:
        with self._lock:
            calls = self._calls.get((task, session), [])
            if call in calls:
                calls.remove(call)
            if not calls:
                self._calls.pop((task, session), None)

    def cancel(self, task: str, session: str) -> bool:
        """Cancel what runs there. False if nothing does."""
        with self._lock:
            calls = list(self._calls.get((task, session), []))
        for call in calls:
            call.cancel()
        return bool(calls)
