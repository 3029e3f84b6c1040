"""One tenant's run of actions: names bound once, a workspace that lasts, and a worker that is replaced when it dies."""

from __future__ import annotations

import secrets
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agex_protocol import messages as m
from agex_protocol.plan import LockdownPlan, SandboxPlan
from agex_supervisor.arena import Tenant
from agex_supervisor.arenas import Arenas, Cargo
from agex_supervisor.broker import Broker
from agex_supervisor.death import Death
from agex_supervisor.dialling import Resolve
from agex_supervisor.errors import PreloadFailed, WorkerFailed
from agex_supervisor.outbound import Admit, NotSendable, dump
from agex_supervisor.pool import Kit, Place, Pool
from agex_supervisor.promises import BY_SUPERVISOR, CELLS, PROCESS_HOLDS, LockdownReport, hold
from agex_supervisor.transfer import Late
from agex_supervisor.turn import OnCall, Turn, no_network

MAX_CODE_CHARS = 1 << 20


@dataclass(frozen=True)
class Equipment:
    """What a session's code finds: the inner sandbox's plan, bound classes and functions (pickled), host functions."""

    sandbox: SandboxPlan = field(default_factory=SandboxPlan)
    bindings: bytes = b""
    functions: tuple[m.HostFunction, ...] = ()
    admit: Admit | None = None  # asked for what an input would take along by value


class Session:
    """Runs actions one after the other; `cancel()` may come from another thread.

    workspace: a directory made by the pool, or None where the kit names one of the caller's own. unenforced: policy
    keys that this isolation cannot hold, for the report. resolve: finds the addresses of granted names.
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
    ) -> None:
        self._unenforced = list(unenforced)
        self._pool = pool
        self._kit = kit
        self._equipment = equipment
        self._workspace = workspace
        self._place: Place | None = None
        self._tenant = Tenant(confined=kit.plan.isolation == "kernel")
        self._inputs: tuple[object, Cargo] | None = None
        # Held while a worker is used or let go of, so that close() from another thread waits for the run that it ends.
        # Reentrant, because a host function may close the session that calls it.
        self._busy = threading.RLock()
        # Guards the two below: a cancellation counts for the run that is under way, and for no later one.
        self._state = threading.Lock()
        self._running = False
        self._cancelled = False
        self._broker = Broker(kit.plan.network, resolve=resolve, abandoned=lambda: self._cancelled)
        self.report = LockdownReport(kit.plan.isolation)

    @property
    def wall_time_s(self) -> float:
        """The policy's limit on one action."""
        return self._kit.plan.limits.wall_time_s

    def start(self, until: float = float("inf")) -> None:
        """Have a locked worker with the session's names bound. Raises IsolationUnavailable, PreloadFailed, PoolExhausted."""
        if self._place is not None and self._place.worker.alive:
            return
        self._let_go()
        place = self._pool.checkout(self._kit, self._workspace, until)
        self._place = place
        place.worker.arenas = Arenas(self._pool.arenas, self._tenant, place.worker.gone, self._kit.plan.limits)
        self.report = self._reported(place)
        work = place.worker.slot.workspace if place.lent else str(place.home)
        begin = m.Begin(self._equipment.sandbox, self._equipment.bindings, self._equipment.functions, work)
        try:
            complaint = place.worker.begin(begin)
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
    ) -> Turn:
        """One action. How it ended is in the Turn; raises only what `start()` raises, and NotSendable for the inputs."""
        if len(code) > MAX_CODE_CHARS:
            raise NotSendable(
                f"the code has {len(code)} characters, at most {MAX_CODE_CHARS} cross; pass data as inputs"
            )
        run = m.Run(secrets.token_bytes(16), code, m.Encoded(b""), returns, task)
        with self._busy:
            with self._state:
                self._running, self._cancelled = True, False
            try:
                turn = self._run(run, self._cargo(inputs, task), timeout_s, on_call)
            finally:
                with self._state:
                    self._running = False
                if not task:
                    self._unload()
            if turn.death is not None or self._cancelled:
                self._let_go()
            elif turn.placed:
                self._bring_in(turn, task)
            return turn

    def cancel(self) -> None:
        """End the action under way, from any thread. Nothing happens if there is none."""
        with self._state:
            if self._running:
                self._cancelled = True
                if (place := self._place) is not None:
                    place.worker.cancel()

    def close(self) -> None:
        """Kill the worker, and wait for the run that this ends. The workspace stays where it was made."""
        self.cancel()
        with self._busy:
            self._let_go()
            self._unload()
            self._pool.arenas.leave(self._tenant)
            self._broker.close()

    def _run(self, run: m.Run, cargo: Cargo, timeout_s: float, on_call: OnCall) -> Turn:
        until = time.monotonic() + timeout_s
        if self._place is not None and not self._place.worker.arenas.has_room_for(cargo.placed_bytes):
            self._let_go()  # it kept earlier inputs, which cannot be written again while it lives
        try:
            self.start(until)
        except Late:
            return Turn(death=Death("timeout", "the files of the workspace were not brought to a worker in time"))
        except WorkerFailed:
            if not self._cancelled:
                raise
            return Turn(death=Death("cancelled", "cancelled by the caller"))
        assert self._place is not None
        worker = self._place.worker
        if self._cancelled:
            worker.cancel()  # it came before there was a worker to end
        on_dial = self._broker.dial if self._kit.plan.network else no_network
        worker.arenas.ahead = not (run.task or self._equipment.sandbox.mode == "full")  # these are lent at their end
        addressed = cargo.addressed(run, worker.arenas)
        turn = worker.run(
            addressed.message,
            addressed.first,
            timeout_s=timeout_s,
            on_call=on_call,
            on_dial=on_dial,
            descriptor=addressed.descriptor,
        )
        turn.addresses += [refusal.target for refusal in self._broker.take_refusals()]
        return turn

    def _let_go(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            try:
                self._pool.checkin(place)
            finally:
                place.worker.arenas.close()

    # --- values ---

    def _cargo(self, inputs: Mapping[str, object], task: bool) -> Cargo:
        """The inputs, ready to go. Those of a task are what they were at its call: they are pickled once."""
        if self._inputs is not None:
            known, cargo = self._inputs
            if task and known is inputs:
                return cargo
            self._unload()
        cargo = Cargo(self._pool.arenas, self._tenant, *dump(dict(inputs), self._equipment.admit))
        if task:
            cargo.keep()
        self._inputs = (inputs, cargo)
        return cargo

    def _unload(self) -> None:
        if self._inputs is not None:
            (_, cargo), self._inputs = self._inputs, None
            cargo.close()

    def _bring_in(self, turn: Turn, task: bool) -> None:
        """Complete the buffers of a turn's value. Those of a worker that is not needed any more are not copied."""
        assert self._place is not None
        arenas = self._place.worker.arenas
        last = isinstance(turn.ending, m.Succeeded) if task else self._equipment.sandbox.mode == "full"
        placed = arenas.lent(turn.placed, self._let_go) if last else arenas.copied(turn.placed)
        turn.buffers = [*placed, *turn.buffers]

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
        isolation = self._kit.plan.isolation
        return LockdownReport(isolation, promises, layers, unenforced, verified, place.worker.probes)


def _required(plan: LockdownPlan) -> list[str]:
    wanted = {"namespaces": plan.namespaces, "cgroup": plan.cgroup}
    return [layer for layer, how in wanted.items() if how == "required"]
