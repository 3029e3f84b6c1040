"""The model of one call: its requests can be ended from another thread, its text is labelled, its tokens are counted."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from contextlib import contextmanager
from dataclasses import replace

from agex.errors import LLMError
from agex.handlers import handled
from agex.tokens import estimated_tokens
from agex_protocol.errors import AgexError
from agex_supervisor.bridge import ENDING, Ending, WaitEnded, waited_for
from agex_supervisor.display import display
from agex_supervisor.model import LLM, ModelError, Reply, Request, TokenHandler, Usage


class Token(str):
    """A piece of a model's text, with whose it is: `agent`, and `namespace`, the agents from the outermost to that one."""

    agent: str
    namespace: str

    @classmethod
    def of(cls, text: str, agent: str, namespace: str) -> Token:
        """The same text, labelled."""
        token = cls(text)
        token.agent, token.namespace = agent, namespace
        return token


class Asking:
    """An LLM around the agent's own, for one call. `end()` may come from any thread; the request under way then raises
    ModelError, if its client waits by this package's means or awaits."""

    def __init__(self, llm: LLM, agent: str, namespace: str, *, estimates: bool = False) -> None:
        """estimates: tokens are bounded, so those of a server that counts none are estimated."""
        self._llm = llm
        self._agent = agent
        self._namespace = namespace
        self._estimates = estimates
        self._ending = Ending()
        self.usage = Usage()

    @property
    def model(self) -> str:
        return self._llm.model

    @property
    def ending(self) -> Ending:
        """What `end()` ends; other waits of the same call may be ended with it."""
        return self._ending

    def end(self) -> None:
        """End the request under way, and let none begin."""
        self._ending.end()

    def complete(
        self, request: Request, *, on_token: TokenHandler | None = None, timeout_s: float | None = None
    ) -> Reply:
        """As the model's own. ModelError where it was ended."""
        self._refuse_ended()
        token = ENDING.set(self._ending)
        try:
            with _as_llm_errors(self._llm):
                reply = self._llm.complete(request, on_token=self._heard(on_token, wait=True), timeout_s=timeout_s)
            return self._counted(request, reply)
        except WaitEnded:
            raise ModelError("the request was ended") from None
        finally:
            ENDING.reset(token)

    async def acomplete(
        self, request: Request, *, on_token: TokenHandler | None = None, timeout_s: float | None = None
    ) -> Reply:
        """The same, awaited."""
        import asyncio

        self._refuse_ended()
        heard = self._heard(on_token, wait=False)
        asked = asyncio.ensure_future(self._llm.acomplete(request, on_token=heard, timeout_s=timeout_s))
        loop = asyncio.get_running_loop()
        try:
            with self._ending.ends(lambda: loop.call_soon_threadsafe(asked.cancel)), _as_llm_errors(self._llm):
                reply = await asked
            return self._counted(request, reply)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self._ending.ended and current is not None and not current.cancelling():
                raise ModelError("the request was ended") from None
            raise

    def _refuse_ended(self) -> None:
        if self._ending.ended:
            raise ModelError("the request was ended")

    def _counted(self, request: Request, reply: Reply) -> Reply:
        if reply.usage is None and self._estimates:
            said = [reply.text, *map(str, reply.actions)]
            reply = replace(reply, usage=Usage(estimated_tokens(str(request)), estimated_tokens("\n".join(said))))
        self.usage = self.usage + (reply.usage or Usage())
        return reply

    def _heard(self, handler: TokenHandler | None, *, wait: bool) -> TokenHandler | None:
        """The handler with labelled pieces; what it raises is logged, and neither lost nor fatal."""
        if handler is None:
            return None

        def heard(text: str) -> Awaitable[None] | None:
            pending = handled(handler, Token.of(text, self._agent, self._namespace), "on_token")
            if pending is None or not wait:
                return pending
            # In code that waits, also below clients that do not await what a handler gives.
            waited_for(pending)
            return None

        return heard


@contextmanager
def _as_llm_errors(llm: LLM) -> Generator[None]:
    """A client of the application's own may raise what it likes. To the task that is a model that could not be asked."""
    try:
        yield
    except (AgexError, WaitEnded):
        raise
    except Exception as error:
        text = display(f"{type(error).__name__}: {error}", limit=2_000)
        raise LLMError(f"{llm.model}: {text}", model=llm.model) from error
