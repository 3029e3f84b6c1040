"""A chat completion, whole or in chunks, as a Reply. What the server sent is checked here and trusted nowhere else.

Two kinds of mistakes are kept apart: an answer that is no completion is the wire's (WireError, tried again); a completion
in which the model got a tool wrong is the model's (`Reply.problems`, told to the model).
"""

from __future__ import annotations

from pydantic import BaseModel, Field, NonNegativeInt, ValidationError

from agex.llm.fences import read_fences
from agex.llm.tool_calls import Misread, ToolCall, action_of, well_formed
from agex.llm.wire_error import garbage, too_large
from agex_supervisor.model import Action, Reply, Request, Usage

MAX_REPLY_BYTES = 4 << 20


def read_completion(data: object, request: Request) -> Reply:
    """The reply in the body of a call that was not streamed."""
    try:
        completion = _Completion.model_validate(data)
    except (ValidationError, RecursionError) as error:
        raise garbage(_said_instead(data, error)) from error
    choice = completion.choices[0]
    said = choice.message
    calls = [ToolCall(call.function.name, call.function.arguments) for call in said.tool_calls or []]
    return _reply(said.content or said.refusal or "", calls, choice.finish_reason, completion.usage, request)


class StreamedCompletion:
    """A reply in the making: chunks go in, pieces of text come out, and in the end the reply."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._text: list[str] = []
        self._calls: list[_OpenCall] = []
        self._call_at: dict[int, _OpenCall] = {}
        self._finish_reason: str | None = None
        self._usage: _Usage | None = None
        self._size = 0

    def add(self, data: object) -> str:
        """Take a chunk in; the text that it adds."""
        try:
            chunk = _Chunk.model_validate(data)
        except (ValidationError, RecursionError) as error:
            raise garbage(_said_instead(data, error)) from error
        self._usage = chunk.usage or self._usage
        text = ""
        for choice in chunk.choices[:1]:
            self._finish_reason = choice.finish_reason or self._finish_reason
            text = choice.delta.content or choice.delta.refusal or ""
            for call in choice.delta.tool_calls or []:
                self._add_call(call)
        self._text.append(text)
        self._grow(text)
        return well_formed(text)

    def reply(self) -> Reply:
        """The reply, once the stream has ended."""
        if self._finish_reason is None:
            raise garbage("a stream that ended before the reply did")
        calls = [ToolCall(call.name, "".join(call.arguments)) for call in self._calls]
        return _reply("".join(self._text), calls, self._finish_reason, self._usage, self._request)

    def _add_call(self, delta: _CallDelta) -> None:
        call = self._call_at.get(delta.index)
        # Some servers number every call 0 and tell them apart by id alone.
        if call is None or (delta.id and call.id and delta.id != call.id):
            call = self._call_at[delta.index] = _OpenCall()
            self._calls.append(call)
        call.id = call.id or delta.id
        call.name += delta.function.name or ""
        call.arguments.append(delta.function.arguments or "")
        self._grow(call.name, call.arguments[-1])

    def _grow(self, *pieces: str) -> None:
        self._size += sum(map(len, pieces))
        if self._size > MAX_REPLY_BYTES:
            raise too_large(MAX_REPLY_BYTES)


def _reply(
    text: str, calls: list[ToolCall], finish_reason: str | None, usage: _Usage | None, request: Request
) -> Reply:
    offered = {tool.name for tool in request.tools}
    actions: list[Action] = []
    problems: list[str] = []
    for index, call in enumerate(calls):
        try:
            actions.append(action_of(call, offered))
        except Misread as misread:
            # What comes after a call that makes no sense may depend on it.
            ignored = len(calls) - index - 1
            problems.append(f"{misread}{f' (nor were the {ignored} calls after it run)' if ignored else ''}")
            break
    text = well_formed(text)
    if not calls:
        # Also where tools are offered: many a model falls back to what it has read most.
        fenced = read_fences(text, offered)
        text, actions, problems = fenced.text, fenced.actions, fenced.problems
    if problems and finish_reason == "length":
        problems.append("the reply was cut off at the model's own output limit: go in smaller steps")
    return Reply(text, actions, usage.counted() if usage else None, problems)


def _said_instead(data: object, error: ValidationError | RecursionError) -> str:
    match data:
        # Some servers report errors under a status of 200.
        case {"error": {"message": str(message)}} | {"error": str(message)}:
            return message
        case str(text):
            return repr(text[:200])
        case _ if isinstance(error, ValidationError):
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            return f"{'.'.join(map(str, first['loc'])) or 'its body'}: {first['msg']}"
        case _:
            return str(error)


class _OpenCall:
    """A tool call whose deltas are still coming."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.name = ""
        self.arguments: list[str] = []


class _Usage(BaseModel):
    prompt_tokens: NonNegativeInt | None = None
    completion_tokens: NonNegativeInt | None = None
    # Not everywhere the same, and no reply is given up for it.
    prompt_tokens_details: object = None

    def counted(self) -> Usage:
        of_prompt, cached = self.prompt_tokens or 0, 0
        match self.prompt_tokens_details:
            case {"cached_tokens": int(count)} if count >= 0:
                cached = min(count, of_prompt)
            case _:
                pass
        return Usage(of_prompt, self.completion_tokens or 0, cached)


class _Function(BaseModel):
    name: str
    arguments: str = ""


class _Call(BaseModel):
    function: _Function


class _Said(BaseModel):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(BaseModel):
    message: _Said
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


class _FunctionDelta(BaseModel):
    name: str | None = None
    arguments: str | None = None


class _CallDelta(BaseModel):
    index: int = 0
    id: str | None = None
    function: _FunctionDelta = _FunctionDelta()


class _SaidDelta(BaseModel):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_CallDelta] | None = None


class _ChunkChoice(BaseModel):
    delta: _SaidDelta = _SaidDelta()
    finish_reason: str | None = None


class _Chunk(BaseModel):
    choices: list[_ChunkChoice]
    usage: _Usage | None = None
