"""What was refused to the code of an action, as far as this process notices it: for the caller to read, never a wall.

Each refusal is kept once, in the order in which they came, and only so many of them. Code that owns the process can
forge or drop what is here; the supervisor takes it for no more than that.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Generator
from contextvars import ContextVar, copy_context
from typing import NamedTuple, TypeVar

T = TypeVar("T")

MAX_REFUSALS = 100
MAX_TARGET_CHARS = 500

# By errno: the limit that an error of the kernel speaks of.
_LIMITS = {errno.EMFILE: "open_files", errno.EFBIG: "file_size", errno.ENOSPC: "disk"}


class Refusal(NamedTuple):
    """layer and operation are words of the closed table in the supervisor; target is a path, a name or an address."""

    layer: str
    operation: str
    target: str


class Record:
    """Refusals without repetition. Any thread may add: each step is one operation on a dict."""

    def __init__(self) -> None:
        self._refusals: dict[Refusal, None] = {}

    def add(self, refusal: Refusal) -> None:
        if len(self._refusals) < MAX_REFUSALS:
            self._refusals[refusal] = None

    def has_target(self, target: str) -> bool:
        return any(each.target == target for each in tuple(self._refusals))

    def take(self) -> tuple[Refusal, ...]:
        """What there is so far, at most MAX_REFUSALS; starts over."""
        refusals, self._refusals = self._refusals, {}
        return tuple(refusals)[:MAX_REFUSALS]


def note(layer: str, operation: str, target: str = "") -> None:
    """Something was refused just now, or is about to be."""
    _current.get().add(Refusal(layer, operation, _sendable(target)))


def is_noted(target: str) -> bool:
    """Whether something was refused of this target already."""
    return _current.get().has_target(_sendable(target))


def take() -> tuple[Refusal, ...]:
    """What was refused since this was last asked, on any thread of the process."""
    return _process.take()


@contextlib.contextmanager
def apart() -> Generator[Record]:
    """A record of its own for what this context's code is refused meanwhile: nothing of it reaches the process's."""
    record = Record()
    token = _current.set(record)
    try:
        yield record
    finally:
        _current.reset(token)


def collected(record: Record, call: Callable[[], T]) -> T:
    """Call something in a context of its own; what it is refused goes to `record`, and what else it sets ends with it."""
    context = copy_context()
    context.run(_current.set, record)
    return context.run(call)


def limit_behind(error: BaseException) -> str:
    """The limit that an error speaks of: "memory", "threads", "open_files", "file_size", "disk", or "" for most errors."""
    if isinstance(error, MemoryError):
        return "memory"
    if isinstance(error, OSError):
        # Of its own class the code may have made anything of the attribute.
        number: object = vars(OSError)["errno"].__get__(error)
        return _LIMITS.get(number, "") if type(number) is int else ""
    if (
        type(error) is RuntimeError
        and list(map(type, error.args)) == [str]
        and error.args[0] == "can't start new thread"
    ):
        return "threads"
    return ""


def disk_limit(place: str, size_bytes: int) -> str:
    """Which limit a full file system stands for: "workspace_size", "workspace_files", or "" if it is not a worker's own."""
    found = os.statvfs(place)
    if found.f_blocks * found.f_frsize >= size_bytes + found.f_frsize:  # it was made of whole pages
        return ""
    return "workspace_size" if found.f_ffree else "workspace_files"


def _sendable(target: str) -> str:
    text = str.__getitem__(target, slice(MAX_TARGET_CHARS))
    # A name that is no Unicode text could not be sent.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[:MAX_TARGET_CHARS]


_process = Record()
_current: ContextVar[Record] = ContextVar("denials", default=_process)
