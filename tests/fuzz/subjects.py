"""What is fuzzed: declared types, each with values of it. A new codec needs a line here, and every fuzzer knows it.

Nothing is written for a type beyond its values: heads and buffers to start from come from the encoder.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections import deque
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import PIL.Image
import plotly.graph_objects as go
import polars as pl
import pyarrow as pa
import typing_extensions
from pydantic import BaseModel, Field, RootModel

from agex_protocol.encode import encode
from agex_supervisor.contract import Contract


class Color(enum.Enum):
    RED = 1
    BLUE = "b"


class Access(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0
    label: str | None = None


@dataclasses.dataclass
class Tree:
    name: str
    children: list[Tree] = dataclasses.field(default_factory=list["Tree"])
    when: date | None = None


@dataclasses.dataclass(frozen=True)
class Ordered:
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


class Line(BaseModel):
    price: float = Field(gt=0)
    amount: int = 1
    tags: set[str] = set()


class Loose(BaseModel, extra="allow"):
    a: int


class Numbers(RootModel[list[int]]):
    pass


class Pair(NamedTuple):
    left: int
    right: str = "x"


class Options(typing_extensions.TypedDict):
    size: int
    ratio: typing_extensions.NotRequired[float]


@dataclasses.dataclass
class Cloud:
    points: np.ndarray[Any, Any]
    table: pd.DataFrame | None = None


Json = typing_extensions.TypeAliasType("Json", "dict[str, Json] | list[Json] | str | int | None")


@dataclasses.dataclass(frozen=True)
class Subject:
    """One declared type and values of it."""

    annotation: Any
    values: tuple[Any, ...]

    @cached_property
    def contract(self) -> Contract:
        return Contract.of(self.annotation, where="fuzz")

    @cached_property
    def encodings(self) -> tuple[tuple[bytes, list[bytes]], ...]:
        """Head and buffers of each value."""
        encoded = [encode(value, self.contract.shape) for value in self.values]
        return tuple((head, [bytes(buffer) for buffer in buffers]) for head, buffers in encoded)

    def __str__(self) -> str:
        return str(self.contract.shape)


def kinds(subject: Subject) -> Iterator[str]:
    """Every kind of shape that the subject's own has in it."""
    waiting = [subject.contract.shape]
    while waiting:
        shape = waiting.pop()
        yield shape.kind
        waiting += shape.args


