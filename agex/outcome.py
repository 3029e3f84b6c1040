"""How a task ended, as a record; and which error stands for each ending that is not a success."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agex.errors import (
    BudgetExceeded,
    LLMError,
    ProtocolViolation,
    TaskCancelled,
    TaskError,
    TaskFailed,
    TaskNeedsInput,
    TaskTimeout,
    WorkerDied,
)
from agex_supervisor.denials import Denial
from agex_supervisor.events import Event
from agex_supervisor.loop import Finish
from agex_supervisor.model import Usage
from agex_supervisor.promises import LockdownReport


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """status: "success", "failed", "needs_input", "timeout", "cancelled", "budget" or "error".

    value: the validated value of a success. message: why there is none. usage: tokens; cost: by the agent's prices,
    None without them. commit: the state after the task, None while no state is kept. denials: what was refused to the
    agent's code in any of its actions.
    """

    status: str
    value: Any = None
    message: str = ""
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    commit: str | None = None
    events: list[Event] = field(default_factory=list[Event])
    lockdown: LockdownReport = field(default_factory=lambda: LockdownReport("none"))
    error: TaskError | None = None
    denials: list[Denial] = field(default_factory=list[Denial])

    def unwrap(self) -> Any:
        """The value; or the TaskError, which carries this outcome."""
        if self.error is not None:
            raise self.error
        return self.value


def outcome_of(
    finish: Finish, events: list[Event], lockdown: LockdownReport, cost: float | None, commit: str | None = None
) -> TaskOutcome:
    """The record of a finished loop, with its error made and pointing back."""
    error = _error(finish)
    outcome = TaskOutcome(
        status=finish.status,
        value=finish.value,
        message=finish.message,
        usage=finish.usage,
        cost=cost,
        events=events,
        lockdown=lockdown,
        commit=commit,
        error=error,
        denials=finish.denials,
    )
    if error is not None:
        error.outcome = outcome
    return outcome


def _error(finish: Finish) -> TaskError | None:
    message = finish.message
    match finish.status, finish.cause:
        case "success", _:
            return None
        case "failed", _:
            return TaskFailed(message)
        case "needs_input", _:
            return TaskNeedsInput(message)
        case "timeout", _:
            return TaskTimeout(_with_last(message, finish.last_error))
        case "cancelled", _:
            return TaskCancelled(message)
        case "budget", budget:
            text = _with_last(message, finish.last_error)
            return BudgetExceeded(text, budget=budget, last_error=finish.last_error)
        case _, "llm":
            return _llm_error(finish)
        case _, "violation":
            return ProtocolViolation(message)
        case _:
            return WorkerDied(message)


def _llm_error(finish: Finish) -> TaskError:
    if isinstance(finish.error, LLMError):
        return finish.error
    error = LLMError(finish.message)
    error.__cause__ = finish.error
    return error


def _with_last(message: str, last_error: str | None) -> str:
    return message if not last_error else f"{message}; the agent last ran into:\n{last_error}"
