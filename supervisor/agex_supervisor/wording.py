"""What a worker would say of a value that is not what was declared, for where there is no worker: one fault, one text."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from agex_protocol.encode import encode
from agex_protocol.errors import NotPortable
from agex_protocol.shapes import NOTHING, Shape


def as_worker_says(value: object, shape: Shape, name: str) -> str:
    """Why a worker would not encode it, or "" if it would and the fault lies elsewhere."""
    try:
        encode(value, _undemanding(shape), name=name, keep=_Keeping())
    except NotPortable as error:
        return str(error)
    return ""


class _Keeping:
    """Has room for any object: whether one can be kept or sealed is no question where nothing crosses."""

    def hold(self, value: object) -> int:
        return 1

    def seal(self, value: object) -> bytes:
        return b""


@lru_cache(maxsize=256)
def _undemanding(shape: Shape) -> Shape:
    """The shape without what only a crossing asks for: where nothing is declared, anything will do."""
    if shape.kind == "any":
        return NOTHING
    return replace(shape, args=tuple(map(_undemanding, shape.args)))
