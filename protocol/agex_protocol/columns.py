"""The arrays that pandas holds, each as plain data and raw bytes: numpy's own, text, categories, masks, zones, periods.

The layout is ours, so that what is read is checked by a few vectorised comparisons here and by no parser in C. A dtype
comes back as it was; what has no form raises ValueError with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pandas as pd

from agex_protocol.arrays import Array, own, pack_column, unpack_column
from agex_protocol.leaves import pack_zone, unpack_zone
from agex_protocol.parts import Reader, Writer


def pack_values(values: Any, writer: Writer) -> list[Any]:
    """[kind, ...] of a pandas or numpy array with one dimension."""
    packed = _packed(values, writer)
    writer.charge(_WORK[packed[0]])
    return packed


def _packed(values: Any, writer: Writer) -> list[Any]:
    if type(values) is pd.arrays.NumpyExtensionArray:
        values = values.to_numpy()
    dtype = values.dtype
    if isinstance(dtype, pd.StringDtype):
        return _pack_text(values, dtype, writer)
    if isinstance(dtype, pd.CategoricalDtype):
        from agex_protocol import indexes  # which knows this module

        check_unique_cheaply(dtype.categories, writer)
        codes = pack_column(np.asarray(values.codes), writer.put)
        return ["categorical", codes, indexes.pack_index(dtype.categories, writer), bool(dtype.ordered)]
    if isinstance(dtype, pd.DatetimeTZDtype):
        instants = np.asarray(values.tz_convert("UTC").tz_localize(None))
        return ["zoned", pack_column(instants, writer.put), pack_zone(dtype.tz)]
    if isinstance(dtype, pd.PeriodDtype):
        return ["period", pack_column(np.asarray(values.asi8), writer.put), dtype.name[len("period[") : -1]]
    if isinstance(dtype, pd.IntervalDtype):
        return [
            "interval",
            pack_values(values.left.array, writer),
            pack_values(values.right.array, writer),
            values.closed,
        ]
    if str(dtype) in _MASKED:
        plain = values.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
        mask = np.asarray(values.isna())
        return ["masked", str(dtype), pack_column(plain, writer.put), pack_column(mask, writer.put)]
    if isinstance(dtype, pd.ArrowDtype):
        from agex_protocol import arrow

        return ["arrow", arrow.pack(values.__arrow_array__(), writer)]
    if not isinstance(dtype, np.dtype):
        raise ValueError(
            f"dtype {dtype} cannot cross; convert it with .astype(...) to a dtype of numpy's or pandas' own"
        )
    plain = np.asarray(values)
    if dtype.kind == "O":
        return ["object", writer.put_any(plain.tolist())]
    return ["numpy", *pack_column(plain, writer.put)]


def unpack_values(wire: object, reader: Reader) -> Any:
    """The array again, writeable, with memory of its own. ValueError for anything that is not exactly one."""
    match wire:
        case [str(kind), *parts] if kind in _UNPACKERS:
            reader.charge(_WORK[kind])
            return _UNPACKERS[kind](parts, reader)
        case _:
            raise ValueError("not a column")


def check_unique_cheaply(labels: pd.Index[Any], account: Writer | Reader) -> None:
    """Refuse labels whose uniqueness would be slow to prove, and charge for the rest: pandas and Arrow hash without salt.

    Labels that rise, without two alike, prove it by themselves; pandas remembers that it looked.
    """
    if isinstance(labels, pd.RangeIndex):
        # It takes no bytes, and all the memory in the world once it is looked at.
        if len(labels) > _MAX_RANGE:
            raise ValueError(f"more than {_MAX_RANGE} categories or levels")
        return
    if len(labels) <= _MAX_UNSORTED:
        if labels.dtype != object or set(map(type, labels)) != {str}:  # whose hashes are salted
            account.charge(len(labels) ** 2 // _PAIRS_PER_WORK[labels.dtype == object])
        return
    if not labels.is_monotonic_increasing or np.asarray(labels[1:] == labels[:-1]).any():
        raise ValueError(
            f"more than {_MAX_UNSORTED} categories or levels that are not sorted and unique; sort them, or give plain columns"
        )


def _pack_text(values: Any, dtype: pd.StringDtype, writer: Writer) -> list[Any]:
    mask = np.asarray(values.isna())
    if dtype.storage == "pyarrow":
        starts, data = _arrow_text(values)
    else:
        texts = ["" if missing else str(text).encode() for text, missing in zip(values, mask, strict=True)]
        encoded = cast(list[bytes], [text or b"" for text in texts])
        starts = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum([len(text) for text in encoded], out=starts[1:])
        data = memoryview(b"".join(encoded))
    masked = pack_column(mask, writer.put) if mask.any() else None
    missing = "nan" if dtype.na_value is not pd.NA else "NA"
    return ["text", dtype.storage, missing, writer.put(starts.view(np.uint8).data), writer.put(data), masked]


def _arrow_text(values: Any) -> tuple[Array, memoryview]:
    """Where each text starts (and the last one ends), and the bytes of all of them, out of Arrow's own buffers."""
    import pyarrow

    whole = values.__arrow_array__()
    if isinstance(whole, pyarrow.ChunkedArray):
        # To combine copies, also where there is nothing to combine.
        whole = whole.chunk(0) if whole.num_chunks == 1 else whole.combine_chunks()
    whole = whole.cast(pyarrow.large_string())
    if not len(whole):
        return np.zeros(1, np.int64), memoryview(b"")
    _, offsets, data = whole.buffers()
    starts = np.frombuffer(offsets, np.int64, len(whole) + 1, whole.offset * 8)
    first, last = int(starts[0]), int(starts[-1])
    texts = memoryview(b"") if data is None else memoryview(data)[first:last]
    return starts - first if first else starts, texts


