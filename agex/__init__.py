"""agex: typed Python functions whose bodies a language model writes, run in kernel-locked workers.

Agent and its tasks: agent.py, task.py, call.py. Code without a model: sandbox.py. What may be reached: registry.py.
What can go wrong: errors.py. Models: the subpackage llm. Ready registrations: helpers.py. `isolation="none"` is wired in
local.py; workers are agex_supervisor's. Names are imported when they are first used, so that `import agex` costs a program
next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agex import helpers, llm
    from agex.agent import Agent
    from agex.asking import Token
    from agex.entries import MemberSpec, Module
    from agex.errors import (
        AgexError,
        BudgetExceeded,
        CodeError,
        ConfigurationError,
        ContractError,
        HandleClosed,
        IsolationUnavailable,
        LLMError,
        PolicyError,
        PoolExhausted,
        PreloadFailed,
        ProtocolViolation,
        SessionBusy,
        StateError,
        TaskCancelled,
        TaskError,
        TaskFailed,
        TaskNeedsInput,
        TaskTimeout,
        WorkerDied,
        WorkerFailed,
    )
    from agex.outcome import TaskOutcome
    from agex.printers import pprint_events, pprint_tokens
    from agex.sandbox import Sandbox, SandboxOutcome
    from agex.session_state import SessionState
    from agex.state import State, events
    from agex.task import Task
    from agex_policies.schema import Policy
    from agex_supervisor.denials import Denial
    from agex_supervisor.events import (
        ActionEvent,
        CancelledEvent,
        ChapterEvent,
        ClarifyEvent,
        ErrorEvent,
        Event,
        FailEvent,
        FileEvent,
        NoteEvent,
        OutputEvent,
        SuccessEvent,
        TaskStartEvent,
    )
    from agex_supervisor.execution import ErrorInfo, RunUsage, Unsent
    from agex_supervisor.handle import Handle
    from agex_supervisor.opaque import Opaque
    from agex_supervisor.pool import Pool, PoolStats
    from agex_supervisor.promises import LockdownReport
    from agex_supervisor.terminal_commands import CommandContext
    from agex_supervisor.versions import Commit, Diff

_HOMES = {
    "agex.agent": "Agent",
    "agex.asking": "Token",
    "agex.entries": "MemberSpec Module",
    "agex.errors": (
        "AgexError BudgetExceeded CodeError ConfigurationError ContractError HandleClosed "
        "IsolationUnavailable LLMError PolicyError PoolExhausted PreloadFailed ProtocolViolation SessionBusy "
        "StateError TaskCancelled TaskError TaskFailed TaskNeedsInput TaskTimeout WorkerDied WorkerFailed"
    ),
    "agex.outcome": "TaskOutcome",
    "agex.printers": "pprint_events pprint_tokens",
    "agex.sandbox": "Sandbox SandboxOutcome",
    "agex.session_state": "SessionState",
    "agex.state": "State events",
    "agex.task": "Task",
    "agex_policies.schema": "Policy",
    "agex_supervisor.denials": "Denial",
    "agex_supervisor.events": (
        "ActionEvent CancelledEvent ChapterEvent ClarifyEvent ErrorEvent Event FailEvent FileEvent NoteEvent "
        "OutputEvent SuccessEvent TaskStartEvent"
    ),
    "agex_supervisor.error_info": "ErrorInfo",
    "agex_supervisor.execution": "RunUsage Unsent",
    "agex_supervisor.handle": "Handle",
    "agex_supervisor.opaque": "Opaque",
    "agex_supervisor.pool": "Pool PoolStats",
    "agex_supervisor.promises": "LockdownReport",
    "agex_supervisor.terminal_commands": "CommandContext",
    "agex_supervisor.versions": "Commit Diff",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}

__all__ = [
    "ActionEvent",
    "Agent",
    "AgexError",
    "BudgetExceeded",
    "CancelledEvent",
    "ChapterEvent",
    "ClarifyEvent",
    "CodeError",
    "Commit",
    "CommandContext",
    "ConfigurationError",
    "ContractError",
    "Denial",
    "Diff",
    "ErrorEvent",
    "ErrorInfo",
    "Event",
    "FailEvent",
    "FileEvent",
    "Handle",
    "HandleClosed",
    "IsolationUnavailable",
    "LLMError",
    "LockdownReport",
    "MemberSpec",
    "Module",
    "NoteEvent",
    "Opaque",
    "OutputEvent",
    "Policy",
    "PolicyError",
    "Pool",
    "PoolExhausted",
    "PoolStats",
    "PreloadFailed",
    "ProtocolViolation",
    "RunUsage",
    "Sandbox",
    "SandboxOutcome",
    "SessionBusy",
    "SessionState",
    "State",
    "StateError",
    "SuccessEvent",
    "Task",
    "TaskCancelled",
    "TaskError",
    "TaskFailed",
    "TaskNeedsInput",
    "TaskOutcome",
    "TaskStartEvent",
    "TaskTimeout",
    "Token",
    "Unsent",
    "WorkerDied",
    "WorkerFailed",
    "events",
    "helpers",
    "llm",
    "pprint_events",
    "pprint_tokens",
]


def __getattr__(name: str) -> Any:
    if name in ("helpers", "llm"):
        return importlib.import_module(f"agex.{name}")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return [*globals(), *__all__]
