"""One worker as the supervisor talks to it: hostile bytes in, one absolute deadline, whatever breaks the rules ends it.

Whatever ends a worker, the FIRST cause is kept and never overwritten.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

from agex_protocol import messages as m
from agex_protocol.buffers import Inbox
from agex_protocol.errors import ProtocolError
from agex_protocol.plan import LockdownPlan
from agex_protocol.turns import ENDINGS, Conversation
from agex_supervisor.arenas import Arenas, Bulk
from agex_supervisor.cgroup import Group
from agex_supervisor.death import OUT_OF_MEMORY, Death
from agex_supervisor.denials import of_message
from agex_supervisor.display import display
from agex_supervisor.errors import WorkerFailed
from agex_supervisor.lines import Lines
from agex_supervisor.overseer import OVERSEER
from agex_supervisor.process import DEATH_TIMEOUT_S, Process
from agex_supervisor.promises import unavailable
from agex_supervisor.slot import Slot
from agex_supervisor.turn import (
    Asked,
    First,
    OnCache,
    OnCall,
    OnDial,
    OnReturned,
    Turn,
    no_network,
    nothing_cached,
    nothing_held,
)
from agex_supervisor.verify import known_from_outside, verify
from agex_supervisor.watch import Watch
from agex_supervisor.wire import Carried
from agex_supervisor.zygote import Born, Zygote

READY_TIMEOUT_S = 20.0
WATCH_INTERVAL_S = 0.1
MAX_WATCH_INTERVAL_S = 1.0

# What may come while it has not read all that it was sent: its code ended because there was no memory to read with. Who could
# also ask again would make the supervisor keep all the answers, and their descriptors.
BEFORE_READING = ENDINGS | {m.Buffer, m.Denied, m.Dropped, m.Returned, m.Viewed}


class Worker:
    """Owns the process that `born` names. Not for use by two threads at once, except `cancel()`."""

    def __init__(self, zygote: Zygote, born: Born, slot: Slot, plan: LockdownPlan, places: list[Path | int]) -> None:
        self.zygote = zygote
        self.serial = born.serial
        self.slot = slot
        self.group: Group | str = "off"  # its control group, or why it has none
        self.layers: dict[str, str] = {}
        self.probes: dict[str, str] = {}
        self.verified: list[str] = []
        self.on_returned: OnReturned = nothing_held
        self.on_cache: OnCache = nothing_cached
        self.arenas = Arenas(None)  # the session that has it gives it others
        self._plan = plan
        self._process = Process(zygote, born, plan.limits)
        self._lines = Lines(born, plan, self._process)
        self._conversation = Conversation()
        self._inbox = Inbox(plan.limits.result_bytes + (64 << 10))
        self._rules = _Rules(self)
        self._watch = Watch(born.pid, plan.limits, places)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def gone(self) -> threading.Event:
        """Set when it is dead for sure."""
        return self._process.gone

    @property
    def alive(self) -> bool:
        return not self._process.dead()

    # --- its life ---

    def await_ready(self) -> None:
        """Wait for READY, then look from outside. IsolationUnavailable or WorkerFailed; the worker is closed then."""
        try:
            deadline = time.monotonic() + READY_TIMEOUT_S
            message = self._hear(deadline)
            if isinstance(message, m.Notifying):
                message = self._hear(deadline)
            self._lines.wire.accept_no_more()
            if isinstance(message, m.Refused):
                raise unavailable(display(message.layer, limit=100, one_line=True), display(message.message, limit=500))
            if not isinstance(message, m.Ready) or message.version != m.PROTOCOL_VERSION:
                raise WorkerFailed("start", f"the worker did not become ready: {self._fate()} {self._last_words()}")
            self.layers = {layer: display(state, limit=200, one_line=True) for layer, state in message.layers}
            self.probes = {name: display(result, limit=200, one_line=True) for name, result in message.probes}
            self.check()
            with self._looking():
                self.layers |= known_from_outside(self.pid, self.zygote.without_namespaces)
                self.layers["cgroup"] = self.group.state if isinstance(self.group, Group) else self.group
                if isinstance(self.group, Group):
                    self.group.check(self.pid)
                    self.verified.append("cgroup")
            self._lines.take_refused()  # what the self-test tried
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Verify from outside that every thread is locked as the plan says. IsolationUnavailable or WorkerFailed otherwise."""
        with self._looking():
            self.verified = verify(self.pid, self._plan, told=self._lines.listener is not None)

    def begin(self, begin: m.Begin) -> str:
        """Bind the session's names; gives the worker's complaint, or "" if there is none."""
        self._conversation.begin()
        self._lines.wire.queue([begin])
        message = self._hear(time.monotonic() + READY_TIMEOUT_S)
        if isinstance(message, m.Begun):
            return display(message.error, limit=2000)
        raise WorkerFailed("begin", f"the worker ended before its first action: {self._fate()} {self._last_words()}")

    def run(
        self,
        run: Asked,
        buffers: First,
        *,
        timeout_s: float,
        on_call: OnCall,
        on_dial: OnDial = no_network,
        descriptor: Callable[[], int] | None = None,
    ) -> Turn:
        """One action under one absolute deadline; time that host functions take is not counted. `descriptor` goes with it.

        Whatever is raised here, the worker is closed: one that is left in the middle of a turn is never used again.
        """
        messages = itertools.chain(buffers, [run if descriptor is None else Carried(run, descriptor)])
        try:
            return self._run(run, messages, timeout_s, on_call, on_dial)
        except BaseException:
            self.close()
            raise

    def _run(self, run: Asked, messages: Iterable[object], timeout_s: float, on_call: OnCall, on_dial: OnDial) -> Turn:
        if self._process.buried:
            return Turn(death=self._bury())
        turn = Turn()
        started, cpu_before = time.monotonic(), self._process.cpu_s()
        self._lines.drain()
        self._lines.take_output()  # what came late of an earlier action
        talk = self._conversation
        start = talk.run if isinstance(run, m.Run) else talk.use if isinstance(run, m.Use | m.Outline) else talk.tend
        start(run.action)
        self.arenas.begin()
        self._process.go_on()
        self._lines.wire.queue(messages)
        self._converse(turn, time.monotonic() + timeout_s, on_call, on_dial)
        if turn.death is None:
            self._process.stop()  # before the last look, so that nothing moves under it
            if (breach := self._watch.breach()) is not None:
                self.kill("limit", breach)
                turn.ending, turn.death = None, self._bury()
        if turn.death is None:
            turn.cpu_s = self._process.cpu_s() - cpu_before
            turn.peak_rss_bytes = self._process.peak_rss_bytes()
            self._lines.drain()
        turn.stdout, turn.stderr = self._lines.take_output()
        turn.syscalls = self._lines.take_refused()
        turn.wall_s = time.monotonic() - started
        if self._lines.wire.unsent:
            self.close()  # the next that it reads would be the rest of this
        return turn

    def cancel(self) -> None:
        """Kill it, from any thread; the run under way ends as cancelled."""
        self.kill("cancelled", "cancelled by the caller")

    def kill(self, cause: str, detail: str) -> None:
        """Send SIGKILL, from any thread; what ends it first is kept as its cause."""
        self._process.kill(Death(cause, detail))

    def await_death(self) -> None:
        """Wait until it is dead, from any thread."""
        self._process.await_death()

    def close(self) -> None:
        """Kill, wait until the pidfd says that it is dead, have it reaped, let go of every descriptor."""
        if not self._process.buried:
            self._bury()

    @contextlib.contextmanager
    def _looking(self) -> Generator[None]:
        try:
            yield
        finally:
            # Whatever was seen then is not what it lived by, or not even its own.
            if self._process.dead():
                raise WorkerFailed("start", "the worker died while it was looked at")

    # --- the conversation ---

    def _converse(self, turn: Turn, deadline: float, on_call: OnCall, on_dial: OnDial) -> None:
        look_again = time.monotonic() + WATCH_INTERVAL_S
        has_answered = False
        while turn.ending is None:
            message = self._hear_next()
            now = time.monotonic()
            # Before anything else, so that no flood of well-formed frames moves the deadline.
            if now >= deadline and type(message) not in ENDINGS:
                self.kill("timeout", "the deadline of the action passed")
            elif now >= look_again:
                if (breach := self._watch.breach()) is not None:
                    self.kill("limit", breach)
                looked = time.monotonic()
                # A workspace of many files makes looking dear: it never takes more than a tenth of our time.
                look_again = looked + min(max(WATCH_INTERVAL_S, 10 * (looked - now)), MAX_WATCH_INTERVAL_S)
            if self._process.death is not None:
                turn.death = self._bury(turn)
                return
            if isinstance(message, m.Buffer):
                with self._rules:
                    self._inbox.take(message)
            elif isinstance(message, m.Call):
                with OVERSEER.over(self._process):
                    deadline += self._answer(message, on_call, deadline)
                has_answered = True
            elif isinstance(message, m.Dial | m.Room | m.OfCache):
                with OVERSEER.over(self._process), self._rules:
                    answer, descriptor = self._aside(message, on_dial, deadline)
                    self._conversation.answered()
                    self._lines.wire.queue(answer, descriptor)
                has_answered = isinstance(message, m.OfCache)
            elif isinstance(message, m.Denied | m.Dropped | m.Filled | m.Returned | m.Viewed):
                self._note(turn, message)
            elif message is not None:
                self._end(turn, message)
            else:
                # Code that calls a host function, or asks its cache, often does so again soon.
                self._wait(min(deadline, look_again), soon=has_answered)
                has_answered = False

    def _hear_next(self) -> Any | None:
        message = None
        with self._rules:
            message = self._next()
        return message

    def _next(self) -> Any | None:
        message = self._lines.wire.next(m.ToSupervisor)
        if message is not None:
            if self._lines.wire.unsent and type(message) not in BEFORE_READING:
                raise ProtocolError(f"{type(message).__name__} before it had read all that it was sent")
            self._conversation.heard(message)
        if isinstance(message, m.Notifying):
            self._lines.listen()
        return message

    def _aside(
        self, asked: m.Dial | m.Room | m.OfCache, on_dial: OnDial, deadline: float
    ) -> tuple[Iterable[object], int]:
        """What answers, and the descriptor that goes with it. All of it is the worker's own time."""
        if isinstance(asked, m.Dial | m.Room):
            answer, descriptor = on_dial(asked, deadline) if isinstance(asked, m.Dial) else self.arenas.room(asked)
            return [answer], descriptor
        given = [asked.value] if isinstance(asked, m.Remember) else []
        values = self._inbox.open(*given, fetch=self.arenas.copied)
        return self.arenas.loaded(self.on_cache(asked, values[0] if values else None)), -1

    def _note(self, turn: Turn, message: m.Denied | m.Dropped | m.Filled | m.Returned | m.Viewed) -> None:
        with self._rules:
            if isinstance(message, m.Denied):
                turn.denied.append(of_message(message, len(turn.denied)))
            elif isinstance(message, m.Returned):
                self.on_returned(message)
            elif isinstance(message, m.Viewed):
                turn.see(*self._inbox.open(message.image, fetch=self.arenas.copied))
            else:
                self.arenas.told(message)

    def _end(self, turn: Turn, ending: Any) -> None:
        with self._rules:
            value, turn.placed = self.arenas.parted(getattr(ending, "value", m.Encoded(b"")))
            ((turn.head, turn.buffers),) = self._inbox.open(value, fetch=self.arenas.copied_apart)
            turn.ending = ending

    def _answer(self, call: m.Call, on_call: OnCall, deadline: float) -> float:
        """Gives the seconds that the host function took. Decoding is the worker's own time, or calls could fill hours."""
        try:
            values = self._inbox.open(*[argument.value for argument in call.arguments], fetch=self.arenas.copied)
            answer = on_call(call, values)
        except ProtocolError as error:
            self.violated(error)
            return 0.0
        started = time.monotonic()
        if started >= deadline:
            self.kill("timeout", "the deadline of the action passed")
            return 0.0
        if self._process.death is not None:
            return 0.0  # nobody is there who asks
        messages: Iterable[object] = list(answer)
        if any([type(message) is Bulk for message in messages]):
            loaded = self.arenas.loaded(messages)
            messages = itertools.chain([next(loaded)], loaded)
        took = time.monotonic() - started
        self._conversation.answered()
        self._lines.wire.queue(messages)
        return took

    def _wait(self, until: float, *, soon: bool = False) -> None:
        with self._rules:
            if self._lines.wait(until, soon=soon) and self._process.death is None:
                self._explain_end()

    def violated(self, error: ProtocolError) -> None:
        """It broke the rules, and is killed for it."""
        self.kill("violation", display(str(error), limit=500, one_line=True))

    def _explain_end(self) -> None:
        """The stream ended, or the process did: give the other a moment to follow, so that the cause can be told."""
        if self._process.dead(0.2):
            self._process.ended()
        else:
            self.kill("violation", "the worker closed its channel and went on running")

    def _hear(self, deadline: float) -> Any | None:
        while True:
            message = self._hear_next()
            if message is not None:
                return message
            if self._process.death is not None:
                self._bury()
                return None
            if time.monotonic() >= deadline:
                self.kill("timeout", "it did not answer in time")
                continue
            self._wait(deadline)

    # --- its end ---

    def _bury(self, turn: Turn | None = None) -> Death:
        """Kill it unless it is dead, wait for that, drain it, let go of everything, and say why it ended."""
        closed = Death("closed", "its session is over")
        if self._process.buried:
            return self._process.death or closed
        self._process.kill(closed)
        self._process.dead(DEATH_TIMEOUT_S)
        self._lines.close()
        starved = isinstance(self.group, Group) and self.group.out_of_memory()
        reaped = self._process.bury(OUT_OF_MEMORY if starved else None)
        if isinstance(self.group, Group):
            self.group.remove()
        if reaped is not None and turn is not None:
            turn.cpu_s, turn.peak_rss_bytes = reaped.cpu_s, reaped.peak_rss_bytes
        return self._process.death or closed

    def _fate(self) -> str:
        death = self._process.death
        return f"{death.cause}: {death.detail}" if death is not None else "unknown"

    def _last_words(self) -> str:
        return display(self._lines.stderr.take(), limit=1500)


class _Rules:
    """What breaks them within `with` ends the worker, and is not raised. A class, for it is entered for every message."""

    __slots__ = ("_worker",)

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, ProtocolError):
            return False
        self._worker.violated(error)
        return True
