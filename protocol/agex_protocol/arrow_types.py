"""Types of Arrow that cross, as plain data. The list is closed: what is not on it is refused with what to cast it to."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

import pyarrow as pa

from agex_protocol.leaves import unpack_zone
from agex_protocol.parts import Reader, Writer

MAX_LENGTH = 1 << 40


def put_type(kind: Any, writer: Writer) -> list[Any]:
    """As `pack_type`, with what it costs to read."""
    wire = pack_type(kind)
    writer.charge(_nodes(wire) * _NODE_WORK)
    return wire


def get_type(wire: object, reader: Reader) -> Any:
    """Back from `put_type`. ValueError for anything else."""
    reader.charge(_nodes(wire) * _NODE_WORK)
    return unpack_type(wire)


def pack_type(kind: Any, depth: int = 0) -> list[Any]:
    """[name, ...] of a type. ValueError with a remedy for one that is not on the list."""
    name = _NAMES.get(kind.id)
    if depth > _MAX_DEPTH:
        raise ValueError(f"a type nested deeper than {_MAX_DEPTH}")
    # Arrow itself cannot show what has a scale beyond its precision's limit.
    if name in _SCALES and abs(kind.scale) > _SCALES[name]:
        raise ValueError(f"an array of {kind} cannot cross; cast it to a scale of at most {_SCALES[name]}")
    if name is None or (name.startswith("fixed_size") and not 1 <= _width(kind) <= _MAX_WIDTH):
        raise ValueError(f"an array of {kind} cannot cross; {_remedy(kind)}")
    if name in _PLAIN:
        return [name]
    if name in ("time32", "time64", "duration"):
        return [name, kind.unit]
    if name == "timestamp":
        return [name, kind.unit, _checked_zone(kind.tz)]
    if name in ("decimal128", "decimal256"):
        return [name, kind.precision, kind.scale]
    if name == "fixed_size_binary":
        return [name, _width(kind)]
    if name == "dictionary":
        return [name, pack_type(kind.index_type), pack_type(kind.value_type, depth + 1), bool(kind.ordered)]
    if name == "map":
        return [name, _pack_field(kind.key_field, depth), _pack_field(kind.item_field, depth), bool(kind.keys_sorted)]
    if name == "struct":
        return [name, [_pack_field(kind.field(place), depth) for place in range(kind.num_fields)]]
    item = _pack_field(kind.value_field, depth)
    return [name, item, _width(kind)] if name == "fixed_size_list" else [name, item]


def unpack_type(wire: object, depth: int = 0) -> Any:
    """Back from `pack_type`. ValueError for anything else."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"a type nested deeper than {_MAX_DEPTH}")

    def field(part: object) -> Any:
        match part:
            case [str(name), bool(nullable), inner]:
                return pa.field(name, unpack_type(inner, depth + 1), nullable)
            case _:
                raise ValueError("not a field of an Arrow type")

    match wire:
        case [str(name)] if name in _PLAIN:
            return _PLAIN[name]()
        case ["time32", "s" | "ms" as unit]:
            return pa.time32(unit)
        case ["time64", "us" | "ns" as unit]:
            return pa.time64(unit)
        case ["duration", "s" | "ms" | "us" | "ns" as unit]:
            return pa.duration(unit)
        case ["timestamp", "s" | "ms" | "us" | "ns" as unit, None | str() as zone]:
            return pa.timestamp(unit, _checked_zone(zone))
        case ["decimal128", int(precision), int(scale)] if 1 <= precision <= 38 and abs(scale) <= 38:
            return pa.decimal128(precision, scale)
        case ["decimal256", int(precision), int(scale)] if 1 <= precision <= 76 and abs(scale) <= 76:
            return pa.decimal256(precision, scale)
        case ["fixed_size_binary", int(width)] if 1 <= width <= _MAX_WIDTH:
            return pa.binary(width)
        case ["dictionary", [str(index)], values, bool(ordered)] if index in _INDICES:
            return pa.dictionary(_PLAIN[index](), unpack_type(values, depth + 1), ordered)
        case ["map", key, item, bool(ordered)]:
            return pa.map_(field(key), field(item), ordered)
        case ["struct", list(parts)]:
            return pa.struct([field(part) for part in cast(list[object], parts)])
        case ["list", item]:
            return pa.list_(field(item))
        case ["large_list", item]:
            return pa.large_list(field(item))
        case ["fixed_size_list", item, int(size)] if 1 <= size <= _MAX_WIDTH:
            return pa.list_(field(item), size)
        case _:
            raise ValueError("not an Arrow type that crosses")


def type_name(kind: Any) -> str | None:
    """By which name a type crosses; None for one that does not."""
    return _NAMES.get(kind.id)


def child_types(kind: Any) -> list[Any]:
    if pa.types.is_dictionary(kind):
        return [kind.index_type, kind.value_type]
    return [kind.field(place).type for place in range(kind.num_fields)]


def offset_width(kind: Any) -> int:
    """Bytes of an offset, 0 for a type that has none."""
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_list(kind) or pa.types.is_map(kind):
        return 4
    return 8 if pa.types.is_large_string(kind) or pa.types.is_large_binary(kind) or pa.types.is_large_list(kind) else 0


def is_listed(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind))


def bits(length: int) -> int:
    return (length + 7) // 8


def _pack_field(field: Any, depth: int) -> list[Any]:
    return [field.name, field.nullable, pack_type(field.type, depth + 1)]


def _width(kind: Any) -> int:
    return cast(int, kind.list_size if pa.types.is_fixed_size_list(kind) else kind.byte_width)


def _nodes(wire: object) -> int:
    return 1 + sum(map(_nodes, cast(list[object], wire))) if isinstance(wire, list) else 0


def _checked_zone(zone: str | None) -> str | None:
    """Arrow takes any text for a zone and fails when it is first needed."""
    if zone is not None and not _OFFSET.fullmatch(zone):
        unpack_zone(zone)
    return zone


def _remedy(kind: Any) -> str:
    if isinstance(kind, pa.BaseExtensionType):
        return "give its .storage"
    if "view" in str(kind):
        return f"cast it to {str(kind).partition('<')[0].replace('_view', '')}"
    return "cast it to a type of numbers, text, bytes, dates, lists, structs or dictionaries"


_NODE_WORK = 25
_MAX_DEPTH = 16
_MAX_WIDTH = 1 << 20
_SCALES = {"decimal128": 38, "decimal256": 76}
_OFFSET = re.compile("[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]")
_INDICES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_PLAIN: dict[str, Callable[[], Any]] = {
    "null": pa.null,
    "bool": pa.bool_,
    **{name: getattr(pa, name) for name in _INDICES},
    **{name: getattr(pa, name) for name in ("float16", "float32", "float64", "date32", "date64")},
    **{name: getattr(pa, name) for name in ("string", "large_string", "binary", "large_binary")},
}
_NAMES: dict[int, str] = {
    **{kind().id: name for name, kind in _PLAIN.items()},
    pa.time32("s").id: "time32",
    pa.time64("us").id: "time64",
    pa.duration("s").id: "duration",
    pa.timestamp("s").id: "timestamp",
    pa.decimal128(1).id: "decimal128",
    pa.decimal256(1).id: "decimal256",
    pa.binary(1).id: "fixed_size_binary",
    pa.dictionary(pa.int8(), pa.null()).id: "dictionary",
    pa.map_(pa.string(), pa.null()).id: "map",
    pa.struct([]).id: "struct",
    pa.list_(pa.null()).id: "list",
    pa.large_list(pa.null()).id: "large_list",
    pa.list_(pa.null(), 1).id: "fixed_size_list",
}
