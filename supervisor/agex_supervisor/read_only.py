"""A dict that nobody can change, for records: equal to any dict with the same in it, copied, pickled and written as JSON as one.

A mappingproxy would be neither copied nor pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

K = TypeVar("K")
V = TypeVar("V")


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise TypeError("this is part of a record, and cannot be changed; change a copy: dict(...)")


class ReadOnlyDict(dict[K, V]):
    """Has what it was made of, for good."""

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[ReadOnlyDict[K, V]], tuple[Mapping[K, V]]]:
        return type(self), (dict(self),)
