"""Commands of the terminal that run in this process. Each runs on a thread of its own and is started by a call of the worker;
what it wants of the workspace the worker does for it, between one call and the next.

    start(name, arguments, stdin) -> a file operation, or how it ended
    go_on(run, ...)               -> the next one, or how it ended

Of what the worker says nothing is believed but that it is text or bytes: it is as trustworthy as the files themselves.
"""

from __future__ import annotations

import contextvars
import inspect
import itertools
import queue
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from agex_protocol import messages as m
from agex_supervisor.display import display
from agex_supervisor.hosted import Hosted, hosted
from agex_supervisor.path_pattern import like

MAX_OUTPUT_CHARS = 1 << 20
MAX_ERROR_CHARS = 2_000
MAX_RUNNING = 16
_ERRORS: dict[str, type[OSError]] = {
    each.__name__: each
    for each in (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
}
Step = dict[str, Any]
Names = list[str]  # `list` is that of a method below


class CommandFailed(Exception):
    """Ends a command with an exit code and a message: what `ctx.fail` raises."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class CommandAbandoned(Exception):
    """The action in which a command ran is over: nobody is there any more to do what it asks of the workspace."""


@dataclass(frozen=True, slots=True)
class TerminalCommand:
    """A registered command: what runs, and what its `--help` says."""

    name: str
    handler: Callable[[CommandContext], object]
    help: str


class CommandOutput:
    """What a command prints, up to a limit."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._left = MAX_OUTPUT_CHARS

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # a handler's mistake shows here
            raise TypeError(f"text is printed, not {type(text).__name__}; write bytes to a file by ctx.files")
        if len(text) > self._left:
            raise ValueError(f"more than {MAX_OUTPUT_CHARS} characters of output: write a file by ctx.files")
        self._left -= len(text)
        self._pieces.append(text)
        return len(text)

    def text(self) -> str:
        return "".join(self._pieces)


class CommandFiles:
    """The workspace as a command sees it: the worker that owns it does what is asked, so paths cannot leave it."""

    def __init__(self, ask: Callable[[str, str, bytes], tuple[bytes, list[str]]]) -> None:
        self._ask = ask

    def read(self, path: str) -> bytes:
        return self._ask("read", path, b"")[0]

    def write(self, path: str, content: bytes | str) -> None:
        self._ask("write", path, content.encode() if isinstance(content, str) else bytes(content))

    def list(self, folder: str = "") -> Names:
        """The paths of all files below a folder, or of all that there are, sorted."""
        return self._ask("list", folder or ".", b"")[1]

    def glob(self, pattern: str) -> Names:
        """The paths that a pattern fits, sorted: `*` and `?` within a name, `**` for any folders."""
        fits = like(pattern)
        return [path for path in self.list() if fits(path)]


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What a command works with. args and stdin were chosen by the agent: treat them as an adversary's."""

    args: list[str]
    stdin: str
    stdout: CommandOutput
    files: CommandFiles

    def fail(self, message: str, exit_code: int = 1) -> NoReturn:
        """End the command: the message is its stderr."""
        raise CommandFailed(message, exit_code)


class TerminalCommands:
    """Those of one session. messages: whether the text of an error that a command raises reaches agent code."""

    def __init__(self, commands: Sequence[TerminalCommand], *, messages: bool = True) -> None:
        self._commands = {each.name: each for each in commands}
        self._messages = messages
        self._numbers = itertools.count(1)
        self._running: dict[int, _Running] = {}
        self._lock = threading.Lock()
        self._open = False

    @property
    def declared(self) -> tuple[m.HostCommand, ...]:
        return tuple(m.HostCommand(each.name, each.help) for each in self._commands.values())

    def functions(self, *, local: bool = False) -> tuple[Hosted, ...]:
        """The two functions by which a worker runs commands; none where there are no commands."""
        if not self._commands:
            return ()
        made = partial(hosted, doc="", local=local)
        return tuple(made(name, each, inspect.signature(each, eval_str=True)) for name, each in self._calls().items())

    def start(self, name: str, arguments: list[str], stdin: str) -> Step:
        command = self._commands.get(name)
        if command is None:
            raise LookupError(f"no command {name[:60]!r}")
        with self._lock:
            if not self._open:
                raise RuntimeError("commands run within a terminal action only")
            if len(self._running) >= MAX_RUNNING:
                raise RuntimeError(f"more than {MAX_RUNNING} commands at once")
            number = next(self._numbers)
            running = self._running[number] = _Running(number, command, arguments, stdin, self._messages)
        return self._stepped(number, running.start)

    def go_on(self, run: int, content: bytes, names: list[str], error_type: str, error: str) -> Step:
        with self._lock:
            running = self._running.get(run)
        if running is None:
            raise LookupError("no such command is running")
        failed = _ERRORS.get(error_type, OSError)(display(error, limit=MAX_ERROR_CHARS)) if error_type else None
        return self._stepped(run, lambda: running.go_on(failed if failed is not None else (content, names)))

    @contextmanager
    def opened(self) -> Generator[None]:
        """For one action of the terminal: afterwards commands that still wait for their worker end."""
        with self._lock:
            self._open = True
        try:
            yield
        finally:
            with self._lock:
                self._open = False
                running, self._running = list(self._running.values()), {}
            for each in running:
                each.abandon()

    def _calls(self) -> Mapping[str, Callable[..., Step]]:
        return {m.START_COMMAND: self.start, m.CONTINUE_COMMAND: self.go_on}

    def _stepped(self, number: int, step: Callable[[], Step]) -> Step:
        told = step()
        if "operation" not in told:
            with self._lock:
                self._running.pop(number, None)
        return told


class _Running:
    """One command on its thread. It and the calls of the worker take turns."""

    def __init__(self, number: int, command: TerminalCommand, arguments: list[str], stdin: str, messages: bool) -> None:
        self._number = number
        self._command = command
        self._messages = messages
        self._asked: queue.SimpleQueue[Step] = queue.SimpleQueue()
        self._given: queue.SimpleQueue[tuple[bytes, list[str]] | Exception] = queue.SimpleQueue()
        self._abandoned = False
        self._context = CommandContext(arguments, stdin, CommandOutput(), CommandFiles(self._ask))

    def start(self) -> Step:
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run,), name=self._command.name, daemon=True).start()
        return self._asked.get()

    def go_on(self, given: tuple[bytes, list[str]] | Exception) -> Step:
        self._given.put(given)
        return self._asked.get()

    def abandon(self) -> None:
        self._abandoned = True
        self._given.put(_abandoned())

    def _run(self) -> None:
        ended: Step = {"stdout": "", "stderr": f"{self._command.name}: how it ended cannot be told", "exit_code": 1}
        try:
            stderr, exit_code = self._handled()
            ended = {"stdout": self._context.stdout.text(), "stderr": stderr, "exit_code": exit_code}
        finally:
            self._asked.put(ended)  # whatever happened: somebody waits for it, and for nothing else

    def _handled(self) -> tuple[str, int]:
        try:
            self._command.handler(self._context)
        except CommandFailed as failed:
            return self._failed(failed)
        except BaseException as error:  # SystemExit too
            return self._said(error), 1
        return "", 0

    def _failed(self, failed: CommandFailed) -> tuple[str, int]:
        if type(failed.exit_code) is not int:
            return (
                f"{self._command.name}: its exit code is a {type(failed.exit_code).__name__}, and has to be an int",
                1,
            )
        return display(str(failed), limit=MAX_ERROR_CHARS), failed.exit_code & 0xFF or 1

    def _said(self, error: BaseException) -> str:
        kind = type(error).__name__
        if not self._messages:
            return f"{self._command.name}: {kind} (the policy keeps back why: host_calls.errors)"
        try:
            text = str(error)
        except Exception as second:
            text = f"<its text cannot be made: {type(second).__name__}>"
        return f"{self._command.name}: {kind}: {display(text, limit=MAX_ERROR_CHARS)}"

    def _ask(self, operation: str, path: str, content: bytes) -> tuple[bytes, list[str]]:
        if self._abandoned:
            raise _abandoned()  # again, to a handler that goes on after it was told
        self._asked.put({"run": self._number, "operation": operation, "path": path, "content": content})
        given = self._given.get()
        if isinstance(given, Exception):
            raise given
        return given


def _abandoned() -> CommandAbandoned:
    return CommandAbandoned("the action in which this command ran is over")
