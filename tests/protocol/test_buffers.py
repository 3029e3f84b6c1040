"""Large values in pieces: they come back whole, and a sender that miscounts or never ends is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agex_protocol.buffers import HEAD_BYTES, PIECE_BYTES, Inbox, enclose
from agex_protocol.codec import pack_message
from agex_protocol.errors import ProtocolError
from agex_protocol.framing import MAX_FRAME_BYTES
from agex_protocol.messages import Argument, Buffer, Call, Encoded

ACTION = b"a" * 16


def crossed(head: bytes, buffers: list[bytes]) -> tuple[bytes, list[bytes]]:
    messages, encoded = enclose(ACTION, head, buffers)
    inbox = Inbox(1 << 30)
    for message in messages:
        inbox.take(message)
    ((opened, views),) = inbox.open(encoded)
    return opened, [bytes(view) for view in views]


@given(st.binary(max_size=50), st.lists(st.binary(max_size=50), max_size=5))
def test_a_value_comes_back_with_its_head_and_each_buffer(head: bytes, buffers: list[bytes]) -> None:
    if head or not buffers:
        assert crossed(head, buffers) == (head, buffers)


@pytest.mark.parametrize("size", [HEAD_BYTES, HEAD_BYTES + 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_sizes_at_the_edges_of_a_piece_cross_whole(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    assert crossed(data, [data, b"", data]) == (data, [data, b"", data])


def test_no_piece_is_larger_than_a_frame_and_only_the_last_says_so() -> None:
    messages, encoded = enclose(ACTION, b"head", [bytes(2 * PIECE_BYTES + 1), b""])
    pieces = list(messages)
    assert [(len(piece.data), piece.last) for piece in pieces] == [
        (PIECE_BYTES, False),
        (PIECE_BYTES, False),
        (1, True),
        (0, True),
    ]
    assert encoded == Encoded(b"head", 2)


def test_the_heads_of_a_call_with_very_many_arguments_fit_into_one_frame() -> None:
    _, encoded = enclose(ACTION, bytes(HEAD_BYTES), [])
    call = Call(ACTION, 1, "f", tuple(Argument(f"argument_{number}", encoded) for number in range(250)))
    assert len(pack_message(call)) < MAX_FRAME_BYTES


def test_several_values_are_told_apart_by_their_counts() -> None:
    inbox = Inbox(100)
    for data in (b"one", b"two", b"three"):
        inbox.take(Buffer(ACTION, data, True))
    opened = inbox.open(Encoded(b"first", 2), Encoded(b"second"), Encoded(b"", 1))
    assert [(head, [bytes(view) for view in views]) for head, views in opened] == [
        (b"first", [b"one", b"two"]),
        (b"second", []),
        (b"three", []),
    ]


@pytest.mark.parametrize("counts", [(0,), (2,), (-1,), (2, -1), (1, 1), (1 << 60,), ()])
def test_counts_that_are_not_what_came_are_refused(counts: tuple[int, ...]) -> None:
    inbox = Inbox(100)
    inbox.take(Buffer(ACTION, b"one", True))
    with pytest.raises(ProtocolError) as caught:
        inbox.open(*(Encoded(b"head", count) for count in counts))
    assert str(caught.value) == f"{sum(counts)} buffers were announced, 1 came"


def test_a_buffer_that_never_ends_cannot_be_counted() -> None:
    inbox = Inbox(100)
    inbox.take(Buffer(ACTION, b"one", False))
    for count in (0, 1):
        with pytest.raises(ProtocolError):
            inbox.open(Encoded(b"", count))


def test_bytes_beyond_the_cap_are_refused_when_they_come() -> None:
    inbox = Inbox(100)
    inbox.take(Buffer(ACTION, bytes(60), True))
    with pytest.raises(ProtocolError) as caught:
        inbox.take(Buffer(ACTION, bytes(41), False))
    assert str(caught.value) == "a value is larger than 100 bytes"


def test_empty_buffers_are_counted_too() -> None:
    inbox = Inbox(100)
    for _ in range(Inbox.MAX_BUFFERS):
        inbox.take(Buffer(ACTION, b"", True))
    with pytest.raises(ProtocolError) as caught:
        inbox.take(Buffer(ACTION, b"", True))
    assert str(caught.value) == f"a value has more than {Inbox.MAX_BUFFERS} buffers"


def test_an_inbox_is_empty_once_it_was_opened() -> None:
    inbox = Inbox(100)
    inbox.take(Buffer(ACTION, bytes(90), True))
    inbox.open(Encoded(b"head", 1))
    inbox.take(Buffer(ACTION, bytes(90), True))
    ((_, views),) = inbox.open(Encoded(b"head", 1))
    assert [len(view) for view in views] == [90]