PARIS = ZoneInfo("Europe/Paris")
FRAME = pd.DataFrame(
    {
        "i": np.arange(4),
        "f": [1.5, np.nan, np.inf, -0.0],
        "s": ["é", None, "b", ""],
        "c": pd.Categorical(list("abab")),
        "t": pd.date_range("2020", periods=4, tz="Europe/Paris"),
        "m": pd.array([1, None, 2, 3], dtype="Int64"),
        "b": pd.array([True, None, False, True], dtype="boolean"),
        "o": pd.Series([1, [2], "x", None], dtype=object),
        "p": pd.period_range("2020", periods=4, freq="M"),
        "v": pd.interval_range(0, 4),
        "d": pd.to_timedelta([1, 2, 3, 4], unit="s"),
    },
    index=pd.MultiIndex.from_product([[1, 2], ["a", "b"]], names=["n", None]),
)
ARROW = pa.table(
    {
        "i": pa.array([1, None, 3], pa.int32()),
        "s": pa.array(["é", None, ""]),
        "b": pa.array([True, None, False]),
        "l": pa.array([[1], None, [2, 3]]),
        "r": pa.array([{"x": 1}, None, {"x": 2}]),
        "d": pa.array(["a", None, "a"]).dictionary_encode(),
        "t": pa.array([1, None, 3], pa.timestamp("us", "Europe/Paris")),
        "n": pa.array([Decimal("1.5"), None, Decimal("-2")], pa.decimal128(5, 2)),
    }
)
POLARS = pl.DataFrame(
    {
        "a": [1, None, 3],
        "s": ["x", None, "é"],
        "l": [[1], [], None],
        "c": pl.Series(["u", None, "u"], dtype=pl.Categorical),
    }
)
LARGE = np.arange(4096, dtype=np.float64)
INDEXES = (
    pd.RangeIndex(0, 10, 3, name="r"),
    pd.Index([3, 1, 2]),
    pd.Index(["a", "b", None], dtype="str"),
    pd.date_range("2020", periods=3, freq="D"),
    pd.date_range("2020", periods=3, freq="MS", tz="UTC"),
    pd.CategoricalIndex(["a", "b", "a"]),
    FRAME.index,
)
ARRAYS = (
    np.arange(6).reshape(2, 3),
    np.array(1.5),
    np.zeros((0, 3), "<c16"),
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.array(["a", "é"]),
    np.array([b"x", b"yz"]),
    np.array([True, False]),
    np.array(["2020", "NaT"], "M8[D]"),
    np.array([1], "m8[ns]"),
)
ANYTHING: tuple[Any, ...] = (
    None,
    [1, "a", b"b", 2.5, True, None],
    {"a": [1, (2, {3}, frozenset({4}))], 5: {"x": deque([1], 3)}, (1, 2): slice(1, None, 2)},
    [
        2**100,
        1 + 2j,
        range(3),
        Decimal("1.5"),
        Decimal("sNaN"),
        Decimal("-Infinity"),
        Fraction(1, 3),
        UUID(int=5),
        Path("a"),
        re.compile("a+", re.I),
    ],
    [datetime(2020, 1, 1, tzinfo=PARIS), date(2020, 1, 1), time(1, 2, 3, 4), timedelta(1)],
    [IPv4Address("1.2.3.4"), IPv6Address("::1"), IPv4Network("10.0.0.0/8"), IPv6Interface("fe80::1%a/64")],
    [np.float32(1), np.int64(2), np.bool_(True), np.str_("x"), np.datetime64("2020"), np.arange(3)],
    [FRAME, FRAME["s"], FRAME.index, pd.Timestamp("2020", tz="Europe/Paris"), pd.Timedelta("1s"), pd.NA, pd.NaT],
    ["x" * 70_000, b"y" * 5000, LARGE],
)

