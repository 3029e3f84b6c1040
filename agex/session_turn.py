"""One task at a time in a session: the others wait in the order in which they came."""

from __future__ import annotations

import threading
from collections import deque

from agex_supervisor.bridge import ENDING, Ending


class SessionTurn:
    """Like a lock, but fair. For all threads; who releases it need not be who acquired it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False

    def acquire(self, timeout_s: float) -> bool:
        """Whether it was had within that time, and before the wait was ended (ENDING)."""
        with self._lock:
            if not self._taken:
                self._taken = True
                return True
            ticket = threading.Event()
            self._waiting.append(ticket)
        try:
            with (ENDING.get() or Ending()).ends(ticket.set):
                ticket.wait(timeout_s)
        finally:
            with self._lock:
                missed = ticket in self._waiting
                if missed:
                    self._waiting.remove(ticket)
        return not missed

    def release(self) -> None:
        """The turn is the next one's."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False
