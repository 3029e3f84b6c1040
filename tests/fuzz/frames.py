"""Hostile frames through a supervisor's own path: `python -m tests.fuzz.frames [COUNT] [SEED]`.

A worker's end of a real socket sends changed frames; the other end reads them as `worker.Worker` does, by the wire, the table of turns, the
inbox, host calls and the contract of the answer. Each fault ends that conversation, as it would end the worker. Printed are
what came of the frames, the resident memory of this process before and after, and what was slowest. Ends with 1 for any
error that is not the task's, for descriptors left open, and for memory that grew by more than GROWTH_BYTES.
"""

from __future__ import annotations

import faulthandler
import inspect
import os
import random
import socket
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agex_protocol import messages as m
from agex_protocol.budget import Caps
from agex_protocol.buffers import Inbox, enclose
from agex_protocol.codec import pack_message
from agex_protocol.errors import ProtocolError
from agex_protocol.framing import HEADER, frame
from agex_protocol.turns import ENDINGS, Conversation
from agex_supervisor.contract import ContractMismatch
from agex_supervisor.denials import of_message
from agex_supervisor.display import display
from agex_supervisor.host_calls import HostCalls, hosted
from agex_supervisor.wire import READ_BYTES, Wire
from tests.fuzz.mutation import mutated_buffers, mutated_bytes, mutated_head
from tests.fuzz.samples import ACTION
from tests.fuzz.subjects import SUBJECTS, Point, Subject

# What libraries keep of all that they have seen once: it is flat after a million frames and a half.
GROWTH_BYTES = 64 << 20
HANG_S = 60
_CAPS = Caps.within(8 << 20)
_WARM = 20_000
_PARTS = 5


