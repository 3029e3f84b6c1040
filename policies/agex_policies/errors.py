"""What can be wrong before anything runs: the policy itself, or a machine that cannot hold it.

AgexError
  PolicyError            the policy is wrong: unreadable, ill-typed, wider than its parent, or beyond this version
  IsolationUnavailable   the policy is right, but this machine cannot hold one of its promises
"""

from __future__ import annotations

from pathlib import Path

from agex_protocol.errors import AgexError


class PolicyError(AgexError):
    """A policy cannot be used; nothing was started. The text says where, what the rule is and what to write instead.

    `file` and `line` are None for a policy that was not read from a file; `key` is dotted ("limits.memory") or empty.
    """

    def __init__(
        self, message: str, *, remedy: str = "", key: str = "", file: Path | str | None = None, line: int | None = None
    ) -> None:
        self.message = message
        self.remedy = remedy
        self.key = key
        self.file = file
        self.line = line
        super().__init__(self._text())

    def _text(self) -> str:
        place = "" if self.file is None else f"{self.file}:{self.line}: " if self.line else f"{self.file}: "
        key = f"{self.key}: " if self.key else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{place}{key}{self.message}{remedy}"


class IsolationUnavailable(AgexError):
    """No worker was started, because a promise cannot be held on this machine. Do what `remedy` says, or ask for less.

    `promise` is what would be broken ("files.read"), `could_hold` names the layers any of which would hold it.
    """

    def __init__(self, promise: str, could_hold: tuple[str, ...], remedy: str) -> None:
        self.promise = promise
        self.could_hold = could_hold
        self.remedy = remedy
        holders = " or ".join(could_hold) or "nothing known to this version"
        super().__init__(f"the promise {promise!r} cannot be held here: it takes {holders}; {remedy}")
