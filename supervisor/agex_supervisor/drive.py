"""The two drivers of the loop: they do the I/O it asks for, one waiting, one awaiting. No second copy of the loop."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from functools import partial
from typing import Any, Protocol

from agex_supervisor.bridge import on_thread, waited_for
from agex_supervisor.events import Event
from agex_supervisor.execution import Executed
from agex_supervisor.loop import Act, Ask, Cancelled, DeadlinePassed, Effect, Finish, Keep, Loop, Tell
from agex_supervisor.model import LLM, Action, ModelError, TokenHandler


class Hands(Protocol):
    """What a driver works with for one task. `deadline` is a time.monotonic(), or None."""

    llm: LLM
    on_token: TokenHandler | None
    deadline: float | None

    def act(self, action: Action, number: int, timeout_s: float | None) -> Executed: ...

    def cancelled(self) -> bool: ...

    def interrupt(self) -> None:
        """End the action under way, from another thread."""
        ...

    def tell(self, event: Event) -> Awaitable[None] | None: ...

    def look(self) -> None:
        """See what the last action did to the files."""
        ...

    def tell_changes(self) -> Awaitable[None] | None: ...

    def keep(self, message: str) -> None:
        """Store what was seen and told."""
        ...

    def tell_kept(self) -> Awaitable[None] | None:
        """Tell what became of it."""
        ...


def drive(loop: Loop, hands: Hands) -> Finish:
    """Run a loop to its end, waiting for everything."""
    steps = _Steps(loop, hands)
    while not isinstance(effect := steps.next(), Finish):
        with steps:
            match effect:
                case Ask(request):
                    steps.result = hands.llm.complete(request, on_token=hands.on_token, timeout_s=_left(hands))
                case Act(action, number):
                    steps.result = hands.act(action, number, _left(hands))
                case Tell(event):
                    if (told := hands.tell(event)) is not None:
                        waited_for(told)
                case Keep(message):
                    hands.look()
                    if (told := hands.tell_changes()) is not None:
                        waited_for(told)
                    hands.keep(message)
                    if (told := hands.tell_kept()) is not None:
                        waited_for(told)
    return effect


async def adrive(loop: Loop, hands: Hands) -> Finish:
    """The same, awaiting: the model by its async client, the worker on a thread."""
    steps = _Steps(loop, hands)
    while not isinstance(effect := steps.next(), Finish):
        with steps:
            match effect:
                case Ask(request):
                    steps.result = await hands.llm.acomplete(request, on_token=hands.on_token, timeout_s=_left(hands))
                case Act(action, number):
                    left = _left(hands)
                    steps.result = await on_thread(partial(hands.act, action, number, left), hands.interrupt)
                case Tell(event):
                    if (told := hands.tell(event)) is not None:
                        await told
                case Keep(message):
                    await on_thread(hands.look)
                    if (told := hands.tell_changes()) is not None:
                        await told
                    await on_thread(partial(hands.keep, message))
                    if (told := hands.tell_kept()) is not None:
                        await told
    return effect


class _Steps:
    """Moves a loop from effect to effect. As a context it turns what ends a task early into what the loop is told."""

    def __init__(self, loop: Loop, hands: Hands) -> None:
        self.result: Any = None
        self._loop = loop
        self._hands = hands
        self._error: Exception | None = None

    def next(self) -> Effect | Finish:
        result, error = self.result, self._error
        self.result = self._error = None
        try:
            return self._loop.send(result) if error is None else self._loop.throw(error)
        except StopIteration as stop:
            finish: Finish = stop.value
            return finish

    def __enter__(self) -> None:
        """Nothing to open: what matters is how the effect ends."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        # Also after an effect that went well: nothing that comes too late counts.
        early = self._early_end()
        if isinstance(error, ModelError):
            # A model cut off because the task's time is over is a time-out of the task, not a fault of the model.
            self._error = early or error
            return True
        if error is None:
            self._error = early
        return False

    def _early_end(self) -> Exception | None:
        if self._hands.cancelled():
            return Cancelled()
        if self._hands.deadline is not None and time.monotonic() >= self._hands.deadline:
            return DeadlinePassed()
        return None


def _left(hands: Hands) -> float | None:
    return None if hands.deadline is None else max(0.001, hands.deadline - time.monotonic())
