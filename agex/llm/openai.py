"""OpenAI: the client for every server that speaks Chat Completions.

Here are the retries of the wire (status 429 and 5xx, broken connections and streams, garbage) and the way down from tool
calls to fenced blocks. What a model gets wrong is not retried here: the loop shows it to the model.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import random
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NoReturn
from urllib.parse import urlsplit

from agex.errors import ConfigurationError, LLMError
from agex.llm.blocking import wait_for
from agex.llm.completion import StreamedCompletion, read_completion
from agex.llm.conversation import body_with_fences, body_with_tools
from agex.llm.wire_error import WireError
from agex_supervisor.display import display
from agex_supervisor.model import Reply, Request, TokenHandler

if TYPE_CHECKING:
    from agex.llm.wire import Wire

MAX_RETRY_WAIT_S = 8.0

# Servers that need no key still get the header.
_NO_KEY = "none"


class OpenAI:
    """A model behind a server that speaks Chat Completions. Safe to share between threads, tasks and agents.

    `base_url` and `api_key` default to OPENAI_BASE_URL and OPENAI_API_KEY, looked up at each call; a server given by URL
    may need no key. `timeout_s` bounds a call as a whole, retries and waits included. The first retry waits
    `retry_wait_s`, each later one twice as long, or what the server asks for. `extra_body` is merged into every request.
    `tools`: "auto" turns to fenced blocks when the server refuses tool calls; "on" and "off" are final.
    `stream`: None streams when someone listens (`on_token`). Images that code viewed go along until the server refuses them.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 60.0,
        max_retries: int = 2,
        retry_wait_s: float = 0.5,
        extra_body: dict[str, Any] | None = None,
        tools: Literal["auto", "on", "off"] = "auto",
        stream: bool | None = None,
    ) -> None:
        if tools not in ("auto", "on", "off"):
            raise ValueError(f"tools is 'auto', 'on' or 'off', not {tools!r}")
        if not timeout_s > 0:
            raise ValueError(f"timeout_s is a number of seconds above 0, not {timeout_s!r}")
        if max_retries < 0 or retry_wait_s < 0:
            raise ValueError("max_retries and retry_wait_s cannot be negative")
        self._model = model
        self._base_url = base_url
        self._api_key = api_key
        self._timeout_s = timeout_s
        self._max_retries = max_retries
        self._retry_wait_s = retry_wait_s
        self._extra_body = dict(extra_body or {})
        self._tools = tools
        self._stream = stream
        # What this server turned down once is not tried again. Only ever grows, so threads need no lock.
        self._refused: set[str] = {"tools"} if tools == "off" else set()

    @property
    def model(self) -> str:
        """The model's name, as the server knows it."""
        return self._model

    def check(self) -> None:
        """Raise ConfigurationError where a call could only fail for want of a key or a proper URL. Asks no server."""
        self._access()

    def complete(
        self, request: Request, *, on_token: TokenHandler | None = None, timeout_s: float | None = None
    ) -> Reply:
        """The model's reply, or LLMError. `timeout_s` can only shorten the client's own.

        `on_token` gets the text as it arrives; when a broken stream is asked for again, from its start again.
        """
        return wait_for(lambda: self.acomplete(request, on_token=on_token, timeout_s=timeout_s))

    async def acomplete(
        self, request: Request, *, on_token: TokenHandler | None = None, timeout_s: float | None = None
    ) -> Reply:
        """As `complete`, on an asyncio loop. An `on_token` that returns an awaitable is awaited."""
        access = self._access()
        limit_s = self._timeout_s if timeout_s is None else min(self._timeout_s, timeout_s)
        call = _Call(request, on_token, asyncio.get_running_loop().time() + limit_s)
        # Here, for it imports the official client.
        from agex.llm.wire import connected

        deadline = asyncio.timeout_at(call.deadline)
        try:
            async with deadline, connected(access.base_url, access.api_key or _NO_KEY, limit_s) as wire:
                return await self._ask(wire, call)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            last = f"; before that: {call.last_error}" if call.last_error else ""
            raise self._error(f"no complete reply within {limit_s:g} s{last}", call, access) from access.harmless(
                call.last_error or error
            )
        except WireError as error:
            raise self._error(str(error), call, access) from access.harmless(error.__cause__ or error)

    async def _ask(self, wire: Wire, call: _Call) -> Reply:
        while True:
            try:
                return await self._attempt(wire, call)
            except WireError as error:
                if error.refused is not None and self._can_do_without(error.refused, call):
                    call.left_out.add(error.refused)
                    self._refused.add(error.refused)
                    continue
                if not error.retryable or call.retries == self._max_retries:
                    raise
                call.last_error = error
                await self._wait(error, call)
                call.retries += 1

    async def _attempt(self, wire: Wire, call: _Call) -> Reply:
        made = body_with_fences if "tools" in self._refused else body_with_tools
        body = made(call.request, images="images" not in self._refused)
        body |= {"model": self._model} | self._extra_body
        if not (call.on_token is not None if self._stream is None else self._stream):
            reply = read_completion(await wire.ask(body), call.request)
            await call.hear(reply.text)
            return reply
        body["stream"] = True
        if "stream_options" not in self._refused:
            body.setdefault("stream_options", {"include_usage": True})
        completion = StreamedCompletion(call.request)
        async with aclosing(wire.stream(body)) as chunks:
            async for chunk in chunks:
                await call.hear(completion.add(chunk))
        return completion.reply()

    def _can_do_without(self, part: str, call: _Call) -> bool:
        # By call: another thread may have had the same refusal. And once only: extra_body may insist on the part.
        return part not in call.left_out and not (part == "tools" and self._tools == "on")

    async def _wait(self, error: WireError, call: _Call) -> None:
        wait_s = error.wait_s
        if wait_s is None:
            # Apart from each other, so that clients that failed together do not come back together.
            wait_s = min(self._retry_wait_s * 2**call.retries, MAX_RETRY_WAIT_S) * random.uniform(0.75, 1.0)
        if asyncio.get_running_loop().time() + wait_s >= call.deadline:
            raise WireError(f"{error}; waiting {wait_s:g} s more would exceed timeout_s") from error
        await asyncio.sleep(wait_s)

    def _access(self) -> _Access:
        base_url = self._base_url or os.environ.get("OPENAI_BASE_URL") or None
        api_key = (self._api_key or os.environ.get("OPENAI_API_KEY") or "").strip()
        if base_url is not None and not base_url.startswith(("https://", "http://")):
            raise ConfigurationError(
                f"base_url {_without_password(base_url)!r} does not begin with https:// or http://"
            )
        if not api_key and base_url is None:
            raise ConfigurationError(
                f"no API key for {self._model!r}: set OPENAI_API_KEY or pass api_key=, "
                "or name a server that needs none by OPENAI_BASE_URL or base_url="
            )
        if not api_key.isascii() or not api_key.isprintable():
            raise ConfigurationError("the API key has characters that no HTTP header can carry: copy it anew")
        return _Access(base_url, api_key)

    def _error(self, message: str, call: _Call, access: _Access) -> LLMError:
        """What a server said is shown bounded, harmless to a terminal, and without the key."""
        retried = f" (retries: {call.retries})" if call.retries else ""
        shown = display(access.without_key(message), limit=600, one_line=True)
        return LLMError(f"{self._model}: {shown}{retried}", model=self._model, retries=call.retries)

    def __repr__(self) -> str:
        base_url = f", base_url={_without_password(self._base_url)!r}" if self._base_url else ""
        return f"OpenAI({self._model!r}{base_url})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an OpenAI client holds an API key, so it is not pickled: make one where it is needed")


@dataclass(slots=True)
class _Call:
    """One call of `complete`, over all its attempts. `deadline` is on the clock of the running loop."""

    request: Request
    on_token: TokenHandler | None
    deadline: float
    retries: int = 0
    last_error: WireError | None = None
    left_out: set[str] = field(default_factory=set[str])

    async def hear(self, text: str) -> None:
        if self.on_token is not None and text:
            heard = self.on_token(text)
            if inspect.isawaitable(heard):
                await heard


@dataclass(frozen=True, slots=True)
class _Access:
    """Where the server is, and the key to it, or an empty one."""

    base_url: str | None
    api_key: str = field(repr=False)

    def without_key(self, text: str) -> str:
        return text.replace(self.api_key, "[key]") if self.api_key else text

    def harmless(self, cause: BaseException) -> BaseException | None:
        """The cause, unless its text gives the key away: servers echo what they were sent."""
        return cause if self.without_key(str(cause)) == str(cause) else None


def _without_password(url: str) -> str:
    user_and_host = urlsplit(url).netloc
    return url.replace(user_and_host, user_and_host.rpartition("@")[2]) if "@" in user_and_host else url
