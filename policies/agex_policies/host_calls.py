"""What a policy says of host calls, for the supervisor that answers them. A worker never sees it."""

from __future__ import annotations

from dataclasses import dataclass

from agex_policies.quantities import Rate, rate, size_bytes
from agex_policies.schema import Policy


@dataclass(frozen=True, slots=True)
class HostCallLimits:
    """For one task, or one Sandbox. `messages`: whether the text of a host function's error is told, or its type alone."""

    messages: bool = True
    rate: Rate | None = None
    most_bytes: int | None = None


def host_call_limits_of(policy: Policy) -> HostCallLimits:
    """The policy's limits, in bytes and calls."""
    asked = policy.host_calls
    return HostCallLimits(
        messages=asked.errors == "message",
        rate=None if asked.max_rate is None else rate(asked.max_rate),
        most_bytes=None if asked.max_bytes is None else size_bytes(asked.max_bytes),
    )
