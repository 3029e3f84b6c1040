"""Messages cross unchanged, and bytes that are not exactly one expected message are a ProtocolError and nothing else."""

from __future__ import annotations

import dataclasses
import types
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agex_protocol import messages as m
from agex_protocol import zygote_messages as zm
from agex_protocol.codec import pack, pack_message, unpack, unpack_message
from agex_protocol.errors import ProtocolError
from agex_protocol.plan import Limits, LockdownPlan

UNIONS = (zm.ToZygote, zm.FromZygote, m.ToWorker, m.ToSupervisor)
KINDS = sorted({kind for union in UNIONS for kind in get_args(union)}, key=lambda kind: str(kind.__name__))


def names_of(kind: Any) -> list[str]:
    """Of the fields of a record."""
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else list(kind._fields)


def sample(annotation: Any) -> Any:
    """Some value of a field's type, with every container filled."""
    if dataclasses.is_dataclass(annotation) or hasattr(annotation, "_fields"):
        hints = get_type_hints(annotation)
        return cast(Any, annotation)(*[sample(hints[name]) for name in names_of(annotation)])
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return arguments[-1]
    if origin is tuple and arguments[-1] is Ellipsis:
        return (sample(arguments[0]), sample(arguments[0]))
    if origin is tuple:
        return tuple(map(sample, arguments))
    return {bool: True, int: 7, str: "täxt", bytes: b"\xff\x00", float: 0.5}.get(annotation, {"KEY": "value"})


def union_of(kind: type) -> types.UnionType:
    return next(union for union in UNIONS if kind in get_args(union))


def packed(*parts: object) -> bytes:
    return cast(bytes, msgpack.packb(list(parts)))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_message_comes_back_equal(kind: type) -> None:
    message = sample(kind)
    assert unpack_message(pack_message(message), union_of(kind)) == message


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_with_a_field_missing_surplus_or_of_another_type_is_refused(kind: type) -> None:
    name, *fields = msgpack.unpackb(pack_message(sample(kind)))
    for wrong in (fields[:-1] if fields else [0], [*fields, None], fields[::-1] if fields != fields[::-1] else [None]):
        with pytest.raises(ProtocolError):
            unpack_message(packed(name, *wrong), union_of(kind))
    for index in range(len(fields)):
        with pytest.raises(ProtocolError) as caught:
            unpack_message(packed(name, *fields[:index], None, *fields[index + 1 :]), union_of(kind))
        assert str(caught.value).startswith(f"{kind.__name__}.{names_of(kind)[index]}: ")


def test_a_record_comes_back_equal() -> None:
    plan = LockdownPlan("p", "kernel", Limits(), read=("/usr",), seccomp=b"\0\1", environment={"A": "b"})
    assert unpack(LockdownPlan, pack(plan)) == plan


def test_a_kind_that_belongs_to_another_conversation_has_no_place() -> None:
    with pytest.raises(ProtocolError) as caught:
        unpack_message(pack_message(zm.Reap(1)), m.ToSupervisor)
    assert str(caught.value) == "a message of kind 'Reap' has no place here"


@pytest.mark.parametrize("serial", [True, 1.0, "1", None, [1]])
def test_nothing_but_an_int_is_an_int(serial: object) -> None:
    with pytest.raises(ProtocolError) as caught:
        unpack_message(packed("Reap", serial), zm.ToZygote)
    assert str(caught.value) == f"Reap.serial: expected int, found {type(serial).__name__}"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        packed(),
        packed(["Reap"], 1),
        msgpack.packb({"Reap": 1}),
        packed("Reap", 1) + b"\0",
        b"\x92\xa4Reap",
        b"\x93\xa6GaveUp\xc4\x00\xa2\xff\xfe",  # text that is not UTF-8
        b"\x92\xa4Reap\xd6\xff\0\0\0\0",  # a timestamp
        b"\x92\xa4Reap\x81\x01\x02",  # a map whose key is a number
        b"\x92\xa4Reap" + b"\x91" * 5_000,
        b"\x92\xa4Reap" + b"\x91" * 5_000 + b"\x01",
        b"\x92\xa4Reap\xdd\xff\xff\xff\xff",
        b"\x92\xa4Reap\xc6\xff\xff\xff\xff",
        b"\x92\xa4Reap\xdd\x00\x01\x00\x01" + b"\xc0" * 65_537,
    ],
    ids=lambda data: data[:16].hex(),
)
def test_bytes_that_are_no_message_are_a_protocol_error(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack_message(data, zm.ToZygote)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(data: bytes) -> None:
    for union in UNIONS:
        for start in (b"", b"\x93\xa6GaveUp", b"\x95\xa4Call"):
            try:
                message = unpack_message(start + data, union)
            except ProtocolError:
                continue
            assert isinstance(message, union)


def test_half_a_surrogate_pair_is_written_out_instead_of_ending_the_sender() -> None:
    sent = m.Raised(b"a", "FileNotFoundError", "no such file: 'caf\udce9'", "")
    received = unpack_message(pack_message(sent), m.ToSupervisor)
    assert received == m.Raised(b"a", "FileNotFoundError", "no such file: 'caf\\udce9'", "")


def test_a_name_in_an_error_is_short() -> None:
    with pytest.raises(ProtocolError) as caught:
        unpack_message(packed("x" * 1_000_000), m.ToSupervisor)
    assert str(caught.value) == f"a message of kind {'x' * 40!r} has no place here"


def test_a_frame_of_nothing_but_empty_arrays_is_refused_before_they_are_made() -> None:
    empty = msgpack.packb([[] for _ in range(60_000)])
    many = b"\xdc\x00\x1e" + empty * 30  # an array of thirty such arrays
    with pytest.raises(ProtocolError, match="within the caps"):
        unpack_message(many, m.ToSupervisor)


def test_a_record_within_a_message_is_the_array_of_its_fields_and_comes_back_as_what_it_was() -> None:
    sent = m.Answer(b"a", 1, m.Encoded(b"head", 1, ((64, 8),)))
    assert msgpack.unpackb(pack_message(sent)) == ["Answer", b"a", 1, [b"head", 1, [[64, 8]]], "", ""]
    received = unpack_message(pack_message(sent), m.ToWorker)
    assert received == sent
    assert (type(received), type(received.result)) == (m.Answer, m.Encoded)
    for wrong in (b"head", "head", None, 3, [b"head"], [b"head", 0]):
        with pytest.raises(ProtocolError):
            unpack_message(msgpack.packb(["Answer", b"a", 1, wrong, "", ""]), m.ToWorker)
