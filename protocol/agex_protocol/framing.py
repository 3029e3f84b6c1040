"""Frames: four bytes of length, little-endian, then that many bytes. No I/O here; feed what arrives, take what is whole."""

from __future__ import annotations

import struct

from agex_protocol.errors import FrameTooLarge, Truncated

HEADER = struct.Struct("<I")
MAX_FRAME_BYTES = 4 << 20
"""No frame is longer, in either direction. What is larger goes as several Buffer messages."""


def frame(payload: bytes) -> bytes:
    """The payload with its length before it. FrameTooLarge leaves the stream in step: nothing was written."""
    if len(payload) > MAX_FRAME_BYTES:
        raise FrameTooLarge(f"a frame of {len(payload)} bytes is over the cap of {MAX_FRAME_BYTES}")
    return HEADER.pack(len(payload)) + payload


class FrameReader:
    """Cuts a stream into frames. Holds at most one frame and what one read brought beyond it."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max = max_frame_bytes
        self._pending = bytearray()

    def feed(self, data: bytes) -> None:
        self._pending += data

    def next(self) -> bytes | None:
        """The next whole frame, or None until more is fed. FrameTooLarge as soon as a length says so."""
        arrived = len(self._pending)
        if arrived < HEADER.size:
            return None
        (length,) = HEADER.unpack_from(self._pending)
        if length > self._max:
            raise FrameTooLarge(f"a frame of {length} bytes was announced; the cap is {self._max}")
        end = HEADER.size + length
        if arrived == end:  # most often: one read, one frame
            payload = bytes(memoryview(self._pending)[HEADER.size :])
            self._pending.clear()
            return payload
        if arrived < end:
            return None
        payload = bytes(memoryview(self._pending)[HEADER.size : end])
        del self._pending[:end]
        return payload

    def pending(self) -> bool:
        """Whether a whole frame is waiting to be taken."""
        if len(self._pending) < HEADER.size:
            return False
        (length,) = HEADER.unpack_from(self._pending)
        return len(self._pending) >= HEADER.size + int(length)

    def close(self) -> None:
        """The stream has ended: Truncated if that was in the middle of a frame."""
        if self._pending:
            raise Truncated(f"the stream ended {len(self._pending)} bytes into a frame")
