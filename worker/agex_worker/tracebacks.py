"""Errors of agent code as bounded text, with the lines of the agent's own code and without our own frames."""

from __future__ import annotations

import io
import linecache
import os
import sys
import traceback
from dataclasses import dataclass

MAX_TYPE_CHARS = 200
MAX_MESSAGE_CHARS = 4_000
MAX_TRACEBACK_CHARS = 12_000
# In a worker only the first is loaded; with isolation "none" agent code runs among all of them.
OUR_PACKAGES = ("agex_worker", "agex_supervisor", "agex")


@dataclass(frozen=True, slots=True)
class ErrorText:
    """An exception as strings: never the object."""

    type: str = ""
    message: str = ""
    traceback: str = ""


def remember_source(filename: str, source: str) -> None:
    """Let tracebacks and inspect show these lines under this file name."""
    # Lines as Python counts them, which str.splitlines() does not; each ends, or the carets beneath the last are off.
    lines = io.StringIO(source if source.endswith("\n") else source + "\n", newline=None).readlines()
    linecache.cache[filename] = (len(source), None, lines, filename)


def error_text(error: BaseException) -> ErrorText:
    """Type, message and traceback of an exception, whatever its own methods do."""
    kind = type_name(error)
    try:
        message = str(error)
    except (
        BaseException
    ) as second:  # SystemExit too: the text of an error ends neither the worker nor, in `none`, the program
        message = f"<its text cannot be made: {type(second).__name__}>"
    try:
        told = traceback.TracebackException.from_exception(error, limit=-40, compact=True)
        _drop_ours(told)
        text = "".join(told.format())
    except BaseException as second:
        text = f"{kind}: {message}\n<its traceback cannot be made: {type(second).__name__}>\n"
    return ErrorText(kind, bounded(message, MAX_MESSAGE_CHARS), bounded(text, MAX_TRACEBACK_CHARS))


def type_name(value: object) -> str:
    """The name of a value's class, which agent code may have made as long as it likes."""
    return bounded(type(value).__name__, MAX_TYPE_CHARS)


def bounded(text: str, limit: int) -> str:
    """The head and the tail of a text, with what was left out counted between them."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def _drop_ours(told: traceback.TracebackException) -> None:
    ours = tuple(
        os.path.dirname(os.path.abspath(module.__file__)) + os.sep
        for name in OUR_PACKAGES
        if (module := sys.modules.get(name)) is not None and module.__file__ is not None
    )
    seen: list[traceback.TracebackException | None] = [told]
    while seen:
        each = seen.pop()
        if each is None:
            continue
        kept = [frame for frame in each.stack if not frame.filename.startswith(ours)]
        each.stack = traceback.StackSummary.from_list(kept)
        seen += [each.__cause__, each.__context__, *(each.exceptions or [])]
