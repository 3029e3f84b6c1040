"""What an agent observes of a value: what Python prints of it, and of one that would fill the page its shape, head and tail."""

from __future__ import annotations

import builtins
import sys
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from agex_worker.tracebacks import bounded, type_name

# A longer text of one value is not what anybody reads.
MAX_VALUE_CHARS = 10_000
_SHORT_CHARS = 4_000
_MAX_DEPTH = 6
_CONTAINERS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
    dict: ("{", "}"),
    deque: ("deque([", "])"),
}
_SHOWN_ROWS, _SHOWN_COLUMNS = 5, 12


def bounded_print(write: Callable[..., None]) -> Callable[..., None]:
    """A print() that hands `write`, another, what is to be seen of each value. What goes to a file goes whole."""

    def print(
        *values: object, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False
    ) -> None:
        texts = values if file is not None else [observed(value) for value in values]
        write(*texts, sep=sep, end=end, file=file, flush=flush)

    print.__doc__ = builtins.print.__doc__
    return print


def observed(value: object) -> str:
    """str(value), unless that is too long to be looked at."""
    text = str(value)
    pandas: Any = sys.modules.get("pandas")
    is_frame = pandas is not None and isinstance(value, pandas.DataFrame)
    if len(text) <= MAX_VALUE_CHARS:
        # Of one that pandas itself abridged its columns are the more to be known.
        return f"{text}\n[dtypes: {_kinds(value)}]" if is_frame and text.endswith(" columns]") else text
    if is_frame:
        return _frame(value)
    if type(value) in _CONTAINERS:
        return f"{glimpse(value, _SHORT_CHARS)}\n[{type_name(value)} of {len(value)}]"  # type: ignore[arg-type]
    return f"{bounded(text, _SHORT_CHARS)}\n[{type_name(value)}, {len(text)} characters as text]"


def glimpse(value: object, room: int) -> str:
    """A repr of about `room` characters at most, with the head and the tail of whatever is long."""
    try:
        return bounded(_shown(value, room, _MAX_DEPTH), 2 * room)
    except Exception as error:
        return f"<its repr cannot be made: {type(error).__name__}>"


def _shown(value: Any, room: int, depth: int) -> str:
    kind = type(value)
    if kind is str or kind is bytes:
        return repr(value) if len(value) <= room else _long(value, room)
    if kind not in _CONTAINERS:
        return bounded(repr(value), max(room, 20))
    first, last = _CONTAINERS[kind]
    if not value:
        return repr(value)
    if depth == 0:
        return f"{first}...{last}"
    entries: Iterable[Any] = value.items() if kind is dict else value
    head = _some(entries, kind, room * 2 // 3, depth)
    left = len(value) - len(head)
    tail: list[str] = []
    if left and kind not in (set, frozenset):
        behind = islice(reversed(value.items() if kind is dict else value), left)
        tail = _some(behind, kind, room // 3, depth)[::-1]
    left -= len(tail)
    middle = [f"... {left} more ..."] if left else []
    comma = "," if kind is tuple and len(value) == 1 else ""
    return first + ", ".join([*head, *middle, *tail]) + comma + last


def _some(entries: Iterable[Any], kind: type, room: int, depth: int) -> list[str]:
    texts: list[str] = []
    for entry in entries:
        if room <= 0:
            break
        if kind is dict:
            text = f"{_shown(entry[0], room // 2, depth - 1)}: {_shown(entry[1], room, depth - 1)}"
        else:
            text = _shown(entry, room, depth - 1)
        room -= len(text) + 2
        texts.append(text)
    return texts


def _long(value: Any, room: int) -> str:
    half = max(room // 2, 1)
    return f"{value[:half]!r}...{value[-half:]!r} ({len(value)} in all)"


def _frame(frame: Any) -> str:
    rows, columns = frame.shape
    kinds = _kinds(frame)
    head = bounded(str(frame.iloc[:_SHOWN_ROWS, :_SHOWN_COLUMNS]), _SHORT_CHARS)
    shown = f"its first {min(rows, _SHOWN_ROWS)} rows and {min(columns, _SHOWN_COLUMNS)} columns"
    return f"DataFrame of {rows} rows x {columns} columns ({kinds}); {shown}:\n{head}"


def _kinds(frame: Any) -> str:
    """The dtypes: of each column where there are few, else how many there are of each."""
    if len(frame.columns) <= _SHOWN_COLUMNS:
        named = zip(frame.columns, frame.dtypes, strict=True)
        return bounded(", ".join(f"{name} {kind}" for name, kind in named), _SHORT_CHARS)
    counts: dict[str, int] = {}
    for kind in frame.dtypes:
        counts[str(kind)] = counts.get(str(kind), 0) + 1
    return ", ".join(f"{kind} x {count}" for kind, count in islice(counts.items(), 20))
