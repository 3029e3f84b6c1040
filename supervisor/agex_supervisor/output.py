"""What a worker writes to its stdout or stderr: drained at all times, kept only up to a limit, head and tail."""

from __future__ import annotations

import os

READ_BYTES = 1 << 16


class TextOutput:
    """Keeps text up to a limit. Beyond `limit_bytes` the middle is dropped and counted."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = max(limit_bytes, 2)
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def write(self, text: str) -> None:
        self.keep(str.encode(text, "utf-8", errors="backslashreplace"))

    def keep(self, piece: bytes) -> None:
        room = self._limit // 2 - len(self._head)
        if room > 0:
            self._head += piece[:room]
            piece = piece[room:]
        self._tail += piece
        surplus = len(self._tail) - (self._limit - self._limit // 2)
        if surplus > 0:
            del self._tail[:surplus]
            self._dropped += surplus

    def take(self) -> str:
        """The text so far; starts over."""
        head, tail, dropped = self._head, self._tail, self._dropped
        self._head, self._tail, self._dropped = bytearray(), bytearray(), 0
        if not dropped:
            return (head + tail).decode("utf-8", errors="backslashreplace")
        left_out = f"\n... {dropped} bytes left out ...\n"
        return (
            head.decode("utf-8", errors="backslashreplace") + left_out + tail.decode("utf-8", errors="backslashreplace")
        )


class Output(TextOutput):
    """Drains one pipe."""

    def __init__(self, descriptor: int, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self.descriptor = descriptor
        self.ended = False

    @property
    def watched(self) -> int:
        """The descriptor while something may come, else -1."""
        return -1 if self.ended else self.descriptor

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
            self.keep(piece)

    def close(self) -> None:
        os.close(self.descriptor)
