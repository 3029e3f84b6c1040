"""Objects that stay behind and sealed bytes on the wire: what honest code sends, and what no bytes can do."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from agex_protocol.decode import decode
from agex_protocol.encode import encode
from agex_protocol.errors import NotPortable, ValueRefused
from agex_protocol.operations import OPERATIONS, is_public, perform
from agex_protocol.references import MAX_NUMBER, MAX_REPR_CHARS, MAX_TYPE_CHARS
from agex_protocol.shapes import ANY, Shape

HANDLE = Shape("handle", index=7)
OPAQUE = Shape("opaque")


class Model:
    """Has a repr."""

    def __repr__(self) -> str:
        return "Model()"


class Larger(Model):
    """Is one, too."""


class Shy:
    """Has none."""

    def __repr__(self) -> str:
        raise ValueError("no")


class Keep:
    """Keeps in a list, and seals by name."""

    def __init__(self) -> None:
        self.held: list[object] = []

    def hold(self, value: object) -> int:
        self.held.append(value)
        return len(self.held)

    def seal(self, value: object) -> bytes:
        return type(value).__name__.encode()


def adopted(shape: Shape, parts: tuple[Any, str, str]) -> object:
    return (shape.kind, shape.index, *parts)


def sent(value: object, shape: Shape) -> Any:
    head, buffers = encode(value, shape, keep=Keep())
    return decode(head, [memoryview(each) for each in buffers], shape, adopt=adopted)


def test_an_object_that_stays_crosses_as_its_number_its_type_and_its_repr() -> None:
    assert sent(Model(), HANDLE) == ("handle", 7, 1, "Model", "Model()")
    assert sent([Model(), Model()], Shape("list", (HANDLE,))) == [
        ("handle", 7, 1, "Model", "Model()"),
        ("handle", 7, 2, "Model", "Model()"),
    ]
    assert sent(None, Shape("optional", (HANDLE,))) is None


def test_a_sealed_object_crosses_as_bytes_with_its_type_and_its_repr() -> None:
    assert sent(Model(), OPAQUE) == ("opaque", -1, b"Model", "Model", "Model()")
    assert sent(Model(), Shape("pickle")) == ("pickle", -1, b"Model", "", "")


def test_an_object_without_a_repr_says_so_and_a_long_one_is_cut() -> None:
    assert sent(Shy(), HANDLE)[4] == "<its repr cannot be made: ValueError>"
    assert sent("x" * 5000, HANDLE)[4] == "'" + "x" * (MAX_REPR_CHARS - 4) + "..."
    assert sent("\ud800", HANDLE)[4] == "'\\ud800'"


def test_an_object_of_another_class_than_the_declared_one_does_not_stay() -> None:
    shape = Shape("handle", cls=f"{__name__}:Model")
    assert sent(Larger(), shape)[3] == "Larger"
    keep = Keep()
    with pytest.raises(NotPortable) as caught:
        encode(3, shape, keep=keep)
    assert str(caught.value) == "result: an int (3), wanted Model"
    with pytest.raises(NotPortable) as caught:
        encode(3, Shape("handle", flavour="callable"), keep=keep)
    assert str(caught.value) == "result: an int (3), wanted Callable"
    assert keep.held == []


def test_nothing_stays_behind_where_nobody_keeps_it() -> None:
    with pytest.raises(NotPortable) as caught:
        encode(Model(), HANDLE)
    assert str(caught.value) == "result: an object cannot stay behind here, nor be sealed"


def test_data_crosses_and_what_is_none_stays_where_both_are_asked_for() -> None:
    shape = Shape("union", (ANY, HANDLE))
    assert sent({"a": [1, 2.5]}, shape) == {"a": [1, 2.5]}
    assert sent([Model()], shape) == ("handle", 7, 1, "list", "[Model()]")


@pytest.mark.parametrize(
    "wire",
    [
        None,
        7,
        [],
        [1, "T"],
        [1, "T", "r", 0],
        [0, "T", "r"],
        [-1, "T", "r"],
        [MAX_NUMBER + 1, "T", "r"],
        [1 << 63, "T", "r"],
        [True, "T", "r"],
        [1.0, "T", "r"],
        ["1", "T", "r"],
        [b"\x01", "T", "r"],
        [1, b"T", "r"],
        [1, "T", None],
        [1, "T" * (MAX_TYPE_CHARS + 1), "r"],
        [1, "T", "r" * (MAX_REPR_CHARS + 1)],
    ],
    ids=str,
)
def test_what_is_no_handle_is_refused(wire: Any) -> None:
    with pytest.raises(ValueRefused):
        decode(msgpack.packb(wire), [], HANDLE, adopt=adopted)


@pytest.mark.parametrize(
    "wire",
    [None, b"x", [b"x", "T"], [0, "T", "r"], [b"x", 1, "r"], ["x", "T", "r"], [b"x", "T" * 201, "r"], [True, "T", "r"]],
    ids=str,
)
def test_what_is_no_sealed_object_is_refused(wire: Any) -> None:
    with pytest.raises(ValueRefused):
        decode(msgpack.packb(wire), [], OPAQUE, adopt=adopted)


@pytest.mark.parametrize("kind", ["handle", "opaque", "pickle"])
def test_no_stand_in_is_made_where_none_is_adopted_or_nothing_is_declared(kind: str) -> None:
    wire = {"handle": [1, "T", "r"], "opaque": [b"x", "T", "r"], "pickle": b"x"}[kind]
    with pytest.raises(ValueRefused):
        decode(msgpack.packb(wire), [], Shape(kind))
    with pytest.raises(ValueRefused):
        decode(msgpack.packb([kind, wire]), [], ANY, adopt=adopted)


def test_a_million_handles_are_refused_before_they_are_made() -> None:
    made: list[object] = []
    head = msgpack.packb([[number, "T", "r"] for number in range(1, 100_001)] * 10)
    with pytest.raises(ValueRefused):
        decode(head, [], Shape("list", (HANDLE,)), adopt=lambda shape, parts: made.append(parts))
    assert len(made) < 100_000


@pytest.mark.parametrize("name", ["_x", "__class__", "", "a.b", "a b", "1a", "a\n"])
def test_names_that_are_not_public_are_never_reached(name: str) -> None:
    assert not is_public(name)
    for operation in ("get", "method"):
        with pytest.raises(AttributeError):
            perform(Model(), operation, name, (), {})


def test_every_operation_does_what_it_says_and_there_are_no_others() -> None:
    class Thing(list[int]):
        size = 3

    thing = Thing([5, 6])
    done = {
        "self": perform(thing, "self", "", (), {}) is thing,
        "get": perform(thing, "get", "size", (), {}),
        "callable": perform(thing, "callable", "size", (), {}),
        "call": perform(max, "call", "", ([1, 2],), {"default": 0}),
        "method": perform(thing, "method", "index", (6,), {}),
        "len": perform(thing, "len", "", (), {}),
        "item": perform(thing, "item", "", (0,), {}),
    }
    assert done == {"self": True, "get": 3, "callable": False, "call": 2, "method": 1, "len": 2, "item": 5}
    assert set(done) == OPERATIONS
    with pytest.raises(KeyError):
        perform(thing, "__class__", "", (), {})


def test_descriptions_that_would_be_written_out_character_by_character_are_paid_for_on_both_sides() -> None:
    class Unseen:
        def __repr__(self) -> str:
            return "\0" * MAX_REPR_CHARS

    many = Shape("list", (OPAQUE,))
    said = [[b"", "T", "\0" * MAX_REPR_CHARS]] * 1000
    with pytest.raises(ValueRefused, match="too many small items for its size"):
        decode(msgpack.packb(said), [], many, adopt=adopted)
    with pytest.raises(NotPortable, match="too many small items for its size"):
        encode([Unseen()] * 1000, many, keep=Keep())
    plain = [[b"", "T", "a\n" * (MAX_REPR_CHARS // 2)]] * 1000
    assert len(decode(msgpack.packb(plain), [], many, adopt=adopted)) == 1000
