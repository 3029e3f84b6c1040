"""Fault: something that goes wrong on the wire, standing in a script where a reply could."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Literal

FaultKind = Literal["status", "disconnect", "slow", "garbage"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What a scripted server does in place of a reply.

    `Fault(status=429, retry_after=0.1)` answers with that status, asking for a wait of so many seconds; `message` is what
    the answer says.
    `Fault("disconnect", after_chunks=2)` breaks off: a stream after so many chunks, any other answer in its middle.
    `Fault("slow", seconds=5)` begins an answer, is silent for so long, and breaks off.
    `Fault("garbage")` answers 200 with what is no completion.
    """

    kind: FaultKind = "status"
    _: KW_ONLY
    status: int | None = None
    retry_after: float | None = None
    after_chunks: int = 0
    seconds: float = 0.0
    message: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("status", "disconnect", "slow", "garbage"):
            raise ValueError(f"a Fault is 'disconnect', 'slow', 'garbage' or has a status=, not {self.kind!r}")
        if (self.kind == "status") != (self.status is not None):
            raise ValueError("a Fault has either a kind or a status=, not both and not neither")
        if self.status is not None and not 400 <= self.status <= 599:
            raise ValueError(f"a Fault's status is an HTTP error, 400 to 599, not {self.status}")
        if min(self.after_chunks, self.seconds, self.retry_after or 0.0) < 0:
            raise ValueError("a Fault's after_chunks, seconds and retry_after cannot be negative")

    def __str__(self) -> str:
        match self.kind:
            case "status":
                return f"status {self.status}{f', {self.message}' if self.message else ''}"
            case "disconnect":
                return "a connection that breaks off"
            case "slow":
                return f"silence for {self.seconds:g} s"
            case "garbage":
                return "an answer that is no completion"
