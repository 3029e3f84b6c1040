"""Whatever arrives, in whatever pieces: whole frames, FrameTooLarge or Truncated, and never more kept than one frame."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agex_protocol.errors import FrameTooLarge, Truncated
from agex_protocol.framing import HEADER, MAX_FRAME_BYTES, FrameReader, frame


@given(st.lists(st.binary(max_size=40), max_size=8), st.data())
def test_frames_come_out_as_they_went_in_wherever_the_stream_is_cut(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(map(frame, payloads))
    reader = FrameReader()
    taken: list[bytes] = []
    while stream:
        length = data.draw(st.integers(1, len(stream)))
        reader.feed(stream[:length])
        stream = stream[length:]
        while (payload := reader.next()) is not None:
            taken.append(payload)
    reader.close()
    assert taken == payloads


@given(st.lists(st.binary(max_size=64), max_size=20))
def test_any_bytes_give_frames_or_an_error_of_ours(pieces: list[bytes]) -> None:
    reader = FrameReader(max_frame_bytes=32)
    try:
        for piece in pieces:
            reader.feed(piece)
            while (payload := reader.next()) is not None:
                assert len(payload) <= 32
        reader.close()
    except (FrameTooLarge, Truncated):
        return


@pytest.mark.parametrize("length", [MAX_FRAME_BYTES + 1, 0xFFFFFFFF])
def test_a_length_above_the_cap_is_refused_before_a_byte_of_it_comes(length: int) -> None:
    reader = FrameReader()
    reader.feed(HEADER.pack(length))
    with pytest.raises(FrameTooLarge) as caught:
        reader.next()
    assert str(caught.value) == f"a frame of {length} bytes was announced; the cap is {MAX_FRAME_BYTES}"


def test_a_payload_above_the_cap_is_not_framed() -> None:
    assert len(frame(bytes(MAX_FRAME_BYTES))) == HEADER.size + MAX_FRAME_BYTES
    with pytest.raises(FrameTooLarge) as caught:
        frame(bytes(MAX_FRAME_BYTES + 1))
    assert str(caught.value) == f"a frame of {MAX_FRAME_BYTES + 1} bytes is over the cap of {MAX_FRAME_BYTES}"


@pytest.mark.parametrize("cut", [1, HEADER.size, HEADER.size + 2])
def test_a_stream_that_ends_inside_a_frame_is_truncated(cut: int) -> None:
    reader = FrameReader()
    reader.feed(frame(b"whole") + frame(b"half")[:cut])
    assert reader.next() == b"whole"
    assert reader.next() is None
    with pytest.raises(Truncated) as caught:
        reader.close()
    assert str(caught.value) == f"the stream ended {cut} bytes into a frame"


def test_a_stream_that_ends_between_frames_has_just_ended() -> None:
    reader = FrameReader()
    reader.feed(frame(b"") + frame(b"last"))
    assert [reader.next(), reader.next(), reader.next()] == [b"", b"last", None]
    reader.close()


def test_pending_says_whether_a_frame_can_be_taken_without_more_bytes() -> None:
    reader = FrameReader()
    whole = frame(b"payload")
    for size in (1, HEADER.size, len(whole) - 1):
        reader = FrameReader()
        reader.feed(whole[:size])
        assert not reader.pending()
    reader.feed(whole[-1:])
    assert reader.pending()
    reader.next()
    assert not reader.pending()
