"""Keeps workers from using the time in which nobody watches them: while the supervisor answers one, for longer than a moment.

A worker that waits for a host function or a connection has no deadline and no watch then, and may have other threads. So
one that has waited for GRACE_S is stopped until its answer is there. One thread does that for all workers of this process.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Generator

from agex_supervisor.process import Process

# Longer than most answers take, and half the time between two looks of the watch.
GRACE_S = 0.05


class Overseer:
    """For all threads. Its own thread is started when it is first needed, and sleeps while no worker waits."""

    def __init__(self) -> None:
        self._renew()
        # A forked child has no such thread, and what waits is not its own.
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._due: dict[Process, float] = {}
        self._running = False
        self._idle = False

    @contextlib.contextmanager
    def over(self, process: Process) -> Generator[None]:
        """While this lasts the process is stopped once GRACE_S are over; it goes on afterwards.

        Costs microseconds: the thread is woken at most once in GRACE_S. Without a thread the process is stopped at once.
        """
        try:
            with self._changed:
                self._due[process] = time.monotonic() + GRACE_S
                self._rouse(process)
            yield
        finally:
            with self._changed:
                self._due.pop(process, None)
            process.go_on()

    def _rouse(self, process: Process) -> None:
        if self._idle:
            self._idle = False
            self._changed.notify()
        elif not self._running:
            try:
                threading.Thread(target=self._watch, name="agex-overseer", daemon=True).start()
                self._running = True
            except RuntimeError:  # the machine or the interpreter has no room for another thread
                process.halt()

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for process in [each for each, due in self._due.items() if due <= now]:
                    del self._due[process]
                    process.halt()  # under the lock, so that it is not stopped after it was told to go on
                self._idle = not self._due
                # Whoever comes later is due later: only from idleness it has to be woken.
                self._changed.wait(min(self._due.values()) - now if self._due else None)


OVERSEER = Overseer()
