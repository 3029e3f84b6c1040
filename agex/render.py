"""Values as the model sees them: enough to write code against, never more than the budget, never a full repr.

The values are the caller's own, so this is about cost and clarity. What a value shows depends on its size only through
the numbers it states: a frame of a million rows costs what one of three rows costs.
"""

from __future__ import annotations

import array
import dataclasses
import enum
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from agex.listing import listing
from agex.signatures import clipped

_SAMPLE = 3  # values shown of a column or an array
_CELL_CHARS = 40
_ITEMS = 40  # of a container, at most, whatever the budget
_COLUMNS = 200  # names of a frame, at most
_DEPTH = 4
_SCALARS = (bool, int, float, complex, str, bytes)
_PLAIN_BITS = 512  # larger integers are described: writing them out is slow, and refused beyond some thousand digits


def render_value(value: object, budget_chars: int = 1000) -> str:
    """A bounded picture of a value. Never raises: where a repr fails it says so."""
    try:
        text = _rendered(value, budget_chars, 0)
    except Exception as error:  # a __repr__, __len__ or property of the caller's class may raise anything
        text = f"<{type(value).__name__}: cannot be shown: {type(error).__name__}>"
    return clipped(text, budget_chars)


def _rendered(value: object, budget: int, depth: int) -> str:
    library = _library_picture(value, nested=depth > 0)
    if library is not None:
        return library(value, budget)
    match value:
        case enum.Enum():
            return f"{type(value).__name__}.{value.name}"
        case str() | bytes() | bytearray():
            return _text(value, budget)
        case int() if not isinstance(value, bool) and value.bit_length() > _PLAIN_BITS:
            return f"<int of {value.bit_length()} bits>"
        case type() | FunctionType() | BuiltinFunctionType() | ModuleType():
            kind = "class" if isinstance(value, type) else type(value).__name__
            return f"<{kind} {value.__name__}>"
        case dict() | list() | tuple() | set() | frozenset() | deque() | array.array():
            return _container(value, budget, depth)
        case _:
            return _object(value, budget, depth)


def _object(value: object, budget: int, depth: int) -> str:
    fields = _fields(value)
    if fields is not None:
        return _pairs(f"{type(value).__name__}(", "=", ")", fields, len(fields), budget, depth)
    return clipped(re.sub(r" at 0x[0-9A-Fa-f]+", "", repr(value)), budget)


def _text(value: str | bytes | bytearray, budget: int) -> str:
    room = max(budget - 40, 16)
    if len(value) <= room:
        return repr(value)
    unit = "characters" if isinstance(value, str) else "bytes"
    return f"{clipped(repr(value[:room]), room + 2)} ({len(value)} {unit})"


def _container(value: Any, budget: int, depth: int) -> str:
    opening, closing = _brackets(value)
    fields: tuple[str, ...] | None = getattr(value, "_fields", None) if isinstance(value, tuple) else None
    if fields is not None:
        return _pairs(
            opening, "=", closing, {name: getattr(value, name) for name in fields}, len(fields), budget, depth
        )
    if isinstance(value, dict):
        return _pairs(opening, ": ", closing, value, len(value), budget, depth)
    return _joined(opening, closing, (_shown_item(item, depth) for item in value), len(value), budget)


def _brackets(value: Any) -> tuple[str, str]:
    kind = type(value)
    if kind is list:
        return "[", "]"
    if kind is dict or (kind is set and value):
        return "{", "}"
    if kind is tuple:
        return "(", ",)" if len(value) == 1 else ")"
    name = kind.__name__
    if isinstance(value, dict):
        return f"{name}({{", "})"
    return (f"{name}(", ")") if isinstance(value, tuple) or not value else (f"{name}([", "])")


def _shown_item(item: object, depth: int) -> Callable[[int], str]:
    return lambda room: _item(item, room, depth)


def _pairs(
    opening: str, between: str, closing: str, pairs: Mapping[Any, object], length: int, budget: int, depth: int
) -> str:
    def pair(key: object, item: object) -> Callable[[int], str]:
        def text(room: int) -> str:
            shown = str(key) if between == "=" else _item(key, _CELL_CHARS, depth)
            return f"{shown}{between}{_item(item, room - len(shown), depth)}"

        return text

    return _joined(opening, closing, (pair(key, pairs[key]) for key in pairs), length, budget)


