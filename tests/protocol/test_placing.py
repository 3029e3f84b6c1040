"""Buffers in an arena: laid out so that they are found again, and a worker's word about them held to the same rules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agex_protocol.buffers import HEAD_BYTES, Inbox
from agex_protocol.errors import ProtocolError
from agex_protocol.messages import Buffer, Encoded
from agex_protocol.placing import ALIGNMENT, MAX_PLACED, Parted, Places, check_places, laid_out

SIZE = 1 << 20
ACTION = b"a" * 16


@given(st.lists(st.integers(0, 5000), max_size=20), st.integers(0, 200))
def test_what_is_laid_out_keeps_to_the_rules(sizes: list[int], start: int) -> None:
    places = laid_out(sizes, start)
    assert [length for _, length in places] == sizes
    check_places(places, SIZE)


@given(st.lists(st.tuples(st.integers(-70, SIZE + 70), st.integers(-70, SIZE + 70)), max_size=6))
def test_what_is_let_through_is_aligned_within_the_arena_and_apart(places: list[tuple[int, int]]) -> None:
    try:
        check_places(tuple(places), SIZE)
    except ProtocolError:
        return
    taken = bytearray(SIZE + 1)
    for offset, length in places:
        assert offset % ALIGNMENT == 0 and 0 <= offset and 0 <= length and offset + length <= SIZE
        assert not any(taken[offset : offset + length])
        taken[offset : offset + length] = b"\x01" * length


@pytest.mark.parametrize(
    "places",
    [
        ((0, SIZE + 1),),
        ((SIZE, 1),),
        ((1 << 62, 1 << 62),),
        ((-64, 64),),
        ((64, -64),),
        ((1, 8),),
        ((0, 65), (64, 1)),
        ((64, 1), (0, 1)),
        ((0, 64), (0, 64)),
    ],
)
def test_a_buffer_without_a_place_of_its_own_is_refused(places: Places) -> None:
    with pytest.raises(ProtocolError):
        check_places(places, SIZE)


def test_more_buffers_than_a_message_may_place_are_refused() -> None:
    check_places(((0, 0),) * MAX_PLACED, SIZE)
    with pytest.raises(ProtocolError):
        check_places(((0, 0),) * (MAX_PLACED + 1), SIZE)


@pytest.mark.parametrize("head", [b"head", bytes(HEAD_BYTES + 1)])
@pytest.mark.parametrize("room", [0, 1, 2, 9])
def test_a_value_is_whole_again_whatever_part_of_it_had_room(head: bytes, room: int) -> None:
    buffers = [b"one", bytes(200), b"", b"four"]
    parted = Parted(head, buffers, start=100, room=room)
    memory = bytearray(SIZE)
    assert sorted(ends := list(parted.write(memoryview(memory)))) == ends
    inbox = Inbox(SIZE)
    for buffer in parted.sent:
        inbox.take(Buffer(ACTION, bytes(buffer), True))
    ((opened, views),) = inbox.open(
        parted.encoded, fetch=lambda places: [memoryview(memory)[at : at + length] for at, length in places]
    )
    assert (opened, [bytes(view) for view in views]) == (head, buffers)
    assert len(parted.encoded.placed) == min(room, 4 + (len(head) > HEAD_BYTES))


def test_placed_buffers_without_an_arena_are_refused() -> None:
    with pytest.raises(ProtocolError) as caught:
        Inbox(SIZE).open(Encoded(b"", 0, ((0, 8),)))
    assert str(caught.value) == "buffers were placed where there is no arena"


def test_placed_buffers_count_for_the_cap_like_those_that_were_sent() -> None:
    inbox = Inbox(100)
    inbox.take(Buffer(ACTION, bytes(60), True))
    with pytest.raises(ProtocolError) as caught:
        inbox.open(Encoded(b"x", 1, ((0, 41),)), fetch=lambda places: [])
    assert str(caught.value) == "a value is larger than 100 bytes"
