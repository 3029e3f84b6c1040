"""Whatever a worker writes where a value belongs: the decoder gives a value of the shape, or ValueRefused."""

from __future__ import annotations

import gc
import random
import struct
from typing import Any

import msgpack
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agex_protocol.decode import decode
from agex_protocol.encode import encode
from agex_protocol.errors import ValueRefused
from agex_protocol.shapes import ANY, ANY_KINDS, Shape

INT, STR = Shape("int"), Shape("str")
RECORD = Shape("record", (INT, Shape("optional", (Shape("ref", index=1),))), ("n", "next"), ("n",), index=1)
SHAPES = [
    *ANY_KINDS.values(),
    *(ANY, Shape("none"), Shape("bool"), Shape("float"), Shape("tuple", (INT, STR)), Shape("scalar", (INT, STR))),
    *(
        Shape("literal", values=(1, "a")),
        Shape("enum", names=("A",), index=2),
        Shape("flag", index=2),
        Shape("nothing"),
    ),
    *(Shape("scope", (Shape("list", (Shape("ref", index=1),)), RECORD)), Shape("union", (INT, Shape("list", (STR,))))),
]

FRAME = pd.DataFrame(
    {
        "i": np.arange(4),
        "s": ["é", None, "b", ""],
        "c": pd.Categorical(list("abab")),
        "t": pd.date_range("2020", periods=4, tz="Europe/Paris"),
        "m": pd.array([1, None, 2, 3], dtype="Int64"),
        "o": pd.Series([1, [2], "x", None], dtype=object),
        "p": pd.period_range("2020", periods=4, freq="M"),
    },
    index=pd.MultiIndex.from_product([[1, 2], ["a", "b"]]),
)
VALUES: list[Any] = [FRAME, np.arange(5), {"a": [1, (2, {3})]}, FRAME["s"], FRAME.index, [FRAME, np.float32(1)]]


def attempt(head: bytes, buffers: list[bytes], shape: Shape) -> None:
    try:
        decode(head, [memoryview(buffer) for buffer in buffers], shape)
    except ValueRefused as refused:
        assert len(str(refused)) < 1000


def refused(wire: Any, shape: Shape, *buffers: bytes) -> str:
    with pytest.raises(ValueRefused) as caught:
        decode(msgpack.packb(wire), [memoryview(buffer) for buffer in buffers], shape)
    return str(caught.value).partition(": ")[2]


@given(st.binary(max_size=200), st.lists(st.binary(max_size=40), max_size=3), st.sampled_from(SHAPES))
def test_any_bytes_are_a_value_or_refused(head: bytes, buffers: list[bytes], shape: Shape) -> None:
    attempt(head, buffers, shape)


wires = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=24),
    lambda inner: st.lists(inner, max_size=5) | st.tuples(st.sampled_from(sorted(ANY_KINDS)), inner).map(list),
    max_leaves=12,
)


@given(wires, st.sampled_from(SHAPES))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_well_formed_head_is_a_value_or_refused(wire: Any, shape: Shape) -> None:
    attempt(msgpack.packb(wire), [], shape)


@pytest.mark.filterwarnings("ignore")  # pandas warns of odd frequencies and dtypes
@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_damaged_head_is_a_value_or_refused(value: Any) -> None:
    head, buffers = encode(value, ANY)
    assert not buffers
    dice = random.Random(7)
    for _ in range(1500):
        damaged = bytearray(head)
        for _ in range(dice.choice((1, 1, 2, 4))):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        attempt(bytes(damaged[: dice.randrange(len(damaged))] if dice.random() < 0.1 else damaged), [], ANY)


def test_numbers_that_share_a_hash_are_refused_before_a_set_or_a_dict_is_built_of_them() -> None:
    prime = 2**61 - 1
    numbers = [number.to_bytes(60, "big", signed=True) for number in range(0, prime * 20_000, prime)]
    assert refused(numbers, Shape("set", (INT,))) == "20000 keys share one hash, the limit is 16"
    assert refused([numbers, [1] * 20_000], Shape("dict", (INT, INT))) == "20000 keys share one hash, the limit is 16"
    assert (
        refused(["frozenset", [["int", number] for number in numbers[:100]]], ANY)
        == "100 keys share one hash, the limit is 16"
    )
    assert len(decode(msgpack.packb(numbers[:16]), [], Shape("set", (INT,)))) == 16


