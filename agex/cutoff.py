"""Ends an action when the time of its task is over. The action's own deadline does not count what host functions take."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

# Of two that are over at once the action's own is heard first.
GRACE_S = 0.05


class Cutoff:
    """Calls `end`, from a thread of its own, where what is within still runs after so many seconds; None: never.

    Never once that is over: what `end` would meet then is another's.
    """

    def __init__(self, after_s: float | None, end: Callable[[], object]) -> None:
        self._end = end
        self._lock = threading.Lock()
        self._is_over = False
        self._timer = None if after_s is None else threading.Timer(after_s + GRACE_S, self._pass)

    def __enter__(self) -> Self:
        if self._timer is not None:
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._is_over = True
        if self._timer is not None:
            self._timer.cancel()

    def _pass(self) -> None:
        with self._lock:
            if not self._is_over:
                self._end()
