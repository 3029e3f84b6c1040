"""The time of a task is over when it is over, whatever its action does."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import agex
from agex.cutoff import Cutoff
from agex.llm import Reply, Scripted, TerminalAction

ENOUGH = 3_000


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool()
    yield pool
    pool.close()


WAYS: dict[str, Any] = {
    "calls": f"for _ in range({ENOUGH}): brief()",
    "awaited calls": f"for _ in range({ENOUGH}): abrief()",
    "caught": f"for _ in range({ENOUGH}):\n    try:\n        brief()\n    except Exception:\n        pass",
    "commands": TerminalAction(f"for i in $(seq {ENOUGH}); do wait-a-moment; done"),
}


@pytest.mark.parametrize("awaited", [False, True], ids=["called", "awaited"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("isolation", ["none", "kernel"])
def test_an_action_that_only_calls_host_functions_ends_with_its_task(
    isolation: Any, way: str, awaited: bool, pool: agex.Pool
) -> None:
    calls = 0

    def brief() -> None:
        """Wait."""
        nonlocal calls
        calls += 1
        time.sleep(0.02)

    async def abrief() -> None:
        """Wait."""
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.02)

    said = WAYS[way] if isinstance(WAYS[way], str) else Reply(actions=[WAYS[way]])
    agent = agex.Agent(llm=Scripted([said] * 2), isolation=isolation, pool=pool, task_timeout_s=0.5)
    agent.fn(brief)
    agent.fn(abrief)

    @agent.terminal(name="wait-a-moment")
    def command(ctx: agex.CommandContext) -> None:
        """Wait."""
        brief()

    @agent.task
    def wait() -> int:
        """Wait."""
        raise NotImplementedError

    outcome = asyncio.run(wait.arun()) if awaited else wait.run()
    assert (outcome.status, outcome.error and type(outcome.error)) == ("timeout", agex.TaskTimeout)
    assert 0 < calls < ENOUGH


def test_it_ends_nothing_that_was_over_before() -> None:
    ended = threading.Event()
    with Cutoff(0.0, ended.set):
        pass
    cutoff = Cutoff(0.0, ended.set)
    with cutoff:
        pass
    cutoff._pass()
    assert not ended.is_set()


def test_without_a_time_it_ends_nothing() -> None:
    with Cutoff(None, pytest.fail):
        pass
