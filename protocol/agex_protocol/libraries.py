"""Values of libraries that need not be installed: pyarrow, polars, Pillow, plotly. Each has a codec in a file of its own.

A value is recognised by where its class comes from, and a codec is imported only for a value or a kind of its own. The
tables are closed: nothing that a worker writes names a module.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from agex_protocol.parts import Reader, Writer

# The declared class, by module and name, and the kind of shape that it is; also for classes derived from these.
DECLARED: dict[tuple[str, str], str] = {
    ("pyarrow.lib", "Table"): "table",
    ("pyarrow.lib", "RecordBatch"): "record_batch",
    ("pyarrow.lib", "ChunkedArray"): "chunked_array",
    ("pyarrow.lib", "Array"): "arrow_array",
    ("polars.dataframe.frame", "DataFrame"): "polars_frame",
    ("polars.series.series", "Series"): "polars_series",
    ("PIL.Image", "Image"): "image",
    ("plotly.graph_objs._figure", "Figure"): "figure",
}
KINDS = tuple(DECLARED.values())


def kind_declared(cls: type[Any]) -> str | None:
    """The kind of a class in an annotation, without importing anything for it."""
    own = DECLARED.get((cls.__module__, cls.__name__))
    # Arrow has a class of array for each type.
    arrays = any((base.__module__, base.__name__) == ("pyarrow.lib", "Array") for base in cls.__mro__)
    return own or ("arrow_array" if arrays and cls.__module__ == "pyarrow.lib" else None)


def kind_of(value: object) -> str | None:
    """The kind of a live value, if it is of one of these libraries."""
    library = str(type(value).__module__).partition(".")[0]
    if library not in _CODECS or library not in sys.modules:
        return None
    kind: str | None = _codec(library).kind_of(value)
    return kind


def pack(value: Any, writer: Writer) -> Any:
    """A value that `kind_of` knows, as a part of the head."""
    return _codec(str(type(value).__module__).partition(".")[0]).pack(value, writer)


def unpack(kind: str, wire: object, reader: Reader) -> Any:
    """Back from `pack`. ValueError, or any error of the library, for what is not such a value."""
    return _codec(_LIBRARY[kind]).UNPACKERS[kind](wire, reader)


def _codec(library: str) -> Any:
    return importlib.import_module(_CODECS[library])


_CODECS = {
    "pyarrow": "agex_protocol.arrow",
    "polars": "agex_protocol.polars_frames",
    "PIL": "agex_protocol.images",
    "plotly": "agex_protocol.figures",
}
_LIBRARY = {kind: module.partition(".")[0] for (module, _), kind in DECLARED.items()}
