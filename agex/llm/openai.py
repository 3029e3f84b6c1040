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
from dataclasses import dataclass
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


class OpenAI:
    """A model behind a server that speaks Chat Completions. Safe to share between threads, tasks and agents.

    `base_url` and `api_key` default to OPENAI_BASE_URL and OPENAI_API_KEY, looked up at each call; a server given by URL
    may need no key. `timeout_s` bounds a call as a whole, retries and waits included. The first retry waits
    `retry_wait_s`, each later one twice as long, or what the server asks for. `extra_body` is merged into every request.
    `tools`: "auto" turns to fenced blocks when the server refuses tool calls; "on" and "off" are final.
    `stream`: None streams when someone listens (`on_token`).
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

    def complete(self, request: Request, *, on_token: TokenHandler | None = None, timeout_s: float | None = None) -> Reply:
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
        from agex.llm import wire

        try:
            async with asyncio.timeout_at(call.deadline) as scope, wire.connected(*access, limit_s) as connection:
                return await self._ask(connection, call)
        except TimeoutError as error:
            if not scope.expired():
                raise
            last = f"; before that, {call.last}" if call.last else ""
            late = WireError(f"no complete reply within {limit_s:g} s{last}")
            late.__cause__ = error
            self._give_up(late, call, access.api_key)
        except WireError as error:
            self._give_up(error, call, access.api_key)

    async def _ask(self, connection: Wire, call: _Call) -> Reply:
        while True:
            try:
                return await self._attempt(connection, call)
            except WireError as error:
                if error.refused is not None and self._can_do_without(error.refused):
                    self._refused.add(error.refused)
                    continue
                if not error.retryable or call.retries == self._max_retries:
                    raise
                call.last = error
                await self._wait(error, call)
                call.retries += 1

    async def _attempt(self, connection: Wire, call: _Call) -> Reply:
        body = body_with_fences(call.request) if "tools" in self._refused else body_with_tools(call.request)
        body |= {"model": self._model} | self._extra_body
        if not (call.on_token is not None if self._stream is None else self._stream):
            reply = read_completion(await connection.ask(body), call.request)
            await call.hear(reply.text)
            return reply
        body["stream"] = True
        if "stream_options" not in self._refused:
            body.setdefault("stream_options", {"include_usage": True})
        completion = StreamedCompletion(call.request)
        async with aclosing(connection.stream(body)) as chunks:
            async for chunk in chunks:
                await call.hear(completion.add(chunk))
        return completion.reply()

    def _can_do_without(self, part: str) -> bool:
        return part not in self._refused and not (part == "tools" and self._tools == "on")

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
            raise ConfigurationError(f"base_url {_without_password(base_url)!r} does not begin with https:// or http://")
        if not api_key and base_url is None:
            raise ConfigurationError(
                f"no API key for {self._model!r}: set OPENAI_API_KEY or pass api_key=, "
                "or name a server that needs none by OPENAI_BASE_URL or base_url="
            )
        if not api_key.isascii() or not api_key.isprintable():
            raise ConfigurationError("the API key has characters that no HTTP header can carry: copy it anew")
        return _Access(base_url, api_key or "none")

    def _give_up(self, error: WireError, call: _Call, api_key: str) -> NoReturn:
        """What the server said is shown in the error: bounded, harmless to a terminal, and without the key."""
        cause = error.__cause__ or error
        retries = f" (after {call.retries} {'retry' if call.retries == 1 else 'retries'})" if call.retries else ""
        message = display(_without(api_key, str(error)), limit=600, one_line=True)
        raise LLMError(f"{self._model}: {message}{retries}", model=self._model, retries=call.retries) from (
            None if api_key in str(cause) else cause
        )

    def __repr__(self) -> str:
        base_url = f", base_url={_without_password(self._base_url)!r}" if self._base_url else ""
        return f"OpenAI({self._model!r}{base_url})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an OpenAI client holds an API key, so it is not pickled: make one where it is needed")