SUBJECTS: tuple[Subject, ...] = (
    Subject(Any, ANYTHING),
    Subject(int, (0, -1, 2**63, 2**64 - 1, -(2**63), 2**4095)),
    Subject(float, (0.0, float("nan"), 1e308)),
    Subject(complex, (1 + 2j,)),
    Subject(bool, (True,)),
    Subject(None, (None,)),
    Subject(str, ("", "é\0", "x" * 70_000)),
    Subject(bytes, (b"", b"\xff" * 5000)),
    Subject(list[int], ([], [1, 2**70], list(range(300)))),
    Subject(list[list[int]], ([[1], [], [2, 3]],)),
    Subject(tuple[int, str, list[bytes]], ((1, "a", [b"b"]),)),
    Subject(list[tuple[int, date]], ([(number, date(2020, 1, 1)) for number in range(9)],)),
    Subject(set[Fraction], ({Fraction(1, 2), Fraction(-7)},)),
    Subject(frozenset[tuple[int, ...]], (frozenset({(1,), (2, 3)}),)),
    Subject(dict[str, list[float]], ({"a": [1.0], "b": []},)),
    Subject(dict[int | str, Decimal | None], ({1: None, "b": Decimal("1.50"), 2**80: Decimal("-1E-7")},)),
    Subject(deque[str], (deque(["a"], 2), deque())),
    Subject(slice, (slice(1, "x", None),)),
    Subject(range, (range(1, 10, 3), range(0, 2**70, 7))),
    Subject(datetime, (datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC))),
    Subject(
        list[datetime], ([datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=PARIS)], [datetime(2020, 1, 1, tzinfo=UTC)] * 9)
    ),
    Subject(date, (date(1, 1, 1),)),
    Subject(time, (time(1, 2, 3, 4, timezone(timedelta(hours=1), "one")),)),
    Subject(timedelta, (timedelta(days=-999999999),)),
    Subject(Decimal, (Decimal("1E+9999"), Decimal(10) ** 1233)),
    Subject(UUID, (UUID(int=7),)),
    Subject(Path | None, (Path("/a/b"), None)),
    Subject(list[PurePosixPath | PureWindowsPath], ([PurePosixPath("a"), PureWindowsPath("c:/x")],)),
    Subject(re.Pattern[str], (re.compile("a(b|c)*", re.S),)),
    Subject(
        list[IPv4Address | IPv6Address | IPv4Network | IPv6Network | IPv4Interface | IPv6Interface],
        ([IPv4Address(1), IPv6Address(2), IPv4Network(0), IPv6Network(0), IPv4Interface(3), IPv6Interface(4)],),
    ),
    Subject(Json, ({"a": [1, {"b": None}]},)),
    Subject(Literal["a", 1, None, True], ("a", 1, None, True)),
    Subject(Color, (Color.BLUE,)),
    Subject(Access, (Access.READ | Access.RUN, Access(0))),
    Subject(int | list[str] | Point, (1, ["a"], Point(1))),
    Subject(int | str | None, (1, "a", None, 2**90)),
    Subject(Annotated[int, Field(gt=3)], (4,)),
    Subject(Point, (Point(1), Point(2, 2.5, "x"))),
    Subject(list[Point], ([Point(number) for number in range(9)], [])),
    Subject(Tree, (Tree("a", [Tree("b"), Tree("c", [Tree("d", when=date(2020, 1, 1))])]),)),
    Subject(list[Ordered], ([Ordered(1, 2)] * 9,)),
    Subject(list[Line], ([Line(price=1, tags={"a"}), Line(price=2.5, amount=3)],)),
    Subject(Loose, (Loose.model_validate({"a": 1, "more": [1]}),)),
    Subject(Numbers, (Numbers([1, 2]),)),
    Subject(dict[str, Pair], ({"a": Pair(1), "b": Pair(2, "y")},)),
    Subject(list[Options], ([{"size": 1}, {"size": 2, "ratio": 0.5}],)),
    Subject(Cloud, (Cloud(np.arange(3)), Cloud(LARGE, pd.DataFrame({"a": [1]})))),
    Subject(np.ndarray, (*ARRAYS, LARGE)),
    Subject(npt.NDArray[np.float64], (LARGE, np.zeros((2, 0)))),
    Subject(np.float64, (np.float64(1.5),)),
    Subject(np.generic, (np.str_("é"), np.bytes_(b"x"), np.bool_(True), np.timedelta64(1, "h"), np.longdouble(1))),
    Subject(pd.DataFrame, (FRAME, pd.DataFrame(), pd.DataFrame({"a": LARGE, "b": LARGE}), FRAME.iloc[:0])),
    Subject(pd.Series, (FRAME["c"], FRAME["o"], pd.Series(LARGE, name=("a", 1)), FRAME["s"].astype("string[python]"))),
    Subject(pd.Index, INDEXES),
    Subject(pd.Timestamp, (pd.Timestamp("2020-01-01", tz="Europe/Paris"), pd.Timestamp(1))),
    Subject(list[pd.Timedelta], ([pd.Timedelta(5)],)),
    Subject(pa.Table, (ARROW, ARROW.slice(1, 1), ARROW.slice(0, 0))),
    Subject(pa.RecordBatch, (ARROW.to_batches()[0],)),
    Subject(pa.ChunkedArray, (pa.chunked_array([[1, 2], [3]]), pa.chunked_array([], pa.string()))),
    Subject(pa.Array, tuple(column.combine_chunks() for column in ARROW.columns)),
    Subject(pl.DataFrame, (POLARS, POLARS.head(0))),
    Subject(pl.Series, (POLARS["s"], POLARS["c"])),
    Subject(PIL.Image.Image, (PIL.Image.new("RGB", (3, 2), "red"), PIL.Image.new("1", (9, 2)))),
    Subject(go.Figure, (go.Figure([go.Scatter(x=[1, 2], y=np.arange(2.0), name="é")]), go.Figure())),
)
