"""Shape: what a value that crosses has to look like, as plain data that both sides read.

The supervisor makes it from an annotation, the worker encodes by it and the supervisor decodes by its own copy: a worker
never says what its bytes are to become, except below "any", whose tags are the closed list `ANY_KINDS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import msgpack

from agex_protocol import libraries

Scalar = None | bool | int | str | bytes


@dataclass(frozen=True, slots=True)
class Shape:
    """One node. Most kinds use `kind` and `args` only.

    A "scope" holds the whole shape and after it every record and alias that it mentions; a "ref" stands for the one with
    the same `index`, so that a model may contain itself. A "scalar" is a union of plain types. `cls` ("module:qualname") is compared with names, never imported.
    """

    kind: str
    args: tuple[Shape, ...] = ()
    names: tuple[str, ...] = ()  # record: its fields, one arg each; enum: its members
    needed: tuple[str, ...] = ()  # record: the fields without a default
    values: tuple[Scalar, ...] = ()  # literal
    # record, enum, flag; handle, opaque, pickle: "" is any; of an alias and a ref the name. any: what is checked where
    # nothing crosses, in words.
    cls: str = ""
    flavour: str = (
        ""  # record: "dataclass", "namedtuple", "model", "root" (of one value) or "typeddict"; handle: "callable"
    )
    extra: str = "ignore"  # record, for keys that are no fields: "ignore", "forbid" or "allow"
    index: int = -1  # ref, record, alias, enum, flag, handle: the supervisor's number for the class
    aliases: tuple[tuple[str, str], ...] = ()  # record: other names that a mapping may use, each with its field

    def by_name(self, given: Mapping[Any, Any]) -> Mapping[Any, Any]:
        """A mapping of a record's fields with its aliases replaced. ValueError where a field is given twice."""
        used = {alias: name for alias, name in self.aliases if alias in given}
        twice = [name for name in used.values() if name in given or list(used.values()).count(name) > 1]
        if twice:
            raise ValueError(f"{twice[0]!r} of {self} is given twice, by its name and by an alias")
        return {used.get(key, key): given[key] for key in given} if used else given

    def to_bytes(self) -> bytes:
        """As msgpack, for a message."""
        return cast(bytes, msgpack.packb(self.to_wire()))

    def to_wire(self) -> list[Any]:
        """As lists, texts and numbers."""
        args = [arg.to_wire() for arg in self.args]
        texts = (list(self.names), list(self.needed), list(self.values))
        return [self.kind, args, *texts, self.cls, self.flavour, self.extra, self.index, self.aliases]

    @classmethod
    def from_wire(cls, wire: object) -> Shape:
        """Back from `to_wire`. Only for what the supervisor wrote: nothing is checked."""
        kind, args, names, needed, values, named, flavour, extra, index, aliases = cast(list[Any], wire)
        texts = (tuple(names), tuple(needed), tuple(values))
        pairs = tuple((alias, name) for alias, name in aliases)
        return cls(kind, tuple(map(cls.from_wire, args)), *texts, named, flavour, extra, index, pairs)

    def __str__(self) -> str:
        """For messages: as near to the annotation as the shape knows it."""
        match self.kind:
            case "any" | "nothing":
                return self.cls.partition(":")[2] or "Any"
            case "scope" | "optional":
                text = str(self.args[0])
                return f"{text} | None" if self.kind == "optional" else text
            case "union" | "scalar":
                return " | ".join(map(str, self.args))
            case "literal":
                return f"Literal[{', '.join(map(repr, self.values))}]"
            case "record" | "alias" | "enum" | "flag" | "ref" | "hosted":
                return self.cls.rpartition(":")[2]
            case "handle" | "opaque" | "pickle":
                return self.cls.rpartition(":")[2] or ("Callable" if self.flavour == "callable" else "any object")
            case "tuple_of":
                return f"tuple[{self.args[0]}, ...]"
            case _:
                name = _SPOKEN.get(self.kind, self.kind)
                return f"{name}[{', '.join(map(str, self.args))}]" if self.args else name


def shape_from_bytes(data: bytes) -> Shape:
    """Back from `Shape.to_bytes`; for the worker, which reads what the supervisor wrote."""
    return Shape.from_wire(msgpack.unpackb(data))


ANY = Shape("any")
NONE = Shape("none")
NOTHING = Shape("nothing")  # no value is wanted: whatever there is does not cross

# What a value may be where nothing is declared, and how its insides are read then.
ANY_KINDS: dict[str, Shape] = {
    **{
        kind: Shape(kind)
        for kind in (
            *(
                "int",
                "complex",
                "str",
                "bytes",
                "range",
                "datetime",
                "date",
                "time",
                "timedelta",
                "decimal",
                "fraction",
            ),
            *("uuid", "path", "pattern", "ipv4address", "ipv6address", "ipv4network", "ipv6network", "ipv4interface"),
            *("ipv6interface", "ndarray", "npscalar", "frame", "series", "index", "timestamp", "duration", "missing"),
            *libraries.KINDS,
        )
    },
    **{kind: Shape(kind, (ANY,)) for kind in ("list", "tuple_of", "set", "frozenset", "deque")},
    "dict": Shape("dict", (ANY, ANY)),
    "slice": Shape("slice", (ANY, ANY, ANY)),
}

_SPOKEN = {
    "none": "None",
    "frame": "DataFrame",
    "series": "Series",
    "index": "Index",
    "npscalar": "numpy scalar",
    "timestamp": "Timestamp",
    "duration": "Timedelta",
    "decimal": "Decimal",
    "fraction": "Fraction",
    "uuid": "UUID",
    "path": "Path",
    "pattern": "re.Pattern",
    **{f"ip{name}".lower(): f"IP{name}" for name in ("v4Address", "v6Address", "v4Network", "v6Network")},
    **{f"ip{name}".lower(): f"IP{name}" for name in ("v4Interface", "v6Interface")},
    "table": "pyarrow.Table",
    "record_batch": "pyarrow.RecordBatch",
    "chunked_array": "pyarrow.ChunkedArray",
    "arrow_array": "pyarrow.Array",
    "polars_frame": "polars.DataFrame",
    "polars_series": "polars.Series",
    "image": "PIL.Image.Image",
    "figure": "plotly.graph_objects.Figure",
}
