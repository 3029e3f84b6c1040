"""Classes that an annotation may name without more being known of them, and the kinds of shape that they are."""

from __future__ import annotations

import collections
import collections.abc as abc
from typing import Any

from agex_protocol.leaves import LEAVES

# The classes that pydantic checks strictly by itself; constraints such as Gt apply to them.
NATIVE: dict[Any, str] = {
    **{bool: "bool", int: "int", float: "float", str: "str", bytes: "bytes", complex: "complex"},
    **{LEAVES[kind].type: kind for kind in ("datetime", "date", "time", "timedelta", "decimal", "uuid")},
}
CONTAINERS: dict[Any, tuple[str, ...]] = {
    list: ("list",),
    tuple: ("tuple_of",),
    set: ("set",),
    frozenset: ("frozenset",),
    collections.deque: ("deque",),
    dict: ("dict",),
    abc.Mapping: ("dict",),
    abc.MutableMapping: ("dict",),
    abc.MutableSequence: ("list",),
    abc.MutableSet: ("set",),
    abc.Set: ("set", "frozenset"),
    **dict.fromkeys((abc.Sequence, abc.Collection, abc.Iterable), ("list", "tuple_of")),
}
BUILT: dict[str, Any] = {"list": list, "set": set, "frozenset": frozenset, "deque": collections.deque}
PANDAS = {
    **{"DataFrame": "frame", "Series": "series", "Timestamp": "timestamp", "Timedelta": "duration"},
    **dict.fromkeys(("Index", "RangeIndex", "MultiIndex", "DatetimeIndex", "TimedeltaIndex", "PeriodIndex"), "index"),
    **dict.fromkeys(("CategoricalIndex", "IntervalIndex"), "index"),
}
