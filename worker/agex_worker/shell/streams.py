"""Where a command of the shell reads from and writes to. All of it is bytes in memory, a file of the workspace, or what is shown."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TextIO, cast

from termish import CommandContext
from termish.context import PipeStream

from agex_worker.sandbox.tree import WorkspaceTree
from agex_worker.shell.syntax import Redirect, Redirects, ShellSyntaxError

_NOTHING = "/dev/null"
_HELD_BYTES = 1 << 16


class Sink(Protocol):
    def write(self, data: bytes) -> object: ...


@dataclass(frozen=True, slots=True)
class Streams:
    """The input is shared by all commands of a loop or group: what one has read is gone for the next."""

    stdin: PipeStream
    out: Sink
    err: Sink

    def line(self) -> bytes:
        """The next line of the input, and no more of it."""
        return cast(io.BytesIO, self.stdin.buffer).readline()

    def rest(self) -> bytes:
        """All that is left of the input."""
        return cast(io.BytesIO, self.stdin.buffer).read()


@dataclass(frozen=True, slots=True)
class Shown:
    """What is seen of the action."""

    show: Callable[[str], object]

    def write(self, data: bytes) -> object:
        return self.show(data.decode("utf-8", "replace")) if data else None


@dataclass(frozen=True, slots=True)
class Kept:
    """Keeps what is written in the given place."""

    place: bytearray

    def write(self, data: bytes) -> object:
        self.place.extend(data)
        return None


@dataclass(frozen=True, slots=True)
class _Nowhere:
    def write(self, data: bytes) -> object:
        return None


@dataclass(frozen=True, slots=True)
class _Appended:
    """A file that was made, or emptied, before the command ran."""

    tree: WorkspaceTree
    path: str

    def write(self, data: bytes) -> object:
        if data:
            self.tree.write(self.path, data, "a")
        return None


class Written(io.TextIOWrapper):
    """A text stream into a sink: in large pieces, or once `at_once` was called, as it comes, so that what was printed before
    an end is there."""

    def __init__(self, sink: Sink) -> None:
        self._into = _Into(sink)
        raw: Any = self._into
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", newline="\n", write_through=True)

    def at_once(self) -> None:
        self._into.room = 0

    def close(self) -> None:
        """Stays open, whatever a command does with it."""
        self.flush()


class _Into(io.BufferedIOBase):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._held = bytearray()
        self.room = _HELD_BYTES

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        if len(self._held) > self.room:
            self.flush()
        return len(data)

    def flush(self) -> None:
        held, self._held = bytes(self._held), bytearray()
        if held:
            self._sink.write(held)


@dataclass
class ShellContext(CommandContext):
    """With where a command's errors go as they come."""

    stderr: TextIO = field(default_factory=io.StringIO)


def redirected(
    streams: Streams,
    redirects: Redirects,
    tree: WorkspaceTree,
    text: Callable[[str], str],
    document: Callable[[str], str],
) -> Streams:
    """The streams of a command, one redirect after the other. OSError for a file that cannot be opened."""
    for each in redirects:
        if not 0 <= each.descriptor <= 2:
            raise ShellSyntaxError(f"{each.descriptor}{each.how}: only 0, 1 and 2 can be redirected here")
        if each.document is not None:
            content = each.document.text if each.document.literal else document(each.document.text)
            streams = replace(streams, stdin=PipeStream(content.encode("utf-8", "surrogateescape")))
        else:
            streams = _redirected(streams, each, text(each.target), tree)
    return streams


def told(error: OSError | ValueError) -> str:
    """As a shell tells why a file cannot be opened."""
    if isinstance(error, OSError) and error.errno and error.strerror and error.filename:
        return f"{os.fspath(error.filename)}: {error.strerror}"
    return str(error)


def _redirected(streams: Streams, redirect: Redirect, target: str, tree: WorkspaceTree) -> Streams:
    match redirect.how:
        case "<<<":
            return replace(streams, stdin=PipeStream(f"{target}\n".encode("utf-8", "backslashreplace")))
        case "<":
            return replace(streams, stdin=PipeStream(b"" if target == _NOTHING else tree.read(target)))
        case "<&" if target in ("0", "-"):
            return replace(streams, stdin=PipeStream(b"")) if target == "-" else streams
        case ">&" if target in ("1", "2", "-"):
            sink = {"1": streams.out, "2": streams.err, "-": _Nowhere()}[target]
            return replace(streams, out=sink) if redirect.descriptor == 1 else replace(streams, err=sink)
        case ">&" | "<&" if target.isdecimal():
            raise ShellSyntaxError(f"{redirect.how}{target}: only 0, 1 and 2 can be redirected here")
        case "&>" | "&>>" | ">&":
            sink = _opened(target, redirect.how == "&>>", streams, tree)
            return replace(streams, out=sink, err=sink)
        case _:
            sink = _opened(target, redirect.how == ">>", streams, tree)
            return replace(streams, err=sink) if redirect.descriptor == 2 else replace(streams, out=sink)


def _opened(target: str, appends: bool, streams: Streams, tree: WorkspaceTree) -> Sink:
    known: dict[str, Sink] = {_NOTHING: _Nowhere(), "/dev/stdout": streams.out, "/dev/stderr": streams.err}
    if target in known:
        return known[target]
    if not target:
        raise FileNotFoundError(2, "No such file or directory", target)
    tree.write(target, b"", "a" if appends else "w")
    return _Appended(tree, target)
