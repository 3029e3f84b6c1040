"""The columns of a DataFrame. Those that pandas holds as one array of one dtype cross as one, so that many cost as little as one.

Each part says which places it fills. Together they fill every place once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from agex_protocol.arrays import Array, pack_array, unpack_array
from agex_protocol.columns import pack_values, unpack_values
from agex_protocol.misfit import Misfit
from agex_protocol.parts import Reader, Writer


@dataclass(frozen=True, slots=True)
class Block:
    """An array of rows by place (numpy, two dimensions), or one column of an extension of pandas."""

    places: list[int]
    values: Any


def pack_blocks(frame: pd.DataFrame, writer: Writer) -> list[Any]:
    """[[places, "block", array] or [places, "column", values], ...]."""
    parts: list[Any] = []
    for places, array in _held(frame):
        if array is not None:
            writer.charge(_PART_WORK)
            parts.append([places, "block", pack_array(array, writer.put)])
            continue
        for place in places:
            writer.charge(_PART_WORK)
            parts.append([[place], "column", _pack_column(frame.iloc[:, place], writer)])
    return parts


def unpack_blocks(wire: list[Any], rows: int, columns: int, reader: Reader) -> list[Block]:
    """The blocks of a frame of so many rows and columns. ValueError unless they fill it exactly."""
    blocks: list[Block] = []
    filled: list[Any] = []
    shape: tuple[int, ...]
    for part in wire:
        reader.charge(_PART_WORK)
        match part:
            case [list(places), "block", array]:
                values = _checked(unpack_array(array, reader.get))
                shape = (len(places), rows)
            case [[place], "column", array]:
                places, values, shape = [place], unpack_values(array, reader), (rows,)
                if isinstance(values, np.ndarray):
                    values, shape = _checked(values.reshape(1, -1)), (1, rows)
            case _:
                raise ValueError("not a part of a DataFrame")
        if values.shape != shape:
            raise ValueError("a part of a DataFrame does not fit its index or its places")
        blocks.append(Block(cast(list[int], places), values))
        filled += places
    if len(filled) != columns or not set(map(type, filled)) <= {int} or sorted(filled) != list(range(columns)):
        raise ValueError("the parts of a DataFrame do not fill its columns")
    return blocks


def assembled(blocks: list[Block], rows: pd.Index[Any], names: pd.Index[Any]) -> pd.DataFrame:
    """The frame, of these very arrays."""
    if _FROM_BLOCKS is not None:
        parts = [(_flat(block.values), np.array(block.places, np.intp)) for block in blocks]
        return cast(pd.DataFrame, _FROM_BLOCKS(parts, index=rows, columns=names))
    columns: dict[int, Any] = {}
    for block in blocks:
        for place, row in zip(block.places, _rows(block.values), strict=True):
            # pandas makes text or dates of objects where it can, unless it is told what they are.
            columns[place] = pd.Series(row, dtype=row.dtype, index=rows, copy=False)
    frame = pd.DataFrame({place: columns[place] for place in range(len(names))}, index=rows, copy=False)
    frame.columns = names
    return frame


def _held(frame: pd.DataFrame) -> list[tuple[list[int], Array | None]]:
    """Places, and their array by rows where it is one of numpy's with several."""
    manager: Any = getattr(frame, "_mgr", None)
    if not hasattr(manager, "blocks"):
        return [(list(range(frame.shape[1])), None)]
    held: list[tuple[list[int], Array | None]] = []
    for block in manager.blocks:
        places: list[int] = block.mgr_locs.as_array.tolist()
        array: Any = getattr(block.values, "_ndarray", block.values)
        whole = len(places) > 1 and type(array) is np.ndarray and array.dtype == block.values.dtype
        held.append((places, array if whole and array.dtype.kind in _KINDS else None))
    return held


def _checked(array: Array) -> Array:
    """Only what pandas holds itself: it would trust a span of days or of months to be one of seconds."""
    kind, unit = array.dtype.kind, np.datetime_data(array.dtype) if array.dtype.kind in "mM" else ("s", 1)
    if kind not in _KINDS + "O" or unit not in (("s", 1), ("ms", 1), ("us", 1), ("ns", 1)) or array.ndim != 2:
        raise ValueError(f"pandas holds no block of {array.dtype}")
    return array


def _flat(values: Any) -> Any:
    # Moments with a zone are an extension that pandas holds in two dimensions all the same.
    return values.reshape(1, -1) if isinstance(values, pd.arrays.DatetimeArray) else values


def _rows(values: Any) -> list[Any]:
    return list(values) if isinstance(values, np.ndarray) else [values]


def _pack_column(series: pd.Series[Any], writer: Writer) -> list[Any]:
    try:
        return pack_values(series.array, writer)
    except ValueError as error:
        raise Misfit.of(error).below(f"[{series.name!r}]") from error


def _from_blocks() -> Callable[..., Any] | None:
    """What pandas gives for this since its version 3."""
    try:
        internals = importlib.import_module("pandas.api.internals")
    except ImportError:
        return None
    return cast("Callable[..., Any] | None", getattr(internals, "create_dataframe_from_blocks", None))


_PART_WORK = 30
_KINDS = "biufcmM"
_FROM_BLOCKS = _from_blocks()
