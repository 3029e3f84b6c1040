"""A value of the declared shape as bytes: a msgpack head and raw buffers. Runs in the worker, by the supervisor's shape.

The head is the value in shape order and names nothing but record fields; only below "any" does each value say its kind.
It is as lenient as the contract: an int for a float, a mapping for a model, and what numpy and pandas make of plain numbers.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any, cast

import msgpack

from agex_protocol.budget import Caps, Work, check_keys
from agex_protocol.errors import NotPortable
from agex_protocol.leaves import LEAVES, pack_int
from agex_protocol.misfit import Misfit
from agex_protocol.shapes import ANY, ANY_KINDS, Shape

Buffer = bytes | memoryview


def encode(value: object, shape: Shape, *, max_bytes: int = 256 << 20, name: str = "result") -> tuple[bytes, list[Buffer]]:
    """Head and buffers of a value; `name` is what the messages call it.

    NotPortable says where in the value something does not fit, what it is, what was wanted and what to do.
    """
    encoder = _Encoder(Caps.within(max_bytes))
    try:
        head = cast(bytes, msgpack.packb(encoder.pack(value, shape)))
        encoder.settle(head)
    except UnicodeEncodeError:
        raise NotPortable(f"{name}: a text holds half of a surrogate pair, which has no UTF-8 form; replace it") from None
    except RecursionError:
        raise NotPortable(f"{name}: nested too deep, or it contains itself") from None
    except Misfit as misfit:
        raise NotPortable(f"{name}{misfit.path}: {misfit.reason}") from None
    except ValueError as error:
        raise NotPortable(f"{name}: {error}") from None
    return head, encoder.buffers


class _Encoder:
    """The state of one value's encoding. Every method named for a kind gives that kind's part of the head."""

    def __init__(self, caps: Caps) -> None:
        self.buffers: list[Buffer] = []
        self._caps = caps
        self._work = 0
        self._depth = 0
        self._attempts = 0
        self._records: dict[int, Shape] = {}

    def settle(self, head: bytes) -> None:
        """Hold the whole against what a decoder accepts."""
        self._caps.check_sizes(head, [len(buffer) for buffer in self.buffers])
        Work(len(head)).charge(self._work)

    def charge(self, units: int) -> None:
        self._work += units

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
        value = _plain(value, leaf.type)
        datelike = shape.kind == "date" and isinstance(value, datetime)
        if not isinstance(value, leaf.type) or datelike or _pandas_kind(value) == "missing":
            raise _unlike(value, shape)
        self._work += leaf.work
        try:
            return leaf.pack(value)
        except KeyError:
            raise _unlike(value, shape) from None

    # --- plain values -------------------------------------------------------------------------------------------------

    def pack_none(self, value: Any, shape: Shape) -> None:
        if value is not None:
            raise _unlike(value, shape)

    def pack_nothing(self, value: Any, shape: Shape) -> None:
        """No value is wanted, whatever there is."""

    def pack_bool(self, value: Any, shape: Shape) -> bool:
        value = _plain(value, bool)
        if type(value) is not bool:
            raise _unlike(value, shape)
        return value

    def pack_int(self, value: Any, shape: Shape) -> int | bytes:
        value = _plain(value, int)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _unlike(value, shape)
        return pack_int(value)

    def pack_float(self, value: Any, shape: Shape) -> float:
        value = _plain(value, float)
        if not isinstance(value, float | int) or isinstance(value, bool):
            raise _unlike(value, shape)
        try:
            return float(value)
        except OverflowError:
            raise Misfit("an int too large for a float") from None

    def pack_str(self, value: Any, shape: Shape) -> str | int:
        if not isinstance(value, str):
            raise _unlike(value, shape)
        text = str.__str__(value)
        return text if len(text) < _INLINE_CHARACTERS else cast("int", self.put(text.encode()))

    def pack_bytes(self, value: Any, shape: Shape) -> bytes | int:
        if not isinstance(value, bytes):
            raise _unlike(value, shape)
        return self.put(bytes(value))

    def pack_literal(self, value: Any, shape: Shape) -> int:
        for place, wanted in enumerate(shape.values):
            if type(value) is type(wanted) and value == wanted:
                return place
        raise _unlike(value, shape)

    def pack_enum(self, value: Any, shape: Shape) -> str:
        if not isinstance(value, Enum) or _reference(type(value)) != shape.cls or value.name not in shape.names:
            raise _unlike(value, shape, f"; give one of {', '.join(shape.names[:20])} as {shape}.NAME")
        return value.name

    def pack_flag(self, value: Any, shape: Shape) -> int:
        if not isinstance(value, Enum) or _reference(type(value)) != shape.cls:
            raise _unlike(value, shape)
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
            raise _unlike(value, shape)
        return [value.maxlen, self._items(list(cast("deque[Any]", value)), shape.args[0])]

    def pack_tuple(self, value: Any, shape: Shape) -> list[Any]:
        if not isinstance(value, tuple):
            raise _unlike(value, shape)
        items = cast("tuple[Any, ...]", value)
        if len(items) != len(shape.args):
            raise Misfit(f"a tuple of {len(items)}, wanted {shape} with exactly {len(shape.args)}")
        return self._each(zip(items, shape.args, strict=True), lambda place: f"[{place}]")

    def pack_dict(self, value: Any, shape: Shape) -> list[Any]:
        if not isinstance(value, dict):
            raise _unlike(value, shape)
        entries = cast("dict[Any, Any]", value)
        keys, wanted = list(entries), shape.args[0]
        check_keys(keys)
        heads = self._items(keys, wanted, lambda place: f" key {_short(keys[place])}")
        return [heads, self._items(list(entries.values()), shape.args[1], lambda place: f"[{_short(keys[place])}]")]

    def pack_slice(self, value: Any, shape: Shape) -> list[Any]:
        if not isinstance(value, slice):
            raise _unlike(value, shape)
        ends = cast("slice[Any, Any, Any]", value)
        return self._items([ends.start, ends.stop, ends.step], ANY)

    def pack_record(self, value: Any, shape: Shape) -> list[Any]:
        """[names, values], and after them what a model that allows it holds beyond its fields."""
        found, beyond = self._fields(value, shape)
        missing = [name for name in shape.needed if name not in found]
        if missing:
            raise Misfit(f"{_article(value)} without {', '.join(map(repr, missing))}, wanted {shape}")
        self._work += 4 + len(found)
        shapes = dict(zip(shape.names, shape.args, strict=True))
        names = list(found)
        step = "[{!r}]" if shape.flavour == "mapping" else ".{}"
        parts = [(found[name], shapes[name]) for name in names]
        values = self._each(parts, lambda place: step.format(names[place]))
        return [names, values, *([self.pack_dict(beyond, ANY_KINDS["dict"])] if beyond else [])]

    def pack_union(self, value: Any, shape: Shape) -> list[Any]:
        """[which, value]. A class that is named exactly goes first, what merely fits after it."""
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
        raise closest if closest is not None and closest.path else _unlike(value, shape)

    def pack_optional(self, value: Any, shape: Shape) -> Any:
        return None if value is None else self.pack(value, shape.args[0])

    def pack_scope(self, value: Any, shape: Shape) -> Any:
        outside = self._records
        self._records = {record.index: record for record in shape.args[1:]}
        try:
            return self.pack(value, shape.args[0])
        finally:
            self._records = outside

    def pack_ref(self, value: Any, shape: Shape) -> Any:
        return self.pack_record(value, self._records[shape.index])

    # --- numpy and pandas ---------------------------------------------------------------------------------------------

    def pack_ndarray(self, value: Any, shape: Shape) -> Any:
        if _library(value) != "numpy" or not hasattr(value, "__array_interface__") or not isinstance(value, _numpy().ndarray):
            raise _unlike(value, shape)
        from agex_protocol import arrays

        return arrays.pack_array(value, self.put)

    def pack_npscalar(self, value: Any, shape: Shape) -> Any:
        if _library(value) != "numpy" or not isinstance(value, _numpy().generic):
            raise _unlike(value, shape)
        from agex_protocol import arrays

        self._work += 5
        return arrays.pack_scalar(cast(Any, value))

    def pack_pandas(self, value: Any, shape: Shape) -> Any:
        if (kind := _pandas_kind(value)) != shape.kind:
            subclass = kind is None and shape.kind in ("frame", "series") and hasattr(value, "iloc")
            raise _unlike(value, shape, "; a subclass would lose its type" if subclass else "")
        from agex_protocol import frames

        self._work += _PANDAS_WORK
        return frames.pack_pandas(value, self)

    def pack_any(self, value: Any, shape: Shape) -> Any:
        if type(value) in _BARE and not _is_long(value):
            return value
        kind = _any_kind(value)
        if kind is None:
            raise Misfit(f"{_article(value)}, which has no form on the wire unless it is declared{_hint(value)}")
        return [kind, self.pack(value, ANY_KINDS[kind])]

    # --- what they share ----------------------------------------------------------------------------------------------

    def _sequence(self, value: Any, shape: Shape, wanted: type[Any]) -> list[Any]:
        if not isinstance(value, wanted):
            raise _unlike(value, shape)
        return self._items(list(cast(Iterable[Any], value)), shape.args[0])

    def _unordered(self, value: Any, shape: Shape, wanted: type[Any]) -> list[Any]:
        if not isinstance(value, wanted):
            raise _unlike(value, shape)
        items = list(cast(Iterable[Any], value))
        check_keys(items)
        return self._items(items, shape.args[0], lambda place: f"{{{_short(items[place])}}}")

    def _items(self, values: list[Any], shape: Shape, step: Callable[[int], str] = "[{}]".format) -> list[Any]:
        """Many values of one shape; those that msgpack knows go as they are, all at once."""
        types = set(map(type, values))
        if shape.kind == "any":
            plain = types <= _BARE
        else:
            plain = types <= {_PLAIN.get(shape.kind)}
        if plain and not (types & _LONG and any(map(_is_long, values))):
            return values
        return self._each(((value, shape) for value in values), step)

    def _each(self, pairs: Iterable[tuple[Any, Shape]], step: Callable[[int], str]) -> list[Any]:
        if self._depth >= self._caps.depth:
            raise Misfit(f"nested deeper than {self._caps.depth}, or it contains itself")
        self._depth += 1
        packed: list[Any] = []
        for value, shape in pairs:
            try:
                packed.append(self.pack(value, shape))
            except ValueError as error:
                raise Misfit.of(error).below(step(len(packed))) from None
        self._depth -= 1
        self._work += len(packed)
        return packed

    def _fields(self, value: Any, shape: Shape) -> tuple[dict[str, Any], dict[str, Any]]:
        """The fields of an instance or a mapping, and what it holds beyond them."""
        if shape.flavour != "mapping" and _reference(type(value)) == shape.cls:
            found = {name: getattr(value, name) for name in shape.names if hasattr(value, name)}
            return found, dict(getattr(value, "__pydantic_extra__", None) or {})
        if not isinstance(value, Mapping) or shape.flavour == "namedtuple":
            bases = map(_reference, type(value).__mro__)
            raise _unlike(value, shape, "; a subclass would lose its own fields" if shape.cls in bases else "")
        entries = cast(Mapping[Any, Any], value)
        beyond = {name: entries[name] for name in entries if name not in shape.names}
        if beyond and shape.extra == "forbid":
            raise Misfit(f"{_article(value)} with unknown {', '.join(map(_short, beyond))}, wanted {shape}")
        found = {name: entries[name] for name in shape.names if name in entries}
        return found, beyond if shape.extra == "allow" else {}


def _is_of(value: Any, shape: Shape) -> bool:
    if shape.kind in ("record", "enum", "flag", "ref"):
        return _reference(type(value)) == shape.cls
    return shape.kind != "any" and _any_kind(value) == shape.kind


def _plain(value: Any, wanted: type[Any]) -> Any:
    """What numpy or pandas made, as the Python value that is wanted; anything else as it is."""
    library = _library(value)
    if library == "numpy" and isinstance(value, _numpy().generic):
        kinds = _NUMPY_KINDS.get(wanted, "")
        return value.item() if value.dtype.kind in kinds and kinds else value
    if _pandas_kind(value) in ("timestamp", "duration") and (value.nanosecond if wanted is datetime else value.nanoseconds):
        raise Misfit(f"{_article(value)} with nanoseconds, which a {wanted.__name__} has not; use .floor('us')")
    if wanted is complex and type(value) in (int, float):
        return complex(value)
    return value


def _any_kind(value: Any) -> str | None:
    kind = _ANY_TYPES.get(type(value)) or _pandas_kind(value)
    if kind is not None:
        return kind
    if _library(value) == "numpy":
        numpy = _numpy()
        return "ndarray" if isinstance(value, numpy.ndarray) else "npscalar" if isinstance(value, numpy.generic) else None
    if isinstance(value, Enum):
        return None
    return next((kind for base, kind in _ANY_TYPES.items() if base in _OPEN and isinstance(value, base)), None)


def _pandas_kind(value: Any) -> str | None:
    if _library(value) != "pandas":
        return None
    from agex_protocol import frames

    return frames.kind_of(value)


def _library(value: Any) -> str:
    """numpy or pandas, if the value is theirs and they are here. A module's name may be anything: it is not ours."""
    library = str(type(value).__module__).partition(".")[0]
    return library if library in ("numpy", "pandas") and library in sys.modules else ""


