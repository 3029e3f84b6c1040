"""An image that code wants the model to see: a PNG file whose parts are looked at, and never decoded.

Only what makes up the picture passes: no text, no profile, no time, nothing behind its end. What decodes it is the model's
own server.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from agex_protocol.errors import ProtocolError

MAX_IMAGES = 8  # of one action
MAX_IMAGE_BYTES = 4 << 20
MAX_SIDE = 2048
_MAX_CHUNKS = 1024

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Each by a letter, with the most bytes that it may have.
_CHUNKS = {
    b"IHDR": ("h", 13),
    b"PLTE": ("p", 3 * 256),
    b"tRNS": ("t", 256),
    b"IDAT": ("d", MAX_IMAGE_BYTES),
    b"IEND": ("e", 0),
}
# Of a second header decoders take either: this one would be what is looked at, and that one what is drawn.
_ORDER = re.compile("hp?t?d+e")
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_COLORS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


@dataclass(frozen=True, slots=True)
class Image:
    """A PNG file, and what its header says of it."""

    data: bytes = field(repr=False)
    width: int
    height: int
    mode: str

    def __str__(self) -> str:
        return f"image, {self.width} x {self.height}, {self.mode}"


def image_of(head: bytes, buffers: Sequence[memoryview]) -> Image:
    """The image that a worker sent. ProtocolError for anything that ours would not send."""
    if head != b"-" or len(buffers) != 1 or not 0 < buffers[0].nbytes <= MAX_IMAGE_BYTES:
        raise ProtocolError(f"an image is one buffer of at most {MAX_IMAGE_BYTES} bytes")
    return png(bytes(buffers[0]))


def png(data: bytes) -> Image:
    """A PNG file with nothing in it but the picture. ProtocolError says what else it is."""
    if not data.startswith(_SIGNATURE):
        raise ProtocolError("an image is not a PNG file")
    kinds = ""
    header, at = b"", len(_SIGNATURE)
    while at < len(data):
        if len(data) - at < 12:
            raise ProtocolError("a PNG file ends within a chunk")
        size, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + size
        letter, most = _CHUNKS.get(kind, ("", -1))
        if size > most or end > len(data) or len(kinds) == _MAX_CHUNKS:
            raise ProtocolError("a PNG file has a part that does not belong to the picture")
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end]):
            raise ProtocolError("a PNG file is damaged")
        header = data[at + 8 : end - 4] if not kinds else header
        kinds += letter
        at = end
    if not _ORDER.fullmatch(kinds) or len(header) != 13:
        raise ProtocolError("a PNG file does not have its parts, each once and in their order")
    width, height, depth, color, *ways = struct.unpack(">IIBBBBB", header)
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE) or depth not in _DEPTHS.get(color, ()):
        raise ProtocolError(f"an image of {width} x {height} pixels; a side may have 1 to {MAX_SIDE}")
    if ways not in ([0, 0, 0], [0, 0, 1]):
        raise ProtocolError("a PNG file is packed in a way that there is not")
    return Image(data, width, height, _COLORS[color])
