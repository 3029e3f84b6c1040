"""A supervisor that is killed takes its processes along, and what it leaves on disk goes when the next one starts."""

from __future__ import annotations

import random

import pytest

from tests.attacks.sudden_death import ALLOWED_S, LATEST_S, kill
from tests.nobody import need_nobody

TIMES = 5
SEED = 20_260_102


@pytest.mark.parametrize("user", ["same user", "nobody"])
def test_nothing_outlives_a_supervisor_that_is_killed_at_any_moment(user: str) -> None:
    number = need_nobody() if user == "nobody" else None
    chance = random.Random(f"{SEED} {user}")
    aftermaths = [kill(chance.uniform(0, LATEST_S), number) for _ in range(TIMES)]

    assert [each for each in aftermaths if each.left or each.complaint or each.lived_on_s >= ALLOWED_S] == []


def test_there_are_processes_to_outlive_it() -> None:
    aftermath = kill(LATEST_S * 2)

    assert aftermath.processes >= 2, aftermath
