"""What can go wrong between a supervisor and its workers."""

from __future__ import annotations

from typing import Any

from agex_protocol.errors import AgexError


class PoolExhausted(AgexError):
    """No worker became free within the pool's `wait_s`. Nothing ran: try again, or raise `max_workers`."""


class WorkerFailed(AgexError):
    """A worker could not be started, or died. `reason` is a short machine-readable word, the message is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class SessionBusy(AgexError):
    """Somebody else holds the session or its worker and did not let go in time. It is unharmed: try again."""


class StateError(AgexError):
    """A store cannot be opened, read or written: damaged, foreign, newer, busy, or without what was asked for. Nothing of it
    was changed; the message has the remedy."""


class ContractError(AgexError, TypeError):
    """An argument or a declared type does not fit the contract; no model was asked and no code ran."""


class CodeError(AgexError):
    """Code in a worker did not end well. What it ran in is usable; `outcome` (of a Sandbox) and `error` say what happened."""

    def __init__(self, message: str, outcome: Any = None, *, error: Any = None) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.error = error


class HandleClosed(AgexError):
    """The object behind this Handle is gone. `cause`: "closed", "idle", or how its worker ended, as in "timeout"."""

    def __init__(self, message: str, cause: str = "closed") -> None:
        super().__init__(message)
        self.cause = cause


class ConfigurationError(AgexError):
    """Something is missing or contradictory; nothing ran. The message says what to set."""


class PreloadFailed(ConfigurationError):
    """A registered module cannot be imported where workers are made. `module` names it; the message has the remedies."""

    def __init__(self, module: str, message: str) -> None:
        super().__init__(message)
        self.module = module
