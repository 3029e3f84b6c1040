"""Short bytes that would cost much: heads and buffers that no encoder writes, each for a declared type, as large as is asked.

`make(n)` gives n of the thing that costs. What a decoder does of it has to be within its budget, whatever n is.
"""

from __future__ import annotations

import ipaddress
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Flag
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import msgpack
import numpy as np
import pandas as pd
from pydantic import BaseModel, Field

from agex_supervisor.contract import Contract
from tests.fuzz.subjects import Color, Line, Ordered, Pair, Point, Tree

Encoding = tuple[bytes, list[bytes]]
Bits = Flag("Bits", [f"B{number}" for number in range(60)])
Wide: Any = type("Wide", (BaseModel,), {"__annotations__": {f"f{n}": int for n in range(60)}} | {f"f{n}": n for n in range(60)})  # fmt: skip
Plain: Any = type("Plain", (BaseModel,), {"__annotations__": {"price": float, "amount": int}, "amount": 1})
PRIME = 2**61 - 1  # Python's hash of a number is the number modulo this


@dataclass(frozen=True)
class Bomb:
    """One way to be expensive. `every` holds honest data to compare with instead."""

    name: str
    annotation: Any
    make: Callable[[int], Encoding]
    options: dict[str, Any] = field(default_factory=dict[str, Any])  # of its contract

    def contract(self) -> Contract:
        return Contract.of(self.annotation, where="bomb", **self.options)

    def __str__(self) -> str:
        return self.name


def pack(wire: object) -> bytes:
    return bytes(msgpack.packb(wire))


def array(count: int, items: bytes) -> bytes:
    """The msgpack of a list, of the msgpack of its items."""
    return b"\xdd" + count.to_bytes(4, "big") + items


def tagged(kind: str, part: bytes) -> bytes:
    """A value as it lies below Any."""
    return b"\x92" + pack(kind) + part


