"""Bombs for values of libraries, for frames by block, for keys that meet in a table, and for what stands for objects.

As in `bombs.py`: heads and buffers that no encoder writes, as large as is asked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import cache
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
import PIL.Image
import plotly.graph_objects as go
import polars as pl
import pyarrow as pa

from agex_supervisor.handle import Handle
from agex_supervisor.opaque import Opaque
from tests.fuzz.bombs import Bomb, Encoding, array, pack

_NO_CHUNK = [0, None, [b""], []]


class Database:
    """Of which a worker holds names."""


def _column(kind: object, chunks: list[Any]) -> list[Any]:
    return ["a", True, kind, chunks]


def _many(name: str, annotation: Any, wire: object, **options: Any) -> Bomb:
    item = pack(wire)
    return Bomb(name, annotation, lambda n: (array(n, item * n), []), options)


def _long(
    name: str, kind: object, buffers: Callable[[int], list[bytes]], children: Callable[[int], list[Any]] | None = None
) -> Bomb:
    """One Arrow array of n items with these buffers, numbered from 0."""

    def make(n: int) -> Encoding:
        held = buffers(n)
        return pack([kind, [n, None, list(range(len(held))), children(n) if children else []]]), held

    return Bomb(f"arrow array of {name}", pa.Array, make)


def _table(name: str, columns: Callable[[int], bytes]) -> Bomb:
    return Bomb(f"arrow table of {name}", pa.Table, lambda n: (b"\x92\x00" + columns(n), []))


def _nested(item: Any, depth: int, around: Callable[[Any], Any]) -> Any:
    for _ in range(depth):
        item = around(item)
    return item


def _field(kind: Any) -> list[Any]:
    return ["x", True, kind]


def _deep_lists(n: int) -> Encoding:
    """Sixteen levels of lists, of which each holds n of nothing but the next."""
    kind: Any = _nested(["int8"], 15, lambda inner: ["list", _field(inner)])
    part: Any = [n, None, [15], []]
    held = [np.arange(n + 1, dtype="<i4").tobytes()] * 15 + [bytes(n)]
    for level in range(15):
        part = [n, None, [level], [part]]
    return pack([kind, part]), held


def _texts(n: int) -> list[bytes]:
    return [np.arange(0, 2 * n + 1, 2, dtype="<i4").tobytes(), "é".encode() * n]


def _series(n: int, as_text: Any) -> list[Any]:
    return ["a", ["large_string"], [n, None, [0, 1], []], as_text]


def _words(n: int) -> list[bytes]:
    return [(np.arange(n + 1, dtype="<i8") * 8).tobytes(), b"".join(b"%08d" % place for place in range(n))]


def _struct(n: int) -> Encoding:
    kind = b"\x92" + pack("struct") + array(n, pack(_field(["int8"])) * n)
    part = b"\x94\x00\xc0\x90" + array(n, pack(_NO_CHUNK) * n)
    return b"\x92" + kind + part, []


_ARROW = (
    _table("columns", lambda n: array(n, pack(_column(["int8"], [_NO_CHUNK])) * n)),
    _table("columns without chunks", lambda n: array(n, pack(_column(["int8"], [])) * n)),
    _table("columns of dictionaries", lambda n: array(n, pack(
        _column(["dictionary", ["int8"], ["string"], False], [[0, None, [], [_NO_CHUNK, [0, None, [bytes(4), b""], []]]]])) * n)),
    _table("columns of deep types", lambda n: array(n, pack(
        _column(_nested(["int8"], 16, lambda inner: ["struct", [_field(inner)]]), [])) * n)),
    _table("chunks", lambda n: b"\x91\x94" + pack("a") + b"\xc3" + pack(["int8"]) + array(n, pack(_NO_CHUNK) * n)),
    Bomb("arrow array of many fields", pa.Array, _struct),
    _many("list of arrow arrays", list[pa.Array], [["int8"], _NO_CHUNK]),
    _many("list of arrow arrays of nothing", list[pa.Array], [["null"], [1 << 24, None, [], []]]),
    _many("list of arrow arrays of multiplied nothing", list[pa.Array], [
        _nested(["null"], 2, lambda inner: ["fixed_size_list", _field(inner), 4096]),
        [1, None, [], [[4096, None, [], [[1 << 24, None, [], []]]]]]]),
    _many("list of arrow arrays beyond nothing", list[pa.Array], [
        ["fixed_size_list", _field(["null"]), 1 << 20], [1 << 20, None, [], [[1 << 40, None, [], []]]]]),
    *(_many(f"list of arrow arrays of {kind}", list[pa.Array], [[kind], _NO_CHUNK]) for kind in (
        "string_view", "run_end_encoded", "list_view", "dense_union", "extension")),
    _many("list of arrow arrays of zones", list[pa.Array], [["timestamp", "us", "Europe/Paris"], _NO_CHUNK]),
    _many("list of record batches", list[pa.RecordBatch], [0, []]),
    _many("list of chunked arrays", list[pa.ChunkedArray], [["int8"], []]),
    Bomb("arrow array of deep lists", pa.Array, _deep_lists),
    _long("text", ["string"], _texts),
    _long("empty texts", ["string"], lambda n: [bytes(4 * n + 4), b""]),
    _long("offsets that fall", ["string"], lambda n: [np.r_[0, np.arange(n)[::-1]].astype("<i4").tobytes(), b""]),
    _long("decimals", ["decimal128", 38, 0], lambda n: [b"\xff" * 16 * n]),
    _long("wide decimals", ["decimal256", 76, 0], lambda n: [b"\x01" * 32 * n]),
    _long("days", ["date64"], lambda n: [bytes(8 * n)]),
    _long("times", ["time32", "s"], lambda n: [bytes(4 * n)]),
    _long("places without bytes", ["dictionary", ["int8"], ["null"], False], lambda n: [],
          lambda n: [[n, None, [b""], []], [1, None, [], []]]),
    Bomb("arrow array of places beyond its dictionary", pa.Array, lambda n: (
        pack([["dictionary", ["int64"], ["int8"], False], [n, None, [], [[n, None, [0], []], [1, None, [b"\0"], []]]]]), [b"\x7f" * 8 * n])),
    Bomb("arrow array of dictionary places", pa.Array, lambda n: (
        pack([["dictionary", ["int8"], ["int8"], False], [n, None, [], [[n, None, [0], []], [1, None, [b"\0"], []]]]]), [bytes(n)])),
)  # fmt: skip

_POLARS = (
    _many("list of polars series", list[pl.Series], ["a", ["int8"], _NO_CHUNK, None]),
    _many("list of polars series of categories", list[pl.Series], ["a", ["large_string"], [0, None, [bytes(8), b""], []], ["categorical"]]),
    _many("list of polars frames", list[pl.DataFrame], [0, []]),
    Bomb("polars frame of columns", pl.DataFrame, lambda n: (
        b"\x92\x00" + array(n, b"".join(pack([str(place), ["int8"], _NO_CHUNK, None]) for place in range(n))), [])),
    Bomb("polars frame of columns of one name", pl.DataFrame, lambda n: (
        b"\x92\x00" + array(n, pack(["a", ["int8"], _NO_CHUNK, None]) * n), [])),
    Bomb("polars series of categories", pl.Series, lambda n: (pack(_series(n, ["categorical"])), _words(n))),
    Bomb("polars series of an enum", pl.Series, lambda n: (
        pack(_series(n, ["enum", [f"{place:08d}" for place in range(n)]])), _words(n))),
    Bomb("polars series of texts", pl.Series, lambda n: (pack(_series(n, None)), _words(n))),
    Bomb("polars series of many fields", pl.Series, lambda n: (
        b"\x94" + pack("a") + b"\x92" + pack("struct") + array(n, b"".join(pack([str(k), True, ["int8"]]) for k in range(n)))
        + b"\x94\x00\xc0\x90" + array(n, pack(_NO_CHUNK) * n) + b"\xc0", [])),
    _many("list of polars series of a dictionary", list[pl.Series], [
        "a", ["dictionary", ["int8"], ["string"], False], [0, None, [], [_NO_CHUNK, [0, None, [bytes(4), b""], []]]], None]),
)  # fmt: skip


def _dict(entries: dict[str, Any]) -> Any:
    return ["dict", [list(entries), list(entries.values())]]


def _list(items: list[Any]) -> Any:
    return ["list", items]


def _figure(name: str, data: Callable[[int], Any], layout: Callable[[int], Any] = lambda n: _dict({})) -> Bomb:
    def make(n: int) -> Encoding:
        return pack([_dict({"data": data(n), "layout": layout(n), "frames": _list([])})]), []

    return Bomb(f"figure of {name}", go.Figure, make)


def _trace(**properties: Any) -> Any:
    return _list([_dict({"type": "scatter", **properties})])


_FIGURES = (
    _many("list of figures", list[go.Figure], [_dict({"data": _list([]), "layout": _dict({}), "frames": _list([])})]),
    _figure("traces", lambda n: _list([_dict({"type": "scatter"})] * n)),
    _figure("numbers", lambda n: _trace(x=_list(list(range(n))))),
    _figure("numbers that meet", lambda n: _trace(x=_list(meeting(n)))),
    _figure("texts", lambda n: _trace(text=_list(["a"] * n))),
    _figure("lists of lists", lambda n: _list([_dict({"type": "heatmap", "z": _list([_list([1])] * n)})])),
    _figure("a long name", lambda n: _list([]), lambda n: _dict({"x" * n: 1})),
    _figure("long colors", lambda n: _trace(marker=_dict({"color": _list(["(" * n] * 8)}))),
    _figure("long flags", lambda n: _trace(mode="lines+" * n)),
    _figure("a long axis", lambda n: _trace(xaxis="x" + "1" * n)),
    _figure("axes", lambda n: _list([]), lambda n: _dict({f"xaxis{place + 2}": _dict({}) for place in range(n)})),
    _figure("annotations", lambda n: _list([]), lambda n: _dict({"annotations": _list([_dict({"text": "a"})] * n)})),
    _figure("empty arrays", lambda n: _trace(x=_list([["ndarray", ["<f8", [0], "C", b""]]] * n))),
    _figure("arrays of objects", lambda n: _trace(x=["tuple_of", [_list([n]), _list([1] * n)]])),
    _figure("deep lists", lambda n: _trace(x=_nested(1, min(n, 50), lambda inner: _list([inner])))),
)  # fmt: skip


def _image(mode: str, width: int, height: int, pixels: bytes, palette: Any = None) -> list[Any]:
    return [mode, width, height, pixels, palette, None]


_IMAGES = (
    _many("list of images without pixels", list[PIL.Image.Image], _image("L", 0, 0, b"")),
    _many("list of images of rows without pixels", list[PIL.Image.Image], _image("L", 0, 4096, b"")),
    _many("list of images of a wide nothing", list[PIL.Image.Image], _image("F", 1 << 18, 0, b"")),
    _many("list of images of an absurd size", list[PIL.Image.Image], _image("L", 1 << 40, 1 << 40, b"")),
    _many("list of images with a palette", list[PIL.Image.Image], _image("P", 1, 1, b"\0", ["RGB", bytes(768)])),
    _many("list of images with an empty palette", list[PIL.Image.Image], _image("PA", 1, 1, b"\0\0", ["RGBA", b""])),
    *(_many(f"list of images of mode {mode}", list[PIL.Image.Image], _image(mode, 1, 1, bytes(size))) for mode, size in (
        ("1", 1), ("LA", 2), ("I;16B", 2), ("RGB", 3), ("LAB", 3), ("CMYK", 4))),
    Bomb("image of a column of pixels", PIL.Image.Image, lambda n: (pack(_image("L", 16, n, bytes(16 * n))), [])),
    Bomb("image of a row of pixels", PIL.Image.Image, lambda n: (pack(["1", n, 1, 0, None, None]), [bytes(n)])),
)  # fmt: skip


def _range(stop: int) -> list[Any]:
    return ["range", 0, stop, 1, [None]]


def _blocks(name: str, columns: Callable[[int], int], parts: Callable[[int], bytes]) -> Bomb:
    return Bomb(f"frame of {name}", pd.DataFrame, lambda n: (
        b"\x94" + pack(_range(0)) + pack(_range(columns(n))) + parts(n) + b"\xc0", []))  # fmt: skip


def _block(places: list[int], code: str = "<f8") -> list[Any]:
    return [places, "block", [code, [len(places), 0], "C", b""]]


def _categories(n: int, labels: list[Any], buffers: list[bytes]) -> Encoding:
    """Columns of categories that nobody uses, each with labels of its own."""
    n = min(n, 400)  # each has sixteen thousand bytes
    part = [["categorical", ["|i1", b""], ["array", labels, None, [None]], False]]
    places = (pack([[place], "column", part[0]]) for place in range(n))
    return b"\x94" + pack(_range(0)) + pack(_range(n)) + array(n, b"".join(places)) + b"\xc0", buffers


def _chosen_for_pandas() -> bytes:
    """Numbers that all have the same place in the tables of pandas, in no order."""
    low = np.random.default_rng(1).permutation(np.arange(1, 2001, dtype=np.uint64))
    return ((low ^ (low << np.uint64(11))) << np.uint64(33) | low).tobytes()


_BLOCKS = (
    _blocks("one block of many columns", lambda n: n, lambda n: array(1, pack(_block(list(range(n)))))),
    _blocks("blocks of one column", lambda n: n, lambda n: array(n, b"".join(pack(_block([place])) for place in range(n)))),
    _blocks("blocks of no column", lambda n: 0, lambda n: array(n, pack(_block([])) * n)),
    _blocks("blocks in one place", lambda n: n, lambda n: array(n, pack(_block([0])) * n)),
    _blocks("a block in places that meet", lambda n: n, lambda n: array(1, pack(_block(meeting(n))))),
    _blocks("blocks of months", lambda n: n, lambda n: array(n, pack(_block([0], "<M8[M]")) * n)),
    _blocks("columns of arrow", lambda n: n, lambda n: array(n, b"".join(
        pack([[place], "column", ["arrow", [["int8"], []]]]) for place in range(n)))),
    _many("list of frames of endless rows", list[pd.DataFrame], [_range(1 << 40), _range(0), [], None]),
    Bomb("frame of categories that meet", pd.DataFrame, lambda n: _categories(n, ["numpy", "<i8", _chosen_for_pandas()], [])),
    Bomb("frame of object categories that meet", pd.DataFrame, lambda n: _categories(
        n, ["object", [key << 32 | key for key in np.random.default_rng(1).permutation(2000).tolist()]], [])),
)  # fmt: skip


def meeting(n: int) -> list[int]:
    """As many as are asked, of 5,200 numbers of which each third walks in a dict past thousands of the others."""
    return list(islice(_all_meeting(), n)) if n <= 5_200 else [*_all_meeting(), *range(1 << 40, (1 << 40) + n - 5_200)]


@cache
def _all_meeting() -> tuple[int, ...]:
    mask = (1 << 13) - 1
    row = list(islice(_cycle(12345, mask), 3_680))
    place = {slot: number for number, slot in enumerate(row)}
    dice, found = random.Random(1), dict.fromkeys(row)
    while len(found) < 5_200:
        key = dice.getrandbits(20)
        *_, last = walk = list(_walk(key, mask))
        if all(slot in place for slot in walk) and place[last] < 1000:
            found[key] = None
    return tuple(found)


def _cycle(place: int, mask: int) -> Iterator[int]:
    while True:
        yield place
        place = (5 * place + 1) & mask


def _walk(key: int, mask: int) -> Iterator[int]:
    """Where a dict looks for a key, until nothing of the key is left that could lead it elsewhere."""
    place = key & mask
    yield place
    while key:
        key >>= 5
        place = (5 * place + key + 1) & mask
        yield place


_KEYS = (
    Bomb("dict of ints that meet", dict[int, None], lambda n: (pack([meeting(n), [None] * n]), [])),
    Bomb("dict of floats that meet", dict[float, None], lambda n: (pack([list(map(float, meeting(n))), [None] * n]), [])),
    Bomb("set of ints that meet in a dict", set[int], lambda n: (pack(meeting(n)), [])),
    Bomb("dict of multiples", dict[int, None], lambda n: (pack([[159 * 2**13 * k for k in range(n)], [None] * n]), [])),
    Bomb("set of multiples", set[int], lambda n: (pack([5**9 * 2**18 * k for k in range(n)]), [])),
    Bomb("dict of powers' multiples", dict[int, None], lambda n: (pack([[k << 43 for k in range(n)], [None] * n]), [])),
    Bomb("set of powers' multiples", set[int], lambda n: (pack([k << 43 for k in range(n)]), [])),
    Bomb("set of random ints", set[int], lambda n: (pack(random.Random(1).sample(range(2**16, 2**32), n)), [])),
    Bomb("dicts of many keys", list[dict[int, None]], lambda n: (
        array(min(n, 9000), pack([meeting(64), [None] * 64]) * min(n, 9000)), [])),
    Bomb("dicts of more keys", list[dict[int, None]], lambda n: (
        array(min(n, 3000), pack([meeting(500), [None] * 500]) * min(n, 3000)), [])),
)  # fmt: skip

_STAND_INS = (
    _many("list of sealed objects", list[Opaque[Any]], [b"", "T", "r"], result=True),
    _many("list of sealed objects of strange letters", list[Opaque[Any]], [b"", "T", "\u202e" * 1000], result=True),
    _many("list of sealed objects of long texts", list[Opaque[Any]], [b"", "T" * 200, "r" * 1000], result=True),
    _many("list of handles", list[Handle[Any]], [1, "T", "r"], result=True),
    _many("list of handles of strange letters", list[Handle[Any]], [1, "\u2028" * 200, "\x1b" * 1000], result=True),
    _many("list of objects of this process", list[Database], f"@{'0' * 32}", hosts=(Database,)),
    _many("list of unions of objects of this process", list[Database | None], f"@{'0' * 32}", hosts=(Database,)),
)  # fmt: skip

LIBRARY_BOMBS: tuple[Bomb, ...] = (*_ARROW, *_POLARS, *_FIGURES, *_IMAGES, *_BLOCKS, *_KEYS, *_STAND_INS)
