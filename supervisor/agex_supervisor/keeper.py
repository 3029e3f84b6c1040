"""A worker with what is in it for others: its session's actions and the objects behind handles, one turn at a time.

Numbers of objects are the worker's own and believed for nothing: here each counts once, for this worker only. When the session
lets go while handles are left, the keeper stays with the pool (keeping.py) until these are closed, forgotten or idle.
"""

from __future__ import annotations

import functools
import os
import secrets
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from agex_protocol import messages as m
from agex_protocol.budget import Caps
from agex_protocol.buffers import enclose
from agex_protocol.errors import ValueRefused
from agex_protocol.references import MAX_HANDLES, Find
from agex_supervisor.contract import Contract, ContractMismatch
from agex_supervisor.death import Death
from agex_supervisor.display import display
from agex_supervisor.error_info import ErrorInfo, error_info
from agex_supervisor.errors import CodeError, HandleClosed, SessionBusy
from agex_supervisor.handle import Handle, Kept, held_by
from agex_supervisor.host_handles import HostHandles
from agex_supervisor.keeping import Keeping
from agex_supervisor.outbound import Admit, NotSendable
from agex_supervisor.place import Place
from agex_supervisor.pool import Pool
from agex_supervisor.reach import Reach
from agex_supervisor.seats import Seat, lending
from agex_supervisor.turn import Asked, OnCall, OnDial, Turn

CLOSED = Death("closed", "its session is over")
PATIENCE_S = 10.0
# The turns of workers within which something is done.
_TURNS: ContextVar[tuple[object, ...]] = ContextVar("agex_turns", default=())
HANDLE_CLOSED = Death("closed", "the handle was closed")


@dataclass(frozen=True)
class Service:
    """How operations on the objects of a session are run: as its actions are."""

    on_call: OnCall
    on_dial: OnDial
    caps: Caps
    wall_time_s: float
    handles: HostHandles
    admit: Admit | None = None
    may_seal: bool = True
    close: Callable[[], None] = field(default=lambda: None)  # what the session leaves to its last keeper
    interrupt: Callable[[], None] = field(default=lambda: None)  # ends the wait for an async function


