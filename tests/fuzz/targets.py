"""What is fuzzed, as functions of bytes: each returns, or raises for a fault of ours. Errors that a worker may cause pass.

frames    a stream, in pieces, through FrameReader, the codec of messages and the table of turns
messages  one payload through the codec of messages, of any of the four conversations
values    a head and buffers through the decoder and the contract of a declared type
arenas    what a worker may say of memory that it shares with the supervisor, in any order, with any numbers
"""

from __future__ import annotations

import os
import random
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from agex_protocol import messages as m
from agex_protocol.codec import pack_message, unpack_message
from agex_protocol.encode import encode
from agex_protocol.errors import FrameTooLarge, NotPortable, ProtocolError, Truncated, ValueRefused
from agex_protocol.framing import FrameReader, frame
from agex_protocol.plan import Limits
from agex_protocol.turns import ENDINGS, Conversation
from agex_supervisor.arena import Tenant
from agex_supervisor.arena_stock import ArenaStock
from agex_supervisor.arenas import Arenas
from agex_supervisor.contract import ContractMismatch
from tests.fuzz.mutation import mutated_buffers, mutated_bytes, mutated_head
from tests.fuzz.samples import ACTION, UNIONS, sample
from tests.fuzz.subjects import SUBJECTS, Subject

_LENGTH = struct.Struct("<H")
_STEP = struct.Struct("<BiiB")  # what is said, two numbers, and how many places follow
_PLACE = struct.Struct("<ii")
_STOCK, _TENANT, _LIMITS = ArenaStock(), Tenant(confined=True), Limits(result_bytes=1 << 20)


@dataclass(frozen=True)
class Target:
    """One entry of the fuzzer: what it does with bytes, bytes to begin with, and how to change them with sense."""

    run: Callable[[bytes], object]
    seeds: Callable[[], Iterator[bytes]]
    mutate: Callable[[bytes, random.Random], bytes]


def run_frames(data: bytes) -> None:
    """The first byte says in which pieces the others come."""
    step, stream = (data[0] % 40 + 1 if data else 1), data[1:]
    reader, conversation = FrameReader(max_frame_bytes=1 << 16), Conversation()
    conversation.state, conversation.action = "running", ACTION
    try:
        for start in range(0, len(stream), step):
            reader.feed(stream[start : start + step])
            while (payload := reader.next()) is not None:
                message = unpack_message(payload, m.ToSupervisor)
                conversation.heard(message)
                if conversation.state == "answering":
                    conversation.answered()
        reader.close()
    except (FrameTooLarge, Truncated):
        return
    except ProtocolError as error:
        _check_text(error)


def run_messages(data: bytes) -> None:
    """The first byte says of which conversation; what is read is written and read again the same."""
    union = UNIONS[data[0] % len(UNIONS)] if data else UNIONS[0]
    try:
        message = unpack_message(data[1:], union)
    except ProtocolError as error:
        _check_text(error)
        return
    again = pack_message(message)
    # NaN is not equal to itself, so the bytes are compared.
    assert pack_message(unpack_message(again, union)) == again


def run_values(data: bytes) -> None:
    """The first byte says which subject; `split` says where head and buffers lie."""
    number, head, buffers = split(data)
    decode_as(SUBJECTS[number % len(SUBJECTS)], head, buffers)


def run_arenas(data: bytes) -> None:
    """A worker's words about its arenas; what was placed is as long as it said, and every descriptor is closed again."""
    gone = threading.Event()
    arenas = Arenas(_STOCK, _TENANT, gone, _LIMITS)
    arenas.ahead = bool(data[:1] and data[0] & 1)
    arenas.begin()
    try:
        for kind, first, second, places in _steps(data[1:]):
            if kind == 0:
                _, descriptor = arenas.room(m.Room(ACTION, second, first))
                if descriptor >= 0:
                    os.close(descriptor)
            elif kind == 1:
                arenas.told(m.Filled(ACTION, first))
            elif kind == 2:
                arenas.told(m.Dropped(ACTION, (first, second)))
            else:
                value, left = arenas.parted(m.Encoded(b"x" * (first & 1), second, places))
                every = (*value.placed, *left)
                assert every == places
                assert [len(view) for view in arenas.copied(left)] == [length for _, length in left]
                if value.placed:
                    assert [len(view) for view in arenas.copied_apart(value.placed)] == [value.placed[0][1]]
    except ProtocolError as error:
        _check_text(error)
    finally:
        gone.set()
        arenas.close()