def test_colliding_numbers_as_categories_or_levels_are_refused() -> None:
    codes = ["<i8", b""]
    unsorted = ["numpy", "<i8", struct.pack("<3000q", *range(3000, 0, -1))]
    text = "more than 2000 categories or levels that are not sorted and unique; sort them, or give plain columns"
    column = ["categorical", codes, ["array", unsorted, None, [None]], False]
    assert refused(["array", column, None, [None]], Shape("index")) == text
    twice = ["numpy", "<i8", struct.pack("<3000q", *sorted([*range(2999), 5]))]
    assert (
        refused(["array", ["categorical", codes, ["array", twice, None, [None]], False], None, [None]], Shape("index"))
        == text
    )
    assert refused(["multi", [["array", unsorted, None, [None]]], [codes], [None]], Shape("index")) == text


def test_the_same_key_twice_is_refused() -> None:
    assert refused([[1, 1], [2, 3]], Shape("dict", (INT, INT))) == "the same key twice"
    assert refused(["a", "a"], Shape("set", (STR,))) == "the same key twice"
    names = Shape("record", (INT,), ("n",))
    assert refused([["n", "n"], [1, 2]], names) == "not the fields of "


def test_a_key_that_cannot_be_hashed_is_refused() -> None:
    assert refused(["set", [["list", []]]], ANY) == "TypeError: unhashable type: 'list'"


def test_the_garbage_collector_runs_again_after_a_value_was_refused() -> None:
    refused(1, STR)
    assert gc.isenabled()


def test_nesting_beyond_the_cap_is_refused() -> None:
    wire: Any = 1
    for _ in range(200):
        wire = ["list", [wire]]
    assert refused(wire, ANY) == "nested deeper than 64"
    chain: Any = None
    for _ in range(60):
        chain = [["n", "next"], [1, chain]]
    assert refused(chain, Shape("scope", (Shape("ref", index=1), RECORD))) == "nested deeper than 64"
    attempt(b"\x91" * 100_000, [], ANY)


def test_more_items_than_the_bytes_pay_for_are_refused() -> None:
    text = "too many small items for its size; give many of them as an array or a DataFrame"
    assert refused([[None, []]] * 500_000, Shape("list", (Shape("deque", (INT,)),))) == text


@pytest.mark.parametrize(
    ("wire", "shape"),
    [
        (b"\x01" * 514, INT),
        (True, INT),
        (1, Shape("float")),
        (1, Shape("bool")),
        ("1e999999", Shape("decimal")),
        ("1" * 1301, Shape("decimal")),
        ("0" * 500_000, Shape("decimal")),
        ("NaN12", Shape("decimal")),
        ([1, 0], Shape("fraction")),
        (["a" * 1025, 0], Shape("pattern")),
        (["[\0-\uffff]" * 5, 0], Shape("pattern")),
        (["a", 128], Shape("pattern")),
        (["(", 0], Shape("pattern")),
        (["posix", "a\0"], Shape("path")),
        (["no such", "a"], Shape("path")),
        ([2020, 1, 1, 0, 0, 0, 0, 0, "../../etc/passwd"], Shape("datetime")),
        ([2020, 1, 1, 0, 0, 0, 0, 0, "/etc/passwd"], Shape("datetime")),
        ([2020, 13, 1], Shape("date")),
        ([2020, True, 1], Shape("date")),
        (["object", []], ANY),
        ("C", Shape("enum", names=("A",))),
        (2, Shape("literal", values=(1, 2))),
        ([2, 1], Shape("union", (INT, STR))),
        ([["n"], [1], [["x"], [1]]], Shape("record", (INT,), ("n",))),
        ([["x"], [1]], Shape("record", (INT,), ("n",))),
        ([[], []], Shape("record", (INT,), ("n",), ("n",))),
        (msgpack.ExtType(1, b"x"), ANY),
        (msgpack.Timestamp(1), ANY),
        ({"a": 1}, ANY),
    ],
    ids=lambda each: str(each)[:40],
)
def test_what_is_not_exactly_of_its_shape_is_refused(wire: Any, shape: Shape) -> None:
    refused(wire, shape)


def eight(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}q", *numbers)


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (["<i8", [2], "C", eight(1)], "an array of int64 and shape (2,) has other than 8 bytes"),
        (["<i8", [2**62, 4], "C", b""], "not the shape of an array"),
        (["<i8", [0, 2**62], "C", b""], "not the shape of an array"),
        (["<i8", [-1], "C", b""], "not the shape of an array"),
        (["<i8", [1] * 33, "C", eight(1)], "not the shape of an array"),
        (["<i8", [True], "C", eight(1)], "not the shape of an array"),
        (["<i8", [1], "A", eight(1)], "not an array"),
        (["|O", [1], "C", eight(1)], "not a dtype that crosses"),
        (["|V8", [1], "C", eight(1)], "not a dtype that crosses"),
        (["<i8,<i8", [1], "C", eight(1, 2)], "not a dtype that crosses"),
        (["|b1", [1], "C", b"\x02"], "an array of bool has bytes other than 0 and 1"),
        (["<U1", [1], "C", b"\0\0\x11\0"], "an array of text has a character that is none"),
        (["<U1", [1], "C", b"\0\xd8\0\0"], "an array of text has a character that is none"),
        (["<i8", [1], "C", 0], "not bytes, and not a buffer that is still unread"),
    ],
    ids=str,
)
def test_an_array_that_lies_is_refused(wire: Any, reason: str) -> None:
    assert refused(wire, Shape("ndarray")) == reason


