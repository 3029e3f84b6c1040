"""Opaque: an object as sealed bytes. Carried, stored and handed to other workers, and opened by none but a worker."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Generic, TypeVar

from agex_supervisor.display import display

T_co = TypeVar("T_co", covariant=True)

MAX_TYPE_CHARS = 200
MAX_REPR_CHARS = 2_000


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Opaque(Generic[T_co]):
    """The cloudpickled result of a worker. Never unpickle `data` in your own process: that runs code of the agent's choice.

    Give it as an input to a task or a Sandbox: the code there finds the object itself. `type` and `repr` are what the worker
    said of it, safe to look at. Two are equal if their `sha256` are. It can be pickled, or stored field by field.
    """

    data: bytes
    sha256: str = ""
    type: str = ""
    repr: str = ""

    def __post_init__(self) -> None:
        digest = hashlib.sha256(self.data).hexdigest()
        if self.sha256 not in ("", digest):
            raise ValueError(f"the data of this Opaque are not those of sha256 {self.sha256[:64]!r}: they were changed")
        object.__setattr__(self, "sha256", digest)
        object.__setattr__(self, "type", display(self.type, limit=MAX_TYPE_CHARS, one_line=True))
        object.__setattr__(self, "repr", display(self.repr, limit=MAX_REPR_CHARS))

    def __eq__(self, other: object) -> bool:
        return self.sha256 == other.sha256 if isinstance(other, Opaque) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __reduce__(self) -> tuple[object, ...]:
        # By the constructor, which looks at the digest.
        return Opaque, (self.data, self.sha256, self.type, self.repr)

    def __repr__(self) -> str:
        return f"<Opaque {self.type or 'object'} of {len(self.data)} bytes, sha256 {self.sha256[:12]}: {self.repr}>"
