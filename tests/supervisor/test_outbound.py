"""What goes to a worker: whole values, large ones beside the pickle, and a clear word about what cannot go."""

from __future__ import annotations

import ipaddress
import pickle
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agex_supervisor.outbound import NotSendable, dump, dump_bindings


def test_large_data_travels_beside_the_pickle() -> None:
    array = np.arange(100_000.0)
    head, buffers = dump({"a": array, "f": np.asfortranarray(np.ones((300, 300)))})
    assert len(head) < 2000
    assert sorted(len(buffer) for buffer in buffers) == [720_000, 800_000]
    back = pickle.loads(head, buffers=buffers)
    assert (back["a"] == array).all()


def test_a_frame_arrives_as_it_was() -> None:
    frame = pd.DataFrame({"a": np.arange(5000), "s": ["x"] * 5000})
    head, buffers = dump(frame)
    pd.testing.assert_frame_equal(pickle.loads(head, buffers=buffers), frame)


ARROW = {
    "str": ["a", None, "a text of its own"],
    "string[pyarrow]": ["a", None, "a text of its own"],
    "large_string[pyarrow]": ["a", None, "a text of its own"],
    "int32[pyarrow]": [1, None, 3],
    "bool[pyarrow]": [True, None, False],
    "timestamp[us, tz=UTC][pyarrow]": [pd.Timestamp("2024-02-03", tz="UTC"), None, pd.Timestamp(0, tz="UTC")],
}


@pytest.mark.parametrize("dtype", ARROW)
def test_columns_of_arrow_arrive_as_they_were_whole_in_part_and_in_pieces(dtype: str) -> None:
    whole = pd.Series(ARROW[dtype], dtype=dtype)
    for column in (whole, whole[:0], whole[1:], whole[:2], pd.concat([whole, whole])):
        head, buffers = dump(column)
        back = pickle.loads(head, buffers=buffers)
        pd.testing.assert_series_equal(back, column)
        assert (type(back.array), back.dtype) == (type(column.array), column.dtype)


def test_a_whole_column_of_text_is_not_copied_to_be_sent() -> None:
    column = pd.Series([f"text {number}" for number in range(10_000)])
    (chunk,) = column.array.__arrow_array__().chunks  # type: ignore[attr-defined]
    lie = {np.frombuffer(buffer, np.uint8).ctypes.data for buffer in dump(column)[1]}
    assert {buffer.address for buffer in chunk.buffers() if buffer is not None} <= lie


@pytest.mark.parametrize("part", [slice(0, 9), slice(1, 10), slice(0, 1)])
def test_a_part_of_a_column_takes_nothing_of_the_rest_along(part: slice) -> None:
    texts = pd.Series([f"secret {number}" for number in range(10)])
    numbers = pd.Series(range(10), dtype="int64[pyarrow]")
    for column in (texts, numbers):
        head, buffers = dump(column[part])
        sent = b"".join([head, *buffers])
        left = set(range(10)) - set(range(10)[part])
        assert left and all(f"secret {number}".encode() not in sent for number in left)
        fresh, fresh_buffers = dump(pd.Series(column[part].to_list(), dtype=column.dtype, index=column[part].index))
        assert [len(buffer) for buffer in buffers] == [len(buffer) for buffer in fresh_buffers]


def test_an_importable_class_goes_by_name() -> None:
    assert pickle.loads(dump_bindings({"Path": Path})) == {"Path": Path}
    assert len(dump_bindings({"DataFrame": pd.DataFrame})) < 200


def test_a_file_a_generator_and_a_lock_are_refused_by_name_with_the_remedy(tmp_path: Path) -> None:
    with (tmp_path / "f").open("w") as file, pytest.raises(NotSendable) as caught:
        dump({"ok": 1, "log": file})
    assert str(caught.value).startswith("'log' (TextIOWrapper) cannot be sent to a worker: ")
    assert str(caught.value).endswith("Read the file and pass its content, or write it into the workspace.")
    with pytest.raises(NotSendable, match=r"^'rows' \(generator\) .* Pass list\(\.\.\.\) of it\.$"):
        dump({"rows": (row for row in [1])})
    with pytest.raises(NotSendable, match=r"^a value of type lock cannot be sent to a worker: "):
        dump(threading.Lock())


def test_dates_travel_beside_the_pickle_like_numbers() -> None:
    frame = pd.DataFrame(
        {"t": pd.date_range("2020", periods=50_000, freq="s"), "d": pd.to_timedelta(range(50_000), "s")}
    )
    head, buffers = dump(frame)
    assert len(head) < 2000
    back = pickle.loads(head, buffers=[bytearray(buffer) for buffer in buffers])
    pd.testing.assert_frame_equal(back, frame)
    back.loc[0, "t"] = pd.Timestamp("2000")
    array = np.array([["2020-01-01", "NaT"]], "M8[D]")
    head, buffers = dump(np.asfortranarray(array))
    assert pickle.loads(head, buffers=buffers).tobytes() == array.tobytes()


@pytest.mark.parametrize("kind", [ipaddress.IPv6Address, ipaddress.IPv6Interface])
def test_an_address_keeps_its_scope(kind: type[ipaddress.IPv6Address]) -> None:
    address = kind("fe80::1%eth0")
    back = pickle.loads(dump([address])[0])[0]
    assert (type(back), back, back.scope_id) == (kind, address, "eth0")