def long(number: int) -> bytes:
    """As `leaves.pack_int` writes numbers beyond 64 bits."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)


def _many(name: str, annotation: Any, wire: object) -> Bomb:
    item = wire if type(wire) is bytes else pack(wire)
    return Bomb(name, annotation, lambda n: (array(n, item * n), []))


def _each(name: str, annotation: Any, wire: Callable[[int], object]) -> Bomb:
    return Bomb(name, annotation, lambda n: (array(n, b"".join(pack(wire(place)) for place in range(n))), []))


def _undeclared(kind: str, wire: object, name: str = "") -> Bomb:
    item = pack([kind, wire])
    return Bomb(f"any {kind} {name}".strip(), Any, lambda n: (tagged("list", array(n, item * n)), []))


def _columns(kind: str, wire: object) -> Bomb:
    def make(n: int) -> Encoding:
        return (b"\x94" + pack(_range(0)) + pack(_range(n)) + array(n, pack(wire) * n) + b"\xc0", [])

    return Bomb(f"frame of columns {kind}", pd.DataFrame, make)


def _rows(kind: str, column: Callable[[int], list[Any]], buffers: Callable[[int], list[bytes]]) -> Bomb:
    return Bomb(f"index of rows {kind}", pd.Index, lambda n: (pack(["array", column(n), None, [None]]), buffers(n)))


def _range(stop: int) -> list[Any]:
    return ["range", 0, stop, 1, [None]]


def _numbers(code: str, values: Any) -> bytes:
    return bytes(np.asarray(values, code).tobytes())


def _nested(n: int) -> Encoding:
    part: Any = None
    for _ in range(30):
        part = ["list", [part, part]] if len(pack(part)) < n else ["list", [part]]
    return pack(part), []


def _distinct_rows(n: int) -> Encoding:
    """Records of which no two in a row have the same fields, so that none can be made together."""
    return array(n, b"".join(pack([["x"], [1]] if place % 2 else [["x", "y"], [1, 2.0]]) for place in range(n))), []


_EMPTY = {
    "numpy": ["numpy", "<i8", b""],
    "object": ["object", []],
    "text": ["text", "python", "nan", b"\0" * 8, b"", None],
    "arrow": ["text", "pyarrow", "nan", b"\0" * 8, b"", None],
    "categorical": ["categorical", ["|i1", b""], ["numpy", "<i8", b""], False],
    "zoned": ["zoned", ["<M8[ns]", b""], "Europe/Paris"],
    "period": ["period", ["<i8", b""], "M"],
    "interval": ["interval", ["numpy", "<i8", b""], ["numpy", "<i8", b""], "left"],
    "masked": ["masked", "Int8", ["|i1", b""], ["|b1", b""]],
}

_COLLISIONS = (
    _each("set of ints, 16 a hash", set[int], lambda n: long(2**63 + n // 16 + PRIME * (n % 16))),
    _each("set of floats", set[float], lambda n: float(2**60 + n * 2**20)),
    _each("set of complex numbers", set[complex], lambda n: [float(n), -1000003.0 * n]),
    _each("set of Fractions, 16 a hash", set[Fraction], lambda n: [long(2**64 + n // 16 + PRIME * (n % 16)), 1]),
    _each("set of long Fractions", set[Fraction], lambda n: [long(2**4090 - n), long(2**4089 - 2 * n - 1)]),
    _each("set of Decimals of large exponents", set[Decimal], lambda n: f"{n}E9990"),
    _each("set of Decimals of small exponents", set[Decimal], lambda n: f"{n}E-9990"),
    _each("set of long Decimals", set[Decimal], lambda n: f"{n:01233}"),
    _each("set of tuples", set[tuple[int, int]], lambda n: [n % 1000, n // 1000]),
    _each("set of numbers of many types", set[Any], lambda n: [["fraction", [n, 3]], n, float(n) + 0.5, ["decimal", f"{n}.25"]][n % 4]),  # fmt: skip
    Bomb("dict of ints, 16 a hash", dict[int, None], lambda n: (
        b"\x92" + array(n, b"".join(pack(long(2**63 + k // 16 + PRIME * (k % 16))) for k in range(n))) + pack([None] * n), [])),
)  # fmt: skip

_TYPED = (
    _many("list of empty lists", list[list[int]], []),
    _many("list of lists of empty lists", list[list[list[int]]], [[]]),
    _many("list of empty tuples", list[tuple[()]], []),
    _many("list of tuples of lists", list[tuple[list[int], ...]], []),
    _many("list of empty frozensets", list[frozenset[int]], []),
    _many("list of empty dicts", list[dict[int, int]], [[], []]),
    _many("list of dicts of one", list[dict[str, int]], [["a"], [1]]),
    _many("list of empty deques", list[deque[int]], [None, []]),
    _many("list of nothing", list[list[int] | None], None),
    _many("list of unions", list[int | list[str]], [0, 1]),
    _many("list of unions of classes", list[Point | Line], [0, [["x"], [1]]]),
    _many("list of plain unions, numbers in bytes", list[int | str], b"\xc4\x00"),
    _many("list of empty bytes", list[bytes], b"\xc4\x00"),
    _many("list of literals", list[Literal["a", 1]], 0),
    _many("list of enums", list[Color], "RED"),
    _each("list of flags", list[Bits], lambda n: (n * 2654435761) % 2**60),
    _many("list of classes, shortest", list[Tree], [["name"], [""]]),
    _many("list of classes", list[Point], [["x", "y", "label"], [1, 1.0, "a"]]),
    _many("list of models", list[Plain], [["price", "amount"], [1.0, 2]]),
    _many("list of models with many defaults", list[Wide], [[], []]),
    _many("list of NamedTuples", list[Pair], [["left"], [1]]),
    Bomb("list of uneven classes", list[Point], _distinct_rows),
    _many("list of classes that refuse", list[Ordered], [["low", "high"], [2, 1]]),
    Bomb("list of classes, the last refuses", list[Ordered], lambda n: (
        array(n + 1, pack([["low", "high"], [1, 2]]) * n + pack([["low", "high"], [2, 1]])), [])),
    _many("list that misses its constraint", list[Annotated[int, Field(gt=3)]], 1),
    _many("list of dates", list[date], [1, 1, 1]),
    _many("list of datetimes", list[datetime], [1, 1, 1, 0, 0, 0, 0, 0, "Europe/Paris"]),
    _many("list of datetimes of an offset", list[datetime], [1, 1, 1, 0, 0, 0, 0, 0, [1]]),
    _many("list of times", list[time], [0, 0, 0, 0, 0, None]),
    _many("list of timedeltas", list[timedelta], [0, 0, 0]),
    _many("list of Decimals", list[Decimal], "1"),
    _many("list of Fractions", list[Fraction], [1, 1]),
    _many("list of long Fractions", list[Fraction], [long(2**4090 - 1), long(2**4089 - 3)]),
    _many("list of UUIDs", list[UUID], b"\xc4\x10" + b"\0" * 16),
    _many("list of paths", list[Path], ["path", "a"]),
    _many("list of long paths", list[Path], ["path", "a/" * 2000]),
    *(_many(f"list of {kind.__name__}", list[kind], text) for kind, text in (
        (ipaddress.IPv4Address, "1.1.1.1"), (ipaddress.IPv6Address, "1:2:3:4:5:6:255.255.255.255"),
        (ipaddress.IPv4Network, "0.0.0.0/0.0.0.0"), (ipaddress.IPv6Network, "1:2:3:4:5:6:7:8/128"),
        (ipaddress.IPv4Interface, "1.1.1.1/255.255.255.0"), (ipaddress.IPv6Interface, "1:2:3:4:5:6:7:8%abcdefgh/128"))),
    _each("list of patterns", list[Any], lambda n: ["pattern", [f"([a-z]|{n}){{1,9}}" * 60, 2]]),
)  # fmt: skip

_UNDECLARED = (
    Bomb("any: a tree of lists", Any, _nested),
    Bomb("any: deep lists", Any, lambda n: (b"\x91" * n, [])),
    Bomb("any: a list of nothing", Any, lambda n: (tagged("list", array(n, b"\xc0" * n)), [])),
    *(_undeclared(kind, []) for kind in ("list", "tuple_of", "set", "frozenset")),
    _undeclared("dict", [[], []]), _undeclared("dict", [[1], [1]], "of one"), _undeclared("set", [1], "of one"),
    _undeclared("deque", [None, []]), _undeclared("slice", [None] * 3), _undeclared("range", [0, 0, 1]),
    _undeclared("int", b""), _undeclared("complex", [0.0, 0.0]), _undeclared("date", [1, 1, 1]),
    _undeclared("path", ["posix", "a"]), _undeclared("missing", "NA"),
    _undeclared("ndarray", ["<i8", [0], "C", b""]), _undeclared("ndarray", ["<i8", [0] * 32, "F", b""], "of 32 dimensions"),
    _undeclared("npscalar", ["<i8", b"\0" * 8]), _undeclared("npscalar", ["|b1", b"\0"], "bool"),
    _undeclared("npscalar", ["<U1", b"a\0\0\0"], "text"),
    _each("any npscalar of many dtypes", list[Any], lambda n: ["npscalar", [f"<M8[{n}s]", b"\0" * 8]]),
    _undeclared("timestamp", [["<M8[ns]", b"\0" * 8], "Europe/Paris"]), _undeclared("duration", ["<m8[ns]", b"\0" * 8]),
    _undeclared("index", _range(0)), _undeclared("index", _range(2**40), "long"),
    *(_undeclared("index", ["array", wire, None, [None]], kind) for kind, wire in _EMPTY.items()),
    _undeclared("index", ["array", ["numpy", "<M8[ns]", b""], "BYE-MAR", [None]], "with a frequency"),
    _undeclared("index", ["multi", [_range(0)] * 2, [["|i1", b""]] * 2, [None] * 2], "of levels"),
    _undeclared("frame", [_range(0), _range(0), [], None]),
    _undeclared("frame", [_range(0), _range(1), [["object", []]], [["dict", [[], []]]]], "with attrs"),
    _undeclared("series", [_range(0), ["numpy", "<i8", b""], [None], None]),
    _undeclared("series", [_range(0), ["object", []], [None], None], "of objects"),
)  # fmt: skip

_PANDAS = (
    *(_columns(kind, wire) for kind, wire in _EMPTY.items()),
    Bomb("index of many levels", pd.Index, lambda n: (
        b"\x94" + pack("multi") + array(n, pack(_range(0)) * n) + array(n, pack(["|i1", b""]) * n) + pack([None] * n), [])),
    _rows("text", lambda n: ["text", "python", "nan", 0, b"", None], lambda n: [bytes(8 * n + 8)]),
    _rows("arrow", lambda n: ["text", "pyarrow", "nan", 0, b"", None], lambda n: [bytes(8 * n + 8)]),
    _rows("zoned", lambda n: ["zoned", ["<M8[ns]", 0], "Europe/Paris"], lambda n: [bytes(8 * n)]),
    _rows("interval", lambda n: ["interval", ["numpy", "<i8", 0], ["numpy", "<i8", 1], "left"], lambda n: [bytes(8 * n)] * 2),
    _rows("period", lambda n: ["period", ["<i8", 0], "W-SUN"], lambda n: [bytes(8 * n)]),
    _rows("masked", lambda n: ["masked", "Int8", ["|i1", 0], ["|b1", 1]], lambda n: [bytes(n)] * 2),
    _rows("categories", lambda n: ["categorical", ["<i4", 0], ["numpy", "<i8", 1], False],
          lambda n: [bytes(4 * n), _numbers("<i8", np.arange(n) * PRIME)]),
    _rows("categories of texts", lambda n: ["categorical", ["<i4", 0], ["text", "python", "nan", 1, 2, None], False],
          lambda n: [bytes(4 * n), _numbers("<i8", np.arange(n + 1) * 8), b"".join(b"%08d" % k for k in range(n))]),
    Bomb("index of a walked frequency", pd.Index, lambda n: (
        pack(["array", ["numpy", "<M8[s]", 0], "MS", [None]]), [pd.date_range("1900", periods=min(n, 9000), freq="MS").to_numpy("M8[s]").tobytes()])),
    Bomb("index of daily times", pd.Index, lambda n: (
        pack(["array", ["numpy", "<M8[s]", 0], "D", [None]]), [_numbers("<i8", np.arange(n) * 86400)])),
)  # fmt: skip

BOMBS: tuple[Bomb, ...] = (*_TYPED, *_COLLISIONS, *_UNDECLARED, *_PANDAS)
