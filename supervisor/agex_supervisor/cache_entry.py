"""One entry of a session's cache: bytes from somebody, and an envelope that only this side writes.

The envelope says whose the bytes are. A sealed entry is a pickle: it is opened in workers, never here, unless code without a
worker (isolation "none") wrote it and such code reads it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from agex_protocol.budget import Caps
from agex_protocol.codec import pack, unpack
from agex_protocol.encode import encode
from agex_protocol.errors import AgexError, NotPortable, ProtocolError
from agex_protocol.shapes import ANY
from agex_supervisor.contract import Contract
from agex_supervisor.display import display
from agex_supervisor.errors import StateError
from agex_supervisor.opaque import Opaque

MAX_KEY_CHARS = 200
MAX_TYPE_CHARS = 200
MAX_REPR_CHARS = 500
# Of a pickle, which is a buffer: one without a head would be taken for a head itself.
SEALED_HEAD = b"-"

Form = Literal["plain", "sealed"]
Origin = Literal["none", "process", "kernel", "host"]


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """form: "plain" is a value as the shape Any encodes it, head and buffers; "sealed" has a pickle for its only buffer.

    origin: the isolation of the code that wrote it, or "host". `type` and `repr` are safe to look at.
    """

    form: Form
    origin: Origin
    type: str
    repr: str
    sha256: str
    head: bytes
    buffers: tuple[bytes, ...]

    @classmethod
    def of(
        cls, form: Form, origin: Origin, type: str, repr: str, head: bytes, buffers: tuple[bytes, ...]
    ) -> CacheEntry:
        """With its digest, and with what was said of it made harmless."""
        shown_type = display(type, limit=MAX_TYPE_CHARS, one_line=True)
        shown = display(repr, limit=MAX_REPR_CHARS)
        return cls(form, origin, shown_type, shown, _digest(head, buffers), head, buffers)

    @classmethod
    def from_bytes(cls, data: bytes) -> CacheEntry:
        """Back from `to_bytes`. StateError for what was changed since, or is none of this version's."""
        try:
            entry = unpack(cls, data)
        except ProtocolError as error:
            raise StateError(f"a cache entry cannot be read: {error}; it is damaged or of another version") from error
        if entry.sha256 != _digest(entry.head, entry.buffers):
            raise StateError("the data of a cache entry are not those of its sha256: they were changed")
        return entry

    def to_bytes(self) -> bytes:
        """The envelope and all in it, for a store."""
        return pack(self)

    @property
    def size_bytes(self) -> int:
        """What it takes, near enough."""
        return len(self.head) + sum(map(len, self.buffers)) + len(self.type) + len(self.repr) + 200


def of_host(value: object) -> CacheEntry:
    """An entry of the application's own: plain data, or an Opaque. StateError says what cannot be one."""
    if isinstance(value, Opaque):
        opaque: Opaque[Any] = value
        return CacheEntry.of("sealed", "host", opaque.type, opaque.repr, SEALED_HEAD, (opaque.data,))
    try:
        head, buffers = encode(value, ANY, name="the cache entry")
    except NotPortable as error:
        raise StateError(f"{error}; the application stores plain data or an agex.Opaque") from error
    return CacheEntry.of("plain", "host", type(value).__qualname__, repr(value), head, tuple(map(bytes, buffers)))


def for_host(entry: CacheEntry) -> Any:
    """What the application finds: plain data as such, everything else as an Opaque. StateError for bytes that are neither."""
    if entry.form == "sealed":
        opaque: Opaque[Any] = Opaque(_pickle_of(entry), type=entry.type, repr=entry.repr)
        return opaque
    return decoded(entry)


def decoded(entry: CacheEntry) -> Any:
    """The value of a plain entry, made anew. Its bytes may be a worker's: they are read as a result of it would be."""
    try:
        return _ANYTHING.decode(entry.head, [memoryview(each) for each in entry.buffers], Caps())
    except AgexError as error:
        raise StateError(f"a cache entry does not hold the plain data that it says: {error}") from error


def key_fault(key: str) -> str:
    """Why a text cannot be a key, or "" where it can."""
    if not 1 <= len(key) <= MAX_KEY_CHARS:
        return f"it has {len(key)} characters, and may have 1 to {MAX_KEY_CHARS}"
    if key.startswith("__"):
        return "it begins with two underscores"
    return "" if key.isprintable() else "it has characters that cannot be printed"


def _pickle_of(entry: CacheEntry) -> bytes:
    if len(entry.buffers) != 1 or entry.head != SEALED_HEAD:
        raise StateError("a sealed cache entry does not have the form of one")
    return entry.buffers[0]


def _digest(head: bytes, buffers: tuple[bytes, ...]) -> str:
    digest = hashlib.sha256()
    for part in (head, *buffers):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


_ANYTHING = Contract.of(Any, where="the cache entry")
