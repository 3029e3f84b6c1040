"""One tenant's run of actions: names bound once, a workspace that lasts, and a worker that is replaced when it dies."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
import weakref
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from agex_protocol import messages as m
from agex_protocol.budget import Caps
from agex_protocol.errors import ProtocolError
from agex_protocol.plan import LockdownPlan
from agex_supervisor.arena import Tenant
from agex_supervisor.arenas import Arenas, Cargo
from agex_supervisor.awaiting import Awaiting
from agex_supervisor.broker import Broker
from agex_supervisor.cache import Cache
from agex_supervisor.cache_service import CacheService
from agex_supervisor.death import Death
from agex_supervisor.dialling import Resolve
from agex_supervisor.equipment import Equipment
from agex_supervisor.errors import PreloadFailed, SessionBusy, WorkerFailed
from agex_supervisor.furnishing import Furniture
from agex_supervisor.handle import Handle
from agex_supervisor.host_handles import HostHandles
from agex_supervisor.keeper import CLOSED, Keeper, Service
from agex_supervisor.outbound import NotSendable
from agex_supervisor.place import Place
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.promises import BY_SUPERVISOR, CELLS, PROCESS_HOLDS, LockdownReport, hold
from agex_supervisor.transfer import Late
from agex_supervisor.turn import OnCall, Turn, no_network

MAX_CODE_CHARS = 1 << 20


class Session:
    """Runs actions one after the other; `cancel()` may come from another thread.

    workspace: a directory made by the pool, or None where the kit names one of the caller's own. unenforced: policy
    keys that this isolation cannot hold, for the report. resolve: finds the addresses of granted names. handles: the
    objects of this process that its worker may name; a worker that stays for handles keeps its own of them. furniture: what
    each of its workers finds in the workspace as it was given. cache: what its code keeps; a fresh one if there is none.
    """

    def __init__(
        self,
        pool: Pool,
        kit: Kit,
        equipment: Equipment,
        workspace: Path | None,
        unenforced: Sequence[str] = (),
        *,
        resolve: Resolve = socket.getaddrinfo,
        handles: HostHandles | None = None,
        furniture: Furniture | None = None,
        cache: Cache | None = None,
    ) -> None:
        self._furniture = furniture
        self._unenforced = list(unenforced)
        self._pool = pool
        self._kit = kit
        self._equipment = equipment
        self._workspace = workspace
        self._resolve = resolve
        self.handles = HostHandles(()) if handles is None else handles
        self.on_start: Callable[[Keeper], None] = lambda keeper: None  # has what is in a new worker served
        self._on_cache = CacheService(
            Cache(max_bytes=kit.plan.limits.result_bytes) if cache is None else cache, kit.plan.isolation
        )
        self._place: Place | None = None
        self._keeper: Keeper | None = None  # of that place
        self._left: weakref.WeakSet[Keeper] = weakref.WeakSet()  # that stay for handles of this session
        self._reserved = False
        self._tenant = Tenant(confined=kit.plan.isolation == "kernel")
        self._inputs: tuple[object, Cargo] | None = None
        # Held while a worker is used or let go of, so that close() from another thread waits for the run that it ends.
        # Reentrant, because a host function may close the session that calls it.
        self._busy = threading.RLock()
        # Guards the two below: a cancellation counts for the run that is under way, and for no later one.
        self._state = threading.Lock()
        self._running = self._cancelled = False
        self._broker = self._new_broker()
        self.report = LockdownReport(kit.plan.isolation)

    @property
    def wall_time_s(self) -> float:
        """The policy's limit on one action."""
        return self._kit.plan.limits.wall_time_s

    @property
    def keeper(self) -> Keeper | None:
        """Of the worker that the last action ran in, while it lives."""
        return self._keeper

    def start(self, until: float = float("inf"), *, keeps: bool = False) -> None:
        """Have a locked worker with the session's names bound. Raises IsolationUnavailable, PreloadFailed, and what the pool does.

        keeps: it may have to stay for handles after `release()`, so room for that is reserved.
        """
        if keeps and not self._reserved:
            self._pool.keeping.reserve()
            self._reserved = True
        if self._place is not None and self._place.worker.alive:
            return
        self._let_go()
        if self._keeper is not None:
            raise SessionBusy("a host function still has the turn of this session's last worker; try again later")
        place = self._pool.checkout(self._kit, self._workspace, until, self._furniture)
        self._place, self._keeper = place, Keeper(self._pool, place)
        self.on_start(self._keeper)
        place.worker.on_returned = self.handles.returned
        place.worker.on_cache = self._on_cache
        place.worker.arenas = Arenas(self._pool.arenas, self._tenant, place.worker.gone, self._kit.plan.limits)
        self.report = self._reported(place)
        work = place.worker.slot.workspace if place.lent else str(place.home)
        try:
            complaint = place.worker.begin(self._equipment.begin(work))
        except BaseException:
            self._let_go()
            raise
        if complaint:
            self._let_go()
            raise PreloadFailed("", f"the names registered for this session cannot be made in a worker: {complaint}")

    def run(
        self,
        code: str,
        inputs: Mapping[str, object],
        returns: bytes,
        *,
        task: bool,
        timeout_s: float,
        on_call: OnCall,
        number: int = 0,
    ) -> Turn:
        """One action. How it ended is in the Turn; raises only what `start()` raises, and NotSendable for the inputs."""
        if len(code) > MAX_CODE_CHARS:
            raise NotSendable(
                f"the code has {len(code)} characters, at most {MAX_CODE_CHARS} cross; pass data as inputs"
            )
        run = m.Run(secrets.token_bytes(16), code, m.Encoded(b""), returns, task, number)
        with self._busy:
            try:
                with self._under_way():
                    turn = self._run(run, self._cargo(inputs, task), timeout_s, on_call)
            finally:
                if not task:
                    self._unload()
            if turn.death is not None or self._cancelled:
                self._let_go(turn.death)
            elif turn.placed:
                self._bring_in(turn, task)
            return turn

    def tend(self, asked: m.OnWorkspace, *, timeout_s: float, on_call: OnCall) -> Turn:
        """One action on the workspace. How it ended is in the Turn; raises only what `start()` raises."""
        with self._busy:
            with self._under_way():
                turn = self._run(asked, None, timeout_s, on_call)
            if turn.death is not None or self._cancelled:
                self._let_go(turn.death)
            return turn

    def outline(self, returns: bytes, timeout_s: float) -> Turn | None:
        """What Python the workspace holds, as the worker sees it; None where it holds nothing. Raises as `start()` does."""
        asked = m.Outline(secrets.token_bytes(16), returns)
        with self._busy:
            self.start()
            assert self._place is not None and self._keeper is not None
            if self._place.is_empty():
                return None
            turn = self._keeper.run(asked, (), timeout_s=timeout_s, on_call=_no_calls, on_dial=no_network)
            if turn.death is not None:
                self._let_go(turn.death)
            elif turn.placed:
                turn.buffers = [*self._place.worker.arenas.copied(turn.placed), *turn.buffers]
            return turn

    @contextmanager
    def workspace(self) -> Generator[int | None]:
        """A descriptor of the workspace as the last action left it; nothing of the session runs meanwhile. None where that
        left no folder there."""
        with self._busy, ExitStack() as closing:
            opened: int | None = None
            place, home = self._place, self._workspace
            assert home is not None
            try:
                opened = self._pool.opened_home(home) if place is None or not place.lent else place.worker.slot.opened()
                closing.callback(os.close, opened)
            except OSError:
                opened = None
            yield opened

    def cancel(self) -> bool:
        """End the action under way, from any thread. Nothing happens if there is none, and it says so."""
        with self._state:
            if self._running:
                self._cancelled = True
                if (place := self._place) is not None:
                    place.worker.cancel()
            return self._running

    def close(self) -> None:
        """Kill the worker, and wait for the run that this ends. The workspace stays where it was made.

        Workers that stayed for handles of this session are let go of, too.
        """
        self.cancel()
        with self._busy:
            for keeper in list(self._left):
                self._pool.keeping.end(keeper, CLOSED)
            self._let_go()
            self._give_up_room()
            self._leave()
            self.handles.clear()
            self._broker.close()

    def release(self) -> bool:
        """The session is over, but a worker with objects behind handles stays for these. The next `start` has a new one.

        Whether it does.
        """
        with self._busy:
            keeper = self._keeper
            if keeper is None or not self._reserved or not keeper.is_needed:
                self._let_go()
                self._give_up_room()
                self._broker.close()
                self.handles.clear()
                stays = False
            else:
                self._place, self._keeper, self._reserved = None, None, False
                self.handles = self.handles.fresh()
                self._left.add(keeper)
                self._pool.keeping.keep(keeper)
                stays = True
            self._leave()
            self._broker = self._new_broker()
            return stays

    @contextmanager
    def _under_way(self) -> Generator[None]:
        """An action that a cancellation counts for."""
        if self._place is None or not self._place.worker.alive:
            self.handles.clear()
        with self._state:
            self._running, self._cancelled = True, False
        try:
            yield
        finally:
            with self._state:
                self._running = False

    def _run(self, asked: m.Run | m.OnWorkspace, cargo: Cargo | None, timeout_s: float, on_call: OnCall) -> Turn:
        until = time.monotonic() + timeout_s
        if (
            cargo is not None
            and self._place is not None
            and not self._place.worker.arenas.has_room_for(cargo.placed_bytes)
        ):
            self._let_go()  # it kept earlier inputs, which cannot be written again while it lives
        try:
            self.start(until)
        except Late as late:
            return Turn(death=Death("timeout", str(late)))
        except WorkerFailed:
            if not self._cancelled:
                raise
            return Turn(death=Death("cancelled", "cancelled by the caller"))
        assert self._place is not None and self._keeper is not None
        if self._cancelled:
            self._place.worker.cancel()  # it came before there was a worker to end
        on_dial = self._broker.dial if self._kit.plan.network else no_network
        arenas = self._place.worker.arenas
        if isinstance(asked, m.Run) and cargo is not None:
            arenas.ahead = not self._is_last(asked.task)  # what is the last is lent at its end
            addressed = cargo.addressed(asked, arenas)
            turn = self._keeper.run(
                addressed.message,
                addressed.first,
                timeout_s=timeout_s,
                on_call=on_call,
                on_dial=on_dial,
                descriptor=addressed.descriptor,
            )
        else:
            arenas.ahead = True
            turn = self._keeper.run(asked, (), timeout_s=timeout_s, on_call=on_call, on_dial=on_dial)
        turn.addresses += [refusal.target for refusal in self._broker.take_refusals()]
        return turn

    def serve(self, keeper: Keeper, on_call: OnCall, caps: Caps, awaiting: Awaiting) -> None:
        """Have what is in a worker used as this session's actions are run. `awaiting` is closed when it ends after the session."""
        plan, equipment, broker = self._kit.plan, self._equipment, self._broker
        on_dial = broker.dial if plan.network else no_network
        closing = ExitStack()
        closing.callback(awaiting.close)
        closing.callback(broker.close)
        keeper.service = Service(
            on_call,
            on_dial,
            caps,
            plan.limits.wall_time_s,
            self.handles,
            equipment.admit,
            equipment.may_seal,
            closing.close,
            awaiting.interrupt,
        )

    def _let_go(self, death: Death | None = None) -> None:
        if self._keeper is None or self._keeper.let_go(death or CLOSED):
            self._keeper = self._place = None

    def _give_up_room(self) -> None:
        if self._reserved:
            self._reserved = False
            self._pool.keeping.give_up()

    def _new_broker(self) -> Broker:
        return Broker(self._kit.plan.network, resolve=self._resolve, abandoned=lambda: self._cancelled)

    # --- values ---

    def _cargo(self, inputs: Mapping[str, object], task: bool) -> Cargo:
        """The inputs, ready to go. Those of a task are what they were at its call: they are pickled once."""
        if self._inputs is not None:
            known, cargo = self._inputs
            if task and known is inputs:
                return cargo
            self._unload()
        lent, handles = len(self.handles), list[Handle[Any]]()

        def local(handle: Handle[Any]) -> int | None:
            handles.append(handle)
            return None if self._keeper is None else self._keeper.number_of(handle)

        cargo = Cargo(
            self._pool.arenas, self._tenant, *self.handles.dump(dict(inputs), self._equipment.admit, local=local)
        )
        if task:
            cargo.keep()
        # What names objects is for this action alone: the worker may give one back, and another has others.
        names_objects = bool(handles) or len(self.handles) > lent
        self._inputs = (None if names_objects else inputs, cargo)
        return cargo

    def _unload(self) -> None:
        if self._inputs is not None:
            (_, cargo), self._inputs = self._inputs, None
            cargo.close()

    def _leave(self) -> None:
        self._unload()
        self._pool.arenas.leave(self._tenant)
        self._tenant = Tenant(confined=self._kit.plan.isolation == "kernel")

    def _bring_in(self, turn: Turn, task: bool) -> None:
        """Complete the buffers of a turn's value. Those of a worker that is not needed any more are not copied."""
        assert self._place is not None
        arenas = self._place.worker.arenas
        last = self._is_last(task) and (not task or isinstance(turn.ending, m.Succeeded))
        placed = arenas.lent(turn.placed, self._let_go) if last else arenas.copied(turn.placed)
        turn.buffers = [*placed, *turn.buffers]

    def _is_last(self, task: bool) -> bool:
        """Whether the worker is needed no more when the action has given its value."""
        if self._reserved or (self._keeper is not None and self._keeper.is_needed):
            return False
        return task or self._equipment.sandbox.mode == "full"

    def _reported(self, place: Place) -> LockdownReport:
        layers = {**place.worker.layers, **BY_SUPERVISOR}
        verified = sorted(place.worker.verified)
        if self._kit.plan.isolation == "kernel":
            try:
                promises = hold(layers, _required(self._kit.plan))
            except BaseException:
                self._let_go()
                raise
        else:
            promises = {promise: list(PROCESS_HOLDS.get(promise, ())) for promise in CELLS}
        unenforced = [promise for promise, holders in promises.items() if not holders] + self._unenforced
        return LockdownReport(self._kit.plan.isolation, promises, layers, unenforced, verified, place.worker.probes)


def _no_calls(call: m.Call, values: object) -> list[object]:
    raise ProtocolError(f"a call of {call.name[:60]!r} where nothing runs")


def _required(plan: LockdownPlan) -> list[str]:
    return [layer for layer, how in (("namespaces", plan.namespaces), ("cgroup", plan.cgroup)) if how == "required"]
