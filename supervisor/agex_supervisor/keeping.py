"""The workers of a pool that are there for handles alone: how many there may be, and how long one stays that nobody uses."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING

from agex_supervisor.death import Death
from agex_supervisor.errors import PoolExhausted

if TYPE_CHECKING:
    from agex_supervisor.keeper import Keeper


class Keeping:
    """For all threads. Its own thread is started when the first worker may have to stay, and sleeps while none is due."""

    def __init__(self, most: int, ttl_s: float) -> None:
        self.most = most
        self._ttl_s = ttl_s
        self._lock = threading.Lock()
        self._reserved = 0
        self._keepers: set[Keeper] = set()
        self._running = False
        self._closed = False
        # Whose handle is gone, or None to look again. Finalizers put here, in whatever thread and moment they come: of all
        # queues this one alone can be used then.
        self._told: queue.SimpleQueue[Keeper | None] = queue.SimpleQueue()

    def __len__(self) -> int:
        with self._lock:
            return len(self._keepers)

    def reserve(self) -> None:
        """Room for one that may have to stay, before it has made anything. PoolExhausted where there is none."""
        with self._lock:
            if self._reserved >= self.most:
                raise PoolExhausted(
                    f"{self.most} workers stay for the handles of their objects, and the pool keeps no more; close"
                    " handles that are not needed, or make agex.Pool(max_kept=...) larger"
                )
            if not self._running:
                threading.Thread(target=self._watch, name="agex-keeping", daemon=True).start()
                self._running = True
            self._reserved += 1

    def give_up(self) -> None:
        """The room that was reserved is not needed, or not any more."""
        with self._lock:
            self._reserved -= 1

    def keep(self, keeper: Keeper) -> None:
        """It stays, in the room that was reserved for it; where its workspace cannot be brought home, it ends."""
        with self._lock:
            self._keepers.add(keeper)
            closed = self._closed
        if closed:
            self.end(keeper, _POOL_CLOSED)
            return
        try:
            keeper.stay(self)
        except OSError as error:
            self.end(keeper, Death("closed", f"its workspace could not be brought home ({error})"))

    def tell(self, keeper: Keeper) -> None:
        """One of its handles is gone, or may be. For finalizers, too."""
        self._told.put(keeper)

    def end(self, keeper: Keeper, death: Death) -> None:
        """Let go of one, if it is still there."""
        keeper.let_go(death)
        self.ended(keeper)

    def ended(self, keeper: Keeper) -> None:
        """It is not there any more; its room is free."""
        with self._lock:
            if keeper in self._keepers:
                self._keepers.discard(keeper)
                self._reserved -= 1

    def close(self) -> None:
        """Let go of all of them."""
        with self._lock:
            self._closed = True
            keepers = list(self._keepers)
        for keeper in keepers:
            self.end(keeper, _POOL_CLOSED)
        self._told.put(None)

    def _watch(self) -> None:
        while not self._is_over():
            self._look_at_next()
            self._end_idle()

    def _is_over(self) -> bool:
        with self._lock:
            return self._closed and not self._keepers

    def _look_at_next(self) -> None:
        try:
            keeper = self._told.get(timeout=self._until_due())
        except queue.Empty:
            return
        if keeper is not None and not keeper.is_needed:
            self.end(keeper, Death("closed", "its last handle was closed"))

    def _end_idle(self) -> None:
        for keeper in self._due():
            self.end(keeper, Death("idle", f"nobody used it for {self._ttl_s:g} s (Pool(handle_ttl_s=...))"))

    def _due(self) -> list[Keeper]:
        now = time.monotonic()
        with self._lock:
            return [each for each in self._keepers if not each.is_used and each.last_used + self._ttl_s <= now]

    def _until_due(self) -> float | None:
        now = time.monotonic()
        with self._lock:
            waits = [each.last_used + self._ttl_s - now for each in self._keepers if not each.is_used]
            used = any(each.is_used for each in self._keepers)
        # The end of a turn wakes nobody: one that is used now is looked at again when it could be idle at the earliest.
        waits += [self._ttl_s] if used else []
        return max(0.0, min(waits)) if waits else None


_POOL_CLOSED = Death("closed", "the pool was closed")
