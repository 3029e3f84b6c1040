"""Bytes of a worker as a value of the declared shape. Every byte is hostile: this module and those it names are the wall.

Sizes and the memory a head could unfold to are checked before msgpack sees it; then the plain data is walked by shape with
exact type checks under a budget of work. Whatever is not as the encoder writes it ends as ValueRefused, and nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import msgpack

from agex_protocol import budget, libraries, library_values, references
from agex_protocol.budget import Caps, Work, check_int, collector_paused
from agex_protocol.bulk import BARE, FEW, PLAIN, all_plain, all_plain_lists, common_names
from agex_protocol.errors import AgexError, ValueRefused
from agex_protocol.keys import check_keys
from agex_protocol.leaves import LEAVES, unpack_int
from agex_protocol.plain import NOT_PLAIN, unpack_plain
from agex_protocol.probing import charge_dict, charge_set
from agex_protocol.shapes import ANY, ANY_KINDS, Shape

_C = TypeVar("_C", set[Any], frozenset[Any], dict[Any, Any])
Build = Callable[[int, Any], object]
BuildAll = Callable[[int, list[dict[str, Any]]], list[Any]]


def decode(
    head: bytes,
    buffers: Sequence[memoryview],
    shape: Shape,
    *,
    caps: Caps | None = None,
    build: Build | None = None,
    build_all: BuildAll | None = None,
    adopt: references.Adopt | None = None,
    find: references.Find | None = None,
    borrow: bool = False,
) -> Any:
    """The value; nothing in it shares memory with `buffers`, unless `borrow` says that they are nobody else's any more.

    `build(index, parts)` makes the instance of a declared class: of a record from {field: value}, of an enum from a
    member's name, of a flag from a number. Its AgexErrors pass; without it the parts themselves are the value.
    `build_all(index, rows)` does the same for many records at once, where that is faster. `adopt` makes what stands for an
    object that stayed behind or is sealed, and `find(target)` gives the supervisor's own object that a worker names; without
    them there may be none.
    """
    caps = caps or Caps()
    if not buffers and len(head) <= caps.head_bytes and (plain := unpack_plain(head, shape)) is not NOT_PLAIN:
        return plain
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    if not borrow:
        views = [view.toreadonly() for view in views]  # what can be written is taken as the value's own
    refusal = ""
    with collector_paused():
        try:
            caps.check_sizes(head, [len(view) for view in views])
            decoder = _Decoder(views, caps, Work(len(head)), build or _parts, build_all, adopt, find)
            return decoder.whole(head, shape)
        except AgexError:
            raise
        except Exception as error:
            refusal = f"what the worker sent is not {shape}: {_bounded(error)}"
    # Not within the handler: the error holds all that was unpacked, and the collector would walk it.
    raise ValueRefused(refusal)


class _Decoder:
    """The state of one value's decoding. Every method named for a kind reads that kind's part of the head."""

    def __init__(
        self,
        buffers: list[memoryview],
        caps: Caps,
        work: Work,
        build: Build,
        build_all: BuildAll | None,
        adopt: references.Adopt | None,
        find: references.Find | None,
    ) -> None:
        self._buffers = dict(enumerate(buffers))
        self._max_depth = caps.depth
        self._depth = 0
        self._build = build
        self._build_all = build_all
        self.adopt = adopt
        self.find = find
        self._known: dict[tuple[int, tuple[str, ...]], list[Shape]] = {}
        self._named: dict[int, Shape] = {}
        self.charge = work.charge

    def whole(self, head: bytes, shape: Shape) -> Any:
        """The value of a head, and of every buffer: one that no part of it named is refused."""
        counter = budget.container_counter(head)
        wire = msgpack.unpackb(
            head, raw=False, use_list=True, strict_map_key=True, max_ext_len=0, max_map_len=0, list_hook=counter
        )
        value = self.unpack(wire, shape)
        if self._buffers:
            raise ValueError(f"{len(self._buffers)} buffers belong to no part of it")
        return value

    def get(self, wire: object) -> memoryview:
        """Bytes that lie in the head, or in a buffer: each is named once. Those that can be written are the value's own."""
        if type(wire) is bytes:
            return memoryview(wire)
        if type(wire) is not int or wire not in self._buffers:
            raise ValueError("not bytes, and not a buffer that is still unread")
        return self._buffers.pop(wire)

    def enter(self, units: int) -> None:
        self.charge(units)
        self._depth += 1
        if self._depth > self._max_depth:
            raise ValueError(f"nested deeper than {self._max_depth}")

    def leave(self) -> None:
        self._depth -= 1

    def get_any(self, wire: object) -> list[Any]:
        return self._items(wire, ANY)

    def unpack(self, wire: Any, shape: Shape) -> Any:
        leaf = LEAVES.get(shape.kind)
        if leaf is None:
            return _UNPACKERS[shape.kind](self, wire, shape)
        self.charge(leaf.work)
        return leaf.unpack(wire)

    # --- plain values -------------------------------------------------------------------------------------------------

    def unpack_none(self, wire: Any, shape: Shape) -> None:
        if wire is not None:
            raise ValueError(f"a {type(wire).__name__} where nothing is expected")

    def unpack_bool(self, wire: Any, shape: Shape) -> bool:
        return cast(bool, _exactly(wire, bool))

    def unpack_int(self, wire: Any, shape: Shape) -> int:
        number = unpack_int(wire)
        check_int(number)
        return number

    def unpack_float(self, wire: Any, shape: Shape) -> float:
        return cast(float, _exactly(wire, float))

    def unpack_str(self, wire: Any, shape: Shape) -> str:
        return wire if type(wire) is str else str(self.get(wire), "utf-8")

    def unpack_bytes(self, wire: Any, shape: Shape) -> bytes:
        return wire if type(wire) is bytes else bytes(self.get(wire))

    def unpack_literal(self, wire: Any, shape: Shape) -> Any:
        self.charge(1)
        return shape.values[_place(wire, len(shape.values))]

    def unpack_enum(self, wire: Any, shape: Shape) -> Any:
        if type(wire) is not str or wire not in shape.names:
            raise ValueError(f"not the name of a member of {shape}")
        self.charge(budget.ENUM_WORK)
        return self._build(shape.index, wire)

    def unpack_flag(self, wire: Any, shape: Shape) -> Any:
        self.charge(budget.FLAG_WORK)
        return self._build(shape.index, _exactly(wire, int))

    # --- containers ---------------------------------------------------------------------------------------------------

    def unpack_list(self, wire: Any, shape: Shape) -> list[Any]:
        return self._items(wire, shape.args[0])

    def unpack_tuple_of(self, wire: Any, shape: Shape) -> tuple[Any, ...]:
        return tuple(self._items(wire, shape.args[0]))

    def unpack_set(self, wire: Any, shape: Shape) -> set[Any]:
        items = self._items(wire, shape.args[0])
        check_keys(items, charge_set, self.charge)
        return _complete(set(items), items)

    def unpack_frozenset(self, wire: Any, shape: Shape) -> frozenset[Any]:
        items = self._items(wire, shape.args[0])
        check_keys(items, charge_set, self.charge)
        return _complete(frozenset(items), items)

    def unpack_deque(self, wire: Any, shape: Shape) -> deque[Any]:
        longest, items = _pair(wire)
        if longest is not None and (type(longest) is not int or not 0 <= longest < 1 << 62):
            raise ValueError("not the length of a deque")
        self.charge(1)
        return deque(self._items(items, shape.args[0]), longest)

    def unpack_tuple(self, wire: Any, shape: Shape) -> tuple[Any, ...]:
        parts = cast("list[Any]", _exactly(wire, list))
        if len(parts) != len(shape.args):
            raise ValueError(f"{len(parts)} items for a tuple of {len(shape.args)}")
        self.enter(budget.CONTAINER_WORK)
        items = tuple(self.unpack(part, wanted) for part, wanted in zip(parts, shape.args, strict=True))
        self.leave()
        return items

    def unpack_dict(self, wire: Any, shape: Shape) -> dict[Any, Any]:
        heads, parts = _pair(wire)
        self.charge(budget.DICT_WORK)
        keys = self._items(heads, shape.args[0])
        check_keys(keys, charge_dict, self.charge)
        values = self._items(parts, shape.args[1])
        return _complete(dict(zip(keys, values, strict=True)), keys)

    def unpack_slice(self, wire: Any, shape: Shape) -> slice:
        start, stop, step = self._items(wire, ANY)
        return slice(start, stop, step)

    def unpack_record(self, wire: Any, shape: Shape) -> Any:
        match wire:
            case [list(names), list(parts)]:
                beyond: dict[Any, Any] = {}
            case [list(names), list(parts), extra] if shape.extra == "allow":
                beyond = self.unpack_dict(extra, ANY_KINDS["dict"])
            case _:
                raise ValueError(f"not the fields of {shape}")
        shapes = self._field_shapes(names, shape)
        if any(type(name) is not str or name in shape.names for name in beyond):
            raise ValueError(f"not what {shape} may hold beyond its fields")
        self.enter(budget.record_work(len(shape.names)))
        fields = [
            part if PLAIN.get(wanted.kind) is type(part) else self.unpack(part, wanted)
            for part, wanted in zip(parts, shapes, strict=True)
        ]
        self.leave()
        return self._build(shape.index, {**dict(zip(names, fields, strict=True)), **beyond})

    def unpack_union(self, wire: Any, shape: Shape) -> Any:
        place, part = _pair(wire)
        self.charge(1)
        return self.unpack(part, shape.args[_place(place, len(shape.args))])

    def unpack_scalar(self, wire: Any, shape: Shape) -> Any:
        self.charge(2 if type(wire) is bytes else 1)
        if type(wire) is bytes and any(arm.kind == "int" for arm in shape.args):
            return self.unpack_int(wire, shape)
        if not all_plain([wire], shape):
            raise ValueError(f"a {type(wire).__name__} where {shape} is expected")
        return wire

    def unpack_optional(self, wire: Any, shape: Shape) -> Any:
        return None if wire is None else self.unpack(wire, shape.args[0])

    def unpack_scope(self, wire: Any, shape: Shape) -> Any:
        outside = self._named
        self._named = {named.index: named for named in shape.args[1:]}
        value = self.unpack(wire, shape.args[0])
        self._named = outside
        return value

    def unpack_ref(self, wire: Any, shape: Shape) -> Any:
        self.enter(0)
        value = self.unpack(wire, self._named[shape.index])
        self.leave()
        return value

    def unpack_alias(self, wire: Any, shape: Shape) -> Any:
        return self.unpack(wire, shape.args[0])

    def unpack_any(self, wire: Any, shape: Shape) -> Any:
        """Plain data as it is; all else says its kind, and the closed list of kinds says how to go on."""
        if type(wire) in BARE:
            return wire
        kind, part = _pair(wire)
        if type(kind) is not str or kind not in ANY_KINDS:
            raise ValueError("not a kind that crosses undeclared")
        self.charge(1)
        return self.unpack(part, ANY_KINDS[kind])

    # --- what they share ----------------------------------------------------------------------------------------------

    def _items(self, wire: Any, shape: Shape) -> list[Any]:
        """A list of one shape; what msgpack read as it should be is passed on as it is, all at once."""
        parts = cast("list[Any]", _exactly(wire, list))
        self.charge(budget.CONTAINER_WORK)
        return self._many(parts, shape, 1)

    def _many(self, parts: list[Any], shape: Shape, each: int) -> list[Any]:
        """Parts of one shape, for `each` so much work beyond its own unless all are plain."""
        if all_plain(parts, shape):
            return parts
        if all_plain_lists(parts, shape):
            self.charge(len(parts))
            return parts if shape.kind == "list" else list(map(tuple, parts))
        self.enter(each * (len(parts) + budget.NESTED_WORK))
        if shape.kind == "ref":
            shape = self._named[shape.index]
        if shape.kind == "tuple" and len(parts) >= FEW:
            self.charge(budget.CONTAINER_WORK * len(parts))
            items = self._rows(parts, shape.args)
        elif shape.kind == "record" and (names := common_names(parts)) is not None:
            items = self._instances(names, parts, shape)
        else:
            unpack = self.unpack
            items = [unpack(part, shape) for part in parts]
        self.leave()
        return items

    def _rows(self, parts: list[Any], shapes: Sequence[Shape]) -> list[tuple[Any, ...]]:
        """Rows of the same length, read column by column."""
        if set(map(type, parts)) != {list} or set(map(len, parts)) != {len(shapes)}:
            raise ValueError(f"not rows of {len(shapes)}")
        columns = [
            self._many(list(column), shape, 0) for column, shape in zip(zip(*parts, strict=True), shapes, strict=True)
        ]
        return list(zip(*columns, strict=True)) if columns else [()] * len(parts)

    def _instances(self, names: Any, parts: list[Any], shape: Shape) -> list[Any]:
        """Records that all have the same fields, which is usual: they are read column by column too."""
        shapes = self._field_shapes(names, shape)
        self.charge((budget.record_work(len(shape.names)) - budget.MADE_TOGETHER_SAVES) * len(parts))
        rows = self._rows([part[1] for part in parts], shapes)
        fields = [dict(zip(names, row, strict=True)) for row in rows]
        if self._build_all is not None:
            return self._build_all(shape.index, fields)
        return [self._build(shape.index, each) for each in fields]

    def _field_shapes(self, names: Any, shape: Shape) -> list[Shape]:
        """The shapes of these fields, looked at once for all records that have the same."""
        known = (id(shape), tuple(cast("list[str]", _exactly(names, list))))
        if known not in self._known:
            self._known[known] = _field_shapes(names, shape)
        return self._known[known]


