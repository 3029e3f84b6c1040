"""A task makes as many host calls, and moves as many bytes by them, as its policy says."""

from __future__ import annotations

from agex_policies.host_calls import HostCallLimits, host_call_limits_of
from agex_policies.quantities import Rate
from agex_policies.schema import Policy
from agex_supervisor.allowance import Allowance


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def passed(allowance: Allowance, calls: int) -> int:
    return sum(allowance.refusal_of_call() == "" for _ in range(calls))


def test_a_policy_without_limits_lets_everything_pass() -> None:
    allowance = Allowance(host_call_limits_of(Policy.load("default")))
    assert passed(allowance, 1_000) == 1_000
    assert allowance.refusal_of_bytes(1 << 40) == ""


def test_the_limits_are_those_of_the_policy() -> None:
    policy = Policy.load("default").extend(
        {"host_calls": {"errors": "type", "max_rate": "30/min", "max_bytes": "2KiB"}}
    )
    assert host_call_limits_of(policy) == HostCallLimits(messages=False, rate=Rate(30, 60.0), most_bytes=2048)


def test_calls_beyond_the_rate_are_refused_until_time_has_passed() -> None:
    clock = Clock()
    allowance = Allowance(HostCallLimits(rate=Rate(10, 5.0)), clock)
    assert passed(allowance, 25) == 10
    clock.now += 1.0
    assert passed(allowance, 25) == 2
    assert allowance.refusal_of_call() == "more host calls than 10 in 5 s; wait 0.5 s, or call less"
    clock.now += 1_000.0
    assert passed(allowance, 25) == 10


def test_a_refused_call_costs_nothing() -> None:
    clock = Clock()
    allowance = Allowance(HostCallLimits(rate=Rate(1, 1.0)), clock)
    assert passed(allowance, 1_000) == 1
    clock.now += 1.0
    assert passed(allowance, 1) == 1


def test_bytes_are_counted_for_the_whole_task() -> None:
    clock = Clock()
    allowance = Allowance(HostCallLimits(most_bytes=100), clock)
    assert allowance.refusal_of_bytes(60) == allowance.refusal_of_bytes(40) == ""
    clock.now += 1_000.0
    assert allowance.refusal_of_bytes(1) == (
        "more than 100 bytes in host calls of this task; nothing more of them crosses"
    )
