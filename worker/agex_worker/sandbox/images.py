"""Pillow's images from and into files of the workspace. Left to itself it opens any path, and starts programs for some formats."""

from __future__ import annotations

import os
from collections.abc import Callable, Container
from typing import Any

from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.sandbox.names import Refused
from agex_worker.sandbox.own import is_own
from agex_worker.sandbox.paths import with_opened

# What Pillow reads by itself; for PostScript it starts another program.
READ = frozenset("AVIF BMP CUR DDS DIB GIF ICNS ICO JPEG JPEG2000 PCX PNG PPM QOI SGI TGA TIFF WEBP XBM XPM".split())


def image_opened(
    real: Callable[..., Any], files: WorkspaceFiles | None, args: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    """As PIL.Image.open, read whole: an image that reads later keeps the path of its file, and code can set that."""
    wanted = named.get("formats")
    if wanted is not None and (type(wanted) not in (list, tuple) or any(type(each) is not str for each in wanted)):
        raise Refused("formats must be names in a list or tuple")
    formats = _readable(READ if wanted is None else READ & {each.upper() for each in wanted})

    def read(*args: Any, **named: Any) -> Any:
        image = real(*args, **named)
        image.load()
        copied = image.copy()
        copied.format = image.format
        return copied

    return with_opened(read, files, "rb", ("fp",), args, {**named, "formats": formats})


def image_saved(found: Callable[..., Any], files: WorkspaceFiles | None, *args: Any, **named: Any) -> Any:
    """As save() of an image. The format is told by the name before a file is made."""
    target = named["fp"] if "fp" in named else args[0] if args else None
    if is_own(target):
        # It is asked for the number of its file, and what is written there goes past the object.
        raise Refused("save() takes a path, an open file or a BytesIO here, not an object of your own class", "save")
    if isinstance(target, str | os.PathLike) and len(args) < 2 and named.get("format") is None:
        named = {**named, "format": _format_of(os.fspath(target))}
    return with_opened(found, files, "w+b", ("fp",), args, named)


def _readable(formats: Container[str]) -> list[str]:
    # Here, for whoever opens an image has it imported.
    import PIL.Image

    PIL.Image.init()
    return [each for each in PIL.Image.ID if each in formats]


def _format_of(name: str) -> str:
    import PIL.Image

    ending = os.path.splitext(name)[1].lower()
    known: dict[str, str] = PIL.Image.registered_extensions()
    if ending not in known:
        raise ValueError(f"unknown file extension: {ending!r}; name the file .png or .jpg, or say format=")
    return known[ending]
