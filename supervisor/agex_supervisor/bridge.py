"""From awaiting code to waiting code and back: a blocking call on a thread, an awaitable waited for.

asyncio is imported here when it is first needed: it takes a tenth of the time that `import agex` may take, and many
programs never await.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from concurrent.futures import Future

T = TypeVar("T")

# The event loop that awaits what this thread does, for async functions that are called on it.
LOOP: ContextVar[AbstractEventLoop | None] = ContextVar("LOOP", default=None)


async def on_thread(call: Callable[[], T], interrupt: Callable[[], object] | None = None) -> T:
    """Run a blocking call on a thread. Cancelled, it interrupts the call and waits for it to end before it lets go."""
    import asyncio

    outside = LOOP.set(asyncio.get_running_loop())
    try:
        work = asyncio.wrap_future(_begun(call))
    finally:
        LOOP.reset(outside)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        # The thread must be out before what it works with is taken away.
        while not work.done():
            if interrupt is not None:
                interrupt()  # again and again: the first may come before there is anything to interrupt
            await asyncio.wait([work], timeout=0.05)
        work.exception()  # nobody else looks at it
        raise


def _begun(call: Callable[[], T]) -> Future[T]:
    """The call on a thread of its own, with this context. A loop's executor has few, and calls that wait for others, which wait
    for a thread, would hold them all for ever."""
    from concurrent.futures import Future

    future: Future[T] = Future()
    future.set_running_or_notify_cancel()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            future.set_result(context.run(call))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="agex-call", daemon=True).start()
    return future


def waited_for(awaitable: Awaitable[T]) -> T:
    """What an awaitable gives, for code that waits: in the loop that awaits this thread, else in one of its own."""
    import asyncio

    async def awaited() -> T:
        return await awaitable

    try:
        here = asyncio.get_running_loop()
    except RuntimeError:
        here = None
    outer = LOOP.get()
    if outer is not None and outer is not here and outer.is_running():
        return asyncio.run_coroutine_threadsafe(awaited(), outer).result()
    if here is None:
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            return runner.run(awaited())
    # The loop that runs in this thread can run nothing while we wait in it.
    from concurrent.futures import ThreadPoolExecutor

    context = contextvars.copy_context()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="agex-await") as thread:
        return thread.submit(context.run, asyncio.run, awaited()).result()


class WaitEnded(Exception):
    """What was waited for did not come before the wait was ended."""


class Ending:
    """Ends what waits, from any thread: once for all that it is told to end. Safe against what ends by itself meanwhile."""

    def __init__(self) -> None:
        self.ended = False
        self._lock = threading.Lock()
        self._ends: dict[object, Callable[[], object]] = {}

    def end(self) -> None:
        """End what waits now, and what is going to."""
        with self._lock:
            self.ended = True
            for end in self._ends.values():
                end()

    @contextmanager
    def ends(self, end: Callable[[], object]) -> Generator[None]:
        """While this lasts `end` is called where all is to end; at once if that was so before."""
        key = object()
        with self._lock:
            self._ends[key] = end
            if self.ended:
                end()
        try:
            yield
        finally:
            with self._lock:
                del self._ends[key]


# What may end the waiting of this thread: for a model, or for a session and a worker.
ENDING: ContextVar[Ending | None] = ContextVar("ENDING", default=None)


@contextmanager
def ended_by(ending: Ending) -> Generator[None]:
    """What this thread waits for within is ended by this too, and not only by what ends it already."""
    with (ENDING.get() or Ending()).ends(ending.end):
        token = ENDING.set(ending)
        try:
            yield
        finally:
            ENDING.reset(token)
