"""Errors of agent code as bounded text, with the lines of the agent's own code and without our own frames."""

from __future__ import annotations

import io
import itertools
import linecache
import os
import re
import sys
import traceback
from collections import deque
from dataclasses import dataclass

from agex_worker.from_outside import FROM_OUTSIDE

MAX_TYPE_CHARS = 200
MAX_MESSAGE_CHARS = 4_000
MAX_TRACEBACK_CHARS = 12_000
# Scripts whose lines are remembered: more than any number of tasks has under way within one another.
MAX_SCRIPTS = 1_000
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
    linecache.cache[filename] = (len(source), None, source_lines(source), filename)


def remember_script(filename: str, source: str) -> str:
    """The same for code of the agent's. Gives the name to compile it by, from which `shown_name` makes the file name again:
    where sessions share a process, each has its own first action and may have its own `helpers/tables.py`."""
    # Without a lock: with isolation "none" an exception can end this at any line.
    entry = (len(source), None, source_lines(source), filename)
    # A file can be named like the numbered script of another session, whose lines its errors would then show.
    is_free = shown_name(filename) == filename
    name, there = filename, linecache.cache.setdefault(filename, entry) if is_free else None
    if there is not entry:
        if there is not None and there[2:3] == entry[2:3]:
            return filename
        name = f"{filename} #{next(_numbers)}"
        linecache.cache[name] = entry
    _scripts.append(name)
    if len(_scripts) > MAX_SCRIPTS:
        _forget(_scripts.popleft())
    return name


def source_lines(source: str) -> list[str]:
    """Lines as Python counts them, which str.splitlines() does not."""
    # Each ends, or the carets beneath the last are off.
    return io.StringIO(source if source.endswith("\n") else source + "\n", newline=None).readlines()


def shown_name(name: str) -> str:
    """The file name for which `remember_script` gave this one."""
    return _NUMBER.sub("", name)


def error_text(error: BaseException) -> ErrorText:
    """Type, message and traceback of an exception, whatever its own methods do."""
    kind = type_name(error)
    try:
        message = bounded(str(error), MAX_MESSAGE_CHARS)
    except FROM_OUTSIDE:
        raise
    except BaseException as second:  # SystemExit too: it ends neither the worker nor, in `none`, the application
        message = f"<its text cannot be made: {type_name(second)}>"
    try:
        told = traceback.TracebackException.from_exception(error, limit=-40, compact=True)
        _drop_ours(told)
        text = "".join(told.format())
    except FROM_OUTSIDE:
        raise
    except BaseException as second:
        text = f"{kind}: {message}\n<its traceback cannot be made: {type_name(second)}>\n"
    return ErrorText(kind, message, bounded(text, MAX_TRACEBACK_CHARS))


def type_name(value: object) -> str:
    """The name of a value's class, which agent code may have made as long as it likes."""
    return bounded(type(value).__name__, MAX_TYPE_CHARS)


def bounded(text: str, limit: int) -> str:
    """The head and the tail of a text, with what was left out counted between them. It is a plain str, whatever class of agent
    code the text was of."""
    text = str.__str__(text)
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


_scripts: deque[str] = deque()
_numbers = itertools.count(2)
_NUMBER = re.compile(r" #[0-9]+\Z")


def _forget(name: str) -> None:
    if shown_name(name) == name:
        # It stays taken: else what was compiled by it would be shown the lines of another script.
        linecache.cache[name] = (0, None, [], name)
    else:
        linecache.cache.pop(name, None)


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
        for frame in kept:
            frame.filename = shown_name(frame.filename)
        each.stack = traceback.StackSummary.from_list(kept)
        seen += [each.__cause__, each.__context__, *(each.exceptions or [])]
