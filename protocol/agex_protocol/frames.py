"""DataFrame, Series, Index and pandas' own scalars, in the layout of `columns.py`. Imported only where one is at hand.

Frames are taken apart by position, so duplicate column names cross like any others.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd

from agex_protocol.arrays import pack_scalar, unpack_column, unpack_scalar
from agex_protocol.columns import MAX_FREQ, Reader, Writer, check_unique_cheaply, pack_values, unpack_values
from agex_protocol.leaves import pack_zone, unpack_zone
from agex_protocol.misfit import Misfit


def kind_of(value: object) -> str | None:
    """Which kind of shape a pandas object is, or None if it has none."""
    if value is pd.NA or value is pd.NaT:
        return "missing"
    if isinstance(value, pd.Index):
        return "index"
    return _KINDS.get(type(value))


def pack_pandas(value: Any, writer: Writer) -> Any:
    """Any value that `kind_of` knows."""
    match kind_of(value):
        case "frame":
            writer.charge(_COLUMN_WORK * value.shape[1])
            columns = [_pack_column(value.iloc[:, place], writer) for place in range(value.shape[1])]
            return [
                _pack_index(value.index, writer),
                _pack_index(value.columns, writer),
                columns,
                _attrs(value, writer),
            ]
        case "series":
            name = writer.put_any([value.name])
            return [_pack_index(value.index, writer), _pack_column(value, writer), name, _attrs(value, writer)]
        case "index":
            return _pack_index(value, writer)
        case "timestamp":
            naive = value if value.tz is None else value.tz_convert("UTC").tz_localize(None)
            return [pack_scalar(naive.to_datetime64()), pack_zone(value.tz)]
        case "duration":
            return pack_scalar(value.to_timedelta64())
        case _:
            return "NA" if value is pd.NA else "NaT"


def unpack_frame(wire: object, reader: Reader) -> pd.DataFrame:
    """A DataFrame that owns its data."""
    match wire:
        case [index, labels, list(parts), attrs]:
            rows, names = _unpack_index(index, reader), _unpack_index(labels, reader)
        case _:
            raise ValueError("not a DataFrame")
    reader.charge(_COLUMN_WORK * len(parts))
    arrays = [unpack_values(column, reader) for column in parts]
    if len(arrays) != len(names) or any(len(array) != len(rows) for array in arrays):
        raise ValueError("the columns of a DataFrame do not fit its index or their names")
    # Many columns are better off as one block (pandas copies then); few are taken as they are.
    columns = {place: _kept(array, rows) for place, array in enumerate(arrays)}
    frame = pd.DataFrame(columns, index=rows, copy=len(arrays) > _FEW_COLUMNS)
    frame.columns = names
    _set_attrs(frame, attrs, reader)
    return frame


def unpack_series(wire: object, reader: Reader) -> pd.Series[Any]:
    """A Series that owns its data."""
    match wire:
        case [index, column, name, attrs]:
            rows, values = _unpack_index(index, reader), unpack_values(column, reader)
        case _:
            raise ValueError("not a Series")
    if len(rows) != len(values):
        raise ValueError("the values of a Series do not fit its index")
    (label,) = reader.get_any(name)
    series: pd.Series[Any] = pd.Series(values, dtype=values.dtype, index=rows, name=label, copy=False)
    _set_attrs(series, attrs, reader)
    return series


def unpack_index(wire: object, reader: Reader) -> pd.Index[Any]:
    """An Index of whatever class its contents ask for."""
    return _unpack_index(wire, reader)


def unpack_timestamp(wire: object, reader: Reader) -> pd.Timestamp:
    """A Timestamp in its own unit and zone."""
    match wire:
        case [[str(code), bytes()] as instant, zone] if code[1:2] == "M":
            naive = pd.Timestamp(cast(Any, unpack_scalar(instant)))
            moment = naive if zone is None else naive.tz_localize("UTC").tz_convert(unpack_zone(zone))
        case _:
            raise ValueError("not a Timestamp")
    return moment


def unpack_duration(wire: object, reader: Reader) -> pd.Timedelta:
    """A Timedelta in its own unit."""
    match wire:
        case [str(code), bytes()] if code[1:2] == "m":
            return pd.Timedelta(cast(Any, unpack_scalar(wire)))
        case _:
            raise ValueError("not a Timedelta")


def unpack_missing(wire: object, reader: Reader) -> Any:
    """pandas.NA or pandas.NaT."""
    match wire:
        case "NA":
            return pd.NA
        case "NaT":
            return pd.NaT
        case _:
            raise ValueError("not a missing value")


def _pack_column(series: pd.Series[Any], writer: Writer) -> list[Any]:
    try:
        return pack_values(series.array, writer)
    except ValueError as error:
        raise Misfit.of(error).below(f"[{series.name!r}]") from error


def _pack_index(index: Any, writer: Writer) -> list[Any]:
    writer.charge(_INDEX_WORK)
    names = writer.put_any(list(index.names))
    if type(index) is pd.RangeIndex:
        return ["range", index.start, index.stop, index.step, names]
    if type(index) is pd.MultiIndex:
        for level in index.levels:
            check_unique_cheaply(level)
        writer.charge(_MULTI_WORK * len(index.levels))
        levels = [_pack_index(level, writer) for level in index.levels]
        codes = [pack_values(np.asarray(level), writer)[1:] for level in index.codes]
        return ["multi", levels, codes, names]
    if type(index) not in _INDEXES:
        raise ValueError(f"an index of type {type(index).__qualname__} cannot cross")
    freq = index.freqstr if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex) else None
    if freq is not None:
        _charge_steps(freq, len(index), writer)
    return ["array", pack_values(index.array, writer), freq, names]


def _unpack_index(wire: object, reader: Reader) -> pd.Index[Any]:
    reader.charge(_INDEX_WORK)
    match wire:
        case ["range", int(start), int(stop), int(step), label]:
            numbers = pd.RangeIndex(start, stop, step)
            if not 0 <= (abs(stop - start)) // abs(step) <= _MAX_RANGE:
                raise ValueError("an index that is longer than any frame")
            return numbers.rename(_name(label, reader))
        case ["multi", list(levels), list(codes), names]:
            return _unpack_multi(levels, codes, names, reader)
        case ["array", values, freq, label]:
            labels: pd.Index[Any] = _with_freq(unpack_values(values, reader), freq, reader)
            return labels.rename(_name(label, reader))
        case _:
            raise ValueError("not an index")


def _unpack_multi(levels: list[Any], codes: list[Any], names: object, reader: Reader) -> pd.MultiIndex:
    reader.charge(_MULTI_WORK * len(levels))
    labels = [_unpack_index(level, reader) for level in levels]
    for level in labels:
        if isinstance(level, pd.MultiIndex):
            raise ValueError("a level of a MultiIndex is a MultiIndex")
        check_unique_cheaply(level)
    places = [unpack_column(code, reader.get, "i") for code in codes]
    return pd.MultiIndex(levels=cast(Any, labels), codes=cast(Any, places), names=cast(Any, reader.get_any(names)))


def _with_freq(values: Any, freq: object, reader: Reader) -> Any:
    if freq is None:
        return pd.Index(values, dtype=values.dtype, copy=False)
    if type(freq) is not str or len(freq) > MAX_FREQ or values.dtype.kind not in "mM":
        raise ValueError("not the frequency of an index")
    _charge_steps(freq, len(values), reader)
    return pd.DatetimeIndex(values, freq=freq) if values.dtype.kind == "M" else pd.TimedeltaIndex(values, freq=freq)


def _kept(array: Any, rows: pd.Index[Any]) -> Any:
    """pandas makes text or dates of an array of objects where it can, unless it is told what it is."""
    return pd.Series(array, dtype=object, index=rows, copy=False) if array.dtype == object else array


def _charge_steps(freq: str, steps: int, account: Writer | Reader) -> None:
    """pandas proves a frequency by walking the calendar, step by step for all but spans of one length."""
    account.charge(_FREQ_WORK)
    if not isinstance(pd.tseries.frequencies.to_offset(freq), pd.offsets.Tick | pd.offsets.Day):
        account.charge(_STEP_WORK * steps)


def _name(wire: object, reader: Reader) -> Any:
    (label,) = reader.get_any(wire)
    return label


def _attrs(value: Any, writer: Writer) -> Any:
    if not value.attrs:
        return None
    writer.charge(_ATTRS_WORK)
    try:
        return writer.put_any([value.attrs])
    except ValueError as error:
        raise Misfit.of(error).below(".attrs") from error


def _set_attrs(value: Any, wire: object, reader: Reader) -> None:
    if wire is None:
        return
    reader.charge(_ATTRS_WORK)
    (attrs,) = reader.get_any(wire)
    if type(attrs) is not dict:
        raise ValueError("attrs are no dict")
    value.attrs = attrs


_FEW_COLUMNS = 32
_COLUMN_WORK = 15
_INDEX_WORK = 25
_ATTRS_WORK = 60
_MULTI_WORK = 60
_FREQ_WORK = 60
_STEP_WORK = 20
_MAX_RANGE = 1 << 40
_KINDS: dict[type, str] = {
    pd.DataFrame: "frame",
    pd.Series: "series",
    pd.Timestamp: "timestamp",
    pd.Timedelta: "duration",
}
_INDEXES = (pd.Index, pd.CategoricalIndex, pd.DatetimeIndex, pd.TimedeltaIndex, pd.PeriodIndex, pd.IntervalIndex)
