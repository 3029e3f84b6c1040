"""Values of numpy, pandas and other libraries as parts of a whole: what each has to be, and what reading it is charged.

Their codecs are imported when a value of theirs is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agex_protocol import budget, libraries
from agex_protocol.kinds import library_of, numpy_here, pandas_kind
from agex_protocol.misfit import unlike
from agex_protocol.parts import Reader, Writer
from agex_protocol.shapes import Shape

_LIBRARY_WORK = 50


def pack_ndarray(writer: Writer, value: Any, shape: Shape) -> Any:
    if (
        library_of(value) != "numpy"
        or not hasattr(value, "__array_interface__")
        or not isinstance(value, numpy_here().ndarray)
    ):
        raise unlike(value, shape)
    from agex_protocol import arrays

    writer.charge(budget.ARRAY_WORK)
    return arrays.pack_array(value, writer.put)


def pack_npscalar(writer: Writer, value: Any, shape: Shape) -> Any:
    if library_of(value) != "numpy" or not isinstance(value, numpy_here().generic):
        raise unlike(value, shape)
    from agex_protocol import arrays

    writer.charge(budget.SCALAR_WORK)
    return arrays.pack_scalar(value)


def pack_pandas(writer: Writer, value: Any, shape: Shape) -> Any:
    if (kind := pandas_kind(value)) != shape.kind:
        subclass = kind is None and shape.kind in ("frame", "series") and hasattr(value, "iloc")
        raise unlike(value, shape, "; a subclass would lose its type" if subclass else "")
    from agex_protocol import frames

    writer.charge(budget.PANDAS_WORK[shape.kind])
    return frames.pack_pandas(value, writer)


def pack_library(writer: Writer, value: Any, shape: Shape) -> Any:
    if libraries.kind_of(value) != shape.kind:
        raise unlike(value, shape)
    writer.charge(_LIBRARY_WORK)
    return libraries.pack(value, writer)


def unpack_numpy(reader: Reader, wire: Any, shape: Shape) -> Any:
    from agex_protocol import arrays

    if shape.kind == "ndarray":
        reader.charge(budget.ARRAY_WORK)
        return arrays.unpack_array(wire, reader.get)
    reader.charge(budget.SCALAR_WORK)
    return arrays.unpack_scalar(wire)


def unpack_pandas(reader: Reader, wire: Any, shape: Shape) -> Any:
    from agex_protocol import frames

    reader.enter(budget.PANDAS_WORK[shape.kind])
    read: Callable[[Any, Reader], Any] = getattr(frames, f"unpack_{shape.kind}")
    value = read(wire, reader)
    reader.leave()
    return value


def unpack_library(reader: Reader, wire: Any, shape: Shape) -> Any:
    reader.enter(_LIBRARY_WORK)
    value = libraries.unpack(shape.kind, wire, reader)
    reader.leave()
    return value
