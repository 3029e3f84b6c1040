"""From awaiting code to waiting code and back: a blocking call on a thread, an awaitable waited for.

asyncio is imported here when it is first needed: it takes a tenth of the time that `import agex` may take, and many
programs never await.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

T = TypeVar("T")

# The event loop that awaits what this thread does, for async functions that are called on it.
LOOP: ContextVar[AbstractEventLoop | None] = ContextVar("LOOP", default=None)


async def on_thread(call: Callable[[], T], interrupt: Callable[[], object] | None = None) -> T:
    """Run a blocking call on a thread. Cancelled, it interrupts the call and waits for it to end before it lets go."""
    import asyncio

    outside = LOOP.set(asyncio.get_running_loop())
    try:
        work = asyncio.ensure_future(asyncio.to_thread(call))
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
        raise


def waited_for(awaitable: Awaitable[T]) -> T:
    """What an awaitable gives, for code that waits: in an event loop of its own."""
    import asyncio

    async def awaited() -> T:
        return await awaitable

    return asyncio.run(awaited())
