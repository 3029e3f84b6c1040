"""What happened in a task, as frozen records in the order in which it happened.

An event holds text and numbers only: values are shown by bounded pictures, so a log never keeps a caller's data alive.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import time as now

from agex_supervisor.denials import Denial
from agex_supervisor.model import Action, Usage
from agex_supervisor.read_only import ReadOnlyDict


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all: in which agent and session, and when (seconds since the epoch).

    namespace: the agents from the outermost to this one, "boss/specialist". parent: of events of a sub-agent, the id of the
    event during which it was called. commit_hash: the state as this event left it, None while no state is kept.
    """

    agent: str = ""
    session: str = ""
    namespace: str = ""
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    parent: str | None = None
    time: float = field(default_factory=now)
    commit_hash: str | None = None

    def to_json(self) -> str:
        """One line of JSON in ASCII: what a terminal would obey, or a log break the line at, stays written out."""
        # Here and below, for these modules know the events.
        from agex_supervisor.event_json import written

        return written(self)

    @staticmethod
    def from_json(text: str) -> Event:
        """The event that `to_json` wrote. ValueError names what is wrong: unknown kinds and fields, wrong types, texts
        without bound."""
        from agex_supervisor.event_json import read

        return read(text)

    def _repr_html_(self) -> str:
        from agex_supervisor.event_portrait import html_of

        return html_of(self)

    def _repr_markdown_(self) -> str:
        from agex_supervisor.event_portrait import markdown_of

        return markdown_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStartEvent(Event):
    """A task began; `message` is what the model is told of it.

    inputs: a bounded picture of each. captured: what functions that are sent to the worker by value, those among the inputs
    too, take along from this process. answers: the id of the ClarifyEvent whose question was answered.
    """

    task: str
    message: str
    inputs: Mapping[str, str] = field(default_factory=ReadOnlyDict[str, str], hash=False)
    captured: tuple[str, ...] = ()
    answers: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", ReadOnlyDict(self.inputs))


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEvent(Event):
    """The model's turn: what it said, and the action that is run now; or with source="setup" the task's own code.

    usage and cost are those of the turn: where a turn has several actions, each of their events carries them.
    """

    number: int
    text: str
    action: Action
    usage: Usage | None = None
    cost: float | None = None
    source: str = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputEvent(Event):
    """What an action gave, as the model sees it. `error` is the error's type, or empty; `denials` what was refused to it."""

    number: int
    text: str
    error: str = ""
    denials: tuple[Denial, ...] = ()
    source: str = "main"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEvent(Event):
    """Files of the workspace changed, by the agent (source="agent") or by the application ("user").

    more: how many did so beyond those that are named; all of them are in the `diff` of the commits before and after.
    """

    source: str
    added: tuple[str, ...] = ()
    modified: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    more: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndEvent(Event):
    """Base of those that end a task: the tokens that it used, its sub-agents' among them, and what they cost."""

    usage: Usage = Usage()
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessEvent(EndEvent):
    """The task gave a value that fits its contract; `type` is that value's class, `value` a bounded picture of it."""

    type: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailEvent(EndEvent):
    """The agent gave up."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClarifyEvent(EndEvent):
    """The agent asked a question."""

    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEvent(EndEvent):
    """The task ended by an error of the machinery: the model, the worker, the protocol, a budget, a deadline."""

    status: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledEvent(EndEvent):
    """The task was cancelled after this many actions."""

    actions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChapterEvent(Event):
    """Earlier events, by their ids, that the model is from now on shown as this message."""

    name: str
    message: str
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteEvent(Event):
    """Something the loop told the model that no action gave: a nudge, an error of setup; or that could not be kept.

    said: what the model had said in a turn without actions.
    """

    message: str
    said: str = ""


KINDS: tuple[type[Event], ...] = (
    TaskStartEvent,
    ActionEvent,
    OutputEvent,
    FileEvent,
    SuccessEvent,
    FailEvent,
    ClarifyEvent,
    ErrorEvent,
    CancelledEvent,
    ChapterEvent,
    NoteEvent,
)
