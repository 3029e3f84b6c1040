"""Images of a worker: the picture passes, whatever else a PNG file can carry does not, and nothing is decoded."""

from __future__ import annotations

import io
import struct
import zlib

import PIL.Image
import PIL.PngImagePlugin
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agex_protocol.errors import ProtocolError
from agex_supervisor.png import MAX_IMAGE_BYTES, MAX_IMAGES, Image, image_of, png
from agex_supervisor.turn import Turn


def file_of(mode: str = "RGB", size: tuple[int, int] = (4, 3), **options: object) -> bytes:
    file = io.BytesIO()
    PIL.Image.new(mode, size).save(file, "PNG", **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PLAIN = file_of()
BEFORE_END = PLAIN[:-12]
HUGE = chunk(b"IHDR", struct.pack(">IIBBBBB", 1 << 31, 1 << 31, 8, 2, 0, 0, 0))


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("RGB", "RGB"),
        ("RGBA", "RGB with alpha"),
        ("L", "grey"),
        ("LA", "grey with alpha"),
        ("1", "grey"),
        ("P", "palette"),
    ],
)
def test_a_picture_is_what_its_header_says(mode: str, told: str) -> None:
    data = file_of(mode)
    assert png(data) == Image(data, 4, 3, told)
    assert str(png(data)) == f"image, 4 x 3, {told}"
    assert repr(png(data)) == f"Image(width=4, height=3, mode={told!r})"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        PLAIN[:-1],
        PLAIN[:8],
        BEFORE_END,
        PLAIN + b"\0",
        PLAIN + chunk(b"IEND"),
        BEFORE_END + chunk(b"tEXt", b"Comment\0hi") + chunk(b"IEND"),
        BEFORE_END + chunk(b"iCCP", b"x") + chunk(b"IEND"),
        BEFORE_END + chunk(b"acTL", b"x") + chunk(b"IEND"),
        PLAIN[:8] + chunk(b"IDAT", b"") + PLAIN[8:],
        PLAIN[:8] + chunk(b"IEND"),
        PLAIN[:20] + b"\xff" + PLAIN[21:],
        BEFORE_END + chunk(b"IDAT") * 2000 + chunk(b"IEND"),
        PLAIN[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 0, 3, 8, 2, 0, 0, 0)) + PLAIN[33:],
        PLAIN[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1 << 31, 8, 2, 0, 0, 0)) + PLAIN[33:],
        PLAIN[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 3, 2, 0, 0, 0)) + PLAIN[33:],
        PLAIN[:8] + struct.pack(">I", 0xFFFFFFFF) + PLAIN[12:],
        file_of(size=(2049, 1)),
        # Decoders that take the second header would make a picture of many gigabytes of it.
        PLAIN[:33] + HUGE + PLAIN[33:],
        BEFORE_END + HUGE + chunk(b"IEND"),
        BEFORE_END + chunk(b"PLTE", b"abc") + chunk(b"IDAT") + chunk(b"IEND"),
        PLAIN[:33] + chunk(b"PLTE", b"abc") * 2 + PLAIN[33:],
        PLAIN[:33] + chunk(b"PLTE", b"abc" * 257) + PLAIN[33:],
        BEFORE_END + chunk(b"IEND", b"more"),
        PLAIN[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 8, 2, 0, 1, 0)) + PLAIN[33:],
        PLAIN[:8] + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, 8, 2, 0, 0, 2)) + PLAIN[33:],
    ],
    ids=range(27),
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        png(data)


@given(st.integers(0, len(PLAIN) - 1), st.integers(0, 255), st.integers(0, len(PLAIN)))
def test_a_file_that_was_tampered_with_is_a_picture_or_refused(place: int, byte: int, end: int) -> None:
    data = bytearray(PLAIN)
    data[place] = byte
    try:
        image = png(bytes(data[:end]))
    except ProtocolError:
        return
    assert image.data == PLAIN


def test_an_image_crosses_as_one_buffer_and_a_turn_has_few() -> None:
    turn = Turn()
    for _ in range(MAX_IMAGES):
        turn.see((b"-", [memoryview(PLAIN)]))
    with pytest.raises(ProtocolError, match="more than 8 images"):
        turn.see((b"-", [memoryview(PLAIN)]))
    large = memoryview(bytes(MAX_IMAGE_BYTES + 1))
    for value in ((b"", [memoryview(PLAIN)]), (b"-", []), (b"-", [memoryview(PLAIN)] * 2), (b"-", [large])):
        with pytest.raises(ProtocolError, match="an image is one buffer"):
            image_of(*value)
