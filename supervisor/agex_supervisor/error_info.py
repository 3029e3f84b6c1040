"""An error of code in a worker, as strings that are safe to look at."""

from __future__ import annotations

from dataclasses import dataclass

from agex_supervisor.display import display

MAX_TEXT_CHARS = 32_000


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """An error of the code as strings; never an exception object."""

    type: str
    message: str
    traceback: str = ""


def error_info(kind: str, message: str, traceback: str) -> ErrorInfo:
    """An error of the code, bounded and safe to look at."""
    return ErrorInfo(
        display(kind, limit=200, one_line=True), display(message, limit=8000), display(traceback, limit=MAX_TEXT_CHARS)
    )
