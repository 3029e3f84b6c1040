"""One small value of a plain type, which is most of what host calls carry, without the machinery for all that may be nested.

What it does not know it leaves to `encode` and `decode`, and what it does it does as they would: a test holds them together.
"""

from __future__ import annotations

from typing import Any, cast

import msgpack

from agex_protocol.bulk import PLAIN
from agex_protocol.shapes import Shape

# A longer head is looked at before anything is made of it.
SMALL_BYTES = 4096
_SMALL_CHARACTERS = SMALL_BYTES // 8
NOT_PLAIN = object()


def pack_plain(value: object, shape: Shape) -> bytes | None:
    """The head, or None for what needs a closer look."""
    kind = type(value)
    if PLAIN.get(shape.kind) is not kind:
        return None
    if kind is int and not -(1 << 63) <= cast(int, value) < 1 << 64:
        return None
    if kind is str and len(cast(str, value)) > _SMALL_CHARACTERS:
        return None
    try:
        return cast(bytes, msgpack.packb(value))
    except UnicodeEncodeError:
        return None


def unpack_plain(head: bytes, shape: Shape) -> Any:
    """The value, or NOT_PLAIN for what needs a closer look, be it larger or wrong."""
    wanted = PLAIN.get(shape.kind)
    if wanted is None or len(head) > SMALL_BYTES:
        return NOT_PLAIN
    try:
        # No container is wanted, so none with anything in it is made.
        wire = msgpack.unpackb(head, raw=False, max_ext_len=0, max_array_len=0, max_map_len=0)
    except Exception:  # msgpack has many; the closer look says what it was
        return NOT_PLAIN
    return wire if type(wire) is wanted else NOT_PLAIN