def main(count: int, seed: int) -> int:
    """Send so many frames; gives the exit code."""
    warnings.simplefilter("ignore")  # numpy and pandas warn of odd dates and frequencies
    storm = Storm(seed)
    storm.until(min(_WARM, count // 5))  # what is imported or cached once is not a leak
    descriptors, before, started = _descriptors(), _resident_bytes(), time.monotonic()
    grown = 0
    for part in range(1, _PARTS + 1):
        storm.until(count * part // _PARTS)
        grown = _resident_bytes() - before
        print(f"after {storm.sent} frames: {grown / 2**20:+.1f} MiB resident", flush=True)
    left = _descriptors() - descriptors
    print(f"{storm.sent} frames in {storm.conversations} conversations, {time.monotonic() - started:.0f} s")
    for what, times in storm.came.most_common(12):
        print(f"  {times:>9} {what}")
    print(
        f"resident: {before / 2**20:.1f} MiB after {min(_WARM, count // 5)} frames, {grown / 2**20:+.1f} MiB at the end"
    )
    print(f"slowest: {storm.slowest[0] * 1000:.1f} ms of processor time, {storm.slowest[1]}")
    print(f"descriptors left open: {left}")
    return int(grown > GROWTH_BYTES or left != 0)


class Storm:
    """Conversation after conversation, each until its first fault or its ending."""

    def __init__(self, seed: int) -> None:
        self.sent = 0
        self.conversations = 0
        self.came = Counter[str]()
        self.slowest = (0.0, "")
        self._dice = random.Random(seed)
        self._calls = HostCalls([hosted("f", _f, inspect.signature(_f, eval_str=True), None)], _CAPS)

    def until(self, count: int) -> None:
        """Go on until so many frames were sent."""
        while self.sent < count:
            if not self.conversations % 1000:
                faulthandler.dump_traceback_later(HANG_S, exit=True)
            self._converse()
        faulthandler.cancel_dump_traceback_later()

    def _converse(self) -> None:
        self.conversations += 1
        near, far = socket.socketpair()
        subject = self._dice.choice(SUBJECTS)
        hearing = _Hearing(near, subject, self._calls)
        try:
            for data in self._frames(subject):
                self.sent += 1
                took, outcome = 0.0, ""
                for start in range(0, len(data), READ_BYTES // 2):  # no more than the socket holds
                    far.sendall(data[start : start + READ_BYTES // 2])
                    started = time.thread_time()
                    outcome = hearing.hear()
                    took += time.thread_time() - started
                    if outcome:
                        break
                if took > self.slowest[0]:
                    self.slowest = (took, f"{len(data)} bytes for {subject}: {outcome or 'heard'}")
                if outcome:
                    self.came[outcome] += 1
                    return
            far.close()
            self.came[hearing.hear() or "the stream ended"] += 1
        finally:
            hearing.close()
            far.close()

    def _frames(self, subject: Subject) -> Iterator[bytes]:
        """What a worker could send for one action, each now and then changed, in an order that is now and then another."""
        dice = self._dice
        messages: list[Any] = []
        for call in range(1, dice.choice((1, 1, 2, 3))):
            messages.append(m.Denied(ACTION, "landlock", "read", "/etc/passwd"))
            messages += _enclosed(dice.choice(_ARGUMENTS).encodings[0], lambda value, call=call: _call(call, value))
        head, buffers = dice.choice(subject.encodings)
        if dice.random() < 0.6:
            head, buffers = mutated_head(head, dice), mutated_buffers(buffers, dice)
        ending = dice.choice((m.Succeeded, m.Finished))
        messages += _enclosed((head, buffers), lambda value: ending(ACTION, value))
        if dice.random() < 0.2:
            dice.shuffle(messages)
        for message in messages:
            yield from self._as_sent(pack_message(message))

    def _as_sent(self, payload: bytes) -> Iterator[bytes]:
        dice = self._dice
        chance = dice.random()
        if chance < 0.5:
            yield frame(payload)
        elif chance < 0.75:
            yield _framed(mutated_head(payload, dice))
        elif chance < 0.9:
            yield _framed(mutated_bytes(payload, dice))
        elif chance < 0.95:
            yield from (frame(payload), frame(payload))
        else:
            yield mutated_bytes(HEADER.pack(len(payload)), dice) + payload


class _Hearing:
    """The supervisor's side of one action: a worker.Worker without the process."""

    def __init__(self, near: socket.socket, subject: Subject, calls: HostCalls) -> None:
        self._wire = Wire(near)
        self._wire.accept_no_more()
        self._conversation = Conversation()
        self._conversation.heard(m.Ready(m.PROTOCOL_VERSION, (), ()))
        self._conversation.run(ACTION)
        self._inbox = Inbox(_CAPS.head_bytes + _CAPS.buffer_bytes)
        self._subject = subject
        self._calls = calls
        self._denied = 0

    def hear(self) -> str:
        """Take in all that came. What ended the conversation, or "" while it goes on."""
        try:
            self._wire.read()
            while (message := self._wire.next(m.ToSupervisor)) is not None:
                self._conversation.heard(message)
                if type(message) in ENDINGS:
                    return self._ended(message)
                self._heard(message)
        except ProtocolError as error:
            return f"{type(error).__name__}: {display(str(error), limit=500, one_line=True)[:34]}"
        return ""

    def close(self) -> None:
        self._wire.close()

    def _heard(self, message: object) -> None:
        if isinstance(message, m.Buffer):
            self._inbox.take(message)
        elif isinstance(message, m.Denied):
            of_message(message, self._denied)
            self._denied += 1
        elif isinstance(message, m.Call):
            values = self._inbox.open(*(argument.value for argument in message.arguments))
            answers = list(self._calls(message, values))
            assert isinstance(answers[-1], m.Answer)
            self._conversation.answered()
        elif isinstance(message, m.Dial):
            self._conversation.answered()

    def _ended(self, ending: Any) -> str:
        ((head, buffers),) = self._inbox.open(getattr(ending, "value", m.Encoded(b"")))
        if not isinstance(ending, m.Succeeded | m.Finished):
            return type(ending).__name__
        try:
            value = self._subject.contract.decode(head, buffers, _CAPS)
        except ContractMismatch as error:
            display(str(error), limit=8000)
            return "mismatch"
        self._subject.contract.check(value)
        return "value"


def _f(point: Point, more: Any = None, **rest: int) -> str:
    return "done"


def _call(number: int, value: m.Encoded) -> m.Call:
    return m.Call(ACTION, number, "f", (m.Argument("point", value),))


def _enclosed(encoding: tuple[bytes, list[bytes]], last: Any) -> list[Any]:
    pieces, encoded = enclose(ACTION, *encoding)
    return [*pieces, last(encoded)]


def _framed(payload: bytes) -> bytes:
    """As `frame`, and without its cap."""
    return HEADER.pack(len(payload)) + payload


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


_ARGUMENTS = [subject for subject in SUBJECTS if subject.annotation is Point]

if __name__ == "__main__":
    count, seed, *_ = (*map(int, sys.argv[1:]), *(1_000_000, 1)[len(sys.argv) - 1 :])
    raise SystemExit(main(count, seed))
