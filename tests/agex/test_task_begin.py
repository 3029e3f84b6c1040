"""A call that waits for its session or for a worker: it can be ended, its deadline counts, and it leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest

import agex
from agex.llm import Scripted

LONG_S = 60.0


@pytest.fixture
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=1, spares=0, wait_s=LONG_S)
    yield pool
    assert (pool.stats().busy, pool.stats().lent) == (0, 0)
    pool.close()


@pytest.fixture
def agent(pool: agex.Pool) -> agex.Agent:
    return agex.Agent(name="solo", llm=Scripted(["task_success(inputs.n * 2)"] * 3), isolation="kernel", pool=pool)


@pytest.fixture
def double(agent: agex.Agent) -> agex.Task[[int], int]:
    @agent.task
    def double(n: int) -> int:
        """Double it."""
        raise NotImplementedError

    return double


@contextmanager
def occupied(pool: agex.Pool) -> Generator[None]:
    """No worker is free."""
    with agex.Sandbox(pool=pool) as sandbox:
        sandbox.run("1").unwrap()
        yield


@contextmanager
def in_use(agent: agex.Agent, session: str) -> Generator[None]:
    """Another task has the session."""
    agent.sessions.acquire(session)
    try:
        yield
    finally:
        agent.sessions.release(session)


def kinds(outcome: agex.TaskOutcome) -> list[str]:
    return [type(event).__name__ for event in outcome.events]


async def cancelled(task: agex.Task[[int], int]) -> None:
    """An awaited call is cancelled when it has begun to wait, or is about to."""
    call = asyncio.create_task(task.arun(1))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


def test_an_awaited_call_that_is_cancelled_as_it_waits_for_a_worker_leaves_nothing(
    pool: agex.Pool, double: agex.Task[[int], int]
) -> None:
    with occupied(pool):
        asyncio.run(cancelled(double))
    assert double(21) == 42


def test_an_awaited_call_that_is_cancelled_as_it_waits_for_its_session_leaves_nothing(
    agent: agex.Agent, double: agex.Task[[int], int]
) -> None:
    with in_use(agent, "ann"):
        asyncio.run(cancelled(double.with_options(session="ann")))
    assert double.with_options(session="ann")(21) == 42


def test_an_awaited_call_that_is_cancelled_in_the_moment_in_which_it_begins_leaves_nothing(
    double: agex.Task[[int], int],
) -> None:
    asyncio.run(cancelled(double))  # nothing is in its way: it is cancelled while a worker is made, or just after
    assert double(21) == 42


def test_a_call_that_waits_for_a_worker_is_cancelled_as_one_that_runs(
    pool: agex.Pool, double: agex.Task[[int], int]
) -> None:
    outcomes: list[agex.TaskOutcome] = []
    with occupied(pool):
        waiting = threading.Thread(target=lambda: outcomes.append(double.run(1)))
        waiting.start()
        while not double.cancel():
            pass
        waiting.join()

    assert (outcomes[0].status, kinds(outcomes[0])) == ("cancelled", ["TaskStartEvent", "CancelledEvent"])
    assert isinstance(outcomes[0].error, agex.TaskCancelled)


def test_the_deadline_counts_while_a_call_waits_for_a_worker(pool: agex.Pool, double: agex.Task[[int], int]) -> None:
    with occupied(pool):
        outcome = double.with_options(timeout_s=0.05).run(1)

    assert (outcome.status, kinds(outcome)) == ("timeout", ["TaskStartEvent", "ErrorEvent"])
    assert str(outcome.error) == "task_timeout_s is over: all 1 workers are busy, and none became free in time"
    assert outcome.commit is not None


def test_the_deadline_counts_while_a_call_waits_for_its_session(
    agent: agex.Agent, double: agex.Task[[int], int]
) -> None:
    with in_use(agent, "default"):
        outcome = double.with_options(timeout_s=0.05).run(1)

    assert (outcome.status, kinds(outcome)) == ("timeout", ["TaskStartEvent", "ErrorEvent"])
    assert str(outcome.error) == "task_timeout_s is over: session 'default' was in use"
    assert outcome.commit is None  # the session was another's


@pytest.mark.parametrize("awaited", [False, True])
def test_what_ends_the_caller_ends_sub_agents_that_wait_for_a_worker(
    pool: agex.Pool, agent: agex.Agent, double: agex.Task[[int], int], awaited: bool
) -> None:
    other = agex.Pool(max_workers=1, spares=0)
    boss = agex.Agent(name="boss", llm=Scripted(["task_success(double(1))"]), isolation="kernel", pool=other)
    boss.fn(double)
    waits = threading.Event()

    @boss.task
    def report(n: int) -> int:
        """Report."""
        raise NotImplementedError

    task = report.with_options(on_event=lambda event: waits.set() if isinstance(event, agex.ActionEvent) else None)
    outcomes: list[agex.TaskOutcome] = []
    with occupied(pool):
        if awaited:
            asyncio.run(cancelled_at(task, waits))
        else:
            running = threading.Thread(target=lambda: outcomes.append(task.run(1)))
            running.start()
            waits.wait()
            assert task.cancel()
            running.join()
            assert outcomes[0].status == "cancelled"
    assert (other.stats().busy, double(21)) == (0, 42)
    other.close()


async def cancelled_at(task: agex.Task[[int], int], moment: threading.Event) -> None:
    call = asyncio.create_task(task.arun(1))
    await asyncio.to_thread(moment.wait)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


def test_a_map_that_is_ended_ends_those_of_it_that_wait(pool: agex.Pool, double: agex.Task[[int], int]) -> None:
    async def main() -> None:
        mapped = asyncio.create_task(double.amap([1, 2, 3]))
        await asyncio.sleep(0)
        mapped.cancel()
        with pytest.raises(asyncio.CancelledError):
            await mapped

    with occupied(pool):
        asyncio.run(main())
    assert double(21) == 42
