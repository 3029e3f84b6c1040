"""What the loop and a language model say to each other: requests, replies, actions. Every LLM client speaks these.

The loop knows nothing of any wire; `agex.llm` translates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from agex_protocol.errors import AgexError
from agex_supervisor.png import Image


@dataclass(frozen=True, slots=True)
class PythonAction:
    """Run this Python code in the worker."""

    code: str


@dataclass(frozen=True, slots=True)
class TerminalAction:
    """Run these shell commands on the workspace."""

    commands: str


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Write, or append to, a file of the workspace."""

    path: str
    content: str
    append: bool = False


@dataclass(frozen=True, slots=True)
class EditFile:
    """Replace text in a file of the workspace."""

    path: str
    search: str
    replace: str
    all: bool = False


Action = PythonAction | TerminalAction | WriteFile | EditFile


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one reply, as the provider counts them. cached_tokens: of input_tokens, those that it had in its cache."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """One turn of the model: text for the reader and actions, in order. `usage` is None where the provider is silent."""

    text: str = ""
    actions: list[Action] = field(default_factory=list[Action])
    usage: Usage | None = None
    # A tool call that could not be understood (unknown tool, arguments that are not JSON): fed back to the model.
    problems: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What the task asks, or a note from the loop."""

    text: str


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """What the model said and did in an earlier turn."""

    text: str
    actions: tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class Observation:
    """What the actions of the last AssistantMessage gave, one text an action; what could not be understood follows.

    images: what they showed by view_image(); the texts mention each, for a model that does not see.
    """

    texts: tuple[str, ...]
    images: tuple[Image, ...] = ()


Message = UserMessage | AssistantMessage | Observation


@dataclass(frozen=True, slots=True)
class Parameter:
    """One string or boolean argument of a tool."""

    name: str
    type: str  # "string" | "boolean"
    description: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class Tool:
    """An action as it is offered to the model."""

    name: str
    description: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """All that the model is shown. `str(request)` is the same as text."""

    system: str
    messages: tuple[Message, ...]
    tools: tuple[Tool, ...]

    def __str__(self) -> str:
        parts = [self.system]
        parts += [f"[tool {tool.name}] {tool.description}" for tool in self.tools]
        for message in self.messages:
            match message:
                case UserMessage(text):
                    parts.append(f"[user]\n{text}")
                case AssistantMessage(text, actions):
                    parts.append("\n".join(["[assistant]", text, *(_shown(action) for action in actions)]))
                case Observation(texts, images):
                    parts += [f"[observation]\n{text}" for text in texts]
                    parts += [f"[{image}]" for image in images]
        return "\n\n".join(parts)


def _shown(action: Action) -> str:
    match action:
        case PythonAction(code):
            return f"<python_action>\n{code}"
        case TerminalAction(commands):
            return f"<terminal_action>\n{commands}"
        case WriteFile(path, content, append):
            return f"<write_file {path}{' append' if append else ''}>\n{content}"
        case EditFile(path, search, replace):
            return f"<edit_file {path}>\n{search}\n=======\n{replace}"


class ModelError(AgexError):
    """The model could not be asked: its server refused, broke off, timed out or spoke nonsense, after all retries.

    Clients raise `agex.LLMError`, which derives from this; a client of your own may raise this one.
    """


TokenHandler = Callable[[str], Any]


@runtime_checkable
class LLM(Protocol):
    """What the loop needs of a client. `on_token` is called with each piece of text as it arrives."""

    @property
    def model(self) -> str:
        """The model's name, for messages and prices."""
        ...

    def complete(
        self, request: Request, *, on_token: TokenHandler | None = None, timeout_s: float | None = None
    ) -> Reply:
        """One reply, or ModelError."""
        ...

    async def acomplete(
        self, request: Request, *, on_token: TokenHandler | None = None, timeout_s: float | None = None
    ) -> Reply:
        """The same, awaited."""
        ...
