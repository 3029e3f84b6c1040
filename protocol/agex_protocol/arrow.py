"""pyarrow tables, record batches and arrays as types of a closed list and raw buffers. Imported only where one is at hand.

No message of Arrow's own is parsed: types come from the list below, every buffer has exactly the length that its type
asks for, and then Arrow proves offsets, indices and text itself (`validate(full=True)`). Metadata does not cross.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pyarrow as pa

from agex_protocol.arrow_types import MAX_LENGTH, bits, child_types, get_type, is_listed, offset_width, put_type
from agex_protocol.misfit import Misfit
from agex_protocol.parts import Reader, Writer, owned


def kind_of(value: object) -> str | None:
    """Which kind of shape an object of pyarrow is, or None if it has none."""
    if isinstance(value, pa.Array):
        return "arrow_array"
    return _KINDS.get(type(value))


def pack(value: Any, writer: Writer) -> list[Any]:
    """Any value that `kind_of` knows."""
    match kind_of(value):
        case "arrow_array":
            return [put_type(value.type, writer), pack_array(value, writer)]
        case "chunked_array":
            return [put_type(value.type, writer), _pack_chunks(value, writer)]
        case _:
            columns = [_pack_field(field, column, writer) for field, column in zip(value.schema, value, strict=True)]
            return [value.num_rows, columns]


def unpack_alone(wire: object, reader: Reader) -> Any:
    """An Array of whatever class its type asks for."""
    kind, parts = _list_of(wire, 2)
    return proved(unpack_array(get_type(kind, reader), parts, reader))


def unpack_chunked(wire: object, reader: Reader) -> Any:
    """A ChunkedArray with the chunks that it had."""
    kind, chunks = _list_of(wire, 2)
    wanted = get_type(kind, reader)
    return pa.chunked_array(_unpack_chunks(wanted, chunks, reader), type=wanted)


def unpack_table(wire: object, reader: Reader) -> Any:
    """A Table with the chunks that its columns had."""
    fields, columns, rows = _unpack_columns(wire, reader)
    if any(len(column) != rows for column in columns):
        raise ValueError("a column of a table has another length")
    if not columns and rows:
        raise ValueError("a table without columns has rows")
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def unpack_batch(wire: object, reader: Reader) -> Any:
    """A RecordBatch."""
    fields, columns, rows = _unpack_columns(wire, reader)
    if any(column.num_chunks != 1 or len(column) != rows for column in columns) or (not columns and rows):
        raise ValueError("a column of a record batch has another length")
    return pa.RecordBatch.from_arrays([column.chunk(0) for column in columns], schema=pa.schema(fields))


def _pack_field(field: Any, column: Any, writer: Writer) -> list[Any]:
    try:
        kind = put_type(field.type, writer)
        chunks = _pack_chunks(column, writer) if isinstance(column, pa.ChunkedArray) else [pack_array(column, writer)]
        return [field.name, field.nullable, kind, chunks]
    except ValueError as error:
        raise Misfit.of(error).below(f"[{field.name!r}]") from error


def _pack_chunks(column: Any, writer: Writer) -> list[Any]:
    chunks = column.chunks
    if len(chunks) > _MAX_CHUNKS:
        whole = column.combine_chunks()
        chunks = whole.chunks if isinstance(whole, pa.ChunkedArray) else [whole]
    return [pack_array(chunk, writer) for chunk in chunks]


def _unpack_columns(wire: object, reader: Reader) -> tuple[list[Any], list[Any], int]:
    rows, parts = _list_of(wire, 2)
    fields: list[Any] = []
    columns: list[Any] = []
    for part in cast(list[object], _list_of(parts)):
        name, nullable, kind, chunks = _list_of(part, 4)
        if type(name) is not str or type(nullable) is not bool:
            raise ValueError("not a column of a table")
        wanted = get_type(kind, reader)
        column = pa.chunked_array(_unpack_chunks(wanted, chunks, reader), type=wanted)
        if column.null_count and not nullable:
            raise ValueError("a column that has no missing values has some")
        fields.append(pa.field(name, wanted, nullable))
        columns.append(column)
    return fields, columns, _length(rows)


def _unpack_chunks(wanted: Any, wire: object, reader: Reader) -> list[Any]:
    return [proved(unpack_array(wanted, chunk, reader)) for chunk in _list_of(wire)]


# --- arrays -----------------------------------------------------------------------------------------------------------


def pack_array(array: Any, writer: Writer) -> list[Any]:
    """[length, validity or None, [bytes, ...], [array, ...]], of an array whose type `pack_type` knows."""
    kind = array.type
    writer.charge(_ARRAY_WORK)
    if array.offset or _first_offset(array):
        # Concatenation starts anew: no offset, and only the bytes that are in use.
        array = pa.concat_arrays([array, array.slice(0, 0)])
    _check_bare(kind, len(array))
    length, children = len(array), _children(array)
    if pa.types.is_dictionary(kind):
        return [length, None, [], [pack_array(child, writer) for child in children]]
    buffers = array.buffers()
    valid = writer.put(_exactly(buffers[0], bits(length))) if array.null_count and buffers[0] is not None else None
    sizes = _sizes(kind, length, lambda: _last_offset(array))
    blobs = [writer.put(_exactly(buffer, size)) for buffer, size in zip(buffers[1:], sizes, strict=False)]
    return [length, valid, blobs, [pack_array(child, writer) for child in children]]


def unpack_array(kind: Any, wire: object, reader: Reader) -> Any:
    """The array, with buffers of exactly the size that its type asks for; not proved yet."""
    count, valid, blobs, parts = _list_of(wire, 4)
    reader.charge(_ARRAY_WORK)
    length = _length(count)
    _check_bare(kind, length)
    kinds, wires = child_types(kind), _list_of(parts)
    if len(kinds) != len(wires):
        raise ValueError(f"an array of {kind} has other parts")
    children = [unpack_array(each, part, reader) for each, part in zip(kinds, wires, strict=True)]
    if pa.types.is_dictionary(kind):
        return _unpack_dictionary(kind, length, valid, blobs, children)
    held = [owned(reader.get(blob)) for blob in _list_of(blobs)]
    sizes = _sizes(kind, length, lambda: _edge(kind, held))
    if [len(each) for each in held] != sizes:
        raise ValueError(f"an array of {kind} has buffers of other sizes")
    mask = None if valid is None else pa.py_buffer(owned(reader.get(valid)))
    if mask is not None and (mask.size != bits(length) or pa.types.is_null(kind)):
        raise ValueError(f"the validity of an array of {kind} has another size")
    _check_children(kind, length, held, children)
    buffers = [mask, *map(pa.py_buffer, held)]
    return pa.Array.from_buffers(kind, length, buffers, children=children or None)


def proved(array: Any) -> Any:
    """The array, after Arrow looked at every offset, index and text in it."""
    array.validate(full=True)
    return array


def _unpack_dictionary(kind: Any, length: int, valid: object, blobs: object, children: list[Any]) -> Any:
    indices, values = children
    if valid is not None or blobs != [] or len(indices) != length:
        raise ValueError("not a dictionary array")
    return pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered, safe=True)


def _children(array: Any) -> list[Any]:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return [array.indices, array.dictionary]
    if pa.types.is_struct(kind):
        return [array.field(place) for place in range(kind.num_fields)]
    if is_listed(kind):
        return [array.values.slice(0, _last_offset(array))]
    if pa.types.is_fixed_size_list(kind):
        return [array.values.slice(0, len(array) * kind.list_size)]
    return []


def _check_children(kind: Any, length: int, held: list[bytes], children: list[Any]) -> None:
    wanted = length
    if pa.types.is_fixed_size_list(kind):
        wanted = length * kind.list_size
    elif is_listed(kind):
        wanted = _edge(kind, held)
    if any(len(child) != wanted for child in children):
        raise ValueError(f"the parts of an array of {kind} have other lengths")
    if pa.types.is_map(kind) and (children[0].null_count or children[0].field(0).null_count):
        raise ValueError("a map without a key")


def _sizes(kind: Any, length: int, edge: Callable[[], int]) -> list[int]:
    """The bytes of each buffer after the validity; `edge` is where the last item of a text ends."""
    if pa.types.is_boolean(kind):
        return [bits(length)]
    if pa.types.is_null(kind) or pa.types.is_struct(kind) or pa.types.is_fixed_size_list(kind):
        return []
    width = offset_width(kind)
    if width == 0:
        return [length * (kind.bit_width // 8)]
    offsets = (length + 1) * width
    return [offsets] if is_listed(kind) else [offsets, edge()]


def _edge(kind: Any, held: list[bytes]) -> int:
    width = offset_width(kind)
    if not held or len(held[0]) < width:
        raise ValueError(f"an array of {kind} has no offsets")
    last = int.from_bytes(held[0][-width:], "little", signed=True)
    if last < 0:
        raise ValueError(f"an array of {kind} has an offset below 0")
    return last


def _first_offset(array: Any) -> int:
    return _offset(array, 0) if offset_width(array.type) else 0


def _last_offset(array: Any) -> int:
    return _offset(array, len(array))


def _offset(array: Any, place: int) -> int:
    if not len(array):
        return 0
    start, width = place * offset_width(array.type), offset_width(array.type)
    return int.from_bytes(memoryview(array.buffers()[1])[start : start + width], "little", signed=True)


def _exactly(buffer: Any, size: int) -> memoryview:
    """The bytes in use; an array of length 0 may have no buffer, where offsets have one zero."""
    view = memoryview(b"" if buffer is None else buffer).cast("B")[:size]
    return view if len(view) == size else memoryview(bytes(view) + bytes(size - len(view)))


def _check_bare(kind: Any, length: int) -> None:
    """An array without a byte of its own takes no room here, and any amount once somebody looks at it."""
    if length > _MAX_BARE and (pa.types.is_null(kind) or (pa.types.is_struct(kind) and not kind.num_fields)):
        raise ValueError(f"more than {_MAX_BARE} items of nothing")


def _length(wire: object) -> int:
    if type(wire) is not int or not 0 <= wire <= MAX_LENGTH:
        raise ValueError("not the length of an array")
    return wire


def _list_of(wire: object, count: int | None = None) -> list[Any]:
    if type(wire) is not list or (count is not None and len(wire) != count):
        raise ValueError("not a part of an array")
    return wire


_ARRAY_WORK = 60
_MAX_CHUNKS = 16
_MAX_BARE = 1 << 24
_KINDS: dict[type, str] = {pa.Table: "table", pa.RecordBatch: "record_batch", pa.ChunkedArray: "chunked_array"}
UNPACKERS: dict[str, Callable[[object, Reader], Any]] = {
    "table": unpack_table,
    "record_batch": unpack_batch,
    "chunked_array": unpack_chunked,
    "arrow_array": unpack_alone,
}
