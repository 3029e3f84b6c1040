"""Lists that msgpack reads as they should be: plain values whose type is their whole meaning are checked all at once.

Both sides use the same rule, since work (budget.Work) is counted for all that is not plain.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Any

from agex_protocol.shapes import Shape

# Fewer than these are read one by one.
FEW = 8
BARE = frozenset({type(None), bool, int, float, str, bytes})
PLAIN: dict[str, type[Any]] = {"none": type(None), "bool": bool, "int": int, "float": float, "str": str}


def plain_types(shape: Shape) -> frozenset[type[Any]]:
    """The types that a value of this shape may have on the wire as it is; empty if it always needs a closer look."""
    if shape.kind in PLAIN:
        return frozenset({PLAIN[shape.kind]})
    if shape.kind == "scalar":
        return frozenset(PLAIN[arm.kind] for arm in shape.args)
    return BARE if shape.kind == "any" else frozenset()


def all_plain(parts: Iterable[object], shape: Shape) -> bool:
    """Whether every part is a plain value of the shape."""
    return set(map(type, parts)) <= plain_types(shape)


def all_plain_lists(parts: list[Any], shape: Shape) -> bool:
    """Whether every part is a list of plain values, for a list of lists or of tuples."""
    if shape.kind not in ("list", "tuple_of") or set(map(type, parts)) != {list}:
        return False
    return all_plain(chain.from_iterable(parts), shape.args[0])


def common_names(parts: list[Any]) -> Any:
    """The first member of each of many records, as they lie on the wire, where it is the same; None where it is not.

    A decoder makes such records together, which costs less than one by one.
    """
    if len(parts) < FEW or type(parts[0]) is not list or not parts[0]:
        return None
    names = parts[0][0]
    alike = all(type(part) is list and len(part) == 2 and part[0] == names for part in parts)
    return names if alike else None