def test_a_buffer_may_be_named_once() -> None:
    array = ["<i8", [1], "C", 0]
    assert refused([array, array], Shape("list", (Shape("ndarray"),)), eight(1)) == (
        "not bytes, and not a buffer that is still unread"
    )


@pytest.mark.parametrize("storage", ["python", "pyarrow"])
@pytest.mark.parametrize(
    ("offsets", "data", "mask", "reason"),
    [
        (eight(0, 2, 1, 3), b"abc", None, "the offsets of a column of text do not rise from 0 to its length"),
        (eight(0, 1, 9), b"abc", None, "the offsets of a column of text do not rise from 0 to its length"),
        (eight(-1, 1, 3), b"abc", None, "the offsets of a column of text do not rise from 0 to its length"),
        (eight(0, 1), b"abc", None, "the offsets of a column of text do not rise from 0 to its length"),
        (eight(0, 1, 2), "é".encode(), None, "an offset of a column of text lies inside a character"),
        (
            eight(0, 1),
            b"\xff",
            None,
            "UnicodeDecodeError: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
        ),
        (b"", b"", None, "a column of text has no whole number of offsets"),
        (eight(0, 1) + b"x", b"a", None, "a column of text has no whole number of offsets"),
        (eight(0, 1), b"a", ["|b1", b"\0\0"], "the mask of a column of text has another length"),
        (eight(0, 1), b"a", ["|b1", b"\x07"], "an array of bool has bytes other than 0 and 1"),
    ],
)
def test_a_column_of_text_that_lies_is_refused(
    storage: str, offsets: bytes, data: bytes, mask: Any, reason: str
) -> None:
    wire = ["array", ["text", storage, "nan", offsets, data, mask], None, [None]]
    assert refused(wire, Shape("index")) == reason


def test_a_range_of_categories_or_levels_that_would_take_all_memory_is_refused() -> None:
    codes, endless = ["<i8", b""], ["range", 0, 1 << 39, 1, [None]]
    text = "more than 16777216 categories or levels"
    assert refused(["array", ["categorical", codes, endless, False], None, [None]], Shape("index")) == text
    assert refused(["multi", [endless], [codes], [None]], Shape("index")) == text


COLUMN = ["column", ["numpy", "<i8", eight(1)]]
BLOCK = ["block", ["<i8", [2, 1], "C", eight(1, 2)]]


@pytest.mark.parametrize(
    ("rows", "names", "parts", "reason"),
    [
        (2, 1, [[[0], *COLUMN]], "a part of a DataFrame does not fit its index or its places"),
        (1, 1, [[[0], *BLOCK]], "a part of a DataFrame does not fit its index or its places"),
        (2, 2, [[[0, 1], *BLOCK]], "a part of a DataFrame does not fit its index or its places"),
        (1, 2, [[[0], *COLUMN]], "the parts of a DataFrame do not fill its columns"),
        (1, 1, [], "the parts of a DataFrame do not fill its columns"),
        (1, 2, [[[0], *COLUMN], [[0], *COLUMN]], "the parts of a DataFrame do not fill its columns"),
        (1, 2, [[[0, 2], *BLOCK]], "the parts of a DataFrame do not fill its columns"),
        (1, 2, [[[0, True], *BLOCK]], "the parts of a DataFrame do not fill its columns"),
        (1, 2, [[[0, 1], *COLUMN]], "not a part of a DataFrame"),
        (1, 1, [[[0], "block", ["<M8[D]", [1, 1], "C", eight(1)]]], "pandas holds no block of datetime64[D]"),
        (1, 1, [[[0], "column", ["numpy", "<m8", eight(1)]]], "pandas holds no block of timedelta64"),
        (1, 1, [[[0], "block", ["<U2", [1, 1], "C", eight(1)]]], "pandas holds no block of <U2"),
    ],
)
def test_a_frame_whose_parts_do_not_fit_is_refused(rows: int, names: int, parts: list[Any], reason: str) -> None:
    wire = [["range", 0, rows, 1, [None]], ["range", 0, names, 1, [None]], parts, None]
    assert refused(wire, Shape("frame")) == reason
