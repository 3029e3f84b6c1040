"""Our end of a socket: it never waits, and it knows the end of a stream from a stream that breaks off."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import pytest

from agex_protocol import messages as m
from agex_protocol import zygote_messages as zm
from agex_protocol.codec import pack_message, unpack_message
from agex_protocol.errors import FrameTooLarge, ProtocolError, Truncated
from agex_protocol.framing import FrameReader, frame
from agex_supervisor.wire import Wire

ACTION = b"a" * 16


@pytest.fixture
def ends() -> Iterator[tuple[Wire, socket.socket]]:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    yield Wire(near), far
    near.close()
    far.close()


Ends = tuple[Wire, socket.socket]


def test_reading_where_nothing_came_gives_nothing_at_once(ends: Ends) -> None:
    wire, _ = ends
    wire.read()
    assert wire.next(m.ToSupervisor) is None
    assert not wire.ended


def test_a_message_is_given_once_it_is_whole(ends: Ends) -> None:
    wire, far = ends
    data = frame(pack_message(m.GaveUp(ACTION, "no")))
    far.sendall(data[:7])
    wire.read()
    assert wire.next(m.ToSupervisor) is None
    far.sendall(data[7:] + data)
    wire.read()
    assert [wire.next(m.ToSupervisor) for _ in range(3)] == [m.GaveUp(ACTION, "no")] * 2 + [None]


def test_the_end_of_the_stream_between_frames_is_an_end(ends: Ends) -> None:
    wire, far = ends
    far.sendall(frame(pack_message(m.GaveUp(ACTION, "no"))))
    far.close()
    wire.read()
    assert wire.next(m.ToSupervisor) == m.GaveUp(ACTION, "no")
    wire.read()
    assert wire.ended


def test_the_end_of_the_stream_inside_a_frame_is_truncated(ends: Ends) -> None:
    wire, far = ends
    far.sendall(frame(b"payload")[:6])
    far.close()
    wire.read()
    with pytest.raises(Truncated):
        wire.read()
    assert wire.ended


def test_a_word_of_another_conversation_is_a_protocol_error(ends: Ends) -> None:
    wire, far = ends
    far.sendall(frame(pack_message(zm.Reap(1))))
    wire.read()
    with pytest.raises(ProtocolError):
        wire.next(m.ToSupervisor)


def test_what_a_peer_does_not_take_is_kept_and_sent_in_order(ends: Ends) -> None:
    wire, far = ends
    pieces = [m.Buffer(ACTION, bytes([number]) * (1 << 20), True) for number in range(8)]
    wire.queue(iter(pieces))
    assert wire.unsent
    reader = FrameReader()
    taken: list[m.Buffer] = []
    while len(taken) < len(pieces):
        wire.write()
        reader.feed(far.recv(1 << 20))
        while (payload := reader.next()) is not None:
            taken.append(unpack_message(payload, m.ToWorker))
    assert taken == pieces
    assert wire.write() and not wire.unsent


def test_messages_are_made_only_when_there_is_room_for_them(ends: Ends) -> None:
    wire, _ = ends
    made: list[int] = []

    def endless() -> Iterator[m.Buffer]:
        while True:
            made.append(1)
            yield m.Buffer(ACTION, bytes(1 << 20), False)

    wire.queue(endless())
    assert len(made) < 10


def test_no_descriptor_that_did_not_go_is_kept(ends: Ends) -> None:
    wire, _ = ends
    wire.queue([m.Buffer(ACTION, bytes(1 << 20), False)] * 4)
    assert wire.unsent
    given = [os.open("/dev/null", os.O_RDONLY) for _ in range(2)]
    wire.queue([m.Dialled(ACTION, 1)], given[0])
    wire.queue([m.Dialled(ACTION, 2)], given[1])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(given[0])
    wire.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(given[1])


def test_writing_to_a_peer_that_is_gone_is_left_for_the_reader_to_tell(ends: Ends) -> None:
    wire, far = ends
    far.close()
    wire.queue([m.Answer(ACTION, 1, m.Encoded(b""))])
    assert not wire.unsent
    wire.read()
    assert wire.ended


def test_a_message_that_fits_into_no_frame_is_the_senders_error(ends: Ends) -> None:
    wire, _ = ends
    with pytest.raises(FrameTooLarge):
        wire.queue([m.Answer(ACTION, 1, m.Encoded(bytes(5 << 20)))])


def test_one_descriptor_comes_along_and_is_not_inherited(ends: Ends) -> None:
    wire, far = ends
    with open("/dev/null", "rb") as file:
        socket.send_fds(far, [frame(pack_message(m.Notifying()))], [file.fileno()])
        wire.read()
        descriptor = wire.take_descriptor()
        assert os.path.sameopenfile(descriptor, file.fileno())
    assert not os.get_inheritable(descriptor)
    assert (wire.next(m.ToSupervisor), wire.take_descriptor()) == (m.Notifying(), -1)
    os.close(descriptor)


def test_a_second_descriptor_is_a_fault_and_further_ones_are_thrown_away(
    ends: Ends, open_descriptors: Callable[[], set[str]]
) -> None:
    wire, far = ends
    before = open_descriptors()
    socket.send_fds(far, [b"\0"], [0, 0, 0])
    wire.read()
    assert len(open_descriptors() - before) == 1
    socket.send_fds(far, [b"\0"], [0])
    with pytest.raises(ProtocolError) as caught:
        wire.read()
    assert str(caught.value) == "a second descriptor was sent"
    wire.accept_no_more()
    assert open_descriptors() <= before


def test_no_descriptor_is_taken_from_a_worker_that_is_ready(
    ends: Ends, open_descriptors: Callable[[], set[str]]
) -> None:
    wire, far = ends
    before = open_descriptors()
    wire.accept_no_more()
    socket.send_fds(far, [frame(pack_message(m.Notifying()))], [0])
    wire.read()
    assert (wire.next(m.ToSupervisor), wire.take_descriptor()) == (m.Notifying(), -1)
    assert open_descriptors() <= before
