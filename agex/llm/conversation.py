"""A Request as the messages of Chat Completions: with tool calls, or with fenced blocks where the server has none.

Ids of tool calls follow from their place, so that the same request is the same bytes and a provider's cache can hit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from agex.llm.fences import fenced, instructions
from agex.llm.tool_calls import call_of, tool_of, tool_schema, well_formed
from agex_supervisor.model import Action, AssistantMessage, Observation, Request, UserMessage

NOT_RUN = "not run: an earlier action failed"

ChatMessage = dict[str, Any]


def body_with_tools(request: Request) -> dict[str, Any]:
    """`messages` and `tools` of a call whose model acts by tool calls."""
    messages = [_message("system", request.system)]
    for turn, (message, observed) in enumerate(_turns(request)):
        match message:
            case UserMessage(text):
                _add_user(messages, text)
            case AssistantMessage(text, ()):
                messages.append(_message("assistant", text))
                for extra in observed:
                    _add_user(messages, extra)
            case AssistantMessage(text, actions):
                ids = [f"call_{turn}_{index}" for index in range(len(actions))]
                messages.append(_calling(text, actions, ids))
                # The server insists on an answer to every call, also to those that were not run.
                for call_id, answer in zip_longest(ids, observed[: len(ids)], fillvalue=NOT_RUN):
                    messages.append(_message("tool", answer) | {"tool_call_id": call_id})
                for extra in observed[len(ids) :]:
                    _add_user(messages, extra)
    body: dict[str, Any] = {"messages": messages}
    if request.tools:
        body["tools"] = [tool_schema(tool) for tool in request.tools]
    return body


def body_with_fences(request: Request) -> dict[str, Any]:
    """`messages` of a call whose model acts by fenced blocks."""
    system = f"{request.system}\n\n{instructions(request.tools)}" if request.tools else request.system
    messages = [_message("system", system)]
    for message, observed in _turns(request):
        match message:
            case UserMessage(text):
                _add_user(messages, text)
            case AssistantMessage(text, actions):
                blocks = [fenced(action) for action in actions]
                messages.append(_message("assistant", "\n\n".join([text, *blocks] if text else blocks)))
                for index, (action, answer) in enumerate(zip_longest(actions, observed), start=1):
                    of = f" ({tool_of(action)})" if action else ""
                    _add_user(messages, f"[result {index}{of}]\n{NOT_RUN if answer is None else answer}")
    return {"messages": messages}


def _turns(request: Request) -> list[tuple[UserMessage | AssistantMessage, tuple[str, ...]]]:
    """Every message that is no observation, each with what was observed right after it."""
    turns: list[tuple[UserMessage | AssistantMessage, tuple[str, ...]]] = []
    for message in request.messages:
        match message:
            case Observation(texts) if turns and isinstance(turns[-1][0], AssistantMessage):
                turns[-1] = (turns[-1][0], turns[-1][1] + texts)
            case Observation(texts):
                turns += [(UserMessage(text), ()) for text in texts]
            case _:
                turns.append((message, ()))
    return turns


def _calling(text: str, actions: Sequence[Action], ids: Sequence[str]) -> ChatMessage:
    calls: list[dict[str, Any]] = []
    for call_id, action in zip(ids, actions, strict=True):
        call = call_of(action)
        calls.append({"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}})
    return {"role": "assistant", "content": well_formed(text) or None, "tool_calls": calls}


def _add_user(messages: list[ChatMessage], text: str) -> None:
    """Two user messages in a row become one: some servers insist on alternation."""
    if messages[-1]["role"] == "user":
        messages[-1]["content"] += "\n\n" + well_formed(text)
    else:
        messages.append(_message("user", text))


def _message(role: str, text: str) -> ChatMessage:
    return {"role": role, "content": well_formed(text)}
