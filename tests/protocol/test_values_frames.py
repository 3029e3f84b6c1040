"""Arrays, frames, series and indexes come back with dtype, order, labels and memory of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from agex_protocol import blocks
from agex_protocol.decode import decode
from agex_protocol.encode import encode
from agex_protocol.errors import NotPortable
from agex_protocol.shapes import ANY, Shape

FRAME, SERIES, INDEX, ARRAY = (Shape(kind) for kind in ("frame", "series", "index", "ndarray"))
ROWS = 1200  # beyond what lies in the head


def crossed(value: Any, shape: Shape) -> Any:
    head, buffers = encode(value, shape)
    return decode(head, [memoryview(bytes(buffer)) for buffer in buffers], shape)


ARRAYS = [
    *(np.array(5), np.array([]), np.zeros((0, 3)), np.zeros((2, 0, 4), order="F"), np.array([True, False])),
    *(
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6000.0).reshape(2, 3000)),
        np.arange(24).reshape(2, 3, 4).T,
    ),
    *(np.arange(10)[::2], np.arange(12).reshape(3, 4)[:, 1:3], np.arange(3, dtype=">i4"), np.arange(3, dtype="f2")),
    *(np.array([1j]), np.array(["a", "éé", ""]), np.array([b"x", b""]), np.arange(3).astype(np.longdouble)),
    *(np.array(["2020-01-01", "NaT"], "M8[D]"), np.array([1, 2], "m8[ns]"), np.array([np.nan, -0.0, np.inf])),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_an_array_comes_back_the_same_writeable_and_in_its_order(array: Any) -> None:
    for shape in (ARRAY, ANY):
        back = crossed(array, shape)
        assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
        assert back.flags.writeable and back.flags.owndata
        if array.flags.f_contiguous and not array.flags.c_contiguous:
            assert back.flags.f_contiguous


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.array([object()]), "dtype object cannot cross"),
        (np.zeros(2, [("a", int)]), "give a structured array as a DataFrame or as one array a field"),
        (np.ma.masked_array([1]), "a subclass of ndarray (MaskedArray) would lose its type; use .filled(...)"),
    ],
)
def test_an_array_that_cannot_cross_is_refused_with_the_reason(array: Any, reason: str) -> None:
    with pytest.raises(NotPortable) as caught:
        encode({"x": array}, ANY)
    assert str(caught.value).startswith("result['x']: ")
    assert reason in str(caught.value)


def mixed() -> pd.DataFrame:
    half, quarter = ROWS // 2, ROWS // 4
    frame = pd.DataFrame(
        {
            "int": np.arange(ROWS),
            "float": np.linspace(0, 1, ROWS),
            "bool": [True, False] * half,
            "text": [f"é{i}" if i % 7 else None for i in range(ROWS)],
            "python text": pd.array(["a", None] * half, dtype=pd.StringDtype("python")),
            "arrow text": pd.array(["a", None] * half, dtype=pd.StringDtype("pyarrow")),
            "category": pd.Categorical(["q", None] * half, categories=["r", "q"], ordered=True),
            "zoned": pd.date_range("2020", periods=ROWS, tz="Europe/Paris"),
            "naive": pd.date_range("2020", periods=ROWS, unit="s"),
            "span": pd.to_timedelta(np.arange(ROWS), unit="s"),
            "Int64": pd.array([1, None] * half, dtype="Int64"),
            "UInt8": pd.array([1, None] * half, dtype="UInt8"),
            "boolean": pd.array([True, None] * half, dtype="boolean"),
            "Float64": pd.array([1.5, None] * half, dtype="Float64"),
            "period": pd.period_range("2020", periods=ROWS, freq="M"),
            "interval": pd.interval_range(0, ROWS, closed="both"),
            "complex": np.arange(ROWS) * 1j,
        }
    )
    frame["object"] = pd.Series([1, "a", None, [1, {"k": pd.NA}]] * quarter, dtype=object)
    frame["object text"] = pd.Series(["a", "b"] * half, dtype=object)
    return frame


FRAMES = {
    "mixed": mixed(),
    "slice": mixed().iloc[3:7],
    "no rows": mixed().head(0),
    "nothing": pd.DataFrame(),
    "only an index": pd.DataFrame(index=["a", "b"]),
    "only columns": pd.DataFrame(columns=["a", "b"]),
    "MultiIndex rows": mixed().set_index(["int", "category", "zoned"]),
    "MultiIndex columns": pd.DataFrame(
        np.ones((2, 2)), columns=pd.MultiIndex.from_product([["a"], [1, 2]], names=["x", None])
    ),
    "int columns": pd.DataFrame(np.ones((2, 3)), columns=[3, 1, 2]),
    "mixed columns": pd.DataFrame(np.ones((2, 3)), columns=["a", 1, None]),
    "duplicate columns": mixed()[["int", "text", "int"]],
    "wide": pd.DataFrame(np.ones((3, 200))),
    "a date index": mixed().set_index("naive"),
    "a grouping": mixed().groupby("category", observed=False)[["int", "Float64"]].agg(["mean", "sum"]),
    "blocks": pd.DataFrame(np.arange(6 * ROWS, dtype=float).reshape(ROWS, 6)).assign(n=1, m=2.5, s="x").copy(),
    "blocks in another order": pd.DataFrame(np.arange(6 * ROWS).reshape(ROWS, 6)).iloc[::2, ::-1],
    "dates in a block": pd.DataFrame(
        {"a": pd.date_range("2020", periods=3), "b": pd.date_range("2021", periods=3)}
    ).copy(),
    "dtypes of pyarrow": mixed()[["int", "text", "boolean"]].convert_dtypes(dtype_backend="pyarrow"),
    "described": mixed()[["int", "float", "Int64", "naive"]].describe(),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_comes_back_the_same(name: str) -> None:
    frame = FRAMES[name]
    for shape in (FRAME, ANY):
        back = crossed(frame, shape)
        pd.testing.assert_frame_equal(back, frame, check_freq=True, check_column_type=True)
        assert [str(dtype) for dtype in back.dtypes] == [str(dtype) for dtype in frame.dtypes]


def test_every_column_of_a_frame_that_came_back_can_be_changed() -> None:
    back = crossed(mixed(), FRAME)
    for place in range(back.shape[1]):
        back.iloc[0, place] = back.iloc[2, place]


@pytest.mark.parametrize("column", list(mixed().columns))
def test_a_series_comes_back_the_same_and_can_be_changed(column: str) -> None:
    series = mixed()[column].rename(("a", 1))
    back = crossed(series, SERIES)
    pd.testing.assert_series_equal(back, series)
    assert repr(back.dtype) == repr(series.dtype)
    back.iloc[0] = back.iloc[2]


INDEXES = [
    *(pd.RangeIndex(1, 9, 2, name="r"), pd.Index([3, 1]), pd.Index([1.5]), pd.Index(["a", None]), pd.Index(["a", 1])),
    *(pd.Index(["a"], dtype=object), pd.CategoricalIndex(["b", "a"]), pd.Index([], dtype="int64"), pd.Index([True])),
    *(pd.date_range("2020", periods=5, freq="B"), pd.date_range("2020", periods=5, freq="6h", tz="UTC")),
    *(pd.timedelta_range("1s", periods=3), pd.period_range("2020Q1", periods=3), pd.interval_range(0, 3)),
    pd.MultiIndex.from_product([[1, 2], ["a", "b"], pd.date_range("2020", periods=2)], names=["p", None, "q"]),
]


@pytest.mark.parametrize("index", INDEXES, ids=lambda index: f"{type(index).__name__} {index.dtype}")
def test_an_index_comes_back_the_same_with_its_frequency(index: Any) -> None:
    back = crossed(index, INDEX)
    pd.testing.assert_index_equal(back, index, exact=True)
    assert getattr(back, "freq", None) == getattr(index, "freq", None)


def test_plain_attrs_are_kept() -> None:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs = {"unit": "m", "scale": [1, 2]}
    assert crossed(frame, FRAME).attrs == frame.attrs
    series = frame["a"]
    assert crossed(series, SERIES).attrs == series.attrs


def held(frame: pd.DataFrame) -> list[tuple[Any, list[int]]]:
    manager: Any = frame._mgr
    return [(block.dtype, block.mgr_locs.as_array.tolist()) for block in manager.blocks]


def test_columns_that_pandas_holds_as_one_array_cross_as_one_buffer_and_are_held_so_again() -> None:
    wide = pd.DataFrame(np.random.default_rng(1).random((ROWS, 300)))
    head, buffers = encode(wide, FRAME)
    assert [len(buffer) for buffer in buffers] == [ROWS * 300 * 8]
    for frame in (wide, FRAMES["blocks"], FRAMES["dates in a block"]):
        back = crossed(frame, FRAME)
        assert held(back) == held(frame)
        back.iloc[0, 0] = back.iloc[1, 0]
        assert back.iloc[0, 0] == frame.iloc[1, 0]


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_comes_back_the_same_from_a_pandas_that_cannot_put_blocks_together(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "_FROM_BLOCKS", None)
    pd.testing.assert_frame_equal(crossed(FRAMES[name], FRAME), FRAMES[name], check_freq=True, check_column_type=True)


def test_labels_that_must_be_unique_must_be_so_on_the_other_side() -> None:
    frame = pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False)
    assert crossed(frame, FRAME).flags.allows_duplicate_labels is False
    assert crossed(frame["a"], SERIES).flags.allows_duplicate_labels is False
    assert crossed(pd.DataFrame({"a": [1]}), FRAME).flags.allows_duplicate_labels is True


def test_categories_keep_their_kind_name_and_frequency() -> None:
    days = pd.date_range("2020", periods=3, freq="D", name="day")
    for labels in (days, pd.RangeIndex(3, name="n"), pd.Index(["b", "a"])):
        column = pd.Series(pd.Categorical([labels[0], None], categories=labels))
        back = crossed(column, SERIES)
        pd.testing.assert_series_equal(back, column)
        pd.testing.assert_index_equal(back.cat.categories, labels, exact=True)
        assert getattr(back.cat.categories, "freq", None) == getattr(labels, "freq", None)


@pytest.mark.parametrize(
    "freq",
    [pd.DateOffset(days=2), pd.offsets.CustomBusinessDay(holidays=["2020-01-02"]), pd.offsets.MonthEnd(normalize=True)],
)
def test_a_frequency_that_text_does_not_say_is_refused_before_it_crosses(freq: Any) -> None:
    index = pd.date_range("2020", periods=3, freq=freq)
    with pytest.raises(NotPortable) as caught:
        encode(index, INDEX)
    assert str(caught.value) == f"result: the frequency {freq!r} of an index cannot cross; drop it with .freq = None"


class Child(pd.DataFrame):
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            pd.DataFrame({"a": [1], "b": [object()]}),
            "result['b'][0]: an object, which has no form on the wire unless it is declared",
        ),
        (pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), "result['a']: dtype Sparse[int64, 0] cannot cross; "),
        (Child({"a": [1]}), "result: a Child, wanted DataFrame; a subclass would lose its type"),
        ([1], "result: a list, wanted DataFrame"),
    ],
    ids=["object", "sparse", "subclass", "list"],
)
def test_a_frame_that_cannot_cross_is_refused_with_the_column_and_the_reason(value: Any, message: str) -> None:
    with pytest.raises(NotPortable) as caught:
        encode(value, FRAME)
    assert str(caught.value).startswith(message)