class Keeper:
    """Owns a checked out worker whose session has begun. For all threads; finalizers call `forget` at any moment."""

    def __init__(self, pool: Pool, place: Place) -> None:
        self._pool = pool
        self._place = place
        self.service: Service | None = None
        # Held for a turn of the worker, and to let go of it. Reentrant, since a host function may close what calls it.
        self._turn = threading.RLock()
        self._in_turn = 0  # the thread whose turn it is
        self._now: object | None = None  # that turn
        # Guards what follows, and is never held while anything is waited for.
        self._lock = threading.Lock()
        self._live: set[int] = set()
        self._known: set[int] = set()
        self._over: Death | None = None
        self._given_back = False
        # Of handles that are gone; a finalizer can come while its own thread holds the lock, so it only appends.
        self._dropped: deque[int] = deque()
        self._undropped: list[int] = []  # those that the worker has not been told of
        self._reaches: dict[int, Reach] = {}
        self.last_used = time.monotonic()
        self._stays_with: Keeping | None = None  # once nobody but handles needs it
        self._owner = os.getpid()

    # --- the worker ---

    @property
    def seat(self) -> Seat | None:
        """In the pool."""
        return self._place.seat

    def run(
        self,
        asked: Asked,
        buffers: Iterable[m.Buffer],
        *,
        timeout_s: float,
        on_call: OnCall,
        on_dial: OnDial,
        descriptor: Callable[[], int] | None = None,
    ) -> Turn:
        """One turn, once no other one is under way. A turn in which the worker dies is its last."""
        with self._taken():
            return self._converse(asked, buffers, timeout_s, on_call, on_dial, descriptor)

    def let_go(self, death: Death = CLOSED) -> bool:
        """Kill the worker and give its place back, when the turn that this ends is over. The first cause counts.

        Waits for that, but not for ever, since the turn may be with a host function that waits for its caller. Then this is
        False, and the place is given back as soon as that is over.
        """
        if self._owner != os.getpid():
            return True
        with self._lock:
            first = self._over is None
            self._over = self._over or death
        if first:
            self._place.worker.kill(death.cause, death.detail)
            if self.service is not None:
                self.service.interrupt()
        if not self._turn.acquire(timeout=PATIENCE_S):
            return False
        try:
            self._give_back()
        finally:
            self._turn.release()
        return True

    def stay(self, keeping: Keeping) -> None:
        """From here on it is there for its handles alone: its workspace goes home as it is, and later writes stay here."""
        with self._turn:
            self._pool.leave_home(self._place)
            self.last_used = time.monotonic()
            self._stays_with = keeping
        keeping.tell(self)  # the last one may have been forgotten meanwhile

    @property
    def is_needed(self) -> bool:
        """Whether there are handles of its objects."""
        self._settle()
        with self._lock:
            return bool(self._live)

    @property
    def is_used(self) -> bool:
        """Whether a turn is under way."""
        return self._in_turn != 0

    # --- its objects ---

    def use(
        self,
        number: int,
        operation: str,
        name: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        returns: Contract | None,
    ) -> Any:
        """One operation on an object, run in the worker under its policy. HandleClosed, CodeError or ContractError."""
        self._require(number)
        service = self.service
        assert service is not None
        if operation == "self" and not service.may_seal:
            raise NotSendable(
                "a Handle cannot be passed to another worker: the policy seals no objects (results.opaque)"
            )
        contract = returns or _undeclared()
        action = secrets.token_bytes(16)
        head, buffers = service.handles.dump((list(args), dict(kwargs)), service.admit, local=self.number_of)
        first, encoded = enclose(action, head, buffers)
        asked = m.Use(action, number, operation, name, encoded, contract.shape.to_bytes())
        with self._taken():
            self._require(number)
            arenas = self._place.worker.arenas
            arenas.ahead = True
            turn = self._converse(asked, first, service.wall_time_s, service.on_call, service.on_dial)
            if turn.placed and turn.death is None:
                turn.buffers = [*arenas.copied(turn.placed), *turn.buffers]
            if turn.death is not None:
                self.let_go(turn.death)
                self._require(number)
            return self._told(turn, contract)

    def number_of(self, handle: Handle[Any]) -> int | None:
        """The number of a handle's object, if it is one of these. HandleClosed if it is not there any more."""
        held = held_by(handle)
        if held.holder is not self:
            return None
        self._require(held.kept.number)
        return held.kept.number

    def close(self, number: int) -> None:
        """Its handle is closed. The worker that stays for this one alone is let go of before this returns."""
        self._dropped.append(number)
        if self._stays_with is not None and not self.is_needed:
            self._stays_with.end(self, HANDLE_CLOSED)

    def forget(self, number: int) -> None:
        """Its handle is nobody's any more. For a finalizer, so nothing is locked and nobody waited for."""
        self._dropped.append(number)
        if (keeping := self._stays_with) is not None:
            keeping.tell(self)

    def why_gone(self, number: int) -> str:
        gone = self._gone(number)
        return "" if gone is None else gone.detail

    def decode(
        self, contract: Contract, head: bytes, buffers: Sequence[memoryview], caps: Caps, *, find: Find | None = None
    ) -> Any:
        """A value with the handles in it, as Contract.decode; of one that is not what it should be no handle is left."""
        made: list[int] = []

        def hold(place: int, wanted: Any, kept: Kept) -> Handle[Any]:
            self._admit(kept.number)
            made.append(kept.number)
            handle: Handle[Any] = Handle(self, kept, self._reach(place, wanted))
            weakref.finalize(handle, self.forget, kept.number).atexit = False
            return handle

        try:
            return contract.decode(head, buffers, caps, hold=hold, find=find, borrow=True)
        except BaseException:
            self._dropped.extend(made)
            raise

    def _give_back(self) -> None:
        """By whoever has the turn."""
        with self._lock:
            given, self._given_back = self._given_back, True
        if given:
            return
        try:
            self._pool.checkin(self._place)
        finally:
            self._place.worker.arenas.close()
        if self._stays_with is not None:
            self._stays_with.ended(self)
            if self.service is not None:
                self.service.close()

    def _converse(
        self,
        asked: Asked,
        buffers: Iterable[m.Buffer],
        timeout_s: float,
        on_call: OnCall,
        on_dial: OnDial,
        descriptor: Callable[[], int] | None = None,
    ) -> Turn:
        drop = [m.Drop(tuple(gone))] if (gone := self.take_dropped()) else []
        try:
            with lending(self):
                return self._place.worker.run(
                    asked,
                    chain(drop, buffers),
                    timeout_s=timeout_s,
                    on_call=on_call,
                    on_dial=on_dial,
                    descriptor=descriptor,
                )
        finally:
            self.last_used = time.monotonic()

    def _told(self, turn: Turn, contract: Contract) -> Any:
        assert self.service is not None
        match turn.ending:
            case m.Raised(_, kind, message, traceback):
                raise _code_error(error_info(kind, message, traceback))
            case m.Finished(_, value) if value.head or value.buffers or value.placed:
                try:
                    return self.decode(contract, turn.head, turn.buffers, self.service.caps)
                except ContractMismatch as error:
                    raise _code_error(error_info("ContractError", str(error), "")) from None
                except ValueRefused as error:
                    what = str(error)
            case _:
                what = f"{type(turn.ending).__name__} does not answer what was asked"
        death = Death("violation", display(what, limit=500, one_line=True))
        self.let_go(death)
        raise _closed(death)

    def _admit(self, number: int) -> None:
        """ValueRefused for a number that this worker has used before, or one more object than it may keep."""
        self._settle()
        with self._lock:
            if number in self._known:
                raise ValueRefused(f"object {number} has been handed out before")
            if len(self._live) >= MAX_HANDLES:
                raise ValueRefused(f"more than {MAX_HANDLES} objects behind handles")
            self._known.add(number)
            self._live.add(number)

    def _require(self, number: int) -> None:
        if (gone := self._gone(number)) is not None:
            raise _closed(gone)

    def _gone(self, number: int) -> Death | None:
        if self._owner != os.getpid():
            return Death("closed", "its worker is that of the process that this one was forked from")
        self._settle()
        with self._lock:
            if self._over is not None:
                return self._over
            return None if number in self._live else HANDLE_CLOSED

    def _reach(self, place: int, wanted: Any) -> Reach:
        if place not in self._reaches:
            self._reaches[place] = Reach(wanted)
        return self._reaches[place]

    def _settle(self) -> None:
        """Count off the handles that are gone."""
        with self._lock:
            while self._dropped:
                number = self._dropped.popleft()
                if number in self._live:
                    self._live.discard(number)
                    self._undropped.append(number)

    def take_dropped(self) -> list[int]:
        """Those of its objects that have no handle any more, and of which it was not told."""
        self._settle()
        with self._lock:
            taken, self._undropped = self._undropped, []
            return taken

    @contextmanager
    def _taken(self) -> Generator[None]:
        """The worker's turn is the caller's. SessionBusy where it does not come in time."""
        me = threading.get_ident()
        # The context tells of who is called in this turn, also on another thread: an async function in its loop.
        if self._in_turn == me or (self._now is not None and self._now in _TURNS.get()):
            raise RuntimeError(
                "the worker that holds this object is running the code that called you: it cannot do both. Use it when that"
                " is over; give it back as it is; or take what you need as data, or sealed (agex.Opaque)"
            )
        if not self._turn.acquire(timeout=self._pool.wait_s):
            raise SessionBusy(f"the worker is busy with something else; waited {self._pool.wait_s:g} s")
        self._now = object()
        before = _TURNS.set((*_TURNS.get(), self._now))
        try:
            self._in_turn = me
            yield
        finally:
            _TURNS.reset(before)
            if self._over is not None:
                self._give_back()
            self._in_turn, self._now = 0, None
            self._turn.release()


@functools.cache
def _undeclared() -> Contract:
    return Contract.undeclared()


def _code_error(told: ErrorInfo) -> CodeError:
    return CodeError(f"{told.type}: {told.message}", error=told)


def _closed(death: Death) -> HandleClosed:
    why = death.detail if death.cause in ("closed", "idle") else f"its worker ended ({death.cause}: {death.detail})"
    return HandleClosed(f"the object behind this handle is gone: {why}", death.cause)
