"""What a user writes, for the type checkers: tasks keep their signatures, and need no ignore."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, assert_type

import agex

agent = agex.Agent(name="typed", isolation="kernel")
other = agex.Agent(name="other", isolation="kernel")


@agent.fn
def rate(code: str) -> float:
    """The rate of a currency."""
    return 1.0


@agent.cls
class Line:
    """A line of an order."""

    text: str = ""


@agent.task
def total(prices: list[float], currency: str = "EUR") -> dict[str, float]:
    """Add the prices by currency."""
    raise NotImplementedError


@agent.task(primer="Be brief.")
def title(text: str) -> str:
    """A title for the text."""
    raise NotImplementedError


@agent.task
async def later(count: int) -> list[int]:
    """Count."""
    raise NotImplementedError


@agent.task
def train(rows: list[float]) -> agex.Handle[Line]:
    """Train."""
    raise NotImplementedError


@agent.task
def sealed(rows: list[float]) -> agex.Opaque[Line]:
    """Seal."""
    raise NotImplementedError


@agent.task
def scaled(factor: int) -> Callable[[int], float]:
    """Scale."""
    raise NotImplementedError


@agent.task(trust="unpickle")
def trusted(line: agex.Opaque[Line] | agex.Handle[Line]) -> Line:
    """Give the line itself."""
    raise NotImplementedError


class Service:
    """Has tasks of its own."""

    @agent.task
    def double(self, n: int, by: int = 2) -> int:
        """Double it."""
        raise NotImplementedError

    @agent.task(setup="print(inputs.n)")
    async def later(self, n: int) -> str:
        """Later."""
        raise NotImplementedError


@agent.fn
@other.task
def looked_up(text: str) -> float:
    """Look it up."""
    raise NotImplementedError


def hear(event: agex.Event) -> None:
    if isinstance(event, agex.ActionEvent):
        assert_type(event.cost, float | None)
    assert_type(agex.Event.from_json(event.to_json()), agex.Event)


async def use_events() -> None:
    assert_type(looked_up("x"), float)
    assert_type(Service().double(3), int)
    assert_type(Service().double.run(3), agex.TaskOutcome)
    assert_type(await Service().later(3), str)
    assert_type(total.with_options(on_event=hear, on_token=agex.pprint_tokens)([1.0]), dict[str, float])
    agex.pprint_events(total.run([1.0]), width=80)
    try:
        total([1.0])
    except agex.TaskNeedsInput as needs:
        assert_type(needs.question, str)
        needs.answer("yes")


def use_handles() -> None:
    with train([1.0]) as line:
        assert_type(line, agex.Handle[Line])
        assert_type(line.text, Any)
        assert_type(line.fit(3, deep=True), Any)
        assert_type(trusted(line), Line)
        base: agex.Handle[object] = line
        base.close()
    assert_type(sealed([1.0]).sha256, str)
    assert_type(sealed([1.0]).data, bytes)
    assert_type(scaled(2)(3), float)
    wider: agex.Opaque[object] = sealed([1.0])
    assert wider == sealed([1.0])
    try:
        line()
    except agex.HandleClosed as closed:
        assert_type(closed.cause, str)


def use() -> None:
    assert_type(total([1.0]), dict[str, float])
    assert_type(total.with_options(session="a", timeout_s=5.0)([1.0], currency="USD"), dict[str, float])
    assert_type(title("text"), str)
    assert_type(title("text", session="a"), str)
    assert_type(title("text", on_event=hear, timeout_s=5.0), str)
    assert_type(title("text", tenant="a", on_token=agex.pprint_tokens, max_actions=3), str)
    assert_type(title.run("text", session="a"), agex.TaskOutcome)
    assert_type(title.map(["text"], concurrency=2), list[str])
    assert_type(title.map(["text"], outcomes=True), list[agex.TaskOutcome])
    assert_type(total.map([[1.0]], currency="USD"), list[dict[str, float]])
    assert_type(Service().double.map([1, 2], by=3), list[int])
    assert_type(later.map([1]), list[list[int]])
    with ThreadPoolExecutor() as threads:
        assert_type(threads.submit(total, [1.0], currency="USD"), Future[dict[str, float]])
    plain: Callable[[list[float]], dict[str, float]] = total
    assert_type(plain([1.0]), dict[str, float])
    assert_type(total.run([1.0]), agex.TaskOutcome)
    assert_type(rate("EUR"), float)
    assert_type(Line().text, str)
    with agex.Sandbox(functions={"rate": rate}) as sandbox:
        assert_type(sandbox.run("rate('EUR')", returns=float), agex.SandboxOutcome)


async def use_async() -> None:
    assert_type(await later(3), list[int])
    assert_type(await later(3, session="a"), list[int])
    assert_type(await later.arun(3), agex.TaskOutcome)
    assert_type(await later.arun(3, session="a"), agex.TaskOutcome)
    assert_type(await later.amap([3]), list[list[int]])
    assert_type(await total.amap([[1.0]]), list[dict[str, float]])
    assert_type(await total.amap([[1.0]], outcomes=True), list[agex.TaskOutcome])
    assert_type(await asyncio.to_thread(total, [1.0]), dict[str, float])
