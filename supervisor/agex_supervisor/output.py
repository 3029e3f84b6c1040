"""What a worker writes to its stdout or stderr: drained at all times, kept only up to a limit, head and tail."""

from __future__ import annotations

import os

READ_BYTES = 1 << 16


class Output:
    """Drains one pipe. Beyond `limit_bytes` the middle is dropped and counted."""

    def __init__(self, descriptor: int, limit_bytes: int) -> None:
        self.descriptor = descriptor
        self.ended = False
        self._limit = max(limit_bytes, 2)
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def drain(self, rounds: int = 64) -> None:
        """Read what is there without waiting; at most `rounds` reads, so that a flood does not hold the reader."""
        for _ in range(rounds):
            try:
                piece = os.read(self.descriptor, READ_BYTES)
            except BlockingIOError:
                return
            if not piece:
                self.ended = True
                return
            self._keep(piece)

    def take(self) -> str:
        """The text so far; starts over."""
        head, tail, dropped = self._head, self._tail, self._dropped
        self._head, self._tail, self._dropped = bytearray(), bytearray(), 0
        text = head.decode("utf-8", errors="backslashreplace")
        if dropped:
            text += f"\n... {dropped} bytes left out ...\n"
        return text + tail.decode("utf-8", errors="backslashreplace")

    def close(self) -> None:
        os.close(self.descriptor)

    def _keep(self, piece: bytes) -> None:
        room = self._limit // 2 - len(self._head)
        if room > 0:
            self._head += piece[:room]
            piece = piece[room:]
        self._tail += piece
        surplus = len(self._tail) - (self._limit - self._limit // 2)
        if surplus > 0:
            del self._tail[:surplus]
            self._dropped += surplus