def _unpack_text(parts: list[Any], reader: Reader) -> Any:
    match parts:
        case ["python" | "pyarrow" as storage, "nan" | "NA" as missing, offsets, blob, masked]:
            edges, data = reader.get(offsets), reader.get(blob)
        case _:
            raise ValueError("not a column of text")
    if len(edges) < 8 or len(edges) % 8:
        raise ValueError("a column of text has no whole number of offsets")
    starts = own(np.frombuffer(edges, np.int64))
    mask = None if masked is None else unpack_column(masked, reader.get, "b")
    _check_text(starts, data, mask)
    dtype = pd.StringDtype(storage, na_value=np.nan if missing == "nan" else pd.NA)
    if storage == "pyarrow":
        return _to_arrow(starts, data, mask, dtype)
    edge = starts.tolist()
    texts = [str(data[start:end], "utf-8") for start, end in zip(edge, edge[1:], strict=False)]
    array = np.fromiter(texts, object, len(texts))
    if mask is not None:
        array[mask] = dtype.na_value
    return pd.array(array, dtype=dtype)


def _check_text(starts: Array, data: memoryview, mask: Array | None) -> None:
    if starts[0] != 0 or starts[-1] != len(data) or (starts[1:] < starts[:-1]).any():
        raise ValueError("the offsets of a column of text do not rise from 0 to its length")
    if mask is not None and len(mask) != len(starts) - 1:
        raise ValueError("the mask of a column of text has another length")
    letters = np.frombuffer(data, np.uint8)
    if len(letters) and letters.max() > 0x7F:
        str(data, "utf-8")
        inner = starts[starts < len(data)]
        if (letters[inner] & 0xC0 == 0x80).any():
            raise ValueError("an offset of a column of text lies inside a character")


def _to_arrow(starts: Array, data: memoryview, mask: Array | None, dtype: pd.StringDtype) -> Any:
    import pyarrow

    data = memoryview(bytes(data)) if data.readonly else data
    valid = None if mask is None else pyarrow.py_buffer(np.packbits(~mask, bitorder="little").tobytes())
    buffers = [valid, pyarrow.py_buffer(starts), pyarrow.py_buffer(data)]
    whole = pyarrow.Array.from_buffers(pyarrow.large_string(), len(starts) - 1, buffers)
    return cast(Any, dtype).__from_arrow__(whole)


