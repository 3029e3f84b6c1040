"""The short way of one plain value is the long way, only shorter: same bytes, same values, same refusals."""

from __future__ import annotations

import math
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agex_protocol.decode import decode
from agex_protocol.encode import encode
from agex_protocol.errors import AgexError
from agex_protocol.plain import NOT_PLAIN, SMALL_BYTES, pack_plain, unpack_plain
from agex_protocol.shapes import Shape

KINDS = [Shape(kind) for kind in ("none", "bool", "int", "float", "str")]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(1 << 70), 1 << 70), st.floats(), st.text(), st.binary()
)


class Number(int):
    pass


def outcome(call: Any) -> Any:
    """What it gives, or the error; a NaN as a word, since it equals nothing."""
    try:
        value = call()
    except AgexError as error:
        return type(error), str(error)
    return "NaN" if isinstance(value, float) and math.isnan(value) else (type(value), value)


def the_long_way(shape: Shape) -> Shape:
    return Shape("alias", (shape,), cls=str(shape))


@given(value=VALUES, shape=st.sampled_from(KINDS))
def test_a_value_is_encoded_alike(value: object, shape: Shape) -> None:
    assert outcome(lambda: encode(value, shape)) == outcome(lambda: encode(value, the_long_way(shape)))


@given(head=st.binary(max_size=40) | VALUES.map(lambda value: _packed(value)), shape=st.sampled_from(KINDS))
def test_bytes_are_decoded_alike(head: bytes, shape: Shape) -> None:
    assert outcome(lambda: decode(head, [], shape)) == outcome(lambda: decode(head, [], the_long_way(shape)))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "int"),
        (1, "bool"),
        (1, "float"),
        (Number(1), "int"),
        (1 << 64, "int"),
        ("x" * SMALL_BYTES, "str"),
        ("\ud800", "str"),
        ([], "int"),
        (1, "any"),
        (1, "optional"),
    ],
)
def test_what_is_not_plainly_of_its_type_is_left_to_the_long_way(value: object, kind: str) -> None:
    assert pack_plain(value, Shape(kind)) is None


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"", "int"),
        (b"\x01\x01", "int"),
        (b"\x90", "int"),
        (b"\xc1", "none"),
        (b"\xc3", "int"),
        (b"\x01", "bool"),
        (b"\xd4\x01\x00", "str"),
        (b"\xdb\xff\xff\xff\xff", "str"),
        (msgpack.packb("x" * SMALL_BYTES), "str"),
        (b"\x01", "list"),
    ],
)
def test_bytes_that_are_not_plainly_of_the_type_are_left_to_the_long_way(head: bytes, kind: str) -> None:
    assert unpack_plain(head, Shape(kind)) is NOT_PLAIN


def test_buffers_that_belong_to_no_value_are_refused_with_a_plain_one_too() -> None:
    with pytest.raises(AgexError, match="1 buffers belong to no part of it"):
        decode(b"\x01", [memoryview(b"x")], Shape("int"))


def _packed(value: object) -> bytes:
    try:
        return bytes(msgpack.packb(value))
    except (OverflowError, UnicodeEncodeError):
        return b""
