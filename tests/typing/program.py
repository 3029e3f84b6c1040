"""What a user writes, for the type checkers: tasks keep their signatures, and need no ignore."""

from __future__ import annotations

from typing import assert_type

import agex

agent = agex.Agent(name="typed", isolation="kernel")


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


def use() -> None:
    assert_type(total([1.0]), dict[str, float])
    assert_type(total.with_options(session="a", timeout_s=5.0)([1.0], currency="USD"), dict[str, float])
    assert_type(title("text"), str)
    assert_type(total.run([1.0]), agex.TaskOutcome)
    assert_type(rate("EUR"), float)
    assert_type(Line().text, str)
    with agex.Sandbox(functions={"rate": rate}) as sandbox:
        assert_type(sandbox.run("rate('EUR')", returns=float), agex.SandboxOutcome)


async def use_async() -> None:
    assert_type(await later(3), list[int])
    assert_type(await later.arun(3), agex.TaskOutcome)
