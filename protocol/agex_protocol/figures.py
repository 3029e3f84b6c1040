"""plotly figures as the plain data and arrays that they consist of. Imported only where one is at hand.

plotly checks every property again where the figure is rebuilt. It takes up to 40 us for one text of a list, so of long lists it
is shown a sample; that the rest is plain data of the kinds below is checked here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, datetime, time
from typing import Any, cast

import numpy as np
import plotly.graph_objects as go

from agex_protocol.misfit import Misfit
from agex_protocol.parts import Reader, Writer


def kind_of(value: object) -> str | None:
    """ "figure" for a Figure; a widget would lose its tie to a notebook."""
    return "figure" if type(value) is go.Figure else None


def pack(value: Any, writer: Writer) -> list[Any]:
    """One tree of plain data and arrays. How subplots were laid out is in it; the grid for `add_trace(row=, col=)` is not."""
    tree = {
        "data": [trace.to_plotly_json() for trace in value.data],
        "layout": value.layout.to_plotly_json(),
        "frames": [frame.to_plotly_json() for frame in value.frames],
    }
    tidied = _tidied(tree, "")
    writer.charge(_FIGURE_WORK + _work(tidied))
    return writer.put_any([tidied])


def unpack_figure(wire: object, reader: Reader) -> Any:
    """A Figure whose properties plotly accepts."""
    (tree,) = reader.get_any(wire)
    match tree:
        case {"data": list(), "layout": dict(), "frames": list(), **others} if not others:
            reader.charge(_FIGURE_WORK + _work(tree))
        case _:
            raise ValueError("not a figure")
    go.Figure(_sample(tree))
    return go.Figure(_restored(tree), _validate=False)


def _tidied(part: Any, path: str) -> Any:
    """As the reader takes it: an array of objects becomes a tuple of its shape and its items, and every other tuple a list."""
    if isinstance(part, np.ndarray) and part.dtype == object:
        return list(part.shape), _tidied(part.ravel().tolist(), path)
    if isinstance(part, dict):
        return {str(name): _tidied(each, f"{path}.{name}") for name, each in part.items()}
    if isinstance(part, list | tuple):
        return [_tidied(each, f"{path}[{place}]") for place, each in enumerate(cast(list[Any], part))]
    if not isinstance(part, _LEAVES):
        raise Misfit(
            f"a {type(part).__qualname__} in a figure cannot cross; give numbers, text, dates, lists or arrays", path
        )
    return part


def _work(part: Any) -> int:
    """What plotly takes to check it, in units of `budget.Work`. ValueError for what no figure consists of."""
    if type(part) is dict:
        entries = part
        if not set(map(type, entries)) <= {str}:
            raise ValueError("a figure has a property without a name")
        # plotly compares a name that it does not know with all that it does, at a tenth of a millisecond for each letter.
        if max(map(len, entries), default=0) > _MAX_NAME:
            raise ValueError(f"a property of a figure has a name of more than {_MAX_NAME} characters")
        return _DICT_WORK + sum(map(_work, entries.values()))
    if type(part) is tuple:
        return _work(_items(part))
    if type(part) is list:
        items = part
        if set(map(type, items)) <= _PLAIN:
            return _TEXT_WORK * min(len(items), _SAMPLE) + len(items) // 2
        return _DICT_WORK + sum(map(_work, items))
    if not isinstance(part, _LEAVES):
        raise ValueError(f"a {type(part).__qualname__} in a figure")
    return _TEXT_WORK if isinstance(part, str) else _LEAF_WORK


def _sample(part: Any) -> Any:
    """The same with lists and arrays cut down to a few that differ. What is cut has no length to agree with."""
    if type(part) is dict:
        return {name: _sample(each) for name, each in cast(dict[str, Any], part).items()}
    if type(part) is tuple:
        return _sample(_items(part))
    if type(part) is not list:
        return part[:_SAMPLE] if isinstance(part, np.ndarray) and part.ndim else part
    items = part
    if len(items) > _SAMPLE and set(map(type, items)) <= _PLAIN:
        # Few enough that no choice of numbers makes a table of them slow.
        return list(dict.fromkeys(items[:: -(-len(items) // _LOOKED_AT)]))[:_SAMPLE]
    return [_sample(each) for each in items]


def _restored(part: Any) -> Any:
    """The tree with its arrays of objects."""
    if type(part) is dict:
        return {name: _restored(each) for name, each in cast(dict[str, Any], part).items()}
    if type(part) is list and not set(map(type, part)) <= _PLAIN:
        return [_restored(each) for each in part]
    if type(part) is not tuple:
        return part
    items = _items(part)
    array = np.empty(len(items), object)
    array[:] = _restored(items)
    return array.reshape(cast(tuple[list[int], Any], part)[0])


def _items(part: object) -> list[Any]:
    match part:
        case (list(shape), list(items)) if set(map(type, shape)) <= {int} and math.prod(cast(list[int], shape)) == len(
            items
        ):
            return items
        case _:
            raise ValueError("not an array of a figure")


_FIGURE_WORK = 2500
_DICT_WORK = 150
_TEXT_WORK = 40
_LEAF_WORK = 8
_SAMPLE = 8
_LOOKED_AT = 64
_MAX_NAME = 200
_PLAIN: set[type] = {type(None), bool, int, float, str}
_LEAVES = (type(None), bool, int, float, str, date, datetime, time, np.ndarray, np.generic)
UNPACKERS: dict[str, Callable[[object, Reader], Any]] = {"figure": unpack_figure}
