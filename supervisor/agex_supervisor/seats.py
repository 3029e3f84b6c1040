"""The seats of a pool: how many sessions may hold a worker at once, and whose seat a session under another one takes.

Code that waits in this process for other code stands still, its worker too. So what it waits for takes its seat: if that waited
for a free one instead, agents under agents would fill a pool with sessions that wait for each other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from agex_supervisor.bridge import ENDING, Ending, WaitEnded


class Seat:
    """For one worker. `under` is whose seat it took, `over` who took it; either may be None. The Seats alone change it."""

    def __init__(self, seats: Seats, under: Seat | None) -> None:
        self.seats = seats
        self.under = under
        self.over: Seat | None = None
        self.given_back = False


class Lender(Protocol):
    """Holds a seat, or none at the moment, which what it waits for may take."""

    @property
    def seat(self) -> Seat | None: ...


_LENDERS: ContextVar[tuple[Lender, ...]] = ContextVar("LENDERS", default=())


@contextmanager
def lending(lender: Lender) -> Generator[None]:
    """What is called meanwhile is waited for by this one, and by those that wait for it."""
    token = _LENDERS.set((lender, *_LENDERS.get()))
    try:
        yield
    finally:
        _LENDERS.reset(token)


class Seats:
    """So many, for all threads. A seat that was taken from a lender is none of the free ones, and comes back to the lender."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._lent = 0
        self._changed = threading.Condition()

    @property
    def lent(self) -> int:
        """How many are held by sessions whose seat was taken by what they wait for."""
        return self._lent

    def take(self, timeout_s: float) -> Seat | None:
        """That of the nearest of the lenders that has one here, unless another one took it; else a free one. None where
        neither came in time. WaitEnded where the wait was ended."""
        lenders, ending = _LENDERS.get(), ENDING.get() or Ending()
        with ending.ends(self._wake), self._changed:
            seat = None
            until = time.monotonic() + timeout_s
            while not ending.ended and (seat := self._taken(lenders)) is None:
                if not self._changed.wait(max(0.0, until - time.monotonic())):
                    return self._taken(lenders)
        if seat is None:
            raise WaitEnded
        return seat

    def give_back(self, seat: Seat) -> None:
        """Its worker is gone. Who took it meanwhile keeps what it was made of."""
        with self._changed:
            seat.given_back = True
            if seat.over is not None:
                seat.over.under = seat.under
            if seat.under is not None:
                seat.under.over = seat.over
            if seat.over is not None or seat.under is not None:
                self._lent -= 1
            else:
                self._free += 1
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _taken(self, lenders: tuple[Lender, ...]) -> Seat | None:
        """Under the lock."""
        under = next((seat for each in lenders if (seat := each.seat) is not None and self._has(seat)), None)
        if under is not None and under.over is None:
            under.over = taken = Seat(self, under)
            self._lent += 1
            return taken
        if self._free > 0:
            self._free -= 1
            return Seat(self, None)
        return None

    def _has(self, seat: Seat) -> bool:
        return seat.seats is self and not seat.given_back
