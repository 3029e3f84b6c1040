"""Both drivers do the same with the same loop; a deadline and a cancellation reach it whatever is under way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from agex_supervisor.drive import adrive, drive
from agex_supervisor.events import Event
from agex_supervisor.execution import Executed
from agex_supervisor.loop import Brief, Budget, Finish, loop
from agex_supervisor.model import LLM, ModelError, PythonAction, Reply, Request, TokenHandler

Drive = Callable[..., Finish]


class Hands:
    """A model that always gives one action, and actions that give what the test says."""

    model = "always the same"
    on_token: TokenHandler | None = None

    def __init__(self, results: list[Any], deadline: float | None = None, asked: Callable[[], object] = lambda: None):
        self.llm: LLM = self
        self.deadline = deadline
        self.events: list[str] = []
        self.times: list[float | None] = []
        self.stop = threading.Event()
        self.interrupted = threading.Event()
        self._results = iter(results)
        self._asked = asked

    def complete(
        self, request: Request, *, on_token: TokenHandler | None = None, timeout_s: float | None = None
    ) -> Reply:
        self.times.append(timeout_s)
        self._asked()
        return Reply(actions=[PythonAction("code")])

    async def acomplete(
        self, request: Request, *, on_token: TokenHandler | None = None, timeout_s: float | None = None
    ) -> Reply:
        return self.complete(request, on_token=on_token, timeout_s=timeout_s)

    def act(self, code: str, number: int, timeout_s: float | None) -> Executed:
        self.times.append(timeout_s)
        result = next(self._results)
        return cast(Executed, result(self) if callable(result) else result)

    def cancelled(self) -> bool:
        return self.stop.is_set()

    def interrupt(self) -> None:
        self.interrupted.set()

    def look(self) -> None:
        self.events.append("look")

    def tell_changes(self) -> Awaitable[None] | None:
        return None

    def keep(self, message: str) -> None:
        self.events.append(f"keep {message}")

    def tell_kept(self) -> Awaitable[None] | None:
        return None

    def tell(self, event: Event) -> Awaitable[None] | None:
        self.events.append(type(event).__name__)
        return asyncio.sleep(0) if len(self.events) % 2 else None


@pytest.fixture(params=["waiting", "awaiting"])
def driven(request: pytest.FixtureRequest) -> Drive:
    def driven(hands: Hands) -> Finish:
        steps = loop(Brief("system", "task", (), "act", lambda left: None), Budget())
        return drive(steps, hands) if request.param == "waiting" else asyncio.run(adrive(steps, hands))

    return driven


def test_a_task_is_driven_to_its_value(driven: Drive) -> None:
    hands = Hands([Executed("finished"), Executed("succeeded", 5)])
    finish = driven(hands)
    assert (finish.status, finish.value, finish.actions) == ("success", 5, 2)
    assert hands.events == ["ActionEvent", "OutputEvent", "look", "keep action 1: python_action", "ActionEvent"]
    assert hands.times == [None] * 4


def test_a_fault_of_the_model_ends_the_task_and_is_kept(driven: Drive) -> None:
    fault = ModelError("it refused")

    def refuse() -> None:
        raise fault

    finish = driven(Hands([], asked=refuse))
    assert (finish.status, finish.cause, finish.error) == ("error", "llm", fault)


def test_a_deadline_that_passed_wins_over_what_came_too_late(driven: Drive) -> None:
    hands = Hands([Executed("succeeded", 5)], deadline=time.monotonic() - 1)
    assert driven(hands).status == "timeout"
    assert hands.times == [0.001]


def test_a_model_cut_off_by_the_deadline_is_a_timeout_of_the_task(driven: Drive) -> None:
    def too_slow() -> None:
        raise ModelError("timed out")

    assert driven(Hands([], deadline=time.monotonic() - 1, asked=too_slow)).status == "timeout"


def test_what_is_left_of_the_time_is_passed_on(driven: Drive) -> None:
    hands = Hands([Executed("succeeded")], deadline=time.monotonic() + 1000)
    assert driven(hands).status == "success"
    assert all(left is not None and 0 < left <= 1000 for left in hands.times)


@pytest.mark.parametrize("when", ["asking", "acting"])
def test_a_cancelled_task_ends_whatever_the_effect_gave(when: str, driven: Drive) -> None:
    def act(hands: Hands) -> Executed:
        hands.stop.set()
        return Executed("succeeded", 5)

    hands = Hands([act])
    if when == "asking":
        hands = Hands([act], asked=lambda: hands.stop.set())
    assert driven(hands).status == "cancelled"


def test_an_error_that_is_nobodys_comes_out_as_it_is(driven: Drive) -> None:
    def act(hands: Hands) -> Executed:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        driven(Hands([act]))


def test_cancelling_the_awaiting_task_interrupts_the_action_and_waits_for_its_thread() -> None:
    acting, left = threading.Event(), threading.Event()

    def act(hands: Hands) -> Executed:
        acting.set()
        hands.interrupted.wait()
        left.set()
        return Executed("finished")

    async def main() -> None:
        steps = loop(Brief("system", "task", (), "act", lambda left: None), Budget())
        task = asyncio.create_task(adrive(steps, Hands([act])))
        await asyncio.to_thread(acting.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert left.is_set()

    asyncio.run(main())
