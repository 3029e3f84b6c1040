"""Paths that agent code hands to a library: the library gets an open workspace file in their place."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.sandbox.names import Refused

_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".zst": "zstd", ".zip": "zip", ".tar": "tar"}


def with_opened(
    call: Callable[..., Any],
    files: WorkspaceFiles | None,
    mode: str,
    keywords: tuple[str, ...],
    args: tuple[Any, ...],
    named: dict[str, Any],
    *,
    infers_compression: bool = False,
) -> Any:
    """Call with the path, the first argument or one of these keywords, replaced by a file that is closed afterwards.

    What is no path passes as it is: None, an open file, an array.
    """
    keyword = next((each for each in keywords if each in named), None)
    path = named[keyword] if keyword else args[0] if args else None
    if isinstance(path, str | bytes | os.PathLike):
        if files is None:
            raise Refused(f"{path!r} cannot be opened: there is no workspace here", os.fsdecode(path), "read")
        with files.open(path, mode) as file:  # type: ignore[arg-type]
            if keyword:
                named = {**named, keyword: file}
            else:
                args = (file, *args[1:])
            if infers_compression and named.get("compression", "infer") == "infer":
                named["compression"] = _COMPRESSIONS.get(os.path.splitext(file.name)[1])
            return call(*args, **named)
    return call(*args, **named)


# What matplotlib draws by itself; for others it starts programs.
_DRAWN = frozenset({"png", "jpg", "jpeg", "webp", "tif", "tiff", "pdf", "svg", "svgz"})


def with_picture_opened(
    call: Callable[..., Any], files: WorkspaceFiles | None, args: tuple[Any, ...], named: dict[str, Any]
) -> Any:
    """As `with_opened`, for a figure or an array that is saved: the format is told by the name, which the file has not."""
    path = named["fname"] if "fname" in named else args[0] if args else None
    if "backend" in named:
        raise Refused("saving with backend= is not allowed here: it imports a module by name", "backend")
    if isinstance(path, str | os.PathLike) and named.get("format") is None:
        named = {**named, "format": os.path.splitext(os.fspath(path))[1][1:].lower() or "png"}
    kind = named.get("format")
    if kind is not None and (type(kind) is not str or kind not in _DRAWN):
        raise Refused(f"saving as {kind!r} is not allowed here; use one of {', '.join(sorted(_DRAWN))}", "format")
    return with_opened(call, files, "wb", ("fname",), args, named)
