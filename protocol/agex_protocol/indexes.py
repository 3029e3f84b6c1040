"""pandas indexes: ranges, levels and codes, or an array of `columns.py`, each with its names and its frequency."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd

from agex_protocol.arrays import unpack_column
from agex_protocol.columns import check_unique_cheaply, pack_values, unpack_values
from agex_protocol.parts import Reader, Writer


def pack_index(index: Any, writer: Writer) -> list[Any]:
    """[kind, ...] of an index, with its names and its frequency."""
    writer.charge(_INDEX_WORK)
    names = writer.put_any(list(index.names))
    if type(index) is pd.RangeIndex:
        return ["range", index.start, index.stop, index.step, names]
    if type(index) is pd.MultiIndex:
        for level in index.levels:
            check_unique_cheaply(level, writer)
        writer.charge(_MULTI_WORK * len(index.levels))
        levels = [pack_index(level, writer) for level in index.levels]
        codes = [pack_values(np.asarray(level), writer)[1:] for level in index.codes]
        return ["multi", levels, codes, names]
    if type(index) not in _INDEXES:
        raise ValueError(f"an index of type {type(index).__qualname__} cannot cross")
    freq = _frequency(index)
    if freq is not None:
        _charge_steps(freq, len(index), writer)
    return ["array", pack_values(index.array, writer), freq, names]


def unpack_index(wire: object, reader: Reader) -> pd.Index[Any]:
    """An Index of whatever class its contents ask for."""
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
    labels = [unpack_index(level, reader) for level in levels]
    for level in labels:
        if isinstance(level, pd.MultiIndex):
            raise ValueError("a level of a MultiIndex is a MultiIndex")
        check_unique_cheaply(level, reader)
    places = [unpack_column(code, reader.get, "i") for code in codes]
    return pd.MultiIndex(levels=cast(Any, labels), codes=cast(Any, places), names=cast(Any, reader.get_any(names)))


def _frequency(index: Any) -> str | None:
    """As the text that pandas reads back; a frequency with holidays or the like has none."""
    freq: Any = index.freq if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex) else None
    if freq is None:
        return None
    text = str(index.freqstr)
    try:
        same = len(text) <= _MAX_FREQ and pd.tseries.frequencies.to_offset(text) == freq and not freq.normalize
    except (ValueError, AttributeError):
        same = False
    if not same:
        raise ValueError(f"the frequency {freq!r} of an index cannot cross; drop it with .freq = None")
    return text


def _with_freq(values: Any, freq: object, reader: Reader) -> Any:
    if freq is None:
        return pd.Index(values, dtype=values.dtype, copy=False)
    if type(freq) is not str or len(freq) > _MAX_FREQ or values.dtype.kind not in "mM":
        raise ValueError("not the frequency of an index")
    _charge_steps(freq, len(values), reader)
    return pd.DatetimeIndex(values, freq=freq) if values.dtype.kind == "M" else pd.TimedeltaIndex(values, freq=freq)


def _charge_steps(freq: str, steps: int, account: Writer | Reader) -> None:
    """pandas proves a frequency by walking the calendar, step by step for all but spans of one length."""
    account.charge(_FREQ_WORK)
    if not isinstance(pd.tseries.frequencies.to_offset(freq), pd.offsets.Tick | pd.offsets.Day):
        account.charge(_STEP_WORK * steps)


def _name(wire: object, reader: Reader) -> Any:
    (label,) = reader.get_any(wire)
    return label


_INDEX_WORK = 40
_MULTI_WORK = 60
_FREQ_WORK = 60
_STEP_WORK = 20
_MAX_FREQ = 32  # characters; pandas parses it
_MAX_RANGE = 1 << 40
_INDEXES = (pd.Index, pd.CategoricalIndex, pd.DatetimeIndex, pd.TimedeltaIndex, pd.PeriodIndex, pd.IntervalIndex)