def _exactly(wire: object, wanted: type[Any]) -> object:
    if type(wire) is not wanted:
        raise ValueError(f"a {type(wire).__name__} where a {wanted.__name__} is expected")
    return wire


def _field_shapes(names: Any, shape: Shape) -> list[Shape]:
    """The shapes of these fields; ValueError unless each is a field, none is double and none that is needed is missing."""
    if names == list(shape.names):
        return list(shape.args)
    if (
        type(names) is not list
        or not all(type(name) is str and name in shape.names for name in names)
        or len(set(names)) != len(names)
    ):
        raise ValueError(f"not the fields of {shape}")
    if not set(shape.needed) <= set(names):
        raise ValueError(f"fields of {shape} are missing")
    return [shape.args[shape.names.index(name)] for name in names]


def _pair(wire: object) -> tuple[Any, Any]:
    if type(wire) is not list or len(wire) != 2:
        raise ValueError("not a pair")
    first, second = wire
    return first, second


def _place(wire: object, count: int) -> int:
    if type(wire) is not int or not 0 <= wire < count:
        raise ValueError(f"not a number below {count}")
    return wire


def _complete(built: _C, keys: list[Any]) -> _C:
    if len(built) != len(keys):
        raise ValueError("the same key twice")
    return built


def _parts(index: int, parts: Any) -> object:
    return parts


def _bounded(error: Exception) -> str:
    text = f"{type(error).__name__}: {error}" if type(error) is not ValueError else str(error)
    return text if len(text) <= 300 else text[:297] + "..."


_KINDS = (
    *("any", "none", "bool", "int", "float", "str", "bytes", "literal", "enum", "flag", "list", "tuple_of", "set"),
    *("frozenset", "deque", "tuple", "dict", "slice", "record", "union", "scalar", "optional", "scope", "ref", "alias"),
)
_UNPACKERS: dict[str, Callable[[_Decoder, Any, Shape], Any]] = {
    **{kind: getattr(_Decoder, f"unpack_{kind}") for kind in _KINDS},
    "nothing": _Decoder.unpack_none,
    **dict.fromkeys(("ndarray", "npscalar"), library_values.unpack_numpy),
    **dict.fromkeys(("frame", "series", "index", "timestamp", "duration", "missing"), library_values.unpack_pandas),
    **{"handle": references.unpack_handle, "opaque": references.unpack_opaque, "pickle": references.unpack_pickle},
    "hosted": references.unpack_hosted,
    **dict.fromkeys(libraries.KINDS, library_values.unpack_library),
}
