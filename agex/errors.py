"""The errors of agex, in one tree. All derive from Exception, so `except Exception` in a server catches them.

AgexError
  ConfigurationError       something is missing or contradictory before anything ran; the message says what to set
    PreloadFailed          a registered module cannot be imported where workers are made; `.module`
  PolicyError              a policy file is wrong, or forbids what the program asks for
  IsolationUnavailable     this machine cannot hold a promise of the isolation asked for; nothing ran
  ContractError            (also TypeError) the caller's arguments, or a declared type, do not fit
  WorkerFailed             no worker could be started; `.reason`
  PoolExhausted            no worker became free in time; try again, or raise max_workers
  SessionBusy              somebody else holds the session, or the worker of a Handle
  StateError               a store is unreadable, foreign, newer, busy, or lacks what was asked for
  CodeError                the code of a Sandbox, or behind a Handle, did not end well; `.outcome`, `.error`
  HandleClosed             the object behind a Handle is gone; `.cause`
  TaskError                one task ended without a value; `.outcome` has everything
    TaskFailed             the agent called task_fail
    TaskNeedsInput         the agent called task_clarify; `.question`
    TaskTimeout            (also TimeoutError) `task_timeout_s` ran out
    TaskCancelled          task.cancel() was called
    BudgetExceeded         max_actions, max_tokens or max_cost is used up; `.budget`, `.last_error`
    LLMError               the model could not be asked, after the retries of the wire
    WorkerDied             workers of this task died again and again
    ProtocolViolation      the worker broke the protocol; it was killed
"""

from __future__ import annotations

from typing import Any

from agex_policies.errors import IsolationUnavailable, PolicyError
from agex_protocol.errors import AgexError
from agex_supervisor.errors import (
    CodeError,
    ConfigurationError,
    ContractError,
    HandleClosed,
    PoolExhausted,
    PreloadFailed,
    SessionBusy,
    StateError,
    WorkerFailed,
)
from agex_supervisor.model import ModelError

__all__ = [
    "AgexError",
    "BudgetExceeded",
    "CodeError",
    "ConfigurationError",
    "ContractError",
    "HandleClosed",
    "IsolationUnavailable",
    "LLMError",
    "PolicyError",
    "PoolExhausted",
    "PreloadFailed",
    "ProtocolViolation",
    "SessionBusy",
    "StateError",
    "TaskCancelled",
    "TaskError",
    "TaskFailed",
    "TaskNeedsInput",
    "TaskTimeout",
    "WorkerDied",
    "WorkerFailed",
]


class TaskError(AgexError):
    """One task ended without a value. Its worker is gone, its session lives; `outcome` has the whole story."""

    def __init__(self, message: str, outcome: Any = None) -> None:
        super().__init__(message)
        self.outcome = outcome


class TaskFailed(TaskError):
    """The agent gave up by task_fail(message)."""


class TaskNeedsInput(TaskError):
    """The agent asked a question by task_clarify(question)."""

    def __init__(self, message: str, outcome: Any = None) -> None:
        super().__init__(message, outcome)
        self.question = message


class TaskTimeout(TaskError, TimeoutError):
    """`task_timeout_s` ran out."""


class TaskCancelled(TaskError):
    """The task was cancelled from outside."""


class BudgetExceeded(TaskError):
    """`budget` ("max_actions", "max_tokens" or "max_cost") is used up; `last_error` is what the agent last ran into."""

    def __init__(self, message: str, outcome: Any = None, *, budget: str = "", last_error: str | None = None) -> None:
        super().__init__(message, outcome)
        self.budget = budget
        self.last_error = last_error


class LLMError(TaskError, ModelError):
    """The model could not be asked, after `retries` retries of the wire. Nothing of the session is lost: call again."""

    def __init__(self, message: str, outcome: Any = None, *, model: str = "", retries: int = 0) -> None:
        super().__init__(message, outcome)
        self.model = model
        self.retries = retries


class WorkerDied(TaskError):
    """Workers of this task died again and again, so it was ended."""


class ProtocolViolation(TaskError):
    """The worker wrote bytes that break the protocol. It was killed; the supervisor and other tasks are unharmed."""
