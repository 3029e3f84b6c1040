"""`cache` in agent code: a mapping that outlives the action and the task. Every read gives a new object; what was changed
is stored by assigning it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from agex_protocol.buffers import Bytes
from agex_protocol.decode import decode
from agex_protocol.encode import encode
from agex_protocol.errors import NotPortable
from agex_protocol.shapes import ANY
from agex_worker.printing import glimpse
from agex_worker.sandbox.own_pickles import opening, seal_own
from agex_worker.tracebacks import bounded, type_name

MAX_KEY_CHARS = 200
_MAX_REPR_CHARS = 400
_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Packed:
    """A value on its way into the cache; the fields are those of Remember."""

    form: Literal["plain", "sealed"]
    type: str
    repr: str
    head: bytes
    buffers: list[Bytes]


class Backend(Protocol):
    """Where entries are. KeyError for a key without one; the errors of a full cache pass to agent code."""

    def recall(self, key: str) -> object: ...

    def remember(self, key: str, packed: Packed) -> None: ...

    def forget(self, key: str) -> None: ...

    def recount(self) -> list[tuple[str, str]]: ...


class Cache(MutableMapping[str, Any]):
    """What agent code sees; what stands behind it is in no attribute that code can name.

    scope: the namespace of the action as it was before its code ran.
    """

    __slots__ = ("__backend__", "__scope__")

    def __init__(self, backend: Backend, scope: Mapping[str, Any]) -> None:
        object.__setattr__(self, "__backend__", backend)
        object.__setattr__(self, "__scope__", scope)

    def __getitem__(self, key: str) -> Any:
        with opening(_scope(self)):
            return _backend(self).recall(_checked(key))

    def __setitem__(self, key: str, value: Any) -> None:
        _backend(self).remember(_checked(key), packed(value, _scope(self)))

    def __delitem__(self, key: str) -> None:
        _backend(self).forget(_checked(key))

    def __contains__(self, key: object) -> bool:
        return key in [each for each, _ in _backend(self).recount()]

    def __iter__(self) -> Iterator[str]:
        return iter([key for key, _ in _backend(self).recount()])

    def __len__(self) -> int:
        return len(_backend(self).recount())

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cache.{name} = ... stores nothing; write cache[{name!r}] = ...")

    def __reduce__(self) -> Any:
        raise TypeError("the cache itself is no value that can be sent or stored")

    def __repr__(self) -> str:
        """Keys and types: a value may be large, and to show it would be to open it."""
        try:
            entries = _backend(self).recount()
        except RuntimeError as error:
            return f"<cache: {error}>"
        more = [f"... {len(entries) - _SHOWN} more"] if len(entries) > _SHOWN else []
        return "<cache {" + ", ".join([f"{key!r}: {kind}" for key, kind in entries[:_SHOWN]] + more) + "}>"


Cache.__module__ = "builtins"


def packed(value: object, scope: Mapping[str, Any]) -> Packed:
    """The value as plain data where it is that, and else sealed. TypeError says why it is neither."""
    kind = type_name(value)
    try:
        head, buffers = encode(value, ANY)
        return Packed("plain", kind, glimpse(value, _MAX_REPR_CHARS), head, list(buffers))
    except NotPortable:
        pass  # it stays sealed, then
    try:
        return Packed("sealed", kind, glimpse(value, _MAX_REPR_CHARS), b"-", [seal_own(value, scope)])
    except ValueError as error:
        raise TypeError(f"the cache cannot keep this: {bounded(str(error), 1000)}") from None


def restored(head: bytes, *buffers: memoryview) -> object:
    """A plain entry as a value. Named in pickles that the supervisor makes of them."""
    return decode(head, [memoryview(bytearray(each)) for each in buffers], ANY)


def _checked(key: object) -> str:
    if type(key) is not str:
        raise TypeError(f"a key of the cache is a str, not {type_name(key)}")
    if not 1 <= len(key) <= MAX_KEY_CHARS or key.startswith("__") or not key.isprintable():
        raise ValueError(
            f"{key[:60]!r} cannot be a key of the cache: 1 to {MAX_KEY_CHARS} printable characters that do not begin with"
            " two underscores"
        )
    return key


def _backend(cache: Cache) -> Backend:
    backend: Backend = object.__getattribute__(cache, "__backend__")
    return backend


def _scope(cache: Cache) -> Mapping[str, Any]:
    scope: Mapping[str, Any] = object.__getattribute__(cache, "__scope__")
    return scope
