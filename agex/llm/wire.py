"""One attempt at a call, over the official client. Imported at the first call only: `import openai` takes a second.

The client's own retries are off: it does not retry broken streams or garbage, so `agex.llm.openai` retries everything.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import httpx2
import openai

from agex.llm.completion import MAX_REPLY_BYTES
from agex.llm.wire_error import WireError, garbage, too_large

# A stream wraps each piece of text in some two hundred bytes of JSON.
MAX_STREAM_BYTES = 16 * MAX_REPLY_BYTES

CONNECT_TIMEOUT_S = 5.0

_PATH = "/chat/completions"
_WORTH_RETRYING = {408, 409, 429}
_WORDS_OF_REFUSAL = {
    "tools": re.compile(r"\btools?\b|\btool_|\bfunctions?\b|\bfunction_call", re.IGNORECASE),
    "images": re.compile(r"\bimages?\b|\bimage_url\b|\bvision\b|\bmultimodal\b", re.IGNORECASE),
    "stream_options": re.compile(r"\bstream_options\b|\binclude_usage\b", re.IGNORECASE),
}


class Wire:
    """An open connection to one server. Every method raises WireError."""

    def __init__(self, client: openai.AsyncOpenAI, timeout_s: float) -> None:
        self._client = client
        timeout = openai.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))
        self._options: openai.RequestOptions = {"timeout": timeout}

    async def ask(self, body: dict[str, Any]) -> object:
        """The parsed answer."""
        try:
            return await self._client.post(_PATH, cast_to=object, body=body, options=self._options)
        except _FAILURES as error:
            raise _translated(error, body) from error

    async def stream(self, body: dict[str, Any]) -> AsyncGenerator[object]:
        """Each parsed chunk of the answer, as it comes."""
        try:
            stream = await self._client.post(
                _PATH,
                cast_to=object,
                body=body,
                options=self._options,
                stream=True,
                stream_cls=openai.AsyncStream[object],
            )
        except _FAILURES as error:
            raise _translated(error, body) from error
        async with stream:
            while True:
                try:
                    chunk = await anext(stream)
                except StopAsyncIteration:
                    return
                except _FAILURES as error:
                    raise _translated(error, body) from error
                # Outside of the try: an error of whoever takes the chunk is not the wire's.
                yield chunk


@asynccontextmanager
async def connected(base_url: str | None, api_key: str, timeout_s: float) -> AsyncGenerator[Wire]:
    """A Wire for one call. Connections belong to the event loop they were opened in, so none outlives its call."""
    client = openai.AsyncOpenAI(
        api_key=api_key,
        base_url=base_url,
        max_retries=0,
        # Nothing is decompressed, so the caps below hold for what ends up in memory.
        default_headers={"Accept-Encoding": "identity"},
        http_client=openai.DefaultAsyncHttpxClient(verify=_tls(), event_hooks={"response": [_cap]}),
    )
    async with client:
        yield Wire(client, timeout_s)


@cache
def _tls() -> ssl.SSLContext:
    """Read once: the list of authorities takes 40 ms."""
    return httpx2.create_ssl_context()


async def _cap(response: httpx2.Response) -> None:
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise WireError(f"the server compressed its answer ({encoding}), although asked not to")
    streamed = response.headers.get("content-type", "").startswith("text/event-stream")
    if not isinstance(response.stream, httpx2.AsyncByteStream):
        raise WireError("the answer cannot be read piece by piece")
    response.stream = _Capped(response.stream, MAX_STREAM_BYTES if streamed else MAX_REPLY_BYTES)


class _Capped(httpx2.AsyncByteStream):
    """The bytes of an answer, up to a cap."""

    def __init__(self, stream: httpx2.AsyncByteStream, limit_bytes: int) -> None:
        self._stream = stream
        self._limit_bytes = limit_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        read = 0
        async for piece in self._stream:
            read += len(piece)
            if read > self._limit_bytes:
                raise too_large(self._limit_bytes)
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


# What is not JSON, or JSON too deep, passes through the client as it is; so do the WireErrors of the cap.
_FAILURES = (openai.OpenAIError, ValueError, RecursionError)


def _translated(error: Exception, body: dict[str, Any]) -> WireError:
    match error:
        case openai.APIStatusError():
            return _refusal_by_status(error, body)
        case openai.APITimeoutError():
            return WireError("the server did not answer in time", retryable=True)
        case openai.APIConnectionError():
            return WireError(f"the connection failed: {error.__cause__ or error}", retryable=True)
        case openai.APIError():
            return WireError(f"the server broke the stream off: {error}", retryable=True)
        case ValueError() | RecursionError():
            return garbage(str(error))
        case _:
            return WireError(str(error))


def _refusal_by_status(error: openai.APIStatusError, body: dict[str, Any]) -> WireError:
    status = error.status_code
    said = f"the server answered {status}: {error.message.removeprefix(f'Error code: {status} - ')}"
    if status in (401, 403):
        return WireError(f"{said} (check api_key= or OPENAI_API_KEY, and that the key may use this model)")
    if error.code == "insufficient_quota":
        return WireError(f"{said} (the account has no credit left: waiting does not help)")
    return WireError(
        said,
        retryable=status in _WORTH_RETRYING or status >= 500,
        wait_s=_asked_wait(error.response.headers),
        refused=_refused_part(status, error.message, body),
    )


def _refused_part(status: int, message: str, body: dict[str, Any]) -> str | None:
    """Servers without a feature say so by various statuses: 500 and 501 among them."""
    if status in (400, 404, 422, 500, 501):
        for part, words in _WORDS_OF_REFUSAL.items():
            if (_has_images(body) if part == "images" else part in body) and words.search(message):
                return part
    return None


def _has_images(body: dict[str, Any]) -> bool:
    """Whether any message is more than text."""
    return any(isinstance(message.get("content"), list) for message in body.get("messages", ()))


def _asked_wait(headers: httpx2.Headers) -> float | None:
    """Seconds that the server asks to wait. A date is not understood: the own backoff then serves."""
    for name, unit_s in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            wait_s = float(headers.get(name, "")) * unit_s
        except ValueError:
            continue
        if 0 <= wait_s < float("inf"):
            return wait_s
    return None
