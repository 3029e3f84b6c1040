"""Keys of sets and dicts: those chosen to meet in the table are refused before there is one, and ordinary ones pass."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date
from typing import Any

import msgpack
import pytest

from agex_protocol import probing
from agex_protocol.budget import Work
from agex_protocol.decode import decode
from agex_protocol.encode import encode
from agex_protocol.errors import NotPortable, ValueRefused
from agex_protocol.keys import check_keys
from agex_protocol.probing import charge_dict
from agex_protocol.shapes import Shape
from tests.fuzz.library_bombs import meeting

INTS = Shape("int")
TEXT = Shape("str")
DICT = Shape("dict", (INTS, TEXT))
TOO_MUCH = "too many small items for its size; give many of them as an array or a DataFrame"
DICE = random.Random(7)
SIZES = (65, 77, 300, 5000, 19_660, 19_661, 30_000)


def nothing(units: int) -> None:
    """Everything is paid for."""


def counted(count: Callable[..., None], keys: list[Any]) -> int:
    units: list[int] = []
    check_keys(keys, count, units.append)
    return sum(units)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bits", [16, 20, 61])
def test_a_set_has_its_keys_where_they_were_counted(size: int, bits: int) -> None:
    keys = list(dict.fromkeys(DICE.getrandbits(bits) - (1 << bits - 1) for _ in range(size)))
    hashes = list(map(hash, keys))
    assert probing._grow_set(hashes, nothing) == list(map(hash, set(keys)))


@pytest.mark.parametrize("shift", [1, 5, 20, 43])
def test_multiples_are_where_they_were_counted_too(shift: int) -> None:
    keys = [number << shift for number in range(9000)]
    assert probing._grow_set(keys, nothing) == list(map(hash, set(keys)))


@pytest.mark.parametrize("shape", [Shape("set", (INTS,)), Shape("frozenset", (INTS,))])
def test_keys_that_meet_in_a_set_are_refused(shape: Shape) -> None:
    head = msgpack.packb([5**9 * 2**18 * number for number in range(90_000)])
    with pytest.raises(ValueRefused) as refused:
        decode(head, [], shape)
    assert str(refused.value) == f"what the worker sent is not {shape}: {TOO_MUCH}"


@pytest.mark.parametrize("kind", [int, float])
def test_keys_that_meet_in_a_dict_are_refused_on_both_sides(kind: Callable[[int], Any]) -> None:
    keys = [kind(key) for key in meeting(5_200)]
    shape = INTS if kind is int else Shape("float")
    whole = Shape("dict", (shape, Shape("none")))
    wire = [keys, [None] * len(keys)]
    with pytest.raises(ValueRefused) as refused:
        decode(msgpack.packb(wire), [], whole)
    assert str(refused.value) == f"what the worker sent is not {whole}: {TOO_MUCH}"
    with pytest.raises(NotPortable):
        encode(dict.fromkeys(keys), whole)


def test_numbers_that_meet_are_not_paid_for_by_their_bytes_and_as_many_others_are() -> None:
    with pytest.raises(ValueError, match="too many small items"):
        check_keys(meeting(5_200), charge_dict, Work(5_200 * 5).charge)
    check_keys(DICE.sample(range(1 << 30), 5_200), charge_dict, Work(5_200 * 5).charge)


@pytest.mark.parametrize(
    "keys",
    [
        range(200_000),
        range(-5, 199_995),
        range(0, 200_000 << 20, 1 << 20),
        range(0, 1_200_000, 6),
        [DICE.getrandbits(63) for _ in range(150_000)],
        DICE.sample(range(200_000), 200_000),
        sorted(DICE.sample(range(1 << 32), 150_000)),
    ],
    ids=["consecutive", "from below 0", "multiples", "multiples of 6", "random", "shuffled", "sorted"],
)
def test_ordinary_numbers_are_keys(keys: Any) -> None:
    value = dict.fromkeys(keys, "a text of twelve")
    head, buffers = encode(value, DICT)
    assert decode(bytes(head), [memoryview(bytes(each)) for each in buffers], DICT) == value


@pytest.mark.parametrize(
    ("kind", "keys"),
    [
        ("float", [float(number) for number in range(100_000)]),
        ("float", [DICE.random() for _ in range(60_000)]),
        ("date", [date.fromordinal(day) for day in range(1, 40_000)]),
    ],
)
def test_ordinary_floats_and_dates_are_keys(kind: str, keys: list[Any]) -> None:
    shape = Shape("dict", (Shape(kind), TEXT))
    value = dict.fromkeys(keys, "a text of twelve")
    head, buffers = encode(value, shape)
    assert decode(bytes(head), [memoryview(bytes(each)) for each in buffers], shape) == value


def test_consecutive_numbers_and_multiples_of_a_power_cost_a_step_each() -> None:
    for step in (1, -1, 7, 1 << 20, -(1 << 40)):
        assert counted(charge_dict, [10**6 + step * number for number in range(50_000)]) == 50_000


def test_what_is_salted_in_another_process_is_told_with_a_margin() -> None:
    keys = [(number, str(number)) for number in range(3000)]
    told: list[int] = []
    check_keys(keys, charge_dict, told.append, margin=2)
    assert 3000 < counted(charge_dict, keys) < sum(told) <= 3000 + 2 * (counted(charge_dict, keys) - 3000)
