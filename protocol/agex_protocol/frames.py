"""DataFrame, Series, Index and pandas' own scalars, in the layout of `columns.py`. Imported only where one is at hand.

Frames are taken apart by position, so duplicate column names cross like any others.
"""

from __future__ import annotations

from typing import Any, cast

import pandas as pd

from agex_protocol.arrays import pack_scalar, unpack_scalar
from agex_protocol.blocks import assembled, pack_blocks, unpack_blocks
from agex_protocol.columns import check_unique_cheaply, pack_values, unpack_values
from agex_protocol.indexes import pack_index
from agex_protocol.indexes import unpack_index as unpack_index
from agex_protocol.leaves import pack_zone, unpack_zone
from agex_protocol.misfit import Misfit
from agex_protocol.parts import Reader, Writer


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
            labels = [pack_index(value.index, writer), pack_index(value.columns, writer)]
            return [*labels, pack_blocks(value, writer), _attrs(value, writer)]
        case "series":
            name = writer.put_any([value.name])
            return [pack_index(value.index, writer), pack_values(value.array, writer), name, _attrs(value, writer)]
        case "index":
            return pack_index(value, writer)
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
            rows, names = unpack_index(index, reader), unpack_index(labels, reader)
        case _:
            raise ValueError("not a DataFrame")
    frame = assembled(unpack_blocks(parts, len(rows), len(names), reader), rows, names)
    _set_attrs(frame, attrs, reader)
    return frame


def unpack_series(wire: object, reader: Reader) -> pd.Series[Any]:
    """A Series that owns its data."""
    match wire:
        case [index, column, name, attrs]:
            rows, values = unpack_index(index, reader), unpack_values(column, reader)
        case _:
            raise ValueError("not a Series")
    if len(rows) != len(values):
        raise ValueError("the values of a Series do not fit its index")
    (label,) = reader.get_any(name)
    series: pd.Series[Any] = pd.Series(values, dtype=values.dtype, index=rows, name=label, copy=False)
    _set_attrs(series, attrs, reader)
    return series


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


def _attrs(value: Any, writer: Writer) -> Any:
    unique = not value.flags.allows_duplicate_labels
    if not value.attrs and not unique:
        return None
    if unique:
        _check_labels(value, writer)
    writer.charge(_ATTRS_WORK)
    try:
        return writer.put_any([dict(value.attrs), unique])
    except ValueError as error:
        raise Misfit.of(error).below(".attrs") from error


def _check_labels(value: Any, account: Writer | Reader) -> None:
    for axis in value.axes:
        check_unique_cheaply(axis, account)


def _set_attrs(value: Any, wire: object, reader: Reader) -> None:
    if wire is None:
        return
    reader.charge(_ATTRS_WORK)
    attrs, unique = reader.get_any(wire)
    if type(attrs) is not dict:
        raise ValueError("attrs are no dict")
    value.attrs = attrs
    if unique is True:
        _check_labels(value, reader)
        value.flags.allows_duplicate_labels = False


_ATTRS_WORK = 60
_KINDS: dict[type, str] = {
    pd.DataFrame: "frame",
    pd.Series: "series",
    pd.Timestamp: "timestamp",
    pd.Timedelta: "duration",
}
