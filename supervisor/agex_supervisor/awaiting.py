"""Waits for what an `async def` host function gives, and stops waiting when its run is cancelled.

It runs in the event loop that awaits the task or sandbox, where there is one; else in a loop of the session's own, which
lasts as long as the session, because clients are bound to the loop in which they were made.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from agex_supervisor.bridge import LOOP

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class Awaiting:
    """One awaitable at a time; `cancel()` may come from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        self._end: Callable[[], object] | None = None
        self._runner: asyncio.Runner | None = None
        self._closing = False

    def renew(self) -> None:
        """A run begins: what was cancelled before is over."""
        with self._lock:
            self._cancelled = False

    def cancel(self) -> None:
        """End the wait under way, and let none begin in this run."""
        with self._lock:
            self._cancelled = True
            if self._end is not None:
                self._end()

    def interrupt(self) -> None:
        """End the wait under way, if there is one."""
        with self._lock:
            if self._end is not None:
                self._end()

    def result(self, awaitable: Awaitable[T]) -> T:
        """What it gives. CancelledError, an Exception, where it was cancelled by anyone."""
        import asyncio

        async def awaited() -> T:
            return await awaitable

        outer, here = LOOP.get(), _running_loop()
        if outer is not None and outer is not here and outer.is_running():
            future = asyncio.run_coroutine_threadsafe(awaited(), outer)
            with self._ended_by(future.cancel):
                return future.result()
        if here is None:
            return cast(T, self._run(awaited))
        # A loop that is running in this thread can run nothing while we wait for it here.
        return cast(T, _on_thread(lambda: self._run(awaited)))

    def close(self) -> None:
        """Close the session's own loop; where it is running, because a function closes its own session, afterwards."""
        if self._end is not None:
            self._closing = True
            return
        self._closing = False
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close() if _running_loop() is None else _on_thread(runner.close)

    def _run(self, awaited: Callable[[], Any]) -> Any:
        import asyncio

        if self._runner is None:
            self._runner = asyncio.Runner()
        loop = self._runner.get_loop()

        async def held() -> Any:
            task = asyncio.current_task()
            assert task is not None
            with self._ended_by(lambda: loop.call_soon_threadsafe(task.cancel)):
                return await awaited()

        try:
            return self._runner.run(held(), context=contextvars.copy_context())
        except asyncio.CancelledError:
            raise CancelledError from None
        finally:
            if self._closing:
                self.close()

    @contextmanager
    def _ended_by(self, end: Callable[[], object]) -> Generator[None]:
        with self._lock:
            self._end = end
            if self._cancelled:
                end()
        try:
            yield
        finally:
            with self._lock:
                self._end = None


def _running_loop() -> asyncio.AbstractEventLoop | None:
    import asyncio

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _on_thread(call: Callable[[], T]) -> T:
    future: Future[T] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            future.set_result(context.run(call))
        except BaseException as error:
            future.set_exception(error)

    thread = threading.Thread(target=run, name="agex-await", daemon=True)
    thread.start()
    thread.join()
    return future.result()
