"""What can go wrong between a supervisor and its workers."""

from __future__ import annotations

from agex_protocol.errors import AgexError


class PoolExhausted(AgexError):
    """No worker became free within the pool's `wait_s`. Nothing ran: try again, or raise `max_workers`."""


class WorkerFailed(AgexError):
    """A worker could not be started, or died. `reason` is a short machine-readable word, the message is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ConfigurationError(AgexError):
    """Something is missing or contradictory; nothing ran. The message says what to set."""


class PreloadFailed(ConfigurationError):
    """A registered module cannot be imported where workers are made. `module` names it; the message has the remedies."""

    def __init__(self, module: str, message: str) -> None:
        super().__init__(message)
        self.module = module