def _steps(data: bytes) -> Iterator[tuple[int, int, int, tuple[tuple[int, int], ...]]]:
    while len(data) >= _STEP.size:
        kind, first, second, count = _STEP.unpack_from(data)
        data = data[_STEP.size :]
        count = min(count, len(data) // _PLACE.size)
        places = tuple(_PLACE.unpack_from(data, place * _PLACE.size) for place in range(count))
        data = data[count * _PLACE.size :]
        yield kind % 4, first, second, places


def decode_as(subject: Subject, head: bytes, buffers: list[bytes]) -> str:
    """What came of it: "value", "mismatch" or "refused". A value is of its contract, can be touched and crosses again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy and pandas warn of odd dates and frequencies
        try:
            value = subject.contract.decode(head, [memoryview(buffer) for buffer in buffers])
        except ValueRefused as error:
            _check_text(error)
            return "refused"
        except ContractMismatch as error:
            assert len(str(error)) < 50_000
            return "mismatch"
        subject.contract.check(value)
        _cross_again(subject, value)
    return "value"


def _cross_again(subject: Subject, value: Any) -> None:
    """Encoding reads every byte of it, so memory that is not there would show; and what it gives is taken again."""
    try:
        head, buffers = encode(value, subject.contract.shape)
    except NotPortable:
        return
    subject.contract.decode(head, [memoryview(bytes(buffer)) for buffer in buffers])


def _check_text(error: ProtocolError) -> None:
    assert len(str(error)) < 5000


def joined(number: int, head: bytes, buffers: list[bytes]) -> bytes:
    """Bytes that `split` takes apart. Buffers are cut to 64 KiB."""
    cut = [buffer[:65535] for buffer in buffers][:255]
    sizes = b"".join(_LENGTH.pack(len(buffer)) for buffer in cut)
    return bytes((number, len(cut))) + sizes + b"".join(cut) + head


def split(data: bytes) -> tuple[int, bytes, list[bytes]]:
    """Subject, head and buffers, of any bytes whatever."""
    number, count = (*data[:2], 0, 0)[:2]
    count = min(count, max(0, len(data) - 2) // 2)
    sizes = [_LENGTH.unpack_from(data, 2 + 2 * place)[0] for place in range(count)]
    rest, buffers = data[2 + 2 * count :], []
    for size in sizes:
        buffers.append(rest[:size])
        rest = rest[size:]
    return number, rest, buffers


def _frame_seeds() -> Iterator[bytes]:
    every = [sample(kind) for kind in get_args(m.ToSupervisor)]
    for message in every:
        yield bytes((7,)) + frame(pack_message(message))
    told = [message for message in every if isinstance(message, m.Buffer | m.Denied)]
    for ending in (message for message in every if type(message) in ENDINGS):
        yield bytes((39,)) + b"".join(frame(pack_message(message)) for message in [*told, ending])


def _message_seeds() -> Iterator[bytes]:
    for place, union in enumerate(UNIONS):
        for kind in get_args(union):
            yield bytes((place,)) + pack_message(sample(kind))


def _value_seeds() -> Iterator[bytes]:
    for number, subject in enumerate(SUBJECTS):
        for head, buffers in subject.encodings:
            yield joined(number, head, buffers)


def _arena_seeds() -> Iterator[bytes]:
    room = _STEP.pack(0, 300_000, 1, 0)
    placed = _STEP.pack(3, 0, 0, 2) + _PLACE.pack(0, 100_000) + _PLACE.pack(100_032, 5)
    for ahead in (0, 1):
        yield bytes((ahead,)) + room + placed
        yield bytes((ahead,)) + room + _STEP.pack(1, 200_000, 0, 0) + placed + room + placed
        yield bytes((ahead,)) + room + _STEP.pack(0, 1 << 20, 2, 0) + _STEP.pack(2, 1, 2, 0)


def _mutated_frames(data: bytes, dice: random.Random) -> bytes:
    if len(data) < 6 or dice.random() < 0.3:
        return mutated_bytes(data, dice)
    return data[:1] + frame(mutated_head(data[5:], dice)[: 1 << 16])


def _mutated_message(data: bytes, dice: random.Random) -> bytes:
    return data[:1] + mutated_head(data[1:], dice)


def _mutated_value(data: bytes, dice: random.Random) -> bytes:
    number, head, buffers = split(data)
    if dice.random() < 0.02:
        number = dice.randrange(256)
    return joined(number, mutated_head(head, dice), mutated_buffers(buffers, dice))


TARGETS = {
    "frames": Target(run_frames, _frame_seeds, _mutated_frames),
    "messages": Target(run_messages, _message_seeds, _mutated_message),
    "values": Target(run_values, _value_seeds, _mutated_value),
    "arenas": Target(run_arenas, _arena_seeds, mutated_bytes),
}
