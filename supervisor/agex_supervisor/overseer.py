"""Keeps workers from using the time in which nobody watches them: while the supervisor answers one, for longer than a moment.

A worker that waits for a host function or a connection has no deadline and no watch then, and may have other threads. So
one that has waited for GRACE_S is stopped until its answer is there. One thread does that for all workers of this process.
"""

from __future__ import annotations

import os
import threading
import time

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
        # For what is not done by one step of a dict. A condition's own way to it is Python, and takes longer.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._due: dict[Process, float] = {}
        self._running = False
        self._idle = False

    def over(self, process: Process) -> _Over:
        """While this lasts the process is stopped once GRACE_S are over; it goes on afterwards.

        Costs a microsecond: the thread is woken at most once in GRACE_S. Without a thread the process is stopped at once.
        """
        return _Over(self, process)

    def begin(self, process: Process) -> None:
        """What `over` does first."""
        self._due[process] = time.monotonic() + GRACE_S
        # In this order, and the other way round where it goes idle: one of the two sees what the other did.
        if self._idle or not self._running:
            with self._lock:
                self._rouse(process)

    def end(self, process: Process) -> None:
        """What `over` does last."""
        if self._due.pop(process, None) is None:
            with self._lock:
                pass  # whoever took it out stops it meanwhile
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
                for process in [each for each, due in list(self._due.items()) if due <= now]:
                    if self._due.pop(process, None) is not None:
                        process.halt()  # under the lock, so that it is not stopped after it was told to go on
                self._idle = True
                next_due = min(list(self._due.values()), default=None)
                self._idle = next_due is None
                # Whoever comes later is due later: only from idleness it has to be woken.
                self._changed.wait(None if next_due is None else next_due - now)


class _Over:
    __slots__ = ("_overseer", "_process")

    def __init__(self, overseer: Overseer, process: Process) -> None:
        self._overseer = overseer
        self._process = process

    def __enter__(self) -> None:
        try:
            self._overseer.begin(self._process)
        except BaseException:
            self._overseer.end(self._process)
            raise

    def __exit__(self, *_: object) -> None:
        self._overseer.end(self._process)


OVERSEER = Overseer()