def _numpy() -> Any:
    return sys.modules["numpy"]


def _is_long(value: Any) -> bool:
    """Whether a plain value is too long to lie in the head as it is."""
    if type(value) is int:
        return not -(1 << 63) <= value < 1 << 64
    return type(value) in (str, bytes) and len(value) >= (_INLINE_CHARACTERS if type(value) is str else _INLINE_BYTES)


def _reference(cls: type[Any]) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _unlike(value: Any, shape: Shape, hint: str = "") -> Misfit:
    return Misfit(f"{_article(value)}, wanted {shape}{hint or _hint(value, shape)}")


def _article(value: Any) -> str:
    if value is None:
        return "None"
    kind = type(value).__qualname__
    shown = f" ({_short(value)})" if type(value) in (bool, int, float, str) else ""
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}{shown}"


def _short(value: object) -> str:
    if type(value) is int and value.bit_length() > 200:
        return "a long int"
    text = repr(value[:60] if isinstance(value, str | bytes) else value) if type(value) in _BARE else type(value).__qualname__
    return text if len(text) <= 60 else text[:57] + "..."


def _hint(value: Any, shape: Shape | None = None) -> str:
    remedy = _HINTS.get((type(value).__name__, shape.kind if shape else "any")) or _HINTS.get((type(value).__name__, ""))
    return f"; {remedy}" if remedy else ""


