"""Looking for what is about to come: as long as it pays, and no longer."""

from __future__ import annotations

import os

import pytest

from agex_protocol import spin
from agex_protocol.spin import MOST_NEAR, MOST_SKIPPED, NEAR_S, SPIN_S, Spin


class Clock:
    """Goes on by a microsecond at each look at it."""

    def __init__(self) -> None:
        self.now = 1.0

    def __call__(self) -> float:
        self.now += 1e-6
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(spin, "_IS_USELESS", False)
    monkeypatch.setattr(spin.time, "perf_counter", clock)
    monkeypatch.setattr(os, "sched_yield", lambda: None)
    return clock


def looks(each: Spin, *, until_it_comes: int | None = None) -> int:
    """How often one wait looks; it comes at the look of that number, or never."""
    seen = 0

    def arrived() -> bool:
        nonlocal seen
        seen += 1
        return seen == until_it_comes

    assert each.sees(arrived) is (until_it_comes is not None)
    return seen


def wakes(each: Spin, clock: Clock, after_s: float) -> None:
    clock.now += after_s
    each.woke()


def waits_asleep(each: Spin, clock: Clock) -> int:
    """How many waits go to sleep at once, before one looks again."""
    asleep = 0
    while not looks(each):
        each.woke()
        asleep += 1
    return asleep


def test_what_comes_within_the_time_of_looking_is_seen_and_the_next_wait_looks_again(clock: Clock) -> None:
    each = Spin()
    assert [looks(each, until_it_comes=7) for _ in range(3)] == [7, 7, 7]


def test_what_does_not_come_is_looked_for_no_longer_than_it_may_be(clock: Clock) -> None:
    started = clock.now
    assert looks(Spin()) > 1
    assert clock.now - started == pytest.approx(SPIN_S, abs=3e-6)


def test_what_comes_late_makes_more_and_more_waits_go_to_sleep_at_once_until_one_is_seen(clock: Clock) -> None:
    each = Spin()
    looks(each)
    asleep: list[int] = []
    for _ in range(9):
        wakes(each, clock, 2 * NEAR_S)
        asleep.append(waits_asleep(each, clock))
    assert asleep == [1, 2, 4, 8, 16, 32, MOST_SKIPPED, MOST_SKIPPED, MOST_SKIPPED]
    wakes(each, clock, NEAR_S / 2)
    looks(each, until_it_comes=1)
    looks(each)
    wakes(each, clock, 2 * NEAR_S)
    assert waits_asleep(each, clock) == 1


def test_what_comes_a_little_late_is_looked_for_again_but_not_for_ever(clock: Clock) -> None:
    each = Spin()
    near = 0
    while looks(each):
        wakes(each, clock, NEAR_S / 2)
        near += 1
    assert near == MOST_NEAR + 1
    assert looks(each) > 1


def test_with_one_processor_nobody_looks(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spin, "_IS_USELESS", True)
    assert Spin().sees(lambda: True) is False
