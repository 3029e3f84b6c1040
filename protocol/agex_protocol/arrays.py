"""numpy arrays and scalars as a dtype, a shape, an order and bytes. Imported only where such a value is at hand or declared.

Only fixed-size dtypes without references or fields cross. What C code takes for granted is checked: that a bool is 0 or 1
(numpy counts the bytes of a mask before it writes), and that a character is one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
PutBlob = Callable[[bytes | memoryview], bytes | int]
GetBlob = Callable[[object], memoryview]


def pack_array(array: Array, put: PutBlob) -> list[Any]:
    """[dtype, shape, "C" or "F", bytes]. Raises ValueError with the reason for an array that cannot cross."""
    if type(array) is not np.ndarray:
        raise ValueError(
            f"a subclass of ndarray ({type(array).__qualname__}) would lose its type; use {_plainer(array)}"
        )
    _check_dtype(array.dtype)
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    rows = array.T if order == "F" else np.ascontiguousarray(array)
    return [array.dtype.str, list(array.shape), order, put(rows.reshape(-1).view(np.uint8).data)]


def unpack_array(wire: object, get: GetBlob) -> Array:
    """A writeable array whose data is its own. Raises ValueError for anything that is not exactly one array."""
    match wire:
        case [str(code), list(lengths), "C" | "F" as order, blob]:
            shape = _checked_shape(lengths)
        case _:
            raise ValueError("not an array")
    dtype = _checked_dtype(code)
    data = get(blob)
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of {dtype} and shape {shape} has other than {len(data)} bytes")
    if not len(data):
        return np.empty(shape, dtype, "F" if order == "F" else "C")
    flat = np.frombuffer(data, dtype)
    _check_content(flat)
    return own(flat.reshape(shape, order="F" if order == "F" else "C"))


def pack_column(array: Array, put: PutBlob) -> list[Any]:
    """[dtype, bytes] of an array with one dimension."""
    code, _, _, blob = pack_array(array, put)
    return [code, blob]


def unpack_column(wire: object, get: GetBlob, kinds: str = "biufcmM") -> Array:
    """An array with one dimension whose dtype is of one of these kinds."""
    match wire:
        case [str(code), blob]:
            dtype = _checked_dtype(code)
        case _:
            raise ValueError("not a column")
    data = get(blob)
    if dtype.kind not in kinds or len(data) % dtype.itemsize:
        raise ValueError(f"a column of {dtype} has other bytes or is not expected here")
    if not len(data):
        return np.empty(0, dtype)
    flat = np.frombuffer(data, dtype)
    _check_content(flat)
    return own(flat)


def own(array: Array) -> Array:
    """The array over memory that may be written, which is nobody else's (see Reader.get); else a copy."""
    return array if array.flags.writeable and array.flags.aligned else array.copy("K")


def pack_scalar(scalar: np.generic) -> list[Any]:
    """[dtype, bytes]."""
    if isinstance(scalar, np.str_ | np.bytes_) and not scalar:
        return [scalar.dtype.str, b""]
    array = np.asarray(scalar)
    _check_dtype(array.dtype)
    return [array.dtype.str, array.tobytes()]


def unpack_scalar(wire: object) -> np.generic:
    """Back from `pack_scalar`."""
    match wire:
        case [("<U0" | "|S0") as code, b""]:
            return np.str_() if code == "<U0" else np.bytes_()
        case [str(code), bytes(data)] if 0 < len(data) <= _MAX_SCALAR:
            dtype = _checked_dtype(code)
            if len(data) != dtype.itemsize:
                raise ValueError("not one scalar")
            flat = np.frombuffer(data, dtype)
            if dtype.kind == "U":
                # Refuses what is no character, as _check_content does for many.
                data.decode("utf-32-be" if dtype.byteorder == ">" else "utf-32-le")
            else:
                _check_content(flat)
            scalar = flat[0]
            return scalar if isinstance(scalar, np.generic) else dtype.type(scalar)
        case _:
            raise ValueError("not a numpy scalar")


def _check_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in _KINDS or dtype.hasobject or dtype.names is not None or not dtype.itemsize:
        raise ValueError(
            f"dtype {dtype} cannot cross: only numbers, bools, dates and fixed-size text do; {_remedy(dtype)}"
        )


def _plainer(array: Array) -> str:
    return ".filled(...)" if isinstance(array, np.ma.MaskedArray) else "np.asarray(...)"


def _remedy(dtype: np.dtype[Any]) -> str:
    if dtype.names is not None:
        return "give a structured array as a DataFrame or as one array a field"
    return "convert it with .astype(...) or .tolist()"


@lru_cache(maxsize=64)
def _checked_dtype(code: str) -> np.dtype[Any]:
    # The text is parsed by numpy, so only the plain form that `dtype.str` writes is let through.
    if not _CODE.fullmatch(code):
        raise ValueError("not a dtype that crosses")
    dtype = np.dtype(code)
    _check_dtype(dtype)
    return dtype


def _checked_shape(lengths: Sequence[object]) -> tuple[int, ...]:
    if len(lengths) > 32 or not set(map(type, lengths)) <= {int}:
        raise ValueError("not the shape of an array")
    shape = cast(tuple[int, ...], tuple(lengths))
    if any(length < 0 for length in shape) or math.prod(length or 1 for length in shape) >= 1 << 62:
        raise ValueError("not the shape of an array")
    return shape


def _check_content(flat: Array) -> None:
    kind = flat.dtype.kind
    if kind == "b" and flat.view(np.uint8).max() > 1:
        raise ValueError("an array of bool has bytes other than 0 and 1")
    if kind == "U":
        points = flat.view(np.dtype(np.uint32).newbyteorder(flat.dtype.byteorder))
        if (points > 0x10FFFF).any() or ((points >= 0xD800) & (points < 0xE000)).any():
            raise ValueError("an array of text has a character that is none")


_KINDS = "biufcmMSU"
_CODE = re.compile(r"[<>|=](b1|[iu][1248]|f2|f4|f8|f16|c8|c16|c32|[mM]8(\[[0-9]{0,9}[A-Za-zμ]{1,2}\])?|[SU][0-9]{1,9})")
_MAX_SCALAR = 1 << 20
