"""Scripted: a model whose replies are written down beforehand. For tests, and for demonstrations without a network."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from agex.errors import LLMError
from agex.llm.fault import Fault
from agex.llm.script import Script, ScriptItem
from agex_supervisor.bridge import waited_for
from agex_supervisor.model import Reply, Request, TokenHandler


class Scripted:
    """Gives the replies of `script` in order. Safe to share between threads.

    Each is a string (Python to run), a Reply, a callable that is given the Request and returns one of these, an exception
    (raised), or a Fault (raised as LLMError, as after the retries of the wire). After the last: LLMError.
    `requests` is what the model was shown, call by call.
    """

    def __init__(self, script: Iterable[ScriptItem]) -> None:
        self.requests: list[Request] = []
        self._script = Script(script)

    @property
    def model(self) -> str:
        return "scripted"

    def complete(
        self, request: Request, *, on_token: TokenHandler | None = None, timeout_s: float | None = None
    ) -> Reply:
        """The next reply, at once: `timeout_s` has nothing to bound. `on_token` gets its text in one piece."""
        reply = self._next(request)
        if on_token is not None and reply.text:
            heard = on_token(reply.text)
            if inspect.isawaitable(heard):
                waited_for(heard)
        return reply

    async def acomplete(
        self, request: Request, *, on_token: TokenHandler | None = None, timeout_s: float | None = None
    ) -> Reply:
        """The same, awaited; an `on_token` that returns an awaitable is awaited."""
        reply = self._next(request)
        if on_token is not None and reply.text:
            heard = on_token(reply.text)
            if inspect.isawaitable(heard):
                await heard
        return reply

    def __repr__(self) -> str:
        return f"Scripted({len(self.requests)} calls so far)"

    def _next(self, request: Request) -> Reply:
        self.requests.append(request)
        match self._script.next(request):
            case Fault() as fault:
                raise LLMError(f"scripted: {fault}", model=self.model)
            case reply:
                return reply
