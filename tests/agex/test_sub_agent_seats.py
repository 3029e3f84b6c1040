"""Agents under agents on small pools and in one event loop: nobody waits for a worker, or a thread, that waits for him."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import agex
from agex.lineage import MAX_DEPTH
from agex.llm import Reply, Scripted


@pytest.fixture
def one() -> Iterator[agex.Pool]:
    """A pool in which a session that does not get its seat at once gets none."""
    pool = agex.Pool(max_workers=1, spares=0, wait_s=60)
    yield pool
    assert pool.stats() == agex.PoolStats(busy=0, spares=0, zygotes=pool.stats().zygotes, max_workers=1)
    pool.close()


def agent(name: str, script: list[Any], pool: agex.Pool, isolation: str = "kernel") -> agex.Agent:
    return agex.Agent(name=name, llm=Scripted(script), isolation=isolation, pool=pool)  # type: ignore[arg-type]


def doubled(agent: agex.Agent) -> agex.Task[[int], int]:
    @agent.task
    def double(n: int) -> int:
        """Double it."""
        raise NotImplementedError

    return double


def summed(agent: agex.Agent) -> agex.Task[[list[int]], int]:
    @agent.task
    def total(numbers: list[int]) -> int:
        """Their sum, each doubled."""
        raise NotImplementedError

    return total


def test_agents_as_deep_as_they_may_be_need_one_place_in_a_pool(one: agex.Pool) -> None:
    task = doubled(agent("deepest", ["task_success(inputs.n * 2)"], one))
    for level in range(MAX_DEPTH):
        above = agent(f"level{level}", ["task_success(below(inputs.n))"], one)
        above.fn(task, name="below")
        task = doubled(above)
    lent: list[int] = []

    outcome = task.with_options(on_event=lambda event: lent.append(one.stats().lent)).run(21)

    assert (outcome.value, max(lent)) == (42, MAX_DEPTH), outcome.message
    assert max(event.namespace.count("/") for event in outcome.events) == MAX_DEPTH


def test_as_many_orchestrators_at_once_as_there_are_workers_do_not_wait_for_each_other() -> None:
    pool = agex.Pool(max_workers=2, spares=0, wait_s=60)
    specialist = agent("specialist", ["task_success(inputs.n * 2)"] * 6, pool)
    boss = agent("boss", ["task_success(below(inputs.n))"] * 6, pool)
    boss.fn(doubled(specialist), name="below")

    assert doubled(boss).map(range(6), concurrency=6) == [0, 2, 4, 6, 8, 10]
    assert (pool.stats().busy, pool.stats().lent) == (0, 0)
    pool.close()


def test_several_below_one_share_its_place(one: agex.Pool) -> None:
    specialist = agent("specialist", ["task_success(inputs.n * 2)"] * 9, one)
    task = doubled(specialist)
    boss = agent(
        "boss", ["task_success(mapped(inputs.numbers) + threaded(inputs.numbers) + gathered(inputs.numbers))"], one
    )

    @boss.fn
    def mapped(numbers: list[int]) -> int:
        return sum(task.map(numbers))

    @boss.fn
    def threaded(numbers: list[int]) -> int:
        contexts = [contextvars.copy_context() for _ in numbers]
        with ThreadPoolExecutor(3) as threads:
            return sum(threads.map(lambda context, n: context.run(task, n), contexts, numbers))

    @boss.fn
    async def gathered(numbers: list[int]) -> int:
        return sum(each.unwrap() for each in await asyncio.gather(*(task.arun(n) for n in numbers)))

    outcome = summed(boss).run([1, 2, 3])

    assert outcome.value == 36, outcome.message
    assert [event.namespace for event in outcome.events if isinstance(event, agex.SuccessEvent)] == [
        *["boss/specialist"] * 9,
        "boss",
    ]


def test_what_handlers_call_has_the_place_of_the_task_whose_events_they_hear(one: agex.Pool) -> None:
    notes = doubled(agent("notes", ["task_success(inputs.n * 2)"] * 10, one))
    task = doubled(agent("solo", [Reply(text="Now", actions=[]), "task_success(inputs.n * 2)"] * 2, one))
    noted: list[int] = []

    async def listen(event: agex.Event) -> None:
        noted.append((await notes.arun(len(noted))).unwrap())

    given = task.with_options(on_event=listen, on_token=lambda text: noted.append(notes(100)))
    assert given(1) == 2
    assert noted == [0, 200, 4, 6, 8]
    noted.clear()
    assert asyncio.run(given.arun(1)).unwrap() == 2
    assert noted == [0, 200, 4, 6, 8]


def test_a_sandbox_in_a_host_function_has_the_place_of_who_called_it(one: agex.Pool) -> None:
    boss = agent("boss", ["task_success(compute('6 * 7'))"], one)

    @boss.fn
    def compute(code: str) -> int:
        with agex.Sandbox(pool=one) as sandbox:
            outer = sandbox.run(code, returns=int).unwrap()
        with agex.Sandbox(
            pool=one, functions={"double": doubled(agent("under", ["task_success(2 * inputs.n)"], one))}
        ) as s:
            return outer + s.run("double(0)", returns=int).unwrap()

    assert doubled(boss)(0) == 42


def test_a_level_without_a_worker_lends_that_of_the_level_above(one: agex.Pool) -> None:
    bottom = agent("bottom", ["task_success(inputs.n * 2)"], one)
    middle = agent("middle", ["task_success(below(inputs.n))"], one, isolation="none")
    middle.fn(doubled(bottom), name="below")
    task = doubled(middle)
    boss = agent("boss", ["task_success(trusted(inputs.n))"], one)

    @boss.fn
    def trusted(n: int) -> int:
        return task(n)  # what a function of the application calls may be held less

    assert doubled(boss)(21) == 42


def test_a_sub_agent_that_outlives_its_caller_keeps_its_place(one: agex.Pool) -> None:
    specialist = agent("specialist", ["wait()\ntask_success(inputs.n * 2)"], one)
    boss = agent("boss", ["begin()\ntask_success(0)"], one)
    other = doubled(agent("other", [], one))
    task, threads = doubled(specialist), ThreadPoolExecutor(1)
    begun = threads.submit(int)
    there, gate = threading.Event(), threading.Event()

    @specialist.fn
    def wait() -> None:
        there.set()
        assert gate.wait(60)

    @boss.fn
    def begin() -> None:
        nonlocal begun
        begun = threads.submit(contextvars.copy_context().run, task, 21)
        assert there.wait(60)

    assert doubled(boss)(0) == 0
    one.wait_s = 0.0
    with pytest.raises(agex.PoolExhausted):
        other(1)
    gate.set()
    assert begun.result() == 42
    threads.shutdown()


@pytest.mark.parametrize("isolation", ["none", "kernel"])
def test_many_awaited_orchestrators_in_one_loop_do_not_wait_for_each_others_threads(isolation: str) -> None:
    pool = agex.Pool(max_workers=2, spares=0, wait_s=60)
    specialist = agent("specialist", ["task_success(inputs.n * 2)"] * 40, pool, isolation)
    boss = agent("boss", ["task_success(below(inputs.n))"] * 40, pool, isolation)

    @boss.fn
    @specialist.task
    async def below(n: int) -> int:
        """Double it."""
        raise NotImplementedError

    @boss.task
    async def double(n: int) -> int:
        """Double it by below()."""
        raise NotImplementedError

    async def all_of(count: int) -> list[int]:
        # More than the threads that asyncio has for a loop on any machine.
        return list(await asyncio.gather(*(double.with_options(session=f"s{n}")(n) for n in range(count))))

    assert asyncio.run(all_of(40)) == [2 * n for n in range(40)]
    pool.close()
