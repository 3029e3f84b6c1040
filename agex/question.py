"""A question that a task ended with: what is needed to go on with the conversation once somebody answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agex.errors import ContractError
from agex.options import Options
from agex_supervisor.model import Message

if TYPE_CHECKING:
    from agex.task import Task


@dataclass(frozen=True, slots=True)
class Question:
    """The task, its inputs and options, what was said so far, and the id of the ClarifyEvent that holds the question."""

    task: Task[..., Any]
    options: Options
    inputs: Mapping[str, object]
    messages: tuple[Message, ...]
    event: str

    def answered(self, text: object) -> Answer:
        """The question with its answer. ContractError for one that is no text, or an empty one."""
        if not isinstance(text, str) or not text.strip():
            raise ContractError(f"answer() takes what the agent is to know, as text, not {text!r}")
        return Answer(self, text)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call goes on with."""

    question: Question
    text: str

    @property
    def message(self) -> str:
        """What the model is told."""
        return f"The caller answers your question:\n{self.text}"
