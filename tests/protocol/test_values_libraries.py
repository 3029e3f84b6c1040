"""Tables, frames of polars, images and figures come back the same; what lies about itself is refused."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgpack
import numpy as np
import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image
from polars.testing import assert_frame_equal

from agex_protocol import polars_frames
from agex_protocol.decode import decode
from agex_protocol.encode import encode
from agex_protocol.errors import NotPortable, ValueRefused
from agex_protocol.libraries import KINDS
from agex_protocol.shapes import ANY, Shape

TABLE, BATCH, CHUNKED, ARRAY, FRAME, SERIES, IMAGE, FIGURE = map(Shape, KINDS)


def crossed(value: Any, shape: Shape = ANY) -> Any:
    head, buffers = encode(value, shape)
    return decode(head, [memoryview(bytes(buffer)) for buffer in buffers], shape)


def refused(wire: Any, shape: Shape) -> str:
    with pytest.raises(ValueRefused) as caught:
        decode(msgpack.packb(wire), [], shape)
    return str(caught.value).partition(": ")[2]


ARRAYS = [
    *(pa.array([1, None, 3]), pa.array([True, None] * 9), pa.array(["a", None, "é"]), pa.array([b"x", None])),
    *(pa.array(["a"], pa.large_string()), pa.array([b"ab", None], pa.binary(2)), pa.nulls(3)),
    *(pa.array([date(2020, 1, 1), None]), pa.array([86_400_000], pa.date64()), pa.array([1], pa.time32("s"))),
    *(pa.array([1, None], pa.time64("ns")), pa.array([1, None], pa.timestamp("ns", "Europe/Paris"))),
    *(pa.array([1], pa.duration("us")), pa.array([Decimal("1.50"), None]), pa.array([1], pa.decimal256(50, 2))),
    *(
        pa.array([[1, 2], None, []]),
        pa.array([[1]], pa.large_list(pa.int8())),
        pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
    ),
    *(pa.array([{"a": 1, "b": "x"}, None]), pa.array([[{"a": [1]}], None])),
    *(pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())), pa.array(["a", "b", None]).dictionary_encode()),
    *(pa.array([["a"], ["b"]], pa.list_(pa.dictionary(pa.int32(), pa.string()))), pa.array([], pa.string())),
    *(pa.array([], pa.list_(pa.int64())), pa.array([], pa.struct([("a", pa.int8())])), pa.array([np.float16(1)])),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.type} {len(array)}")
def test_an_array_of_arrow_and_every_slice_of_it_comes_back_the_same(array: Any) -> None:
    for part in (array, array.slice(1), array.slice(0, 1), array.slice(len(array))):
        for shape in (ARRAY, ANY):
            back = crossed(part, shape)
            assert (type(back), back.type, back.to_pylist()) == (type(part), part.type, part.to_pylist())
            assert back.offset == 0


def long_table() -> Any:
    rows = 3000
    texts = [f"é{row}" if row % 3 else None for row in range(rows)]
    return pa.table({"n": range(rows), "s": texts, "l": [[row] * (row % 3) for row in range(rows)]})


def test_tables_keep_names_nullability_and_chunks_and_lose_metadata() -> None:
    table = long_table()
    for each in (table, table.slice(777, 1001), pa.table({}), table.schema.empty_table()):
        assert crossed(each, TABLE).equals(each)
    chunked = pa.concat_tables([table, table.slice(3, 7)])
    assert [column.num_chunks for column in crossed(chunked, TABLE).columns] == [2, 2, 2]
    many = pa.chunked_array([[number] for number in range(50)])
    back = crossed(many, CHUNKED)
    assert (back.num_chunks, back.equals(many)) == (1, True)
    assert crossed(pa.chunked_array([], pa.int8()), CHUNKED).type == pa.int8()
    schema = pa.schema([pa.field("a", pa.int64(), nullable=False), pa.field("a", pa.string())], metadata={"k": "v"})
    twice = pa.Table.from_arrays([pa.array([1]), pa.array(["x"])], schema=schema)
    assert crossed(twice, TABLE).schema.equals(schema.remove_metadata(), check_metadata=True)
    batch = table.to_batches()[0]
    assert crossed(batch, BATCH).equals(batch)


def test_only_the_bytes_in_use_of_a_slice_cross() -> None:
    _, buffers = encode(pa.array(["x" * 10_000, "y", "z" * 10_000]).slice(1, 1), ARRAY)
    assert buffers == []


def deep(depth: int) -> Any:
    kind = pa.int8()
    for _ in range(depth):
        kind = pa.list_(kind)
    return pa.array([], kind)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (pa.array(["a"], pa.string_view()), "an array of string_view cannot cross; cast it to string"),
        (pa.array([b"0" * 16], pa.uuid()), "an array of extension<arrow.uuid> cannot cross; give its .storage"),
        (pa.table({"v": pa.array(["a"], pa.string_view())}), "an array of string_view cannot cross; cast it to string"),
        (
            pa.array([], pa.decimal128(5, 40)),
            "an array of decimal128(5, 40) cannot cross; cast it to a scale of at most 38",
        ),
        (deep(20), "a type nested deeper than 16"),
        (pl.Series([["a"]], dtype=pl.List(pl.Enum(["a"]))), "a column of List(Enum(categories=['a'])) cannot cross; "),
        (pl.Series([1], dtype=pl.Int128), "a column of Int128 cannot cross; cast it to a type that Arrow has"),
        (pl.Series([object()], dtype=pl.Object), "a column of Object cannot cross; cast it to a type that Arrow has"),
        (Image.new("L", (1, 5000)), "an image of 1 x 5000 is too narrow to cross; give it as an array"),
        (pa.scalar(1), "an Int64Scalar, which has no form on the wire unless it is declared; use .as_py()"),
        (pl.LazyFrame({"a": [1]}), "a LazyFrame, which has no form on the wire unless it is declared; use .collect()"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_cross_is_refused_with_the_reason(value: Any, reason: str) -> None:
    with pytest.raises(NotPortable) as caught:
        encode(value, ANY)
    assert str(caught.value).partition(": ")[2].startswith(reason)


COUNT = ["int64"]
LIES = [
    ([COUNT, [2, None, [b"\0" * 8], []]], "an array of int64 has buffers of other sizes"),
    ([COUNT, [1 << 60, None, [b""], []]], "not the length of an array"),
    ([COUNT, [1, b"", [b"\0" * 8], []]], "the validity of an array of int64 has another size"),
    ([["string"], [1, None, [b"\0" * 4 + b"\1\0\0\0", b""], []]], "an array of string has buffers of other sizes"),
    ([["string"], [1, None, [b"\0" * 4 + b"\xff" * 4, b""], []]], "an array of string has an offset below 0"),
    ([["string"], [0, None, [b"", b""], []]], "an array of string has no offsets"),
    ([["list", ["x", True, COUNT]], [1, None, [b"\0" * 4 + b"\1\0\0\0"], [[0, None, [b""], []]]]], "other lengths"),
    ([["struct", [["a", True, COUNT]]], [1, None, [], [[0, None, [b""], []]]]], "other lengths"),
    ([["struct", []], [1, None, [], [[0, None, [b""], []]]]], "other parts"),
    ([["fixed_size_binary", 0], [1 << 39, None, [b""], []]], "not an Arrow type that crosses"),
    ([["fixed_size_list", ["x", True, COUNT], 0], [1 << 39, None, [], [[0, None, [b""], []]]]], "not an Arrow type"),
    ([["timestamp", "s", "../x"], [0, None, [b""], []]], "not the key of a time zone"),
    ([["timestamp", "s", "No/Where"], [0, None, [b""], []]], "not the key of a time zone"),
    ([["decimal128", 5, 40], [0, None, [b""], []]], "not an Arrow type that crosses"),
    ([["extension"], [0, None, [b""], []]], "not an Arrow type that crosses"),
    ([["dictionary", ["int8"], COUNT, False], [1, None, [], [[1, None, [b"\5"], []], [0, None, [b""], []]]]], "bounds"),
    ([["string"], [2, None, [b"\0\0\0\0\2\0\0\0\1\0\0\0", b"a"], []]], "ArrowInvalid: "),
    ([["string"], [1, None, [b"\0" * 4 + b"\1\0\0\0", b"\xff"], []]], "ArrowInvalid: "),
    ([["date64"], [1, None, [b"\1" + b"\0" * 7], []]], "ArrowInvalid: "),
    ([["null"], [1 << 25, None, [], []]], "more than 16777216 items of nothing"),
    ([["struct", []], [1 << 25, None, [], []]], "more than 16777216 items of nothing"),
    ([["null"], [1, b"\0", [], []]], "the validity of an array of null has another size"),
]


@pytest.mark.parametrize(("wire", "reason"), LIES, ids=[reason[:40] for _, reason in LIES])
def test_an_array_of_arrow_that_lies_is_refused(wire: Any, reason: str) -> None:
    assert reason in refused(wire, ARRAY)


def test_a_table_that_lies_is_refused() -> None:
    one = [1, None, [b"\1" + b"\0" * 7], []]
    assert refused([2, [["a", True, COUNT, [one]]]], TABLE) == "a column of a table has another length"
    assert refused([2, []], TABLE) == "a table without columns has rows"
    assert refused([1, [["a", False, COUNT, [[1, b"\0", [b"\0" * 8], []]]]]], TABLE) == (
        "a column that has no missing values has some"
    )
    assert refused([2, [["a", True, COUNT, [one, one]]]], BATCH) == "a column of a record batch has another length"


def frame() -> pl.DataFrame:
    return pl.DataFrame(
        {
            **{"i": [1, None], "u": pl.Series([1, 2], dtype=pl.UInt8), "f": [float("nan"), None], "s": ["a", None]},
            **{"b": [b"x", None], "o": [True, None], "d": [date(2020, 1, 1), None], "n": [None, None]},
            "z": pl.Series([datetime(2020, 1, 1)] * 2).dt.replace_time_zone("Europe/Paris"),
            **{"l": [[1], None], "a": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)), "t": [{"p": 1}, None]},
            "m": pl.Series([Decimal("1.5"), None], dtype=pl.Decimal(10, 2)),
            "e": pl.Series(["a", None], dtype=pl.Enum(["b", "a"])),
            "c": pl.Series(["y", "x"], dtype=pl.Categorical),
        }
    )


def test_a_frame_of_polars_comes_back_with_every_type() -> None:
    whole = frame()
    for each in (whole, whole.slice(1), whole.head(0), pl.DataFrame(), pl.concat([whole, whole], rechunk=False)):
        for shape in (FRAME, ANY):
            back = crossed(each, shape)
            assert_frame_equal(back, each, check_exact=True)
            assert back.schema == each.schema
    for column in whole:
        assert crossed(column, SERIES).equals(column, check_dtypes=True, check_names=True)


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.decimal256(5, 1), pa.string(), pa.binary(2), pa.date64(), pa.map_(pa.string(), pa.int8())),
        *(pa.list_(pa.int8()), pa.large_list(pa.decimal256(5, 1)), pa.struct([("a", pa.decimal256(5, 1))])),
        pa.dictionary(pa.int8(), pa.timestamp("us", "+05:30")),
        pa.dictionary(pa.int32(), pa.dictionary(pa.int8(), pa.string())),
    ],
    ids=str,
)
def test_types_that_polars_never_writes_are_refused_and_not_left_to_its_panic(kind: Any) -> None:
    ((column, parts),) = [msgpack.unpackb(encode(pa.nulls(0, kind), ARRAY)[0])]
    assert refused(["a", column, parts, None], SERIES).startswith("polars has no ")
    assert refused([0, [["a", column, parts, None]]], FRAME).startswith("polars has no ")


def test_a_panic_of_polars_is_an_error_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polars_frames, "_WRITTEN", {"decimal256"})
    ((column, parts),) = [msgpack.unpackb(encode(pa.nulls(0, pa.decimal256(5, 1)), ARRAY)[0])]
    assert refused(["a", column, parts, None], SERIES) == "polars cannot hold it"


def test_a_frame_of_polars_that_lies_is_refused() -> None:
    part = ["a", ["large_string"], [1, None, [b"\0" * 8 + b"\1" + b"\0" * 7, b"q"], []]]
    text = "the columns of a DataFrame of polars do not fit each other"
    for height, columns in ((2, [[*part, None]]), (1, [[*part, None], [*part, None]]), (1, [])):
        assert refused([height, columns], FRAME) == text
    assert refused([*part, ["enum", ["x", "x"]]], SERIES) == "not the categories of an Enum"
    assert refused([*part, ["enum", ["x"]]], SERIES).startswith("InvalidOperationError: ")
    assert refused([*part, ["object"]], SERIES) == "not a type of polars"


MODES = "1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr LAB HSV I F I;16 I;16B".split()


@pytest.mark.parametrize("mode", MODES)
def test_an_image_of_any_mode_comes_back_pixel_by_pixel(mode: str) -> None:
    width, height, raw = 5, 3, "L" if mode == "1" else mode
    size = len(Image.new(mode, (width, height)).tobytes("raw", raw))
    pixels = random.Random(1).randbytes(size) if mode != "1" else b"\0\xff\xff" * 5
    image = Image.frombytes(mode, (width, height), pixels, "raw", "1;8" if mode == "1" else mode)
    if mode in ("P", "PA"):
        image.putpalette(bytes(range(256)) * 3)
    for shape in (IMAGE, ANY):
        back = crossed(image, shape)
        assert (type(back), back.mode, back.size, back.tobytes()) == (Image.Image, mode, image.size, image.tobytes())
        assert back.getpalette() == image.getpalette()


def test_an_image_from_a_file_becomes_one_in_memory_with_its_transparency() -> None:
    for made, clear in ((Image.linear_gradient("L").convert("P"), 3), (Image.new("RGB", (4, 4), (1, 2, 3)), (1, 2, 3))):
        file = io.BytesIO()
        made.save(file, "PNG", transparency=clear, dpi=(72, 72))
        opened = Image.open(file)
        back = crossed(opened, IMAGE)
        assert (type(back), back.info) == (Image.Image, {"transparency": clear})
        assert back.convert("RGBA").tobytes() == opened.convert("RGBA").tobytes()
    assert crossed(Image.new("L", (0, 0)), IMAGE).size == (0, 0)


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (["L", 1000, 1000, b"x", None, None], "an image of mode L and 1000 x 1000 has other than 1 bytes"),
        (
            ["L", 1 << 40, 0, b"", None, None],
            f"an image of {1 << 40} x 0 cannot cross; a side has at most 262144 pixels",
        ),
        (["L", 0, 200_000, b"", None, None], "an image of 0 x 200000 is too narrow to cross; give it as an array"),
        (["L", -1, 1, b"", None, None], "an image of -1 x 1 cannot cross; a side has at most 262144 pixels"),
        (["BGR;15", 1, 1, b"xx", None, None], "not an image"),
        (["P", 1, 1, b"x", None, None], "an image with a palette has none, or another one has"),
        (["L", 1, 1, b"x", ["RGB", b"abc"], None], "an image with a palette has none, or another one has"),
        (["P", 1, 1, b"x", ["RGB", b"abcd"], None], "not a palette"),
        (["L", 1, 1, b"x", None, "a"], "not the transparency of an image"),
        (["RGB", 1, 1, b"xxx", None, b"a"], "not the transparency of an image"),
        (["P", 1, 1, b"x", ["RGB", b"abc"], [1, 2, 3]], "not the transparency of an image"),
    ],
)
def test_an_image_that_lies_is_refused_before_it_takes_memory(wire: Any, reason: str) -> None:
    assert refused(wire, IMAGE) == reason


def figures() -> list[Any]:
    scatter = go.Scatter(x=pd.date_range("2020", periods=2), y=np.arange(2), text=pd.Series(["a", "b"]), name="é")
    table = go.Scatter(customdata=np.array([[1, "a"], [None, "b"]], dtype=object), x=[1, None])
    frames = [go.Frame(data=[go.Scatter(x=[1])], name="q")]
    whole = go.Figure(
        [scatter, table, go.Heatmap(z=np.ones((2, 2)))], {"title": "t", "shapes": [{"x0": date(2020, 1, 1)}]}, frames
    )
    rows = [str(row) for row in range(5000)]
    many = px.scatter(x=range(5000), y=range(5000), hover_name=rows, color=[row[-1] for row in rows])
    return [whole, go.Figure(), many, px.sunburst(px.data.tips(), path=["day", "time"], values="tip")]


@pytest.mark.parametrize("figure", figures(), ids=["mixed", "empty", "many", "sunburst"])
def test_a_figure_comes_back_equal_with_its_dtypes(figure: Any) -> None:
    for shape in (FIGURE, ANY):
        back = crossed(figure, shape)
        assert type(back) is go.Figure
        assert back == figure
        assert [type(trace.x) for trace in back.data if "x" in trace] == [
            type(trace.x) for trace in figure.data if "x" in trace
        ]


def tree(data: Any, layout: Any = None) -> Any:
    return encode([{"data": data, "layout": layout or {}, "frames": []}], Shape("list", (ANY,)))[0]


@pytest.mark.parametrize(
    ("data", "layout", "reason"),
    [
        ([{"type": "nonsense"}], None, "Invalid element(s) received for the 'data' property"),
        (
            [{"type": "scatter", "nope": 1}],
            None,
            "Invalid property specified for object of type plotly.graph_objs.Scatter",
        ),
        (
            [{"type": "scatter", "marker": {"color": ["red", "no color"]}}],
            None,
            "Invalid element(s) received for the 'color'",
        ),
        ([], {"nope": 5}, "Invalid property specified for object of type plotly.graph_objs.Layout"),
        ([{"type": "scatter", "x": {1, 2}}], None, "a set in a figure"),
        ([{"type": "scatter", 1: 2}], None, "a figure has a property without a name"),
        ([{"type": "scatter", "x": (1, 2)}], None, "not an array of a figure"),
        ([{"type": "scatter", "marker": {"line": {}}}] * 2000, None, "too many small items for its size; "),
    ],
)
def test_a_figure_that_plotly_would_not_make_or_that_costs_too_much_is_refused(
    data: Any, layout: Any, reason: str
) -> None:
    with pytest.raises(ValueRefused) as caught:
        decode(tree(data, layout), [], FIGURE)
    assert str(caught.value).partition(": ")[2].strip().startswith(reason)


HEADS: list[Callable[[], Any]] = [
    *(lambda: long_table().slice(0, 20), lambda: ARRAYS[19], lambda: ARRAYS[21], lambda: frame()),
    *(
        lambda: Image.linear_gradient("L").resize((5, 3)).convert("P"),
        lambda: figures()[0].update_layout(template=None),
    ),
]


@pytest.mark.filterwarnings("ignore")  # libraries warn of odd types
@pytest.mark.parametrize("make", HEADS, ids=["table", "map", "dictionary", "polars", "image", "figure"])
def test_a_damaged_head_is_a_value_or_refused(make: Callable[[], Any]) -> None:
    head, buffers = encode(make(), ANY)
    assert not buffers
    dice = random.Random(11)
    for _ in range(1000):
        damaged = bytearray(head)
        for _ in range(dice.choice((1, 1, 2, 4))):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        try:
            decode(bytes(damaged), [], ANY)
        except ValueRefused as error:
            assert len(str(error)) < 1000
