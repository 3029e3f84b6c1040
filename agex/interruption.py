"""Ends agent code that runs on a thread of this process, by an exception raised in it; never inside a host function.

Time spent in host functions does not count, and what ends the code meanwhile waits until they return.
"""

from __future__ import annotations

import contextvars
import ctypes
import gc
import itertools
import sys
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

from agex_protocol.budget import collector_paused
from agex_worker.from_outside import FromOutside

T = TypeVar("T")

GLANCE_S = 0.02
GLANCES_TO_RAISE = 25


class Interrupted(FromOutside):
    """Raised in the thread that runs agent code when its time is over or it was cancelled."""


class Passing(FromOutside):
    """Carries what a host function raised that is no Exception past the agent code that called it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class _Probe(BaseException):
    """Raised in a thread by itself."""


def interruptibly(call: Callable[[], T]) -> T:
    """What `call` gives, run on this thread; on another, with its context, where no exception would reach this one.

    Before 3.12 a thread that could not be started leaves its state behind under the identity of the one that tried, and
    later exceptions for that one go there (cpython, thread_PyThread_start_new_thread).
    """
    if _is_reached():
        return call()
    future: Future[T] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        # This identity may have been that of a thread that tried in vain; the next one has another while this one waits.
        try:
            future.set_result(context.run(lambda: interruptibly(call)))
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=run, name="agex-interruptible", daemon=True)
    thread.start()
    thread.join()
    return future.result()


def _is_reached() -> bool:
    if sys.version_info >= (3, 12):
        return True
    try:
        with collector_paused():  # what it calls would swallow the exception, and print it
            _raise_in(threading.get_ident(), _Probe)
            for _ in range(100):  # a thread looks for exceptions when it jumps back
                pass
    except _Probe:
        return True
    _raise_in(threading.get_ident(), None)
    return False


class Interruption:
    """For one run after another. `interrupt` may come from any thread; `cause` says what ended the last run, if anything."""

    def __init__(self) -> None:
        self.cause = ""
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._deadline = 0.0
        self._away_since: float | None = None
        self._timer: threading.Timer | None = None
        self._armed = False
        self._run = 0

    @contextmanager
    def running(self, timeout_s: float) -> Generator[None]:
        """A run on this thread, which ends when so many seconds of its own are over."""
        with self._lock:
            self.cause = ""
            self._run += 1
            self._deadline = time.monotonic() + timeout_s
            self._thread, self._away_since = threading.get_ident(), None
            self._arm()
        was_collecting = gc.isenabled()
        try:
            yield
        finally:
            self._thread = None  # before anything that takes time: nothing is raised here from now on
            if was_collecting:
                gc.enable()  # which reading a value switches off, and an exception can come just then
            with self._lock:
                if self._timer is not None:
                    self._timer.cancel()

    @contextmanager
    def away(self) -> Generator[None]:
        """A host function runs. Interrupted afterwards, if the code was ended meanwhile."""
        if threading.get_ident() != self._thread:
            yield  # a thread that agent code started is not what is ended
            return
        if self._away_since is not None:
            yield  # called by code that a host function calls, whose time it is already
            return
        with self._lock:
            self._away_since = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._deadline += time.monotonic() - self._away_since
                self._away_since = None
                if self.cause:
                    raise Interrupted
                if not self._armed:
                    self._arm()

    def interrupt(self, cause: str) -> bool:
        """End the run under way. False if there is none."""
        with self._lock:
            return self._end(cause)

    def _end(self, cause: str) -> bool:
        if self._thread is None:
            return False
        self.cause = self.cause or cause
        if self._away_since is None:
            _raise_in(self._thread)
            threading.Thread(target=self._insist, args=(self._run,), name="agex-insist", daemon=True).start()
        return True

    def _insist(self, run: int) -> None:
        """Until that run is over. A destructor in which the exception came up has swallowed it, so now and then there is another."""
        for glance in itertools.count(1):
            time.sleep(GLANCE_S)
            with self._lock:
                thread = self._thread
                if thread is None or self._run != run or self._away_since is not None:
                    return
                if glance % GLANCES_TO_RAISE == 0:
                    _raise_in(thread)

    def _arm(self) -> None:
        self._armed = True
        self._timer = threading.Timer(max(0.0, self._deadline - time.monotonic()), self._due)
        self._timer.daemon = True
        self._timer.start()

    def _due(self) -> None:
        # Rung early where host functions took time; that costs less than to set it anew after each of them.
        with self._lock:
            self._armed = False
            if self._thread is None or self._away_since is not None:
                return
            if time.monotonic() >= self._deadline:
                self._end("timeout")
            else:
                self._arm()


def _raise_in(thread: int, error: type[BaseException] | None = Interrupted) -> None:
    raised = ctypes.py_object() if error is None else ctypes.py_object(error)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)
