"""The supervisor's end of a socket: non-blocking, under one absolute deadline, and suspicious of what it reads."""

from __future__ import annotations

import select
import socket
import time
import types
from collections.abc import Iterable, Iterator
from typing import Any

from agex_protocol.codec import pack_message, unpack_message
from agex_protocol.framing import FrameReader, frame

READ_BYTES = 1 << 17


class Wire:
    """Frames over a non-blocking stream socket. Reads and writes what goes without waiting."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._reader = FrameReader()
        self._outgoing: Iterator[object] = iter(())
        self._partial = memoryview(b"")
        self.ended = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def queue(self, messages: Iterable[object]) -> None:
        """Send these, as far as the peer takes them, at each `write()`. What was queued before must have gone."""
        self._outgoing = iter(messages)
        self.write()

    def write(self) -> bool:
        """Write until the socket is full. True when nothing is left."""
        while True:
            if not self._partial:
                message = next(self._outgoing, None)
                if message is None:
                    return True
                self._partial = memoryview(frame(pack_message(message)))
            try:
                sent = self._socket.send(self._partial)
            except BlockingIOError:
                return False
            except OSError:
                # The peer is gone: reading will say so, and its pidfd says why.
                self._partial, self._outgoing = memoryview(b""), iter(())
                return True
            self._partial = self._partial[sent:]

    @property
    def unsent(self) -> bool:
        return bool(self._partial)

    def read(self) -> None:
        """Take in what one read gives. Sets `ended` at the end of the stream; Truncated if that was inside a frame."""
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._reader.feed(data)
        else:
            self.ended = True
            self._reader.close()

    def next(self, kinds: types.UnionType) -> Any | None:
        """The next message that is whole, or None. ProtocolError for anything else."""
        payload = self._reader.next()
        return None if payload is None else unpack_message(payload, kinds)

    def close(self) -> None:
        self._socket.close()


def wait_readable(descriptor: int, deadline: float) -> bool:
    """Wait until a descriptor is readable, at most until time.monotonic() == deadline."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    left = None if deadline == float("inf") else max(0.0, deadline - time.monotonic()) * 1000
    return bool(poll.poll(left))
