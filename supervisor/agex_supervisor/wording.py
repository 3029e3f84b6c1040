"""What a worker would say of a value that is not what was declared, for where there is no worker: one fault, one text."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from agex_protocol.encode import encode
from agex_protocol.errors import NotPortable
from agex_protocol.shapes import NOTHING, Shape
from agex_supervisor.outbound import NotSendable, sealed


def as_worker_says(value: object, shape: Shape, name: str) -> str:
    """Why a worker would not encode it, or "" if it would and the fault lies elsewhere."""
    try:
        encode(value, _undemanding(shape), name=name, keep=_Willing())
    except NotPortable as error:
        return str(error)
    return ""


class _Willing:
    """Keeps whatever a worker would keep, and nothing of it."""

    def hold(self, value: object) -> int:
        return 1

    def seal(self, value: object) -> bytes:
        try:
            return sealed(value).data
        except NotSendable as error:
            why = error.__cause__
            raise ValueError(f"a {type(value).__qualname__} cannot be sealed: {type(why).__name__}: {why}") from None


@lru_cache(maxsize=256)
def _undemanding(shape: Shape) -> Shape:
    """The shape without what only a crossing asks for: where nothing is declared, anything will do."""
    if shape.kind == "any":
        return replace(NOTHING, cls=shape.cls)
    return replace(shape, args=tuple(map(_undemanding, shape.args)))