def _joined(opening: str, closing: str, texts: Iterable[Callable[[int], str]], length: int, budget: int) -> str:
    """Items until the budget is used; each may take what is left over the items to come, and no less than a cell."""
    left = budget - len(opening) - len(closing) - len(f"... {length} in all")
    parts: list[str] = []
    for text in islice(texts, _ITEMS):
        share = max(left // max(min(length - len(parts), 4), 1), _CELL_CHARS)
        part = text(share)
        if len(part) + 2 > left:
            break
        parts.append(part)
        left -= len(part) + 2
    if len(parts) < length:
        parts.append(f"... {length} in all")
    return f"{opening}{', '.join(parts)}{closing}"


def _item(value: object, room: int, depth: int) -> str:
    if depth >= _DEPTH and not (value is None or isinstance(value, _SCALARS)):
        return f"<{type(value).__name__}>"
    try:
        return clipped(_rendered(value, max(room, 16), depth + 1), max(room, 16))
    except Exception as error:  # one bad item must not hide the others
        return f"<{type(value).__name__}: {type(error).__name__}>"


def _fields(value: object) -> dict[str, object] | None:
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if field.repr]
    elif isinstance(declared := getattr(type(value), "model_fields", None), dict):
        names = [str(name) for name in declared]
    else:
        return None
    return {name: getattr(value, name) for name in names}


# --- pandas and numpy, where the program has imported them ------------------------------------------------------------


def _library_picture(value: object, *, nested: bool) -> Callable[[Any, int], str] | None:
    pandas, numpy = sys.modules.get("pandas"), sys.modules.get("numpy")
    if pandas is not None:
        if isinstance(value, getattr(pandas, "DataFrame", ())):
            return _frame_in_a_word if nested else _frame
        if isinstance(value, (getattr(pandas, "Series", ()), getattr(pandas, "Index", ()))):
            return _column
    if numpy is not None and isinstance(value, getattr(numpy, "ndarray", ())):
        return _array
    return None


def _frame(frame: Any, budget: int) -> str:
    head = f"{_frame_in_a_word(frame)}; index: {clipped(_column(frame.index), 2 * _CELL_CHARS)}; columns:"
    corner = frame.iloc[:_SAMPLE, :_COLUMNS]
    names = [_item(name, _CELL_CHARS, 0) for name in corner.columns]
    types = [str(dtype) for dtype in corner.dtypes]

    def line(at: int, _room: int) -> str:
        return f"  {names[at]}  {types[at]}  {_sample(corner.iloc[:, at].tolist(), len(frame))}"

    body = listing(names, line, budget - len(head) - 1, rest="  also: ", total=frame.shape[1])
    return f"{head}\n{body}" if body else head


def _frame_in_a_word(frame: Any, _budget: int = 0) -> str:
    rows, columns = frame.shape
    return f"{type(frame).__name__} of {rows} rows x {columns} columns"


def _column(column: Any, _budget: int = 0) -> str:
    """Of a Series or an Index."""
    name = "" if column.name is None else f" {_item(column.name, _CELL_CHARS, 0)}"
    return f"{type(column).__name__}{name} of {len(column)} x {column.dtype}: {_sample(_head(column), len(column))}"


def _array(values: Any, _budget: int) -> str:
    shape = " x ".join(str(length) for length in values.shape) or "0-d"
    few = values.flat[: 3 * _SAMPLE]
    few = few.astype(str) if values.dtype.kind in "mM" else few
    return f"{type(values).__name__} {shape} of {values.dtype}: {_sample(few.tolist(), values.size)}"


def _head(column: Any) -> list[object]:
    few = column.iloc[: 3 * _SAMPLE] if hasattr(column, "iloc") else column[: 3 * _SAMPLE]
    return list(few.tolist())


def _sample(values: list[object], total: int) -> str:
    more = ["..."] if total > len(values) else []
    return ", ".join([*(_item(value, _CELL_CHARS, 0) for value in values), *more])
