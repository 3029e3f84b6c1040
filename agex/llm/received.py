"""The body of a Chat Completions call, read back as the Request it was made of: what a scripted server's callables see.

With fenced blocks, observations come back as the user messages they were sent as.
"""

from __future__ import annotations

import base64
from typing import Any

from pydantic import BaseModel, Field, JsonValue

from agex.llm.conversation import NOTHING_SAID, VIEWED
from agex.llm.fences import read_fences
from agex.llm.tool_calls import ACTION_OF_TOOL, Misread, ToolCall, action_of
from agex_protocol.errors import ProtocolError
from agex_supervisor.model import AssistantMessage, Message, Observation, Parameter, Request, Tool, UserMessage
from agex_supervisor.png import Image, png


class ChatCall(BaseModel):
    """The parts of a call that the scripted server understands. Others are allowed, and ignored."""

    model: str
    messages: list[_Message]
    tools: list[_Tool] = []
    stream: bool = False
    stream_options: dict[str, JsonValue] | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream has to end by a chunk that counts the tokens."""
        return bool(self.stream_options and self.stream_options.get("include_usage"))

    def request(self) -> Request:
        """What the model is shown. Raises Misread for calls of tools that are none of ours."""
        system = "\n\n".join(message.text for message in self.messages if message.role == "system")
        messages: list[Message] = []
        for message in self.messages:
            text = message.text
            match message.role:
                case "user":
                    messages += [UserMessage(text)] if text or not message.images else []
                    _view(messages, message.images)
                case "assistant":
                    messages.append(_said(message))
                case "tool":
                    _observe(messages, text)
                case _:
                    continue
        return Request(system, tuple(messages), tuple(tool.function.tool() for tool in self.tools))


def _observe(messages: list[Message], text: str) -> None:
    match messages:
        case [*_, Observation(texts, images)]:
            messages[-1] = Observation((*texts, text), images)
        case _:
            messages.append(Observation((text,)))


def _view(messages: list[Message], images: tuple[Image, ...]) -> None:
    """Images come in a user message, after what was observed with them."""
    match messages:
        case _ if not images:
            return
        case [*_, Observation(texts, earlier)]:
            messages[-1] = Observation(texts, earlier + images)
        case _:
            messages.append(Observation((), images))


def _said(message: _Message) -> AssistantMessage:
    text = "" if message.text == NOTHING_SAID else message.text
    if message.tool_calls:
        calls = [ToolCall(call.function.name, call.function.arguments) for call in message.tool_calls]
        return AssistantMessage(text, tuple(action_of(call, ACTION_OF_TOOL) for call in calls))
    fenced = read_fences(text, ACTION_OF_TOOL)
    return AssistantMessage(fenced.text, tuple(fenced.actions))


class _CalledFunction(BaseModel):
    name: str
    arguments: str


class _Call(BaseModel):
    function: _CalledFunction


class _Url(BaseModel):
    url: str


class _Part(BaseModel):
    """A piece of a message that is more than text."""

    type: str
    text: str = ""
    image_url: _Url | None = None


class _Message(BaseModel):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n\n".join(part.text for part in self.content if part.type == "text" and part.text != VIEWED)
        return self.content or ""

    @property
    def images(self) -> tuple[Image, ...]:
        parts = self.content if isinstance(self.content, list) else []
        return tuple(_image(part.image_url.url) for part in parts if part.image_url is not None)


def _image(url: str) -> Image:
    try:
        return png(base64.b64decode(url.removeprefix("data:image/png;base64,"), validate=True))
    except (ValueError, ProtocolError) as error:
        raise Misread(f"an image is no PNG file in a data URL: {error}") from error


class _Parameters(BaseModel):
    properties: dict[str, dict[str, Any]] = {}
    required: list[str] = []


class _Function(BaseModel):
    name: str
    description: str = ""
    parameters: _Parameters = Field(default_factory=_Parameters)

    def tool(self) -> Tool:
        return Tool(
            self.name,
            self.description,
            tuple(
                Parameter(
                    name,
                    str(schema.get("type", "string")),
                    str(schema.get("description", "")),
                    name in self.parameters.required,
                )
                for name, schema in self.parameters.properties.items()
            ),
        )


class _Tool(BaseModel):
    function: _Function


ChatCall.model_rebuild()
