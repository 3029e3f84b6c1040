"""What happened in a task, as frozen records in the order in which it happened."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass, field
from typing import Any

from agex_supervisor.denials import Denial
from agex_supervisor.model import Action, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all: when (seconds since the epoch), in which agent and session."""

    agent: str = ""
    session: str = ""
    timestamp: float = field(default_factory=time.time)

    def to_json(self) -> str:
        """One line of JSON with the event's type and fields."""
        # In ASCII: what a terminal would obey or a log break the line at stays written out.
        return json.dumps({"type": type(self).__name__, **_plain(dataclasses.asdict(self))})


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStartEvent(Event):
    """A task began; `message` is what the model is told of it.

    captured: what functions that are sent to the worker by value, those among the inputs too, take along from this process.
    """

    task: str
    message: str
    captured: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionEvent(Event):
    """The model's turn: what it said, and the action that is run now."""

    number: int
    text: str
    action: Action
    usage: Usage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputEvent(Event):
    """What an action gave, as the model sees it. `error` is the error's type, or empty; `denials` what was refused to it."""

    number: int
    text: str
    error: str = ""
    denials: tuple[Denial, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessEvent(Event):
    """The task gave a value that fits its contract; `type` is that value's class."""

    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FailEvent(Event):
    """The agent gave up."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClarifyEvent(Event):
    """The agent asked a question."""

    question: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEvent(Event):
    """The task ended by an error of the machinery: the model, the worker, the protocol, a budget, a deadline."""

    status: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelledEvent(Event):
    """The task was cancelled after this many actions."""

    actions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteEvent(Event):
    """Something the loop told the model that no action gave: a nudge, a warning that actions run out."""

    message: str


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
