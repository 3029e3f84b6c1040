import pytest

from agex_protocol import spin
from agex_protocol.spin import MOST_SKIPPED, Spin


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Two processors, and a clock that goes on by a third of the time to look at each glance."""
    now = [0.0]

    def glance() -> float:
        now[0] += spin.SPIN_S / 3
        return now[0]

    monkeypatch.setattr(spin, "_IS_USELESS", False)
    monkeypatch.setattr(spin.time, "perf_counter", glance)
    return now


def looks(seer: Spin, arrives_at: int) -> int:
    """How often it looked for what arrives at that look, 0 for never; below 0 where it saw it."""
    count = 0

    def arrived() -> bool:
        nonlocal count
        count += 1
        return count == arrives_at

    return -count if seer.sees(arrived) else count


@pytest.mark.usefixtures("clock")
def test_what_comes_at_once_or_soon_is_seen() -> None:
    seer = Spin()
    assert [looks(seer, arrives_at) for arrives_at in (1, 2, 1)] == [-1, -2, -1]


@pytest.mark.usefixtures("clock")
def test_looking_in_vain_makes_it_look_more_seldom_and_success_makes_it_look_again() -> None:
    seer = Spin()
    assert looks(seer, 0) == 3
    assert [looks(seer, 1) for _ in range(2)] == [0, -1]
    for penalty in (1, 2, 4, 8, 16, 32, MOST_SKIPPED, MOST_SKIPPED):
        assert looks(seer, 0) == 3
        assert [looks(seer, 0) for _ in range(penalty)] == [0] * penalty
    assert looks(seer, 1) == -1
    assert looks(seer, 0) == 3
    assert looks(seer, 0) == 0


def test_with_one_processor_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spin, "_IS_USELESS", True)
    assert looks(Spin(), 1) == 0
