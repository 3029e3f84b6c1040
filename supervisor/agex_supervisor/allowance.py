"""What is left of the host calls that a policy grants to one task: how many now, and how many bytes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from agex_policies.host_calls import HostCallLimits


class Allowance:
    """A bucket of calls that fills up again with time, and a budget of bytes that does not.

    For all threads: workers that stay for handles use up the same. `clock` tells seconds that only go forward.
    """

    def __init__(self, limits: HostCallLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._calls = float(limits.rate.count) if limits.rate else 0.0
        self._filled_at = clock()
        self._bytes = 0
        self._lock = threading.Lock()

    def refusal_of_call(self) -> str:
        """Count one call. What to tell the agent where it is one too many, else an empty string."""
        rate = self._limits.rate
        if rate is None:
            return ""
        with self._lock:
            now = self._clock()
            self._calls = min(float(rate.count), self._calls + (now - self._filled_at) * rate.per_s)
            self._filled_at = now
            if self._calls < 1:
                return (
                    f"more host calls than {rate.count} in {rate.period_s:g} s; wait {1 / rate.per_s:g} s, or call less"
                )
            self._calls -= 1
            return ""

    @property
    def counts_bytes(self) -> bool:
        """Whether there is a budget of bytes."""
        return self._limits.most_bytes is not None

    def refusal_of_bytes(self, size: int) -> str:
        """Count bytes of arguments or of a result. What to tell the agent where they are too many, else an empty string."""
        most = self._limits.most_bytes
        if most is None:
            return ""
        with self._lock:
            self._bytes += size
            spent = self._bytes
        if spent > most:
            return f"more than {most} bytes in host calls of this task; nothing more of them crosses"
        return ""
