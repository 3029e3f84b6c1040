"""Values of every kind go through the codec and come back the same; what does not fit is refused in words."""

from __future__ import annotations

import math
import re
from collections import Counter, OrderedDict, deque
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from ipaddress import ip_address, ip_interface, ip_network
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agex_protocol.budget import Caps
from agex_protocol.decode import decode
from agex_protocol.encode import encode
from agex_protocol.errors import NotPortable, ValueRefused
from agex_protocol.shapes import ANY, NONE, NOTHING, Shape, shape_from_bytes

INT, FLOAT, STR, BOOL = (Shape(kind) for kind in ("int", "float", "str", "bool"))


def crossed(value: Any, shape: Shape = ANY) -> Any:
    head, buffers = encode(value, shape)
    return decode(head, [memoryview(bytes(buffer)) for buffer in buffers], shape)


def listed(shape: Shape) -> Shape:
    return Shape("list", (shape,))


UNDECLARED = [
    *(
        None,
        True,
        0,
        -1,
        2**63,
        2**64,
        -(2**63) - 1,
        2**4000,
        -(2**4000),
        0.0,
        -0.0,
        math.inf,
        "",
        "é\0😀",
        b"",
        b"\xff",
    ),
    *("x" * 100_000, "é" * 70_000, b"x" * 5000, 1j, complex(math.inf, -0.0), [], (), {}, set(), frozenset()),
    *(
        [1, "a", [2.5, None]],
        (1, (2,)),
        {"a": [1], 2: "b", (3, None): b"c"},
        {1, "a", 2.5},
        frozenset({frozenset({1})}),
    ),
    *(deque([1, 2], 3), deque("ab"), range(3), range(10, 2**70, -1), slice(1, None, 2), slice("a")),
    *(
        datetime(2020, 2, 29, 1, 2, 3, 4),
        datetime(2020, 1, 1, tzinfo=UTC),
        datetime.max,
        date.min,
        time(1, 2, 3, 4, fold=1),
    ),
    *(
        datetime(2020, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Paris"), fold=1),
        time(1, tzinfo=timezone(timedelta(hours=-3))),
    ),
    *(datetime(2020, 1, 1, tzinfo=timezone(timedelta(hours=2), "here")), datetime(2020, 1, 1, tzinfo=ZoneInfo("UTC"))),
    *(timedelta(-1, 2, 3), timedelta.max, Decimal("1.50"), Decimal("-0"), Decimal("Infinity"), Decimal("1e-9999")),
    *(Fraction(-1, 3), Fraction(2**2000, 3), UUID(int=5), Path("/a b"), PurePosixPath("a"), PureWindowsPath("C:\\x")),
    *(re.compile("a(?P<b>é)", re.I | re.M), re.compile(b"\xff+"), ip_address("1.2.3.4"), ip_address("::1")),
    *(ip_network("10.0.0.0/8"), ip_network("fe80::/64"), ip_interface("1.2.3.4/24"), ip_interface("::1/64")),
    *(np.float32(1.5), np.int64(-3), np.bool_(True), np.datetime64("2020-01-01", "D"), np.str_("é"), np.bytes_(b"x")),
    *(np.str_(""), np.bytes_(b"")),
    *(pd.Timestamp("2020-01-01 00:00:00.123456789", tz="Europe/Paris"), pd.Timedelta("1ns"), pd.NA, pd.NaT),
]


@pytest.mark.parametrize("value", UNDECLARED, ids=lambda value: type(value).__name__)
def test_a_value_without_a_declared_type_comes_back_with_its_type(value: Any) -> None:
    back = crossed(value)
    assert (type(back), repr(back)) == (type(value), repr(value))
    nested = crossed([{"k": [value]}, value])
    assert repr(nested) == repr([{"k": [value]}, value])


def test_a_decimal_nan_and_a_float_nan_stay_what_they_are() -> None:
    assert math.isnan(crossed(math.nan))
    assert crossed(Decimal("NaN")).is_qnan()
    assert crossed(Decimal("sNaN")).is_snan()


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**100), 2**100) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.integers() | st.text(), inner)
        | st.sets(st.integers() | st.text())
    ),
    max_leaves=20,
)


@given(plain)
def test_any_plain_data_comes_back_equal(value: Any) -> None:
    assert crossed(value) == value


DECLARED: list[tuple[Shape, Any, Any]] = [
    (FLOAT, 3, 3.0),
    (FLOAT, np.float32(1.5), 1.5),
    (FLOAT, np.int64(3), 3.0),
    (INT, np.uint8(3), 3),
    (INT, 2**100, 2**100),
    (BOOL, np.bool_(False), False),
    (STR, np.str_("x"), "x"),
    (Shape("datetime"), pd.Timestamp("2020-01-01 10:00"), datetime(2020, 1, 1, 10)),
    (Shape("timedelta"), np.timedelta64(5, "s"), timedelta(seconds=5)),
    (Shape("dict", (STR, FLOAT)), OrderedDict(a=1), {"a": 1.0}),
    (Shape("dict", (STR, INT)), Counter("aa"), {"a": 2}),
    (listed(INT), [np.int64(1), 2, 2**90], [1, 2, 2**90]),
    (listed(listed(FLOAT)), [[1], [2.5]], [[1.0], [2.5]]),
    (listed(Shape("tuple", (INT, STR))), [(i, str(i)) for i in range(20)], [(i, str(i)) for i in range(20)]),
    (listed(Shape("tuple_of", (INT,))), [(1,), ()], [(1,), ()]),
    (Shape("tuple"), (), ()),
    (Shape("scalar", (INT, STR, NONE)), None, None),
    (listed(Shape("scalar", (FLOAT, NONE))), [1, None, 2.5], [1.0, None, 2.5]),
    (Shape("scalar", (INT, STR)), 2**90, 2**90),
    (Shape("optional", (listed(INT),)), None, None),
    (Shape("union", (listed(INT), listed(STR))), ["a"], ["a"]),
    (Shape("literal", values=("a", 1, None)), 1, 1),
    (NOTHING, object(), None),
]


