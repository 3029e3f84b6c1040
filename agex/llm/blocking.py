"""Wait for a coroutine from code that is not async, whether or not an event loop runs in the calling thread."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from agex_supervisor.bridge import ENDING
from agex_supervisor.model import ModelError

T = TypeVar("T")


def wait_for(start: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """The result of `start()`, run to its end in an event loop of its own.

    In this thread where it has no loop; where it has one (a notebook, a blocking call in async code), in another.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(start)
    context = contextvars.copy_context()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="agex-llm") as thread:
        return thread.submit(context.run, _run, start).result()


def _run(start: Callable[[], Coroutine[Any, Any, T]]) -> T:
    ending = ENDING.get()
    # With a factory of its own the runner leaves the thread's current loop alone; asyncio.run would unset it.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        if ending is None:
            return runner.run(start())
        loop = runner.get_loop()

        async def endable() -> T:
            task = asyncio.current_task()
            assert task is not None
            with ending.ends(lambda: loop.call_soon_threadsafe(task.cancel)):
                return await start()

        try:
            return runner.run(endable())
        except asyncio.CancelledError:
            raise ModelError("the request was ended") from None
