"""Sizes and times carry a unit, and what does not is refused by name."""

from __future__ import annotations

import decimal

import pytest

from agex_policies.quantities import Rate, rate, size_bytes, time_s


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1B", 1), ("512MiB", 512 << 20), ("1.5 GiB", 3 << 29), ("2GB", 2 * 10**9), ("1KiB", 1024)],
)
def test_a_size_is_its_number_times_its_unit(text: str, expected: int) -> None:
    assert size_bytes(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("250ms", 0.25), ("3s", 3.0), ("1.5min", 90.0), ("2h", 7200.0)])
def test_a_time_is_its_number_times_its_unit(text: str, expected: float) -> None:
    assert time_s(text) == expected


@pytest.mark.parametrize("wrong", [512, 1.5, True, None, ["1MiB"], "512", "", "MiB", "-1MiB", "1e9B", "1MiB\n", "١MiB"])
def test_a_size_that_is_not_a_number_with_a_unit_says_how_to_write_one(wrong: object) -> None:
    with pytest.raises(ValueError) as caught:
        size_bytes(wrong)
    assert str(caught.value) == f"{wrong!r} is not a number with a unit in a string: write it like '512MiB'"


def test_a_wrong_unit_is_answered_with_the_right_ones() -> None:
    with pytest.raises(ValueError) as caught:
        time_s("3m")
    assert str(caught.value) == "'3m' has the wrong unit 'm': use one of ms, s, min, h"


@pytest.mark.parametrize("text", ["0B", "0.4B", "2000TiB"])
def test_a_size_of_nothing_or_beyond_all_machines_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        size_bytes(text)
    assert str(caught.value) == f"{text!r} is out of range: a size is at least 1 byte and at most 1024TiB"


@pytest.mark.parametrize("text", ["0s", "9000h"])
def test_a_time_of_nothing_or_beyond_a_year_is_refused(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        time_s(text)
    assert str(caught.value) == f"{text!r} is out of range: a time is above 0 and at most a year"


@pytest.mark.parametrize(
    ("text", "expected"), [("100/s", Rate(100, 1.0)), ("30/min", Rate(30, 60.0)), ("1/h", Rate(1, 3600.0))]
)
def test_a_rate_is_a_count_in_a_time(text: str, expected: Rate) -> None:
    assert rate(text) == expected


@pytest.mark.parametrize("wrong", [100, None, "100", "/s", "1.5/s", "1/ms", "1/day", "-1/s", "1/s\n", ["1/s"]])
def test_a_rate_that_is_not_a_count_in_a_time_says_how_to_write_one(wrong: object) -> None:
    with pytest.raises(ValueError) as caught:
        rate(wrong)
    assert str(caught.value) == (
        f"{wrong!r} is not a count a time in a string: write it like '100/s', '100/min' or '100/h'"
    )


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="out of range"):
        rate("0/s")


def test_a_limit_means_the_same_whatever_decimals_are_set_to_in_this_thread() -> None:
    with decimal.localcontext() as context:
        context.prec = 2
        assert (size_bytes("1GiB"), size_bytes("1.5MiB"), time_s("1234ms")) == (1 << 30, 3 << 19, 1.234)
