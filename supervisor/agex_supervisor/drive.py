"""The two drivers of the loop: they do the I/O it asks for, one waiting, one awaiting. No second copy of the loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from agex_supervisor.events import Event
from agex_supervisor.execution import Executed
from agex_supervisor.loop import Act, Ask, Cancelled, DeadlinePassed, Effect, Finish, Loop, Tell
from agex_supervisor.model import LLM, ModelError, Reply, TokenHandler


class Hands(Protocol):
    """What a driver works with for one task."""

    llm: LLM
    on_token: TokenHandler | None
    deadline: float | None

    def act(self, code: str, timeout_s: float | None) -> Executed: ...

    def cancelled(self) -> bool: ...

    def interrupt(self) -> None:
        """End the action under way, from another thread."""
        ...

    def tell(self, event: Event) -> Awaitable[None] | None: ...


def drive(loop: Loop, hands: Hands) -> Finish:
    """Run a loop to its end, waiting for everything."""

    def perform(effect: Effect) -> Any:
        match effect:
            case Ask(request):
                return hands.llm.complete(request, on_token=hands.on_token, timeout_s=_left(hands))
            case Act(code):
                return hands.act(code, _left(hands))
            case Tell(event):
                told = hands.tell(event)
                return asyncio.run(_awaited(told)) if told is not None else None

    step: Callable[[], Effect] = lambda: next(loop)
    while True:
        try:
            effect = step()
        except StopIteration as stop:
            return _finish(stop)
        try:
            _check(hands)
            result = perform(effect)
            _check(hands)
        except (ModelError, DeadlinePassed, Cancelled) as error:
            step = _throwing(loop, _late(hands, error))
        else:
            step = _sending(loop, result)


async def adrive(loop: Loop, hands: Hands) -> Finish:
    """The same, awaiting: the model by its async client, the worker on a thread."""

    async def perform(effect: Effect) -> Any:
        match effect:
            case Ask(request):
                reply: Reply = await hands.llm.acomplete(request, on_token=hands.on_token, timeout_s=_left(hands))
                return reply
            case Act(code):
                return await _on_thread(hands, code)
            case Tell(event):
                told = hands.tell(event)
                return await told if told is not None else None

    step: Callable[[], Effect] = lambda: next(loop)
    while True:
        try:
            effect = step()
        except StopIteration as stop:
            return _finish(stop)
        try:
            _check(hands)
            result = await perform(effect)
            _check(hands)
        except (ModelError, DeadlinePassed, Cancelled) as error:
            step = _throwing(loop, _late(hands, error))
        else:
            step = _sending(loop, result)


async def _on_thread(hands: Hands, code: str) -> Executed:
    work = asyncio.ensure_future(asyncio.to_thread(hands.act, code, _left(hands)))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        # The thread must be out of the worker before the task's resources are taken away.
        hands.interrupt()
        await asyncio.wait([work])
        raise


def _left(hands: Hands) -> float | None:
    return None if hands.deadline is None else max(0.001, hands.deadline - time.monotonic())


def _check(hands: Hands) -> None:
    if hands.cancelled():
        raise Cancelled
    if hands.deadline is not None and time.monotonic() >= hands.deadline:
        raise DeadlinePassed


def _late(hands: Hands, error: Exception) -> Exception:
    # A model that was cut off because the task's time is over is a time-out of the task, not a fault of the model.
    if isinstance(error, ModelError) and hands.deadline is not None and time.monotonic() >= hands.deadline:
        return DeadlinePassed()
    return error


def _sending(loop: Loop, result: Any) -> Callable[[], Effect]:
    return lambda: loop.send(result)


def _throwing(loop: Loop, error: Exception) -> Callable[[], Effect]:
    return lambda: loop.throw(error)


def _finish(stop: StopIteration) -> Finish:
    finish: Finish = stop.value
    return finish


async def _awaited(awaitable: Awaitable[None]) -> None:
    await awaitable
