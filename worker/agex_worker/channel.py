"""One blocking end of a conversation: messages out, messages in, descriptors in where a zygote is given some.

The worker trusts what it reads here: the supervisor wrote it.
"""

from __future__ import annotations

import os
import socket
import types
from typing import Any

from agex_protocol.codec import pack_message, unpack_message
from agex_protocol.framing import FrameReader, frame

READ_BYTES = 1 << 18
MAX_DESCRIPTORS = 3


class Channel:
    """A stream socket that carries frames."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._socket = socket.socket(fileno=descriptor)
        self._reader = FrameReader()
        self._descriptors: list[int] = []

    def send(self, message: object, descriptors: list[int] | None = None) -> None:
        data = frame(pack_message(message))
        if descriptors:
            sent = socket.send_fds(self._socket, [data], descriptors)
            data = data[sent:]
        if data:
            self._socket.sendall(data)

    def receive(self, kinds: types.UnionType) -> Any:
        """The next message of one of these kinds. EOFError when the supervisor has gone."""
        while (payload := self._reader.next()) is None:
            data, descriptors, _, _ = socket.recv_fds(self._socket, READ_BYTES, MAX_DESCRIPTORS)
            self._descriptors += descriptors
            if not data:
                raise EOFError("the supervisor closed the channel")
            self._reader.feed(data)
        return unpack_message(payload, kinds)

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
