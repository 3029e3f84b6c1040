"""Checking a value by pydantic, in time and memory that follow the value and not the number of its faults.

pydantic notes every fault, at 0.7 us and some 200 bytes each: a megabyte of items that all miss a constraint took 0.8 s. So
a value is checked up to its first fault in each container, and only one of few items once more for all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import CoreConfig, SchemaValidator

FEW_ITEMS = 10_000


class Checking:
    """One annotation, strictly. Raises what pydantic raises for an annotation that it cannot check."""

    def __init__(self, adapter: TypeAdapter[Any], *, all_up_to: int = FEW_ITEMS) -> None:
        self._whole = adapter
        self._first = SchemaValidator(_failing_fast(adapter.core_schema), CoreConfig(strict=True))
        self._few = all_up_to

    def __call__(self, value: object) -> Any:
        """The value, validated. The ValidationError tells every fault of a small value, and the first ones of a large."""
        try:
            return self._first.validate_python(value)
        except ValidationError:
            if _items(value, self._few) > self._few:
                raise
        return self._whole.validate_python(value)


def _failing_fast(schema: Any) -> Any:
    """The same schema with every container left at its first fault."""
    if isinstance(schema, dict):
        node: dict[str, Any] = {key: _failing_fast(part) for key, part in cast(dict[str, Any], schema).items()}
        kind = node.get("type")  # no text where these are the fields of a class, and one is so named
        return node | {"fail_fast": True} if isinstance(kind, str) and kind in _CONTAINERS else node
    if isinstance(schema, list):
        return [_failing_fast(part) for part in schema]
    return tuple(map(_failing_fast, cast(Any, schema))) if type(schema) is tuple else schema


def _items(value: object, limit: int) -> int:
    """How many items there are in plain containers, all levels together; no further than the limit."""
    waiting, count = [value], 0
    while waiting and count <= limit:
        part = waiting.pop()
        inner: Any = part.values() if isinstance(part, Mapping) else part
        if isinstance(part, Mapping | list | tuple | set | frozenset | deque):
            count += len(cast(Any, part))
            waiting += inner if count <= limit else ()
    return count


_CONTAINERS = frozenset({"list", "set", "frozenset", "tuple", "dict", "deque"})
