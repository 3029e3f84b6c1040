"""The supervisor's end of a socket: non-blocking, under one absolute deadline, and suspicious of what it reads."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from agex_protocol.codec import pack_message, unpack_message
from agex_protocol.errors import ProtocolError
from agex_protocol.framing import FrameReader, frame

READ_BYTES = 1 << 16
_INT = struct.Struct("=i")


@dataclass(frozen=True, slots=True)
class Carried:
    """A message among others that a descriptor goes with. It is asked for when it is sent, and closed by the wire."""

    message: object
    descriptor: Callable[[], int]


class Wire:
    """Frames over a non-blocking stream socket. Reads and writes what goes without waiting."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._reader = FrameReader()
        self._outgoing: Iterator[object] = iter(())
        self._partial = memoryview(b"")
        self._descriptor = -1
        self._received = -1
        self._accepting = True
        self.ended = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def queue(self, messages: Iterable[object], descriptor: int = -1) -> None:
        """Send these, as far as the peer takes them, at each `write()`. What was queued before must have gone.

        descriptor: goes with the first of them, and is closed here.
        """
        self._drop_descriptor()
        self._outgoing = iter(messages)
        self._descriptor = descriptor
        self.write()

    def write(self) -> bool:
        """Write until the socket is full. True when nothing is left."""
        while True:
            if not self._partial:
                message = next(self._outgoing, None)
                if message is None:
                    return True
                if isinstance(message, Carried):
                    self._drop_descriptor()
                    self._descriptor = message.descriptor()
                    message = message.message
                self._partial = memoryview(frame(pack_message(message)))
            try:
                sent = self._send()
            except BlockingIOError:
                return False
            except OSError:
                # The peer is gone: reading will say so, and its pidfd says why.
                self._partial, self._outgoing = memoryview(b""), iter(())
                self._drop_descriptor()
                return True
            self._partial = self._partial[sent:]

    @property
    def unsent(self) -> bool:
        return bool(self._partial)

    def read(self) -> bool:
        """Take in what one read gives; whether there was anything. Sets `ended` at the end of the stream; Truncated if that
        was inside a frame."""
        try:
            data = self._receive() if self._accepting else self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if data:
            self._reader.feed(data)
        else:
            self.ended = True
            self._reader.close()
        return True

    def next(self, kinds: types.UnionType) -> Any | None:
        """The next message that is whole, or None. ProtocolError for anything else."""
        payload = self._reader.next()
        return None if payload is None else unpack_message(payload, kinds)

    def take_descriptor(self) -> int:
        """The descriptor that came along, which is the caller's now; -1 if none did."""
        taken, self._received = self._received, -1
        return taken

    def accept_no_more(self) -> None:
        """From here on the kernel throws away every descriptor that is sent. One that nobody took is closed."""
        self._accepting = False
        if (descriptor := self.take_descriptor()) >= 0:
            os.close(descriptor)

    def close(self) -> None:
        self.accept_no_more()
        self._drop_descriptor()
        self._socket.close()

    def _receive(self) -> bytes:
        # Room for one descriptor: the kernel throws further ones away.
        room = socket.CMSG_LEN(_INT.size)
        data, ancillary, _, _ = self._socket.recvmsg(READ_BYTES, room, socket.MSG_CMSG_CLOEXEC)
        for level, kind, value in ancillary:
            if (level, kind, len(value)) == (socket.SOL_SOCKET, socket.SCM_RIGHTS, _INT.size):
                surplus = self.take_descriptor()
                (self._received,) = _INT.unpack(value)
                if surplus >= 0:
                    os.close(surplus)
                    raise ProtocolError("a second descriptor was sent")
        return data

    def _send(self) -> int:
        if self._descriptor < 0:
            return self._socket.send(self._partial)
        sent = socket.send_fds(self._socket, [self._partial], [self._descriptor])
        self._drop_descriptor()
        return sent

    def _drop_descriptor(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def wait_readable(descriptor: int, deadline: float) -> bool:
    """Wait until a descriptor is readable, at most until time.monotonic() == deadline."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    left = None if deadline == float("inf") else max(0.0, deadline - time.monotonic()) * 1000
    return bool(poll.poll(left))