@pytest.mark.parametrize(("shape", "value", "expected"), DECLARED)
def test_a_value_comes_back_as_its_declared_shape(shape: Shape, value: Any, expected: Any) -> None:
    back = crossed(value, shape)
    assert back == expected
    assert type(back) is type(expected)
    assert shape_from_bytes(shape.to_bytes()) == shape


def refusal(value: Any, shape: Shape = ANY) -> str:
    with pytest.raises(NotPortable) as caught:
        encode(value, shape)
    return str(caught.value)


def test_a_value_that_does_not_fit_is_refused_with_its_place_its_type_and_a_remedy() -> None:
    column = Shape("dict", (STR, listed(FLOAT)))
    assert refusal({"a": [1.0, "x"]}, column) == "result['a'][1]: a str ('x'), wanted float; use float(...)"
    assert refusal({1: []}, column) == "result key 1: an int (1), wanted str"
    assert (
        refusal(pd.Series([1]), Shape("dict", (STR, INT))) == "result: a Series, wanted dict[str, int]; use .to_dict()"
    )
    assert refusal((1,), listed(INT)) == "result: a tuple, wanted list[int]; use list(...)"
    assert refusal(range(3), listed(INT)) == "result: a range, wanted list[int]; use list(...)"
    assert refusal(pd.Series([1]), Shape("ndarray")) == "result: a Series, wanted ndarray; use .to_numpy()"
    assert refusal(np.ones(1), Shape("series")) == "result: a ndarray, wanted Series; use pandas.Series(...)"
    assert refusal(np.ma.ones(1), INT) == "result: a MaskedArray, wanted int; use np.asarray(...)"
    assert refusal(pd.DataFrame(), INT) == "result: a DataFrame, wanted int"
    assert refusal(1, Shape("timestamp")) == "result: an int (1), wanted Timestamp"
    assert refusal(1, Shape("ipv6network")) == "result: an int (1), wanted IPv6Network"
    assert refusal(True, INT) == "result: a bool (True), wanted int"
    assert refusal(1, BOOL) == "result: an int (1), wanted bool"
    assert refusal(1.5, Shape("scalar", (INT, STR))) == "result: a float (1.5), wanted int | str"
    assert refusal(pd.NaT, Shape("datetime")) == "result: a NaTType, wanted datetime; use None"
    assert refusal(True, Shape("literal", values=(1,))) == "result: a bool (True), wanted Literal[1]"
    assert refusal(datetime(2020, 1, 1), Shape("date")) == "result: a datetime, wanted date; use .date()"
    assert refusal([object()]) == "result[0]: an object, which has no form on the wire unless it is declared"
    assert refusal(pd.Timestamp(1), Shape("datetime")) == (
        "result: a Timestamp with nanoseconds, which a datetime has not; use .floor('us')"
    )


def test_a_container_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert refusal(loop).endswith("nested deeper than 64, or it contains itself")


def test_half_of_a_surrogate_pair_is_refused() -> None:
    assert refusal(["\ud800"]) == "result: a text holds half of a surrogate pair, which has no UTF-8 form; replace it"


def test_a_value_larger_than_the_limit_is_refused() -> None:
    with pytest.raises(NotPortable, match="^result: 8000 bytes in buffers, the cap is 5000$"):
        encode(np.zeros(1000), Shape("ndarray"), max_bytes=5000)


def test_what_the_encoder_lets_through_is_within_what_the_decoder_allows() -> None:
    assert len(crossed([(i, str(i)) for i in range(30_000)])) == 30_000
    assert refusal([re.compile("x")] * 20).endswith(
        "too many small items for its size; give many of them as an array or a DataFrame"
    )
    with pytest.raises(NotPortable, match="17 keys share one hash, the limit is 16"):
        encode({i * (2**61 - 1) for i in range(17)}, ANY)


def test_the_decoder_takes_nothing_that_is_left_over() -> None:
    head, _ = encode(1, INT)
    with pytest.raises(ValueRefused, match="1 buffers belong to no part of it"):
        decode(head, [memoryview(b"x")], INT)
    with pytest.raises(ValueRefused):
        decode(head + b"\0", [], INT)


def test_a_head_beyond_the_caps_is_refused_before_it_is_read() -> None:
    with pytest.raises(ValueRefused, match="^what the worker sent is not Any: 11 bytes of structure, the cap is 10$"):
        decode(b"\xc1" * 11, [], ANY, caps=Caps(head_bytes=10))
    with pytest.raises(ValueRefused, match="could unfold to"):
        decode(b"\x90" * 1000, [], ANY, caps=Caps(memory_bytes=90_000))
