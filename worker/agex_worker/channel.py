"""One blocking end of a conversation: messages out, messages in, descriptors in where a zygote is given some.

The worker trusts what it reads here: the supervisor wrote it.
"""

from __future__ import annotations

import os
import socket
import types
from array import array
from typing import Any

from agex_protocol.codec import pack_message, unpack_message
from agex_protocol.framing import FrameReader, frame
from agex_protocol.spin import Spin

READ_BYTES = 1 << 16
MAX_DESCRIPTORS = 3
_INT_BYTES = array("i").itemsize
_ROOM = socket.CMSG_LEN(MAX_DESCRIPTORS * _INT_BYTES)


class Channel:
    """A stream socket that carries frames."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._socket = socket.socket(fileno=descriptor)
        self._reader = FrameReader()
        self._descriptors: list[int] = []
        self._spin = Spin()

    def send(self, message: object, descriptors: list[int] | None = None) -> None:
        data = frame(pack_message(message))
        if descriptors:
            sent = socket.send_fds(self._socket, [data], descriptors)
            data = data[sent:]
        if data:
            self._socket.sendall(data)

    def receive(self, kinds: types.UnionType, *, soon: bool = False) -> Any:
        """The next message of one of these kinds. EOFError when the supervisor has gone. soon: it may be on its way."""
        if soon and not self._reader.pending():
            if not self._spin.sees(self._look):
                self._read()
                self._spin.woke()
        while (payload := self._reader.next()) is None:
            self._read()
        return unpack_message(payload, kinds)

    def _look(self) -> bool:
        try:
            self._read(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True

    def _read(self, flags: int = 0) -> None:
        data, ancillary, _, _ = self._socket.recvmsg(READ_BYTES, _ROOM, flags)
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._descriptors += array("i", value[: len(value) - len(value) % _INT_BYTES])
        if not data:
            raise EOFError("the supervisor closed the channel")
        self._reader.feed(data)

    def receive_with_descriptors(self, kinds: types.UnionType) -> tuple[Any, list[int]]:
        """As receive, and the descriptors that came along. One request is read at a time."""
        return self.receive(kinds), self.take_descriptors()

    def take_descriptors(self) -> list[int]:
        """Those that came along with what was received."""
        taken, self._descriptors = self._descriptors, []
        return taken

    def pending(self) -> bool:
        """Whether a message can be received without waiting for the socket."""
        return self._reader.pending()

    def close(self) -> None:
        self._socket.close()
        for descriptor in self._descriptors:
            os.close(descriptor)
