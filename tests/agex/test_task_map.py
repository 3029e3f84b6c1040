"""Many items at once: the first failure ends what runs and what waits, and nothing is left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import agex
from agex.llm import Scripted


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=6)
    yield pool
    pool.close()


def task_of(pool: agex.Pool, code: str, **functions: Any) -> agex.Task[[int], int]:
    agent = agex.Agent(isolation="kernel", llm=Scripted([code] * 20), pool=pool)
    for name, function in functions.items():
        agent.fn(function, name=name)

    @agent.task
    def work(n: int) -> int:
        """Work."""
        raise NotImplementedError

    return work


# The second fails once the first runs; the first would run for ever.
SPINS = "if inputs.n == 0:\n    begin()\n    while True: pass\nwait()\ntask_fail('odd')"


def test_the_first_failure_cancels_the_rest_that_runs(pool: agex.Pool) -> None:
    begun = threading.Event()
    ended: list[tuple[str, str]] = []
    task = task_of(pool, SPINS, begin=begun.set, wait=begun.wait).with_options(
        on_event=lambda event: ended.append((type(event).__name__, event.session))
    )

    with pytest.raises(agex.TaskFailed, match="odd"):
        task.map(range(6), concurrency=2)

    assert sorted(kind for kind, _ in ended if kind not in ("TaskStartEvent", "ActionEvent")) == [
        "CancelledEvent",
        "FailEvent",
    ]
    assert len({session for _, session in ended}) == 2  # the other four never began
    assert task.agent.sessions._stays == {}


def test_an_error_of_the_caller_cancels_the_rest_too(pool: agex.Pool) -> None:
    begun = threading.Event()
    task = task_of(pool, SPINS, begin=begun.set, wait=begun.wait)

    def items() -> Iterator[Any]:
        yield 0
        yield "one"

    for outcomes in (False, True):
        with pytest.raises(agex.ContractError, match=r"work\(\): argument 'n'"):
            task.map(items(), outcomes=outcomes)


def test_cancelling_an_awaited_map_ends_all_that_runs(pool: agex.Pool) -> None:
    async def scenario() -> None:
        loop, begun = asyncio.get_running_loop(), asyncio.Event()
        task = task_of(pool, "begin()\nwhile True: pass", begin=lambda: loop.call_soon_threadsafe(begun.set) and None)
        running = asyncio.ensure_future(task.amap(range(3)))
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    busy = pool.stats().busy
    asyncio.run(scenario())
    assert pool.stats().busy == busy


@pytest.mark.parametrize("outcomes", [False, True])
def test_a_map_is_cancelled_from_anywhere_as_a_call_is(pool: agex.Pool, outcomes: bool) -> None:
    begun = threading.Event()
    task = task_of(pool, "begin()\nwhile True: pass", begin=begun.set)
    found: list[bool] = []
    canceller = threading.Thread(target=lambda: (begun.wait(), found.extend([task.cancel("other"), task.cancel()])))
    canceller.start()

    with pytest.raises(agex.TaskCancelled, match="the calls of many items were cancelled"):
        task.map(range(4), concurrency=2, outcomes=outcomes)

    canceller.join()
    assert found == [False, True]
    assert task.cancel() is False


def test_a_map_takes_the_options_of_a_call_but_a_session(pool: agex.Pool) -> None:
    heard: list[agex.Event] = []
    task = task_of(pool, "task_success(inputs.n)")

    assert task.map([1, 2], on_event=heard.append, timeout_s=50.0) == [1, 2]
    assert len([event for event in heard if isinstance(event, agex.SuccessEvent)]) == 2
    with pytest.raises(agex.ConfigurationError, match="each item of a map has a session of its own"):
        task.map([1, 2], session="ann")


@pytest.mark.parametrize("concurrency", [0, 2.5, "4", True])
def test_concurrency_is_a_whole_number_above_0(pool: agex.Pool, concurrency: Any) -> None:
    with pytest.raises(ValueError, match=f"concurrency must be a whole number of at least 1, not {concurrency!r}"):
        task_of(pool, "").map([1], concurrency=concurrency)


def test_outcomes_are_one_for_each_item_in_order_whatever_happens(pool: agex.Pool) -> None:
    task = task_of(pool, "task_fail('odd') if inputs.n % 2 else task_success(inputs.n)")

    outcomes = task.map(range(5), concurrency=2, outcomes=True)

    assert [outcome.status for outcome in outcomes] == ["success", "failed"] * 2 + ["success"]
    assert task.map([]) == []


def test_handlers_of_an_awaited_map_are_awaited_in_its_loop(pool: agex.Pool) -> None:
    loops: set[int] = set()

    async def hear(event: agex.Event) -> None:
        loops.add(id(asyncio.get_running_loop()))

    async def scenario() -> int:
        task = task_of(pool, "task_success(inputs.n)").with_options(on_event=hear)
        assert await task.amap([1, 2]) == [1, 2]
        return id(asyncio.get_running_loop())

    loop = asyncio.run(scenario())
    assert loops == {loop}
