"""Changes to valid encodings: of their bytes, and of the tree that the bytes stand for, which gets deeper into a decoder."""

from __future__ import annotations

import math
import random
from typing import Any

import msgpack

from agex_protocol.shapes import ANY_KINDS

INTS = (
    0,
    1,
    -1,
    2,
    7,
    31,
    63,
    64,
    127,
    128,
    255,
    256,
    65535,
    65536,
    2**31,
    2**32,
    2**62,
    2**63 - 1,
    2**64 - 1,
    -(2**63),
)
FLOATS = (0.0, -0.0, 1.5, math.nan, math.inf, -math.inf, 5e-324, 1.7e308)
TEXTS = ("", "a", "x\0", "\udcff".encode(errors="surrogatepass").decode("latin-1"), "UTC", "../../etc/passwd", "1e999999",
         "NaN123", "sNaN", "<i8", "|O", "<M8[ns]", "<M8[9999999ns]", "<U999999999", "<f16", ">f2", "D", "BYE-MAR", "W-SUN",
         "nan", "NA", "python", "pyarrow", "F", "range", "multi", "array", "::1%" + "z" * 90, "1.2.3.4/33", "(" * 90, "[\u0100-\uffff]" * 5)  # fmt: skip
BLOBS = (
    b"",
    b"\0",
    b"\xff" * 8,
    b"\x80" * 514,
    b"\0" * 7,
    b"\xff\xff\xff\x7f" * 2,
    b"\x00\xd8\x00\x00",
    b"\x01" + b"\0" * 15,
)


def mutated_head(head: bytes, dice: random.Random) -> bytes:
    """Another head: damaged bytes now and then, else a changed tree."""
    if dice.random() < 0.3:
        return mutated_bytes(head, dice)
    try:
        tree = msgpack.unpackb(head, strict_map_key=False)
    except Exception:
        return mutated_bytes(head, dice)
    for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
        tree = _changed(tree, dice)
    try:
        return bytes(msgpack.packb(tree))
    except (OverflowError, ValueError, UnicodeEncodeError):
        return mutated_bytes(head, dice)


def mutated_buffers(buffers: list[bytes], dice: random.Random) -> list[bytes]:
    """Other buffers: one more, one less, or other bytes in one."""
    buffers = list(buffers)
    choice = dice.random()
    if choice < 0.5 or not buffers:
        return buffers if choice < 0.4 else [*buffers, dice.choice(BLOBS)]
    place = dice.randrange(len(buffers))
    if choice < 0.6:
        del buffers[place]
    elif choice < 0.7:
        dice.shuffle(buffers)
    else:
        buffers[place] = mutated_bytes(buffers[place], dice)
    return buffers


def mutated_bytes(data: bytes, dice: random.Random) -> bytes:
    """Other bytes: flipped, cut out, doubled, cut off."""
    changed = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4))):
        place = dice.randrange(len(changed) + 1)
        match dice.randrange(6):
            case 0:
                changed[place:place] = dice.choice(BLOBS)
            case 1:
                del changed[place : place + dice.randrange(1, 9)]
            case 2:
                changed[place:place] = changed[place : place + dice.randrange(1, 64)]
            case 3 if dice.random() < 0.3:
                del changed[place:]
            case _ if place < len(changed):
                changed[place] = dice.choice((dice.randrange(256), changed[place] ^ 1 << dice.randrange(8)))
            case _:
                changed.append(dice.randrange(256))
    return bytes(changed)


def _changed(tree: Any, dice: random.Random) -> Any:
    """The tree with one node changed, found by going down at random."""
    if type(tree) is list and tree and dice.random() < 0.85:
        place = dice.randrange(len(tree))
        if dice.random() < 0.12:
            return _reordered(tree, place, dice)
        return [*tree[:place], _changed(tree[place], dice), *tree[place + 1 :]]
    return _other(tree, dice)


def _reordered(items: list[Any], place: int, dice: random.Random) -> list[Any]:
    match dice.randrange(5):
        case 0:
            return items[:place] + items[place + 1 :]
        case 1:
            return [*items, items[place]]
        case 2:
            return items[::-1]
        case 3:
            return (items * dice.choice((2, 9, 40)))[:5000]
        case _:
            return [*items[:place], items[dice.randrange(len(items))], *items[place + 1 :]]


def _other(node: Any, dice: random.Random) -> Any:
    """Something else in its place: most often of the same type, as a decoder has to look closer then."""
    kept = dice.random() < 0.7
    if kept and type(node) is int:
        return max(-(2**63), min(2**64 - 1, dice.choice((node + 1, node - 1, -node, node ^ 1 << dice.randrange(62), dice.choice(INTS)))))  # fmt: skip
    if kept and type(node) is bytes:
        return mutated_bytes(node, dice)
    if kept and type(node) is str:
        return dice.choice(
            (dice.choice(TEXTS), node[:-1], node + node[:40], node.upper(), dice.choice(sorted(ANY_KINDS)))
        )
    if kept and type(node) is float:
        return dice.choice(FLOATS)
    match dice.randrange(9):
        case 0:
            return None
        case 1:
            return dice.random() < 0.5
        case 2:
            return dice.choice(INTS)
        case 3:
            return dice.choice(FLOATS)
        case 4:
            return dice.choice(TEXTS)
        case 5:
            return dice.choice(BLOBS)
        case 6:
            return [node] * dice.choice((1, 1, 2, 20))
        case 7:
            return [dice.choice(sorted(ANY_KINDS)), node]
        case _:
            return []
