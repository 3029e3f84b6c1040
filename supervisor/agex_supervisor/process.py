"""A worker's process: held by its pidfd, killed by it with the first cause kept, buried once."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time

from agex_protocol import zygote_messages as zm
from agex_protocol.errors import ProtocolError
from agex_protocol.plan import Limits
from agex_supervisor.death import BY_ITSELF, WITH_ITS_ZYGOTE, Death, by_status
from agex_supervisor.errors import WorkerFailed
from agex_supervisor.watch import stopped
from agex_supervisor.wire import wait_readable
from agex_supervisor.zygote import Born, Zygote

DEATH_TIMEOUT_S = 0.3
STOP_TIMEOUT_S = 0.2


class Process:
    """Owns the pidfd. Only `kill`, `halt` and `await_death` may come from any thread."""

    def __init__(self, zygote: Zygote, born: Born, limits: Limits) -> None:
        self.pid = born.pid
        self._zygote = zygote
        self._serial = born.serial
        self._limits = limits
        self._pidfd = born.pidfd
        # Held to set the cause of death and to use or give away the pidfd.
        self._lock = threading.Lock()
        self._death: Death | None = None
        self._stopped = False
        self._buried = False
        # Set when it is dead for sure, which may be a little after its burial: nothing writes to its files any more.
        self.gone = threading.Event()

    @property
    def pidfd(self) -> int:
        """Readable once it is dead; -1 once it is buried."""
        return self._pidfd

    @property
    def death(self) -> Death | None:
        """What ended it, or is about to."""
        return self._death

    @property
    def buried(self) -> bool:
        return self._buried

    def kill(self, cause: Death) -> None:
        """Send SIGKILL; what ends it first is kept as its cause."""
        with self._lock:
            if self._death is None:
                self._death = cause
        self._signal(signal.SIGKILL)

    def ended(self) -> None:
        """It is dead, and nobody here killed it."""
        with self._lock:
            if self._death is None:
                self._death = BY_ITSELF

    def dead(self, wait_s: float = 0.0) -> bool:
        """Whether it is dead, waiting for that at most so long."""
        if self._buried:
            return True
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(wait_s * 1000))

    def await_death(self) -> None:
        """Wait until it is dead, without taking anything away from the thread that works with it."""
        with self._lock:
            pidfd = -1 if self._buried else os.dup(self._pidfd)
        if pidfd >= 0:
            wait_readable(pidfd, time.monotonic() + DEATH_TIMEOUT_S)
            os.close(pidfd)

    def bury(self, known: Death | None = None) -> zm.Reaped | None:
        """Let go of it, and have its zygote take its wait status. None where the zygote is gone, or it does not die yet.

        What nobody here ended is told by `known`, else by the wait status.
        """
        dead = self.dead()
        with self._lock:
            self._buried = True
            pidfd, self._pidfd = self._pidfd, -1
        if not dead:
            # It is in the middle of a system call that no signal ends, such as writing back a file, and runs no code of
            # its own any more. Nobody has to wait for that.
            threading.Thread(target=self._reap, args=(pidfd,), name="agex-burial", daemon=True).start()
            return None
        reaped = self._reap(pidfd)
        if self._death == BY_ITSELF:
            self._death = known or (WITH_ITS_ZYGOTE if reaped is None else by_status(reaped, self._limits))
        return reaped

    def halt(self) -> None:
        """Have it stand still until `go_on`, without waiting for that. Never while `go_on` runs."""
        self._signal(signal.SIGSTOP)
        self._stopped = True

    def stop(self) -> None:
        """Between actions nothing of it may run: no watch is kept then."""
        self.halt()
        until = time.monotonic() + STOP_TIMEOUT_S
        while not stopped(self.pid) and not self.dead() and time.monotonic() < until:
            os.sched_yield()

    def go_on(self) -> None:
        if self._stopped:
            self._signal(signal.SIGCONT)
            self._stopped = False

    def inner_pid(self) -> int:
        """Its process id as it sees itself, which differs in a process namespace of its own. WorkerFailed if it is dead."""
        try:
            with open(f"/proc/{self.pid}/status", "rb") as status:
                return next((int(line.split()[-1]) for line in status if line.startswith(b"NSpid:")), self.pid)
        except (FileNotFoundError, ProcessLookupError) as error:
            raise WorkerFailed("start", "the worker died before its process id could be read") from error

    def cpu_s(self) -> float:
        """Processor time of all its threads so far; 0.0 once it is dead."""
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as stat:
                fields = stat.read().rsplit(b")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, IndexError):
            return 0.0

    def peak_rss_bytes(self) -> int:
        """The most memory that it had resident; 0 once it is dead."""
        try:
            with open(f"/proc/{self.pid}/status", "rb") as status:
                return next((int(line.split()[1]) * 1024 for line in status if line.startswith(b"VmHWM:")), 0)
        except OSError:
            return 0

    def _reap(self, pidfd: int) -> zm.Reaped | None:
        try:
            wait_readable(pidfd, float("inf"))
            self.gone.set()
            return self._zygote.reap(self._serial)
        except (ProtocolError, WorkerFailed):
            return None
        finally:
            os.close(pidfd)

    def _signal(self, number: int) -> None:
        with self._lock:
            if not self._buried:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, number)
