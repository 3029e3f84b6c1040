"""A Reply as a server says it: a chat completion, or the chunks of a stream of one."""

from __future__ import annotations

from typing import Any

from agex.llm.fences import fenced
from agex.llm.received import ChatCall
from agex.llm.tool_calls import call_of
from agex_supervisor.model import Reply

# Small, so that a short reply is many chunks.
_CHUNK_CHARACTERS = 12


def completion(reply: Reply, call: ChatCall) -> dict[str, Any]:
    """The body of an answer that is not streamed."""
    content, calls = _said(reply, call)
    message: dict[str, Any] = {"role": "assistant", "content": content or None}
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(calls)}
    return _envelope(call, "chat.completion", [choice]) | {"usage": _usage(reply, call)}


def stream_chunks(reply: Reply, call: ChatCall) -> list[dict[str, Any]]:
    """The data of each event of a streamed answer, but for the last, `[DONE]`."""
    content, calls = _said(reply, call)
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in _pieces(content)]
    for index, each in enumerate(calls):
        name, arguments = each["function"]["name"], each["function"]["arguments"]
        function = {"name": name, "arguments": ""}
        deltas.append({"tool_calls": [each | {"index": index, "function": function}]})
        deltas += [{"tool_calls": [{"index": index, "function": {"arguments": part}}]} for part in _pieces(arguments)]
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": _finish_reason(calls)})
    chunks = [_envelope(call, "chat.completion.chunk", [choice]) for choice in choices]
    if call.wants_usage:
        chunks.append(_envelope(call, "chat.completion.chunk", []) | {"usage": _usage(reply, call)})
    return chunks


def _said(reply: Reply, call: ChatCall) -> tuple[str, list[dict[str, Any]]]:
    """The text and the tool calls; without tools, actions are part of the text."""
    if not call.tools:
        blocks = [fenced(action) for action in reply.actions]
        return "\n\n".join([reply.text, *blocks] if reply.text else blocks), []
    calls: list[dict[str, Any]] = []
    for index, action in enumerate(reply.actions):
        asked = call_of(action)
        function = {"name": asked.name, "arguments": asked.arguments}
        calls.append({"id": f"scripted_{index}", "type": "function", "function": function})
    return reply.text, calls


def _finish_reason(calls: list[dict[str, Any]]) -> str:
    return "tool_calls" if calls else "stop"


def _envelope(call: ChatCall, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "chatcmpl-scripted", "object": kind, "created": 0, "model": call.model, "choices": choices}


def _usage(reply: Reply, call: ChatCall) -> dict[str, Any]:
    """As the script says, else a rough count: four characters a token."""
    if reply.usage is not None:
        counts = reply.usage.input_tokens, reply.usage.output_tokens
    else:
        content, calls = _said(reply, call)
        said = len(content) + sum(len(each["function"]["arguments"]) for each in calls)
        counts = 1 + sum(len(message.text) for message in call.messages) // 4, 1 + said // 4
    usage: dict[str, Any] = {
        "prompt_tokens": counts[0],
        "completion_tokens": counts[1],
        "total_tokens": sum(counts),
    }
    if reply.usage is not None and reply.usage.cached_tokens:
        usage["prompt_tokens_details"] = {"cached_tokens": reply.usage.cached_tokens}
    return usage


def _pieces(text: str) -> list[str]:
    return [text[at : at + _CHUNK_CHARACTERS] for at in range(0, len(text), _CHUNK_CHARACTERS)]
