from __future__ import annotations

import enum
from collections import Counter, OrderedDict, deque, namedtuple
from dataclasses import dataclass
from typing import Any

import numpy
import pandas
import pytest
from pydantic import BaseModel

from agex.render import render_value


class Color(enum.Enum):
    RED = 1


@dataclass
class Order:
    sku: str
    quantity: int


class Invoice(BaseModel):
    orders: list[str]
    total: float


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no picture")


class Millions:
    """A frame-sized column whose every access is counted: a full repr would read them all."""

    def __init__(self) -> None:
        self.read = 0

    def __repr__(self) -> str:
        self.read += 1
        return "cell"


Pair = namedtuple("Pair", ["left", "right"])

FRAME = pandas.DataFrame(
    {"price": [1.5, 2.0, 3.25, 4.0], "name": ["a", "b", None, "d"], 7: [True, False, True, False]},
    index=pandas.Index([10, 11, 12, 13], name="id"),
)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "None"),
        (True, "True"),
        (1.5, "1.5"),
        ("two\nlines\x1b[31m", "'two\\nlines\\x1b[31m'"),
        ([1, "a", [2]], "[1, 'a', [2]]"),
        ((1,), "(1,)"),
        ((), "()"),
        (set[int](), "set()"),
        ({3}, "{3}"),
        (frozenset({3}), "frozenset([3])"),
        (deque([1, 2]), "deque([1, 2])"),
        ({"a": {"b": None}}, "{'a': {'b': None}}"),
        (OrderedDict(a=1), "OrderedDict({'a': 1})"),
        (Counter("aa"), "Counter({'a': 2})"),
        (Pair(1, "x"), "Pair(left=1, right='x')"),
        (Color.RED, "Color.RED"),
        (Order("a", 2), "Order(sku='a', quantity=2)"),
        (Invoice(orders=["a"], total=2), "Invoice(orders=['a'], total=2.0)"),
        (Order, "<class Order>"),
        (render_value, "<function render_value>"),
        (object(), "<object object>"),
        ([[[[[[1]]]]]], "[[[[[<list>]]]]]"),
        ([[[[[1]]]]], "[[[[[1]]]]]"),
        (numpy.zeros((2, 3)), "ndarray 2 x 3 of float64: 0.0, 0.0, 0.0, 0.0, 0.0, 0.0"),
        (numpy.array(5), "ndarray 0-d of int64: 5"),
        (numpy.array(["2020-01-01"], "M8[D]"), "ndarray 1 of datetime64[D]: '2020-01-01'"),
        (pandas.Series([1, 2], name="n"), "Series 'n' of 2 x int64: 1, 2"),
        (FRAME.index, "Index 'id' of 4 x int64: 10, 11, 12, 13"),
        ([FRAME], "[DataFrame of 4 rows x 3 columns]"),
    ],
)
def test_a_value_is_shown_by_what_code_needs_to_know_of_it(value: object, shown: str) -> None:
    assert render_value(value) == shown


def test_an_integer_too_long_to_write_out_is_described() -> None:
    assert render_value(10**10_000) == "<int of 33220 bits>"


def test_a_frame_is_shown_by_its_shape_its_index_and_each_column_with_type_and_first_values() -> None:
    name_type = str(FRAME.dtypes.iloc[1])
    missing = repr(FRAME["name"].tolist()[2])
    assert render_value(FRAME).splitlines() == [
        "DataFrame of 4 rows x 3 columns; index: Index 'id' of 4 x int64: 10, 11, 12, 13; columns:",
        "  'price'  float64  1.5, 2.0, 3.25, ...",
        f"  'name'  {name_type}  'a', 'b', {missing}, ...",
        "  7  bool  True, False, True, ...",
    ]


def test_columns_that_share_a_name_are_each_shown() -> None:
    frame = pandas.DataFrame([[1, 2.5]], columns=["a", "a"])
    assert render_value(frame).splitlines()[1:] == ["  'a'  int64  1", "  'a'  float64  2.5"]


def test_a_wide_frame_names_the_columns_that_have_no_line_and_counts_the_rest() -> None:
    text = render_value(pandas.DataFrame(numpy.zeros((3, 5000))), 600)
    lines = text.splitlines()
    assert len(text) <= 600
    assert lines[1] == "  0  float64  0.0, 0.0, 0.0"
    assert lines[-1].startswith("  also: ") and lines[-1].endswith(" more")


def test_only_the_head_of_a_column_is_read_however_long_it_is() -> None:
    cell = Millions()
    column = numpy.full(1_000_000, cell, dtype=object)
    for value in (pandas.DataFrame({"x": column, "y": column}), pandas.Series(column), column, column.tolist()):
        cell.read = 0
        assert "cell" in render_value(value)
        assert 0 < cell.read <= 40


def test_values_of_a_strided_array_are_not_copied_to_be_shown() -> None:
    huge = numpy.broadcast_to(numpy.float64(2.5), (1 << 40, 1 << 10))  # petabytes if it were ever laid out
    assert render_value(huge) == f"ndarray {1 << 40} x 1024 of float64: {', '.join(['2.5'] * 9)}, ..."


def test_a_repr_that_raises_is_named_and_does_not_hide_its_neighbours() -> None:
    assert render_value(Broken()) == "<Broken: cannot be shown: RuntimeError>"
    assert render_value([1, Broken(), 3]) == "[1, <Broken: RuntimeError>, 3]"


def test_a_container_that_contains_itself_ends() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert render_value(loop) == "[1, [1, [1, [1, [1, <list>]]]]]"


def test_long_text_shows_its_head_and_its_length() -> None:
    text = render_value("ab" * 50_000, 200)
    assert text.startswith("'abab") and text.endswith("(100000 characters)") and len(text) <= 200


@pytest.mark.parametrize("budget", [0, 1, 10, 60, 200, 1000, 5000])
@pytest.mark.parametrize(
    "value",
    [
        FRAME,
        FRAME["price"],
        pandas.DataFrame({"k" * 500: ["v" * 5000] * 100}),
        numpy.arange(10_000),
        list(range(100_000)),
        {f"key{n}" * 20: "v" * 1000 for n in range(1000)},
        "x" * 100_000,
        b"\x00" * 100_000,
        [[["x" * 1000] * 50] * 50] * 50,
        Invoice(orders=["o" * 100] * 1000, total=1),
        Broken(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_value_takes_more_than_its_budget(value: object, budget: int) -> None:
    assert len(render_value(value, budget)) <= budget
