"""One worker process as the supervisor sees it: hostile bytes in, one absolute deadline, killed by pidfd, reaped once.

Whatever ends a worker, the FIRST cause is kept and never overwritten.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agex_protocol import messages as m
from agex_protocol.buffers import Inbox
from agex_protocol.errors import ProtocolError
from agex_protocol.plan import LockdownPlan
from agex_protocol.turns import ENDINGS, Conversation
from agex_supervisor.display import display
from agex_supervisor.errors import WorkerFailed
from agex_supervisor.output import Output
from agex_supervisor.promises import unavailable
from agex_supervisor.verify import verify
from agex_supervisor.watch import Watch, stopped
from agex_supervisor.wire import Wire, wait_readable
from agex_supervisor.zygote import Born, Zygote

READY_TIMEOUT_S = 20.0
DEATH_TIMEOUT_S = 0.3
WATCH_INTERVAL_S = 0.1
MAX_WATCH_INTERVAL_S = 1.0
STOP_TIMEOUT_S = 0.2
# The kernel enforces processor time by counting ticks and reports it by the clock: on a busy machine the two differ much.
CPU_TIME_SEEN = 0.5

Value = tuple[bytes, list[memoryview]]
# Decodes the arguments when it is called, and runs the function when its answer is read.
OnCall = Callable[[m.Call, list[Value]], Iterable[object]]


@dataclass(frozen=True, slots=True)
class Death:
    """Why a worker is gone. cause: "timeout", "cancelled", "limit", "violation", "signal", "exit", "closed"."""

    cause: str
    detail: str


@dataclass(slots=True)
class Turn:
    """How one action went: its ending (None if the worker died) with head and buffers of its value, and its output."""

    ending: Any = None
    head: bytes = b""
    buffers: list[memoryview] = field(default_factory=list[memoryview])
    death: Death | None = None
    stdout: str = ""
    stderr: str = ""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss_bytes: int = 0


class Worker:
    """Owns the process that `born` names. Not for use by two threads at once, except `cancel()`."""

    def __init__(self, zygote: Zygote, born: Born, slot: Path, plan: LockdownPlan, places: list[Path]) -> None:
        self.zygote = zygote
        self.serial = born.serial
        self.pid = born.pid
        self.slot = slot
        self.layers: dict[str, str] = {}
        self.probes: dict[str, str] = {}
        self.verified: list[str] = []
        self._plan = plan
        self._pidfd = born.pidfd
        self._wire = Wire(born.channel)
        self._stdout = Output(born.stdout, plan.limits.output_bytes)
        self._stderr = Output(born.stderr, plan.limits.output_bytes)
        self._conversation = Conversation()
        self._inbox = Inbox(plan.limits.result_bytes + (64 << 10))
        self._watch = Watch(born.pid, plan.limits, places)
        # Held to set the cause of death and to use or close the pidfd: cancel() comes from other threads.
        self._lock = threading.Lock()
        self._death: Death | None = None
        self._stopped = False
        self._closed = False

    # --- its life ---

    def await_ready(self) -> None:
        """Wait for READY, then look from outside. IsolationUnavailable or WorkerFailed; the worker is closed then."""
        try:
            message = self._hear(time.monotonic() + READY_TIMEOUT_S)
            if isinstance(message, m.Refused):
                raise unavailable(display(message.layer, limit=100, one_line=True), display(message.message, limit=500))
            if not isinstance(message, m.Ready) or message.version != m.PROTOCOL_VERSION:
                raise WorkerFailed("start", f"the worker did not become ready: {self._fate()} {self._last_words()}")
            self.layers = {layer: display(state, limit=200, one_line=True) for layer, state in message.layers}
            self.probes = {name: display(result, limit=200, one_line=True) for name, result in message.probes}
            self.check()
        except BaseException:
            self.close()
            raise

    def check(self) -> None:
        """Verify from outside that every thread is locked as the plan says. IsolationUnavailable otherwise."""
        try:
            self.verified = verify(self.pid, self._plan)
        finally:
            # Whatever was seen then is not what it lived by, or not even its own.
            if self._is_dead():
                raise WorkerFailed("start", "the worker died while it was looked at")

    def begin(self, begin: m.Begin) -> str:
        """Bind the session's names; gives the worker's complaint, or "" if there is none."""
        self._conversation.begin()
        self._wire.queue([begin])
        message = self._hear(time.monotonic() + READY_TIMEOUT_S)
        if isinstance(message, m.Begun):
            return display(message.error, limit=2000)
        raise WorkerFailed("begin", f"the worker ended before its first action: {self._fate()}")

    def run(self, run: m.Run, buffers: Iterable[m.Buffer], *, timeout_s: float, on_call: OnCall) -> Turn:
        """One action under one absolute deadline; time that host functions take is not counted.

        Whatever is raised here, the worker is closed: one that is left in the middle of a turn is never used again.
        """
        try:
            return self._run(run, buffers, timeout_s, on_call)
        except BaseException:
            self.close()
            raise

    def _run(self, run: m.Run, buffers: Iterable[m.Buffer], timeout_s: float, on_call: OnCall) -> Turn:
        if self._closed:
            return Turn(death=self._bury())
        turn = Turn()
        started, cpu_before = time.monotonic(), self._cpu_s()
        for output in (self._stdout, self._stderr):
            output.drain()
            output.take()  # late output of an earlier action
        self._conversation.run(run.action)
        self._continue()
        self._wire.queue(itertools.chain(buffers, [run]))
        self._converse(turn, time.monotonic() + timeout_s, on_call)
        if turn.death is None:
            self._stop()  # before the last look, so that nothing moves under it
            if (breach := self._watch.breach()) is not None:
                self.kill("limit", breach)
                turn.ending, turn.death = None, self._bury()
        if turn.death is None:
            turn.cpu_s = self._cpu_s() - cpu_before
            turn.peak_rss_bytes = self._peak_rss_bytes()
            self._stdout.drain()
            self._stderr.drain()
        turn.stdout, turn.stderr = self._stdout.take(), self._stderr.take()
        turn.wall_s = time.monotonic() - started
        return turn

    def cancel(self) -> None:
        """Kill it, from any thread; the run under way ends as cancelled."""
        self.kill("cancelled", "cancelled by the caller")

    def kill(self, cause: str, detail: str) -> None:
        """Send SIGKILL, from any thread; what ends it first is kept as its cause."""
        with self._lock:
            if self._death is None:
                self._death = Death(cause, detail)
        self._signal(signal.SIGKILL)

    def await_death(self) -> None:
        """Wait until it is dead, without taking anything away from the thread that works with it."""
        with self._lock:
            pidfd = -1 if self._closed else os.dup(self._pidfd)
        if pidfd >= 0:
            wait_readable(pidfd, time.monotonic() + DEATH_TIMEOUT_S)
            os.close(pidfd)

    def close(self) -> None:
        """Kill, wait until the pidfd says that it is dead, have it reaped, let go of every descriptor."""
        if self._closed:
            return
        self.kill("closed", "its session is over")
        self._bury()

    @property
    def alive(self) -> bool:
        return not self._is_dead()

    # --- the conversation ---

    def _converse(self, turn: Turn, deadline: float, on_call: OnCall) -> None:
        look_again = time.monotonic() + WATCH_INTERVAL_S
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
            if self._death is not None:
                turn.death = self._bury(turn)
                return
            if isinstance(message, m.Buffer):
                self._take(message)
            elif isinstance(message, m.Call):
                deadline += self._answer(message, on_call, deadline)
            elif message is not None:
                self._end(turn, message)
            else:
                self._wait(min(deadline, look_again))

    def _hear_next(self) -> Any | None:
        try:
            return self._next()
        except ProtocolError as error:
            self._violated(error)
            return None

    def _next(self) -> Any | None:
        message = self._wire.next(m.ToSupervisor)
        if message is not None:
            self._conversation.heard(message)
        return message

    def _take(self, message: m.Buffer) -> None:
        try:
            self._inbox.take(message)
        except ProtocolError as error:
            self._violated(error)

    def _end(self, turn: Turn, ending: Any) -> None:
        try:
            ((turn.head, turn.buffers),) = self._inbox.open(getattr(ending, "value", m.Encoded(b"")))
            turn.ending = ending
        except ProtocolError as error:
            self._violated(error)

    def _answer(self, call: m.Call, on_call: OnCall, deadline: float) -> float:
        """Gives the seconds that the host function took. Decoding is the worker's own time, or calls could fill hours."""
        try:
            answer = iter(on_call(call, self._inbox.open(*(argument.value for argument in call.arguments))))
        except ProtocolError as error:
            self._violated(error)
            return 0.0
        started = time.monotonic()
        if started >= deadline:
            self.kill("timeout", "the deadline of the action passed")
            return 0.0
        first = next(answer)
        took = time.monotonic() - started
        self._conversation.answered()
        self._wire.queue(itertools.chain([first], answer))
        return took

    def _wait(self, until: float) -> None:
        """Wait for anything to happen, then take in what came."""
        poll = select.poll()
        poll.register(self._wire, select.POLLIN | (select.POLLOUT if self._wire.unsent else 0))
        poll.register(self._pidfd, select.POLLIN)
        for output in (self._stdout, self._stderr):
            if not output.ended:
                poll.register(output.descriptor, select.POLLIN)
        happened = dict(poll.poll(max(0.0, until - time.monotonic()) * 1000))
        for output in (self._stdout, self._stderr):
            if output.descriptor in happened:
                output.drain()
        events = happened.get(self._wire.fileno(), 0)
        if events & select.POLLOUT:
            self._wire.write()
        if events & ~select.POLLOUT:
            try:
                self._wire.read()
            except ProtocolError as error:
                self._violated(error)
            if self._wire.ended and self._death is None:
                self._explain_end()
        elif self._pidfd in happened:
            self._explain_end()

    def _violated(self, error: ProtocolError) -> None:
        self.kill("violation", display(str(error), limit=500, one_line=True))

    def _explain_end(self) -> None:
        """The stream ended, or the process did: give the other a moment to follow, so that the cause can be told."""
        if not self._is_dead(0.2):
            self.kill("violation", "the worker closed its channel and went on running")
        elif self._death is None:
            self._death = Death("signal", "")

    def _hear(self, deadline: float) -> Any | None:
        while True:
            message = self._hear_next()
            if message is not None:
                return message
            if self._death is not None:
                self._bury()
                return None
            if time.monotonic() >= deadline:
                self.kill("timeout", "it did not answer in time")
                continue
            self._wait(deadline)

    # --- its end ---

    def _bury(self, turn: Turn | None = None) -> Death:
        """The process is killed or dead: wait for its pidfd, drain it, reap it, and say why it ended."""
        if self._closed:
            return self._death or Death("closed", "its session is over")
        self.kill("closed", "its session is over")
        dead = self._is_dead(DEATH_TIMEOUT_S)
        for output in (self._stdout, self._stderr):
            output.drain()
        death = self._death or Death("closed", "")
        with self._lock:
            self._closed = True
            pidfd, self._pidfd = self._pidfd, -1
        self._wire.close()
        self._stdout.close()
        self._stderr.close()
        if not dead:
            # It is in the middle of a system call that no signal ends, such as writing back a file, and runs no code of
            # its own any more. Nobody has to wait for that.
            threading.Thread(target=self._reap, args=(pidfd,), name="agex-burial", daemon=True).start()
            return death
        reaped = self._reap(pidfd)
        if reaped is not None:
            if turn is not None:
                turn.cpu_s, turn.peak_rss_bytes = reaped.cpu_s, reaped.peak_rss_bytes
            if death.cause == "signal":
                death = self._death = _told(reaped, self._plan)
        elif death.cause == "signal":
            death = self._death = Death("exit", "it ended together with its zygote")
        return death

    def _reap(self, pidfd: int) -> m.Reaped | None:
        """Wait for its end and have the zygote take its wait status; None if the zygote is gone, too."""
        try:
            wait_readable(pidfd, float("inf"))
            return self.zygote.reap(self.serial)
        except (ProtocolError, WorkerFailed):
            return None
        finally:
            os.close(pidfd)

    def _fate(self) -> str:
        death = self._death
        return f"{death.cause}: {death.detail}" if death is not None else "unknown"

    def _last_words(self) -> str:
        return display(self._stderr.take(), limit=1500)

    def _is_dead(self, wait_s: float = 0.0) -> bool:
        if self._closed:
            return True
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))

    # --- between actions ---

    def _stop(self) -> None:
        # Between actions nothing of it may run: no watch is kept then.
        self._signal(signal.SIGSTOP)
        self._stopped = True
        until = time.monotonic() + STOP_TIMEOUT_S
        while not stopped(self.pid) and not self._is_dead() and time.monotonic() < until:
            os.sched_yield()

    def _continue(self) -> None:
        if self._stopped:
            self._signal(signal.SIGCONT)
            self._stopped = False

    def _signal(self, number: int) -> None:
        with self._lock:
            if not self._closed:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, number)

    def _cpu_s(self) -> float:
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as stat:
                fields = stat.read().rsplit(b")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError):
            return 0.0

    def _peak_rss_bytes(self) -> int:
        try:
            with open(f"/proc/{self.pid}/status", "rb") as status:
                return next((int(line.split()[1]) * 1024 for line in status if line.startswith(b"VmHWM:")), 0)
        except OSError:
            return 0


def _told(reaped: m.Reaped, plan: LockdownPlan) -> Death:
    """What a wait status says in words, with the limit or the layer behind it where that is known."""
    if os.WIFEXITED(reaped.status):
        return Death("exit", f"the worker ended by itself with exit status {os.WEXITSTATUS(reaped.status)}")
    number = os.WTERMSIG(reaped.status)
    name = signal.Signals(number).name if number in signal.Signals._value2member_map_ else f"signal {number}"
    if number == signal.SIGSYS:
        return Death("signal", "SIGSYS: it made a system call that the seccomp filter answers with death")
    if number in (signal.SIGXCPU, signal.SIGKILL) and reaped.cpu_s >= plan.limits.cpu_time_s * CPU_TIME_SEEN:
        return Death("limit", f"limits.cpu_time: {plan.limits.cpu_time_s:g}s of processor time are used up")
    if number == signal.SIGKILL:
        return Death("signal", "SIGKILL, by itself or from outside, as the kernel does when memory runs out")
    return Death("signal", f"{name}: the worker crashed")
