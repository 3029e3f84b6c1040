"""Between waiting and awaiting: whose loop awaits, and how what waits is ended from another thread."""

from __future__ import annotations

import asyncio
import threading

import pytest

from agex_supervisor.bridge import Ending, on_thread, waited_for


async def loop_of() -> int:
    return id(asyncio.get_running_loop())


def test_a_waiting_thread_gets_its_awaitables_awaited_in_the_loop_that_awaits_it() -> None:
    async def scenario() -> tuple[int, int]:
        return await on_thread(lambda: waited_for(loop_of())), await loop_of()

    used, outer = asyncio.run(scenario())
    assert used == outer


def test_without_such_a_loop_it_is_one_of_its_own_also_where_one_runs_already() -> None:
    async def notebook() -> tuple[int, int]:
        return waited_for(loop_of()), await loop_of()

    used, running = asyncio.run(notebook())
    assert used != running
    assert isinstance(waited_for(loop_of()), int)


def test_what_an_awaitable_raises_is_raised_where_it_is_waited_for() -> None:
    async def broken() -> None:
        raise KeyError("x")

    async def notebook() -> None:
        waited_for(broken())

    with pytest.raises(KeyError):
        waited_for(broken())
    with pytest.raises(KeyError):
        asyncio.run(notebook())


def test_an_ending_ends_what_waits_now_and_what_begins_later_and_nothing_that_is_over() -> None:
    ending, ended = Ending(), list[str]()

    with ending.ends(lambda: ended.append("over")):
        pass
    with ending.ends(lambda: ended.append("one")), ending.ends(lambda: ended.append("two")):
        thread = threading.Thread(target=ending.end)
        thread.start()
        thread.join()
        assert ended == ["one", "two"]
    with ending.ends(lambda: ended.append("later")):
        pass

    assert ended == ["one", "two", "later"]
    assert ending.ended
