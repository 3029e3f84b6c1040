"""All that two values can differ in, as text, so that values of different processes can be compared. Imported by workers."""

from __future__ import annotations

import dataclasses
import json
import struct
from datetime import datetime, time
from types import FunctionType
from typing import Any

import numpy as np
import pandas as pd

from agex_protocol.host_handle import HostHandle

HELD: list[object] = []


def is_held(value: object) -> bool:
    """Whether it is the very object that the test holds. Only where both run in one process."""
    return any(value is each for each in HELD)


def stands_for_one_here(value: object) -> bool:
    """Whether it is a host handle."""
    return isinstance(value, HostHandle)


def fingerprint(value: Any) -> str:
    """The type and all content, dtypes, names, order and settings."""
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    return f"{kind} {_content(value)}"


def outcome(seen: str, value: object) -> str:
    """The table's word for a value of which another process has seen this."""
    wanted = fingerprint(value)
    return "equal" if seen == wanted else f"differs: {seen} was {wanted}"


def _content(value: Any) -> str:
    library = type(value).__module__.partition(".")[0]
    if isinstance(value, np.ndarray | np.generic):
        flags = f"{value.flags.c_contiguous}{value.flags.f_contiguous}"
        return f"{value.dtype.str} {value.shape} {flags} {value.tobytes('A').hex()}"
    if library == "pandas":
        return _pandas(value)
    if library in ("pyarrow", "polars", "PIL", "plotly"):
        return {"pyarrow": _arrow, "polars": _polars, "PIL": _image, "plotly": _figure}[library](value)
    if isinstance(value, float):
        return struct.pack("<d", value).hex()
    if isinstance(value, datetime | time):
        return f"{value!r} {value.fold} {value.tzinfo!r}"
    if isinstance(value, dict):
        return _all(part for item in value.items() for part in item)
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(map(fingerprint, value)))}}}"
    if isinstance(value, list | tuple):
        return _all(value)
    if dataclasses.is_dataclass(value):
        return _all(part for field in dataclasses.fields(value) for part in (field.name, getattr(value, field.name)))
    if isinstance(value, FunctionType):
        return f"{value.__qualname__} {value.__code__.co_code.hex()}"
    if hasattr(value, "model_fields_set"):
        private = getattr(value, "__pydantic_private__", None) or {}
        return _all([*vars(value).items(), *sorted(private.items())]) + str(sorted(value.model_fields_set))
    return repr(value)


def _all(values: Any) -> str:
    return f"[{', '.join(map(fingerprint, values))}]"


def _pandas(value: Any) -> str:
    match value:
        case pd.DataFrame():
            columns = [_array(value.iloc[:, place]) for place in range(value.shape[1])]
            labels = fingerprint(value.index) + fingerprint(value.columns)
            return f"{labels} {columns} {fingerprint(value.attrs)} {value.flags}"
        case pd.Series():
            return f"{fingerprint(value.index)} {_array(value)} {fingerprint(value.name)} {fingerprint(value.attrs)}"
        case pd.RangeIndex():
            return f"{value.start} {value.stop} {value.step} {value.name!r}"
        case pd.MultiIndex():
            return _all(value.levels) + _all(value.codes) + _all(value.names)
        case pd.Index():
            return f"{_array(value)} {fingerprint(value.name)} {getattr(value, 'freq', None)!r}"
        case _:
            return f"{value!r} {getattr(value, 'unit', '')}"


def _array(values: Any) -> str:
    dtype = values.dtype
    shown = f"{type(values.array).__name__} {dtype!r} {getattr(dtype, 'tz', None)!r}"
    if isinstance(dtype, np.dtype) and dtype.kind != "O":
        return f"{shown} {fingerprint(np.asarray(values))}"
    categories = fingerprint(dtype.categories) if isinstance(dtype, pd.CategoricalDtype) else ""
    return f"{shown} {_all(values.tolist())} {categories}"


def _arrow(value: Any) -> str:
    described = value.schema if hasattr(value, "schema") else value.type
    return (
        f"{described.remove_metadata() if hasattr(described, 'remove_metadata') else described} {value.to_pylist()!r}"
    )


def _polars(value: Any) -> str:
    frame = value if hasattr(value, "schema") else value.to_frame()
    return f"{dict(frame.schema)!r} {frame.rows()!r}"


def _image(value: Any) -> str:
    return f"{value.mode} {value.size} {value.tobytes().hex()} {value.getpalette()} {value.info.get('transparency')!r}"


def _figure(value: Any) -> str:
    return json.dumps(json.loads(value.to_json()), sort_keys=True)
