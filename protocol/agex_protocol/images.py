"""Pillow images as a mode, a size and raw pixels, so that no decoder of a file format reads what a worker wrote.

Every mode comes back exactly. Memory is known before any is taken: the bytes must be as many as mode and size ask for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from PIL import Image

from agex_protocol.parts import Reader, Writer


def kind_of(value: object) -> str | None:
    """ "image" for an image, also for one that was opened from a file."""
    return "image" if isinstance(value, Image.Image) else None


def pack(value: Any, writer: Writer) -> list[Any]:
    """[mode, width, height, pixels, palette, transparency]. Of `info` only the transparency crosses, which is of the pixels."""
    image = cast(Image.Image, value)
    if image.mode not in _BYTES:
        raise ValueError(f"an image of mode {image.mode} cannot cross; use .convert('RGB') or .convert('RGBA')")
    image.load()
    width, height = image.size
    _check_size(image.mode, width, height)
    writer.charge(_work(height))
    palette = None
    if image.mode in ("P", "PA"):
        held = cast(Any, image.palette)
        palette = [held.mode, image.getpalette(held.mode)]
        palette[1] = writer.put(bytes(palette[1] or []))
    pixels = image.tobytes("raw", "L" if image.mode == "1" else image.mode) if width and height else b""
    return [
        image.mode,
        width,
        height,
        writer.put(pixels),
        palette,
        _transparency(image.mode, image.info.get("transparency")),
    ]


def unpack_image(wire: object, reader: Reader) -> Image.Image:
    """An image in memory that belongs to no file."""
    match wire:
        case [str(mode), int(width), int(height), blob, palette, clear] if mode in _BYTES:
            _check_size(mode, width, height)
        case _:
            raise ValueError("not an image")
    reader.charge(_work(height))
    pixels = reader.get(blob)
    if len(pixels) != width * height * _BYTES[mode]:
        raise ValueError(f"an image of mode {mode} and {width} x {height} has other than {len(pixels)} bytes")
    if not pixels:
        image = Image.new(mode, (width, height))
    else:
        image = Image.frombytes(mode, (width, height), pixels, "raw", "1;8" if mode == "1" else mode)
    if (palette is None) == (mode in ("P", "PA")):
        raise ValueError("an image with a palette has none, or another one has")
    if palette is not None:
        _set_palette(image, palette, reader)
    if clear is not None:
        image.info["transparency"] = _checked(mode, clear)
    return image


def _set_palette(image: Image.Image, palette: object, reader: Reader) -> None:
    match palette:
        case ["RGB" | "RGBA" as order, blob]:
            colors = bytes(reader.get(blob))
        case _:
            raise ValueError("not a palette")
    if len(colors) % len(order) or len(colors) > 256 * len(order):
        raise ValueError("not a palette")
    image.putpalette(colors, order)


def _transparency(mode: str, value: Any) -> Any:
    """As plain data, or None where it says nothing of pixels of this mode."""
    part = list(cast(Any, value)) if isinstance(value, tuple) else value
    try:
        _checked(mode, part)
    except ValueError:
        return None
    return part


def _checked(mode: str, wire: object) -> Any:
    match wire:
        case int() if mode not in ("RGB", "RGBA") and 0 <= wire < 1 << 16:
            return wire
        case bytes() if mode == "P" and len(wire) <= 256:
            return wire
        case [int(red), int(green), int(blue)] if mode == "RGB":
            return red, green, blue
        case _:
            raise ValueError("not the transparency of an image")


def _check_size(mode: str, width: int, height: int) -> None:
    """Pillow takes 12 bytes for each row and up to 4 for each pixel: rows of few pixels would cost many times their bytes."""
    if not 0 <= width <= _MAX_SIDE or not 0 <= height <= _MAX_SIDE:
        raise ValueError(f"an image of {width} x {height} cannot cross; a side has at most {_MAX_SIDE} pixels")
    if height > _FREE_ROWS and width < _FEW_PIXELS:
        raise ValueError(f"an image of {width} x {height} is too narrow to cross; give it as an array")


def _work(height: int) -> int:
    return 60 + height // 4


_MAX_SIDE = 1 << 18
_FREE_ROWS = 4096
_FEW_PIXELS = 16
_BYTES = {
    **dict.fromkeys(("1", "L", "P"), 1),
    **dict.fromkeys(("LA", "La", "PA", "I;16", "I;16B", "I;16L"), 2),
    **dict.fromkeys(("RGB", "YCbCr", "LAB", "HSV"), 3),
    **dict.fromkeys(("RGBA", "RGBa", "RGBX", "CMYK", "I", "F"), 4),
}
UNPACKERS: dict[str, Callable[[object, Reader], Any]] = {"image": unpack_image}
