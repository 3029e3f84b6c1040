"""Looking again and again for what is about to come, for a moment, before going to sleep for it.

To put a process to sleep and wake it takes two processors longer than both sides need for a call of a host function. Others
that want the processor get it at every look. Where what was waited for came much later, the next waits go to sleep at once; where
it came a little later, both sides share one processor most likely, and two that do not sleep are what has the kernel part them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

SPIN_S = 60e-6
NEAR_S = 200e-6
MOST_NEAR = 100  # within which the kernel has looked at who should move
MOST_SKIPPED = 64
# With one processor for both, looking only keeps the other from running.
_IS_USELESS = len(os.sched_getaffinity(0)) == 1 if hasattr(os, "sched_getaffinity") else os.cpu_count() == 1


class Spin:
    """Of one side of one conversation, for one thread at a time."""

    __slots__ = ("_missed_at", "_near", "_penalty", "_skip")

    def __init__(self) -> None:
        self._missed_at = 0.0
        self._near = 0
        self._penalty = 1
        self._skip = 0

    def sees(self, arrived: Callable[[], bool]) -> bool:
        """Whether it arrived within SPIN_S; False at once where it is not worth looking. Each look takes in what is there.

        Who sleeps for it then says when it came, by `woke`.
        """
        if self._skip or _IS_USELESS:
            self._skip = max(self._skip - 1, 0)
            return False
        until = time.perf_counter() + SPIN_S
        while not arrived():
            if (now := time.perf_counter()) >= until:
                self._missed_at = now
                return False
            os.sched_yield()
        self._near, self._penalty = 0, 1
        return True

    def woke(self) -> None:
        """What was not seen in time has come now."""
        if self._missed_at:
            is_near = time.perf_counter() - self._missed_at <= NEAR_S
            self._missed_at = 0.0
            if is_near and self._near < MOST_NEAR:
                self._near += 1
            else:
                self._skip = self._penalty
                self._penalty = min(2 * self._penalty, MOST_SKIPPED)
