"""One task at a time in a session: the others wait in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque


class SessionTurn:
    """Like a lock, but fair. For all threads; who releases it need not be who acquired it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Lock] = deque()
        self._taken = False

    def acquire(self, timeout_s: float) -> bool:
        """Whether it was had within that time."""
        with self._lock:
            if not self._taken:
                self._taken = True
                return True
            ticket = threading.Lock()
            ticket.acquire()
            self._waiting.append(ticket)
        if ticket.acquire(timeout=timeout_s):
            return True
        with self._lock:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                return False
            return True  # it was handed over at the last moment

    def release(self) -> None:
        """The turn is the next one's."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
