"""Looking again and again for what is about to come, for a moment, before going to sleep for it.

To put a process to sleep and wake it takes two processors longer than both sides need for a call of a host function. Others
that want the processor get it at every look, and where nothing came in time the next waits go to sleep at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

SPIN_S = 60e-6
MOST_SKIPPED = 64
# With one processor for both, looking only keeps the other from running.
_IS_USELESS = len(os.sched_getaffinity(0)) == 1 if hasattr(os, "sched_getaffinity") else os.cpu_count() == 1


class Spin:
    """Of one side of one conversation, for one thread at a time."""

    __slots__ = ("_penalty", "_skip")

    def __init__(self) -> None:
        self._penalty = 1
        self._skip = 0

    def sees(self, arrived: Callable[[], bool]) -> bool:
        """Whether it arrived within SPIN_S; False at once where it is not worth looking. Each look takes in what is there."""
        if self._skip or _IS_USELESS:
            self._skip = max(self._skip - 1, 0)
            return False
        until = time.perf_counter() + SPIN_S
        while not arrived():
            if time.perf_counter() >= until:
                self._skip = self._penalty
                self._penalty = min(2 * self._penalty, MOST_SKIPPED)
                return False
            os.sched_yield()
        self._penalty = 1
        return True
