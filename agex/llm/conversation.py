"""A Request as the messages of Chat Completions: with tool calls, or with fenced blocks where the server has none.

Ids of tool calls follow from their place, so that the same request is the same bytes and a provider's cache can hit.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from agex.llm.fences import fenced, instructions
from agex.llm.tool_calls import call_of, tool_of, tool_schema, well_formed
from agex_supervisor.model import Action, AssistantMessage, Observation, Request, UserMessage
from agex_supervisor.png import Image

NOT_RUN = "not run: an earlier action failed"
# For a turn of which nothing was understood: many servers refuse an assistant's message that is empty.
NOTHING_SAID = "(no text, and no action that could be read)"
VIEWED = "What view_image showed, in its order:"

ChatMessage = dict[str, Any]


def body_with_tools(request: Request, *, images: bool = True) -> dict[str, Any]:
    """`messages` and `tools` of a call whose model acts by tool calls. images: what was viewed goes along."""
    messages = [_message("system", request.system)]
    for turn, (message, observed, viewed) in enumerate(_turns(request)):
        match message:
            case UserMessage(text):
                _add_user(messages, text)
            case AssistantMessage(text, ()):
                messages.append(_message("assistant", text if text.strip() else NOTHING_SAID))
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
        if images:
            _add_images(messages, viewed)
    body: dict[str, Any] = {"messages": messages}
    if request.tools:
        body["tools"] = [tool_schema(tool) for tool in request.tools]
    return body


def body_with_fences(request: Request, *, images: bool = True) -> dict[str, Any]:
    """`messages` of a call whose model acts by fenced blocks. images: what was viewed goes along."""
    system = f"{request.system}\n\n{instructions(request.tools)}" if request.tools else request.system
    messages = [_message("system", system)]
    for message, observed, viewed in _turns(request):
        match message:
            case UserMessage(text):
                _add_user(messages, text)
            case AssistantMessage(text, actions):
                blocks = [fenced(action) for action in actions]
                said = "\n\n".join([text, *blocks] if text else blocks)
                messages.append(_message("assistant", said if said.strip() else NOTHING_SAID))
                for index, (action, answer) in enumerate(zip_longest(actions, observed), start=1):
                    of = f" ({tool_of(action)})" if action else ""
                    _add_user(messages, f"[result {index}{of}]\n{NOT_RUN if answer is None else answer}")
        if images:
            _add_images(messages, viewed)
    return {"messages": messages}


Turn = tuple[UserMessage | AssistantMessage, tuple[str, ...], tuple[Image, ...]]


def _turns(request: Request) -> list[Turn]:
    """Every message that is no observation, each with what was observed right after it, texts and images."""
    turns: list[Turn] = []
    for message in request.messages:
        match message:
            case Observation(texts, images) if turns and isinstance(turns[-1][0], AssistantMessage):
                last, observed, viewed = turns[-1]
                turns[-1] = (last, observed + texts, viewed + images)
            case Observation(texts, images):
                turns += [(UserMessage(text), (), ()) for text in texts]
                if turns:  # what setup code showed follows the note on it
                    last, observed, viewed = turns[-1]
                    turns[-1] = (last, observed, viewed + images)
            case _:
                turns.append((message, (), ()))
    return turns


def _add_images(messages: list[ChatMessage], images: Sequence[Image]) -> None:
    """In a user message, for the answer to a tool call holds text only."""
    if not images:
        return
    parts: list[ChatMessage] = [{"type": "text", "text": VIEWED}]
    for image in images:
        url = "data:image/png;base64," + base64.b64encode(image.data).decode("ascii")
        parts.append({"type": "image_url", "image_url": {"url": url}})
    if messages[-1]["role"] == "user":
        said = messages[-1]["content"]
        messages[-1]["content"] = ([{"type": "text", "text": said}] if isinstance(said, str) else said) + parts
    else:
        messages.append({"role": "user", "content": parts})


def _calling(text: str, actions: Sequence[Action], ids: Sequence[str]) -> ChatMessage:
    calls: list[dict[str, Any]] = []
    for call_id, action in zip(ids, actions, strict=True):
        call = call_of(action)
        calls.append({"id": call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}})
    return {"role": "assistant", "content": well_formed(text) or None, "tool_calls": calls}


def _add_user(messages: list[ChatMessage], text: str) -> None:
    """Two user messages in a row become one: some servers insist on alternation."""
    last = messages[-1]
    if last["role"] != "user":
        messages.append(_message("user", text))
    elif isinstance(last["content"], str):
        last["content"] += "\n\n" + well_formed(text)
    else:
        last["content"].append({"type": "text", "text": well_formed(text)})


def _message(role: str, text: str) -> ChatMessage:
    return {"role": role, "content": well_formed(text)}
