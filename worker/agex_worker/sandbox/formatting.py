"""str.format() whose fields reach no further than the code around it could."""

from __future__ import annotations

import string
import types
from _string import formatter_field_name_split  # type: ignore[import-not-found]
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Read = Callable[[Any, str], Any]


def checked_format(found: Any, read: Read) -> Any:
    """The attribute `format` of something: where it is that of str, a function that does the same by `read`."""

    def of_class(text: str, /, *args: Any, **named: Any) -> str:
        return _format(text, read, args, named)

    def bound(*args: Any, **named: Any) -> str:
        return _format(found.__self__, read, args, named)

    if found is str.format:
        return of_class
    return bound if type(found) is types.BuiltinFunctionType and isinstance(found.__self__, str) else found


def _format(text: str, read: Read, args: Sequence[Any], named: Mapping[str, Any]) -> str:
    # A str subclass may answer differently each time it is asked, so the plain text is taken once.
    plain = str.__str__(text)
    if not _has_attribute(plain):
        return str.format(plain, *args, **named)
    return _Formatter(read).vformat(plain, args, named)


def _has_attribute(text: str) -> bool:
    if "." not in text:
        return False
    for _, field, spec, _ in string.Formatter().parse(text):
        if field and any(is_attribute for is_attribute, _ in formatter_field_name_split(field)[1]):
            return True
        if spec and "{" in spec and _has_attribute(spec):
            return True
    return False


class _Formatter(string.Formatter):
    def __init__(self, read: Read) -> None:
        self._read = read

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        first, rest = formatter_field_name_split(field_name)
        value = self.get_value(first, args, kwargs)
        for is_attribute, name in rest:
            value = self._read(value, name) if is_attribute else value[name]
        return value, first
