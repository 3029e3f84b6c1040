"""What a live value is, in terms of shapes. numpy and pandas are recognised by name and never imported for it."""

from __future__ import annotations

import sys
from collections import deque
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any

from agex_protocol import libraries
from agex_protocol.leaves import LEAVES
from agex_protocol.misfit import Misfit, named


def as_plain(value: Any, wanted: type[Any]) -> Any:
    """What numpy or pandas made, as the Python value that is wanted; anything else as it is."""
    if type(value) is wanted:
        return value
    if library_of(value) == "numpy" and isinstance(value, numpy_here().generic):
        plain = value.item() if value.dtype.kind in _NUMPY_KINDS.get(wanted, ()) else value
        return plain if wanted is float or isinstance(plain, wanted) else value
    nanoseconds = getattr(value, "nanosecond", 0) or getattr(value, "nanoseconds", 0)
    if pandas_kind(value) == _PANDAS_KINDS.get(wanted, "") and nanoseconds:
        raise Misfit(f"{named(value)} with nanoseconds, which a {wanted.__name__} has not; use .floor('us')")
    return value


def kind_undeclared(value: Any) -> str | None:
    """The kind under which a value crosses where no type is declared, or None if it needs a declaration."""
    kind = _ANY_TYPES.get(type(value)) or pandas_kind(value)
    if kind is not None:
        return kind
    if library_of(value) == "numpy":
        numpy = numpy_here()
        return (
            "ndarray" if isinstance(value, numpy.ndarray) else "npscalar" if isinstance(value, numpy.generic) else None
        )
    if isinstance(value, Enum):
        return None
    return libraries.kind_of(value) or next(
        (kind for base, kind in _ANY_TYPES.items() if base in _OPEN and isinstance(value, base)), None
    )


def pandas_kind(value: Any) -> str | None:
    """The kind of a pandas object; None for anything else."""
    if library_of(value) != "pandas":
        return None
    from agex_protocol import frames

    return frames.kind_of(value)


def library_of(value: Any) -> str:
    """numpy or pandas, if the value is theirs and they are here. A module's name may be anything: it is not ours."""
    library = str(type(value).__module__).partition(".")[0]
    return library if library in ("numpy", "pandas") and library in sys.modules else ""


def numpy_here() -> Any:
    """numpy, for a value of its own."""
    return sys.modules["numpy"]


def reference(cls: type[Any]) -> str:
    """A class as shapes name it. A model that was given its parameters goes by the module of the one without: pydantic says
    that it is of the module that asked for it first, which another process need not have."""
    generic = cls.__dict__.get("__pydantic_generic_metadata__")
    owner = (generic and generic["origin"]) or cls
    return f"{owner.__module__}:{cls.__qualname__}"


# By the type that is wanted: the kinds of numpy's dtypes that may stand for it, and the pandas scalar that extends it.
_NUMPY_KINDS = {bool: "b", int: "iu", float: "iuf", complex: "c", datetime: "M", date: "M", timedelta: "m"}
_PANDAS_KINDS = {datetime: "timestamp", timedelta: "duration"}

_ANY_TYPES: dict[type[Any], str] = {
    int: "int",
    str: "str",
    bytes: "bytes",
    list: "list",
    tuple: "tuple_of",
    set: "set",
    frozenset: "frozenset",
    dict: "dict",
    deque: "deque",
    slice: "slice",
    **{leaf.type: kind for kind, leaf in LEAVES.items()},
}
# Their subclasses cross as what they extend, where nothing is declared: an OrderedDict as a dict.
_OPEN = frozenset({int, str, bytes, list, tuple, set, frozenset, dict, deque, LEAVES["path"].type})