def _unpack_numpy(parts: list[Any], reader: Reader) -> Any:
    return unpack_column(parts, reader.get)


def _unpack_object(parts: list[Any], reader: Reader) -> Any:
    (items,) = parts
    values = reader.get_any(items)
    return np.fromiter(values, object, len(values))


def _unpack_categorical(parts: list[Any], reader: Reader) -> Any:
    from agex_protocol import indexes  # which knows this module

    codes, categories, ordered = parts
    labels = indexes.unpack_index(categories, reader)
    if isinstance(labels, pd.MultiIndex):
        raise ValueError("categories are no MultiIndex")
    check_unique_cheaply(labels, reader)
    dtype = pd.CategoricalDtype(labels, ordered=ordered is True)
    return pd.Categorical.from_codes(cast(Any, unpack_column(codes, reader.get, "i")), dtype=dtype)


def _unpack_zoned(parts: list[Any], reader: Reader) -> Any:
    instants, zone = parts
    moments: Any = pd.DatetimeIndex(unpack_column(instants, reader.get, "M"))
    # An index guards its array against changes.
    return moments.tz_localize("UTC").tz_convert(unpack_zone(zone)).array.copy()


def _unpack_period(parts: list[Any], reader: Reader) -> Any:
    ordinals, freq = parts
    numbers = unpack_column(ordinals, reader.get, "i")
    # pandas keeps every period dtype for ever, so there must not be many.
    if type(freq) is not str or not _PERIOD_FREQ.fullmatch(freq) or numbers.dtype != np.int64:
        raise ValueError("not a column of periods")
    return pd.arrays.PeriodArray(cast(Any, numbers), dtype=cast(Any, pd.PeriodDtype(freq)))


def _unpack_interval(parts: list[Any], reader: Reader) -> Any:
    left, right, closed = parts
    if closed not in ("left", "right", "both", "neither"):
        raise ValueError("not a column of intervals")
    return pd.arrays.IntervalArray.from_arrays(unpack_values(left, reader), unpack_values(right, reader), closed=closed)


def _unpack_arrow(parts: list[Any], reader: Reader) -> Any:
    from agex_protocol import arrow

    (chunks,) = parts
    return cast(Any, pd.arrays).ArrowExtensionArray(arrow.unpack_chunked(chunks, reader))


def _unpack_masked(parts: list[Any], reader: Reader) -> Any:
    name, plain, mask = parts
    if type(name) is not str or name not in _MASKED:
        raise ValueError("not a column with missing values")
    values, missing = unpack_column(plain, reader.get, "biuf"), unpack_column(mask, reader.get, "b")
    if values.dtype.name != name.lower().replace("boolean", "bool") or len(values) != len(missing):
        raise ValueError("a column's mask or dtype does not fit its values")
    return _MASKED[name](values, missing)


_MAX_UNSORTED = 2000
# Of labels that all meet in one place of its table each is compared with all others: numbers, and objects.
_PAIRS_PER_WORK = (1000, 110)
_MAX_RANGE = 1 << 24
_PERIOD_FREQ = re.compile("[0-9]{0,2}[A-Za-z]{1,3}(-[A-Z]{3})?")
_NUMBERS = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
_MASKED: dict[str, Callable[[Any, Any], Any]] = {
    **dict.fromkeys(_NUMBERS, pd.arrays.IntegerArray),
    "Float32": cast(Any, pd.arrays).FloatingArray,
    "Float64": cast(Any, pd.arrays).FloatingArray,
    "boolean": pd.arrays.BooleanArray,
}
_WORK = {
    **{"numpy": 6, "object": 45, "text": 60, "categorical": 195},
    **{"zoned": 85, "period": 60, "interval": 140, "masked": 45, "arrow": 60},
}
_UNPACKERS: dict[str, Callable[[list[Any], Reader], Any]] = {
    "numpy": _unpack_numpy,
    "object": _unpack_object,
    "text": _unpack_text,
    "categorical": _unpack_categorical,
    "zoned": _unpack_zoned,
    "period": _unpack_period,
    "interval": _unpack_interval,
    "masked": _unpack_masked,
    "arrow": _unpack_arrow,
}
