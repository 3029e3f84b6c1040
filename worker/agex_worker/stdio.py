"""The worker's stdout and stderr: the pipes that the supervisor drains, written line by line, whatever code does to them."""

from __future__ import annotations

import sys
from typing import TextIO


def restore() -> None:
    """Point sys.stdout and sys.stderr at the pipes again: code before us may have replaced or closed them."""
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        ours = _ours.get(name)
        if ours is None or ours.closed or getattr(sys, name, None) is not ours:
            setattr(sys, name, _open(name, descriptor))


def flush() -> None:
    """Hand over what is buffered, before a message that must come after it."""
    for stream in (sys.stdout, sys.stderr):
        try:  # not suppress(), which takes longer than a flush of nothing
            stream.flush()
        except Exception:  # agent code put something else there: its own affair
            continue


def write_out(text: str) -> None:
    _ours["stdout"].write(text)  # also while code has put something of its own in the place of sys.stdout


def write_err(text: str) -> None:
    _ours["stderr"].write(text)


_ours: dict[str, TextIO] = {}


def _open(name: str, descriptor: int) -> TextIO:
    # Line by line, so that what was printed before a kill is in the pipe; no text is unprintable.
    stream = open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    _ours[name] = stream
    return stream
