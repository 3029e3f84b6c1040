"""A value of the declared shape as bytes: a msgpack head and raw buffers. Runs in the worker, by the supervisor's shape.

The head is the value in shape order and names nothing but record fields; only below "any" does each value say its kind.
It is as lenient as the contract: an int for a float, a mapping for a model, and what numpy and pandas make of plain numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import Enum
from typing import Any, cast

import msgpack

from agex_protocol import budget, instances, libraries, library_values, references
from agex_protocol.budget import Caps, Work, collector_paused
from agex_protocol.bulk import BARE, PLAIN, all_plain, all_plain_lists, common_names, plain_types
from agex_protocol.errors import NotPortable
from agex_protocol.keys import check_keys
from agex_protocol.kinds import as_plain, kind_undeclared, pandas_kind, reference
from agex_protocol.leaves import LEAVES, pack_int
from agex_protocol.misfit import Misfit, hint, named, short, unlike
from agex_protocol.plain import pack_plain
from agex_protocol.probing import charge_dict, charge_set
from agex_protocol.shapes import ANY, ANY_KINDS, Shape

Buffer = bytes | memoryview


def encode(
    value: object,
    shape: Shape,
    *,
    max_bytes: int = 256 << 20,
    name: str = "result",
    keep: references.Keep | None = None,
) -> tuple[bytes, list[Buffer]]:
    """Head and buffers of a value; `name` is what the messages call it, `keep` has what stays behind or is sealed.

    NotPortable says where in the value something does not fit, what it is, what was wanted and what to do.
    """
    plain = pack_plain(value, shape)
    if plain is not None and len(plain) <= max_bytes:
        return plain, []
    encoder = _Encoder(Caps.within(max_bytes), keep)
    try:
        with collector_paused():
            head = cast(bytes, msgpack.packb(encoder.pack(value, shape)))
        encoder.settle(head)
    except UnicodeEncodeError:
        raise NotPortable(
            f"{name}: a text holds half of a surrogate pair, which has no UTF-8 form; replace it"
        ) from None
    except RecursionError:
        raise NotPortable(f"{name}: nested too deep, or it contains itself") from None
    except Misfit as misfit:
        raise NotPortable(f"{name}{misfit.path}: {misfit.reason}") from None
    except ValueError as error:
        raise NotPortable(f"{name}: {error}") from None
    return head, encoder.buffers


class _Encoder:
    """The state of one value's encoding. Every method named for a kind gives that kind's part of the head."""

    def __init__(self, caps: Caps, keep: references.Keep | None) -> None:
        self.buffers: list[Buffer] = []
        self.keep = keep
        self._caps = caps
        self._work = 0
        self._depth = 0
        self._attempts = 0
        self._named: dict[int, Shape] = {}

    def settle(self, head: bytes) -> None:
        """Hold the whole against what a decoder accepts."""
        self._caps.check_sizes(head, [len(buffer) for buffer in self.buffers])
        Work(len(head)).charge(self._work)

    def charge(self, units: int) -> None:
        self._work += units
        if self._work > budget.MOST_WORK:
            raise ValueError(budget.TOO_MUCH_WORK)

    def put(self, data: Buffer) -> bytes | int:
        if len(data) < _INLINE_BYTES:
            return bytes(data)
        self.buffers.append(data)
        return len(self.buffers) - 1

    def put_any(self, values: list[Any]) -> list[Any]:
        return self._items(values, ANY)

    def pack(self, value: Any, shape: Shape) -> Any:
        leaf = LEAVES.get(shape.kind)
        if leaf is None:
            return _PACKERS[shape.kind](self, value, shape)
        if type(value) is not leaf.type:
            value = as_plain(value, leaf.type)
            datelike = shape.kind == "date" and isinstance(value, datetime)
            if not isinstance(value, leaf.type) or datelike or pandas_kind(value) == "missing":
                raise unlike(value, shape)
        self._work += leaf.work
        try:
            return leaf.pack(value)
        except KeyError:
            raise unlike(value, shape) from None

    # --- plain values -------------------------------------------------------------------------------------------------

    def pack_none(self, value: Any, shape: Shape) -> None:
        if value is not None:
            raise unlike(value, shape)

    def pack_nothing(self, value: Any, shape: Shape) -> None:
        """No value is wanted, whatever there is."""

    def pack_bool(self, value: Any, shape: Shape) -> bool:
        value = as_plain(value, bool)
        if type(value) is not bool:
            raise unlike(value, shape)
        return value

    def pack_int(self, value: Any, shape: Shape) -> int | bytes:
        value = as_plain(value, int)
        if not isinstance(value, int) or isinstance(value, bool):
            raise unlike(value, shape)
        return pack_int(value)

    def pack_float(self, value: Any, shape: Shape) -> float:
        value = as_plain(value, float)
        if not isinstance(value, float | int) or isinstance(value, bool):
            raise unlike(value, shape)
        try:
            return float(value)
        except OverflowError:
            raise Misfit("an int too large for a float") from None

    def pack_str(self, value: Any, shape: Shape) -> str | int:
        if not isinstance(value, str):
            raise unlike(value, shape)
        text = str.__str__(value)
        return text if len(text) < _INLINE_CHARACTERS else cast("int", self.put(text.encode()))

    def pack_bytes(self, value: Any, shape: Shape) -> bytes | int:
        if not isinstance(value, bytes):
            raise unlike(value, shape)
        return self.put(bytes(value))

    def pack_literal(self, value: Any, shape: Shape) -> int:
        for place, wanted in enumerate(shape.values):
            if type(value) is type(wanted) and value == wanted:
                self._work += 1
                return place
        raise unlike(value, shape)

    def pack_enum(self, value: Any, shape: Shape) -> str:
        if not isinstance(value, Enum) or reference(type(value)) != shape.cls or value.name not in shape.names:
            raise unlike(value, shape, f"; give one of {', '.join(shape.names[:20])} as {shape}.NAME")
        self._work += budget.ENUM_WORK
        return value.name

    def pack_flag(self, value: Any, shape: Shape) -> int:
        if not isinstance(value, Enum) or reference(type(value)) != shape.cls:
            raise unlike(value, shape)
        self._work += budget.FLAG_WORK
        return cast(int, value.value)

    # --- containers ---------------------------------------------------------------------------------------------------

    def pack_list(self, value: Any, shape: Shape) -> list[Any]:
        return self._sequence(value, shape, list)

    def pack_tuple_of(self, value: Any, shape: Shape) -> list[Any]:
        return self._sequence(value, shape, tuple)

    def pack_set(self, value: Any, shape: Shape) -> list[Any]:
        return self._unordered(value, shape, set)

    def pack_frozenset(self, value: Any, shape: Shape) -> list[Any]:
        return self._unordered(value, shape, frozenset)

    def pack_deque(self, value: Any, shape: Shape) -> list[Any]:
        if not isinstance(value, deque):
            raise unlike(value, shape)
        self._work += 1
        return [value.maxlen, self._items(list(value), shape.args[0])]

    def pack_tuple(self, value: Any, shape: Shape) -> list[Any]:
        if not isinstance(value, tuple):
            raise unlike(value, shape)
        items: tuple[Any, ...] = value
        if len(items) != len(shape.args):
            raise Misfit(f"a tuple of {len(items)}, wanted {shape} with exactly {len(shape.args)}")
        self._work += budget.CONTAINER_WORK
        return self._each(zip(items, shape.args, strict=True), lambda place: f"[{place}]")

    def pack_dict(self, value: Any, shape: Shape) -> list[Any]:
        if not isinstance(value, dict):
            raise unlike(value, shape)
        entries: dict[Any, Any] = value
        keys, wanted = list(entries), shape.args[0]
        self._work += budget.DICT_WORK
        check_keys(keys, charge_dict, self.charge, margin=2)
        heads = self._items(keys, wanted, lambda place: f" key {short(keys[place])}")
        return [heads, self._items(list(entries.values()), shape.args[1], lambda place: f"[{short(keys[place])}]")]

    def pack_slice(self, value: Any, shape: Shape) -> list[Any]:
        if not isinstance(value, slice):
            raise unlike(value, shape)
        ends: Any = value
        return self._items([ends.start, ends.stop, ends.step], ANY)

    def pack_record(self, value: Any, shape: Shape) -> list[Any]:
        """[names, values], and after them what a model that allows it holds beyond its fields."""
        found, beyond = instances.parts_of(value, shape)
        missing = [name for name in shape.needed if name not in found]
        if missing:
            raise Misfit(f"{named(value)} without {', '.join(map(repr, missing))}, wanted {shape}")
        self._work += budget.record_work(len(shape.names))
        shapes = dict(zip(shape.names, shape.args, strict=True))
        names = list(found)
        step = {"typeddict": "[{!r}]", "root": ""}.get(shape.flavour, ".{}")
        parts = [(found[name], shapes[name]) for name in names]
        values = self._each(parts, lambda place: step.format(names[place]))
        return [names, values, *([self.pack_dict(beyond, ANY_KINDS["dict"])] if beyond else [])]

    def pack_union(self, value: Any, shape: Shape) -> list[Any]:
        """[which, value]. A class that is named exactly goes first, what merely fits after it."""
        self._work += 1
        depth, buffers, work = self._depth, len(self.buffers), self._work
        closest: Misfit | None = None
        for place in sorted(range(len(shape.args)), key=lambda place: not _is_of(value, shape.args[place])):
            try:
                return [place, self.pack(value, shape.args[place])]
            except ValueError as error:
                misfit = Misfit.of(error)
            if closest is None or len(misfit.path) > len(closest.path):
                closest = misfit
            self._depth, self._work = depth, work
            del self.buffers[buffers:]
            self._attempts += 1
            if self._attempts > _MAX_ATTEMPTS:
                raise Misfit(f"too many ways to read it as {shape}; declare the type more narrowly")
        raise closest if closest is not None and closest.path else unlike(value, shape)

    def pack_scalar(self, value: Any, shape: Shape) -> Any:
        """One of several plain types, as itself: the type it has on the wire says which."""
        self._work += 1 if type(value) in BARE and not _is_long(value) else 2
        for arm in shape.args:
            if type(value) is PLAIN[arm.kind]:
                return pack_int(value) if arm.kind == "int" else value
        for arm in shape.args:
            try:
                packed = self.pack(value, arm)
            except ValueError:
                continue
            return str.__str__(value) if arm.kind == "str" else packed
        raise unlike(value, shape)

    def pack_optional(self, value: Any, shape: Shape) -> Any:
        return None if value is None else self.pack(value, shape.args[0])

    def pack_scope(self, value: Any, shape: Shape) -> Any:
        outside = self._named
        self._named = {named.index: named for named in shape.args[1:]}
        try:
            return self.pack(value, shape.args[0])
        finally:
            self._named = outside

    def pack_ref(self, value: Any, shape: Shape) -> Any:
        if self._depth >= self._caps.depth:
            raise Misfit(f"nested deeper than {self._caps.depth}, or it contains itself")
        self._depth += 1
        packed = self.pack(value, self._named[shape.index])
        self._depth -= 1
        return packed

    def pack_alias(self, value: Any, shape: Shape) -> Any:
        return self.pack(value, shape.args[0])

    def pack_any(self, value: Any, shape: Shape) -> Any:
        if type(value) in BARE and not _is_long(value):
            return value
        kind = kind_undeclared(value)
        if kind is None:
            raise Misfit(f"{named(value)}, which has no form on the wire unless it is declared{hint(value)}")
        self._work += 1
        return [kind, self.pack(value, ANY_KINDS[kind])]

    # --- what they share ----------------------------------------------------------------------------------------------

    def _sequence(self, value: Any, shape: Shape, wanted: type[Any]) -> list[Any]:
        if not isinstance(value, wanted):
            raise unlike(value, shape)
        return self._items(list(cast(Iterable[Any], value)), shape.args[0])

    def _unordered(self, value: Any, shape: Shape, wanted: type[Any]) -> list[Any]:
        if not isinstance(value, wanted):
            raise unlike(value, shape)
        items = list(cast(Iterable[Any], value))
        check_keys(items, charge_set, self.charge, margin=2)
        return self._items(items, shape.args[0], lambda place: f"{{{short(items[place])}}}")

    def _items(self, values: list[Any], shape: Shape, step: Callable[[int], str] = "[{}]".format) -> list[Any]:
        """Many values of one shape; those that msgpack knows go as they are, all at once."""
        self._work += budget.CONTAINER_WORK
        types = set(map(type, values))
        if types <= plain_types(shape) and not (types & _LONG and any(map(_is_long, values))):
            return values
        work = self._work
        packed = self._each(((value, shape) for value in values), step)
        if all_plain(packed, shape) or all_plain_lists(packed, shape):
            self._work = work + (len(packed) if shape.kind in ("list", "tuple_of") else 0)
        else:
            self._work += budget.NESTED_WORK + len(packed) - self._saved(packed, shape)
        return packed

    def _saved(self, packed: list[Any], shape: Shape) -> int:
        """What it saves a decoder that these are records which it can make together."""
        shape = self._named[shape.index] if shape.kind == "ref" else shape
        together = shape.kind == "record" and common_names(packed) is not None
        return budget.MADE_TOGETHER_SAVES * len(packed) if together else 0

    def _each(self, pairs: Iterable[tuple[Any, Shape]], step: Callable[[int], str]) -> list[Any]:
        if self._depth >= self._caps.depth:
            raise Misfit(f"nested deeper than {self._caps.depth}, or it contains itself")
        self._depth += 1
        packed: list[Any] = []
        for value, shape in pairs:
            if PLAIN.get(shape.kind) is type(value) and not _is_long(value):
                packed.append(value)
                continue
            try:
                packed.append(self.pack(value, shape))
            except ValueError as error:
                raise Misfit.of(error).below(step(len(packed))) from None
        self._depth -= 1
        return packed


def _is_of(value: Any, shape: Shape) -> bool:
    if shape.kind in ("record", "enum", "flag", "ref"):
        return reference(type(value)) == shape.cls
    return shape.kind != "any" and kind_undeclared(value) == shape.kind


def _is_long(value: Any) -> bool:
    """Whether a plain value is too long to lie in the head as it is."""
    if type(value) is int:
        return not -(1 << 63) <= value < 1 << 64
    return type(value) in (str, bytes) and len(value) >= (_INLINE_CHARACTERS if type(value) is str else _INLINE_BYTES)


_INLINE_BYTES = 4096
_INLINE_CHARACTERS = 65_536
_MAX_ATTEMPTS = 1_000_000

_LONG = frozenset({int, str, bytes})
_KINDS = (
    *("any", "none", "nothing", "bool", "int", "float", "str", "bytes", "literal", "enum", "flag", "list", "tuple_of"),
    *("set", "frozenset", "deque", "tuple", "dict", "slice", "record", "union", "scalar", "optional", "scope", "ref"),
    "alias",
)
_PACKERS: dict[str, Callable[[_Encoder, Any, Shape], Any]] = {
    **{kind: getattr(_Encoder, f"pack_{kind}") for kind in _KINDS},
    **dict.fromkeys(("frame", "series", "index", "timestamp", "duration", "missing"), library_values.pack_pandas),
    **{"handle": references.pack_handle, "opaque": references.pack_opaque, "pickle": references.pack_pickle},
    "hosted": references.pack_hosted,
    **{"ndarray": library_values.pack_ndarray, "npscalar": library_values.pack_npscalar},
    **dict.fromkeys(libraries.KINDS, library_values.pack_library),
}
