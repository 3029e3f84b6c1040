"""A task called with many items, several at once; the first failure ends the rest."""

from __future__ import annotations

import contextvars
import secrets
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agex.errors import TaskCancelled
from agex.options import Options
from agex.outcome import TaskOutcome

if TYPE_CHECKING:
    from agex.call import Call

Begin = Callable[[Options, Any], "Call"]
Run = Callable[["Call"], TaskOutcome]


class Batch:
    """One `map`. Each item gets a session of its own, which ends with its call."""

    def __init__(self, begin: Begin, run: Run, options: Options, *, keep_going: bool) -> None:
        self._begin = begin
        self._run = run
        self._options = options
        self._keep_going = keep_going
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._stopped = False
        self._first: BaseException | None = None

    def results(self, items: Iterable[Any], concurrency: int) -> list[TaskOutcome]:
        """The outcomes in the order of the items; raises what failed first, once nothing runs any more."""
        if type(concurrency) is not int or concurrency < 1:
            raise ValueError(f"concurrency must be a whole number of at least 1, not {concurrency!r}")
        given = list(items)  # before anything runs, for making them may fail
        with ThreadPoolExecutor(concurrency, thread_name_prefix="agex-map") as threads:
            # Each in a copy of this context, so that it is known whose sub-agents they are, and which loop awaits them.
            futures = [threads.submit(contextvars.copy_context().run, self._one, item) for item in given]
            try:
                outcomes = [future.result() for future in futures]
            except BaseException:
                self.end()
                raise
        if self._first is not None:
            raise self._first
        return [outcome for outcome in outcomes if outcome is not None]

    def cancel(self) -> None:
        """As `end`, and let whoever waits for the results know. From any thread."""
        self._failed(TaskCancelled("the calls of many items were cancelled"))

    def end(self) -> None:
        """End the calls that run, and let none begin. From any thread."""
        with self._lock:
            self._stopped = True
            calls = list(self._calls)
        for call in calls:
            call.cancel()

    def _one(self, item: Any) -> TaskOutcome | None:
        if self._stopped:
            return None
        try:
            outcome = self._outcome(item)
        except BaseException as error:
            self._failed(error)
            return None
        if outcome is not None and outcome.error is not None and not self._keep_going:
            self._failed(outcome.error)
        return outcome

    def _outcome(self, item: Any) -> TaskOutcome | None:
        session = f"map-{secrets.token_hex(8)}"
        call = self._begin(replace(self._options, session=session, named=True, ephemeral=True), item)
        with self._lock:
            if self._stopped:
                return None
            self._calls.append(call)
        try:
            return self._run(call)
        finally:
            with self._lock:
                self._calls.remove(call)

    def _failed(self, error: BaseException) -> None:
        with self._lock:
            first = not self._stopped
            self._first = error if first else self._first
        if first:
            self.end()
