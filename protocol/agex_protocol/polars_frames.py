"""polars DataFrames and Series, column by column in the layout of `arrow.py`. Imported only where one is at hand.

Arrow knows fewer types than polars. A column of an Enum or a Categorical crosses as its text and is made one again; any other
type that Arrow would change is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

import polars as pl

from agex_protocol.arrow import pack_array, proved, unpack_array
from agex_protocol.arrow_types import child_types, get_type, pack_type, put_type, type_name
from agex_protocol.misfit import Misfit
from agex_protocol.parts import Reader, Writer


def kind_of(value: object) -> str | None:
    """Which kind of shape an object of polars is, or None if it has none."""
    return _KINDS.get(type(value))


def pack(value: Any, writer: Writer) -> list[Any]:
    """Any value that `kind_of` knows."""
    if kind_of(value) == "polars_series":
        return _pack_series(value, writer)
    if value.height and not value.width:
        raise ValueError("rows without any column cannot cross")
    return [value.height, [_pack_column(column, writer) for column in value.get_columns()]]


def unpack_frame(wire: object, reader: Reader) -> pl.DataFrame:
    """A DataFrame of columns with its height."""
    match wire:
        case [int(height), list(parts)]:
            columns = [unpack_series(part, reader) for part in cast(list[object], parts)]
        case _:
            raise ValueError("not a DataFrame of polars")
    names = [column.name for column in columns]
    if any(len(column) != height for column in columns) or len(set(names)) != len(names) or (height and not columns):
        raise ValueError("the columns of a DataFrame of polars do not fit each other")
    return pl.DataFrame(columns)


def unpack_series(wire: object, reader: Reader) -> pl.Series:
    """A Series with its name and type."""
    reader.charge(_SERIES_WORK)
    match wire:
        case [str(name), kind, parts, as_text]:
            wanted = get_type(kind, reader)
            _check_own(wanted)
            values = _series(name, proved(unpack_array(wanted, parts, reader)))
        case _:
            raise ValueError("not a Series of polars")
    match as_text:
        case None:
            return values
        case ["categorical"]:
            return values.cast(pl.Categorical())
        case ["enum", labels]:
            names = reader.get_any(labels)
            if not set(map(type, names)) <= {str} or len(set(names)) != len(names):
                raise ValueError("not the categories of an Enum")
            return values.cast(pl.Enum(names))
        case _:
            raise ValueError("not a type of polars")


def _series(name: str, array: Any) -> pl.Series:
    try:
        return pl.Series(name, array)
    except pl.exceptions.PanicException as error:  # no Exception, so nobody else here would take it for an error
        raise ValueError("polars cannot hold it") from error


def _check_own(kind: Any) -> None:
    """ValueError for a type that polars never writes: of some it panics, and of some it makes another."""
    if type_name(kind) not in _WRITTEN:
        raise ValueError(f"polars has no {kind}")
    for child in child_types(kind):
        _check_own(child)


def _pack_column(column: pl.Series, writer: Writer) -> list[Any]:
    try:
        return _pack_series(column, writer)
    except ValueError as error:
        raise Misfit.of(error).below(f"[{column.name!r}]") from error


def _pack_series(series: pl.Series, writer: Writer) -> list[Any]:
    writer.charge(_SERIES_WORK)
    as_text: list[Any] | None = None
    if isinstance(series.dtype, pl.Enum):
        as_text = ["enum", writer.put_any(series.dtype.categories.to_list())]
    elif series.dtype == pl.Categorical():
        as_text = ["categorical"]
    plain = series.cast(pl.String) if as_text else series
    if as_text is None and not _is_kept(series.dtype):
        raise ValueError(
            f"a column of {series.dtype} cannot cross; cast it to a type that Arrow has, such as pl.String"
        )
    array = plain.to_arrow()
    return [series.name, put_type(array.type, writer), pack_array(array, writer), as_text]


def _is_kept(dtype: Any) -> bool:
    """Whether the type comes back from Arrow as it was; what Arrow does not know it says in errors of its own."""
    try:
        there = pl.Series([], dtype=dtype).to_arrow()
        pack_type(there.type)
        return cast(Any, pl.Series("", cast(Any, there))).dtype == dtype and not _NAMED.search(str(dtype))
    except Exception:
        return False


_SERIES_WORK = 100
_WRITTEN = frozenset(
    (
        *("null", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "decimal128", "date32", "time64", "timestamp", "duration"),
        *("large_string", "large_binary", "large_list", "fixed_size_list", "struct"),
    )
)
# Within lists and structs Arrow keeps no order of categories.
_NAMED = re.compile("Categorical|Enum")
_KINDS: dict[type, str] = {pl.DataFrame: "polars_frame", pl.Series: "polars_series"}
UNPACKERS: dict[str, Callable[[object, Reader], Any]] = {"polars_frame": unpack_frame, "polars_series": unpack_series}