_INLINE_BYTES = 4096
_INLINE_CHARACTERS = 65_536
_MAX_ATTEMPTS = 1_000_000
_PANDAS_WORK = 50

_BARE = frozenset({type(None), bool, int, float, str, bytes})
_LONG = frozenset({int, str, bytes})
_PLAIN: dict[str, type[Any]] = {"none": type(None), "bool": bool, "int": int, "float": float, "str": str}

_NUMPY_KINDS = {bool: "b", int: "iu", float: "iuf", complex: "iufc", datetime: "M", date: "M", timedelta: "m"}

_ANY_TYPES: dict[type[Any], str] = {
    int: "int",
    str: "str",
    bytes: "bytes",
    list: "list",
    tuple: "tuple_of",
    set: "set",
    frozenset: "frozenset",
    dict: "dict",
    deque: "deque",
    slice: "slice",
    **{leaf.type: kind for kind, leaf in LEAVES.items()},
}
# Their subclasses cross as what they extend, where nothing is declared: an OrderedDict as a dict.
_OPEN = frozenset({int, str, bytes, list, tuple, set, frozenset, dict, deque, LEAVES["path"].type})

_HINTS = {
    ("Series", "dict"): "use .to_dict()",
    ("Series", "list"): "use .tolist()",
    ("DataFrame", "list"): "use .to_dict('records')",
    ("DataFrame", "dict"): "use .to_dict()",
    ("ndarray", "list"): "use .tolist()",
    ("Index", "list"): "use .tolist()",
    ("tuple", "list"): "use list(...)",
    ("set", "list"): "use list(...) or sorted(...)",
    ("list", "tuple"): "use tuple(...)",
    ("list", "tuple_of"): "use tuple(...)",
    ("list", "set"): "use set(...)",
    ("list", "ndarray"): "use np.asarray(...)",
    ("str", "int"): "use int(...)",
    ("str", "float"): "use float(...)",
    ("float", "int"): "use int(...) or round(...)",
    ("NAType", ""): "use None",
    ("NaTType", ""): "use None",
    ("Timestamp", "date"): "use .date()",
    ("datetime", "date"): "use .date()",
    ("generator", ""): "use list(...)",
    ("dict_keys", ""): "use list(...)",
    ("dict_values", ""): "use list(...)",
    ("map", ""): "use list(...)",
    ("bytearray", ""): "use bytes(...)",
    ("memoryview", ""): "use bytes(...)",
}

_PACKERS: dict[str, Callable[[_Encoder, Any, Shape], Any]] = {
    kind: cast(Any, getattr(_Encoder, f"pack_{kind}"))
    for kind in (
        *("any", "none", "nothing", "bool", "int", "float", "str", "bytes", "literal", "enum", "flag", "list", "tuple_of"),
        *("set", "frozenset", "deque", "tuple", "dict", "slice", "record", "union", "optional", "scope", "ref"),
        *("ndarray", "npscalar"),
    )
} | dict.fromkeys(("frame", "series", "index", "timestamp", "duration", "missing"), _Encoder.pack_pandas)
