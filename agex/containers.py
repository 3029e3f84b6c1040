"""Plain containers with some of their parts replaced, for where values pass as themselves."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

_MAX_DEPTH = 64


def replaced(value: Any, change: Callable[[Any], Any]) -> Any:
    """What `change` gives for a value, or else for what is in it, as far as dicts, lists and tuples go.

    A container in which nothing changed is itself, and so is one that is found again within itself.
    """
    return _replaced(value, change, {}, _MAX_DEPTH)


def _replaced(value: Any, change: Callable[[Any], Any], seen: dict[int, Any], depth: int) -> Any:
    new, kind = change(value), type(value)
    if new is not value or kind not in (dict, list, tuple) or depth == 0:
        return new
    if id(value) not in seen:
        seen[id(value)] = value
        parts: list[Any] = list(value.values() if kind is dict else value)
        made = [_replaced(part, change, seen, depth - 1) for part in parts]
        if any(map(operator.is_not, made, parts)):
            seen[id(value)] = dict(zip(value, made, strict=True)) if kind is dict else kind(made)
    return seen[id(value)]
