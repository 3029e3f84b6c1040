"""The terminal's `python`: a file of the workspace, `-c` text or standard input, run as agent code is, behind the same inner
sandbox and with the same names. There is no task in it: task_success and its kin, `inputs` and `cache` are not there."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Generator, Mapping
from typing import Any, NoReturn

from termish import CommandContext, CommandResult, TerminalError

from agex_protocol.plan import SandboxPlan
from agex_worker.sandbox.compiler import compile
from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.sandbox.namespace import namespace
from agex_worker.tracebacks import error_text, remember_source

_HELP = "python FILE [ARGS], python -c TEXT [ARGS], or python - for standard input"


def python_command(
    sandbox: SandboxPlan,
    names: Mapping[str, object],
    members: Mapping[str, Mapping[str, object]],
    files: WorkspaceFiles,
    *,
    redirects: bool,
    read_anew: Callable[[], None] | None = None,
) -> Callable[[CommandContext], CommandResult | None]:
    """The command. redirects: this process is the worker's own, so what libraries print is caught as well. read_anew: called
    before each run."""

    def python(ctx: CommandContext) -> CommandResult | None:
        filename, source, arguments = _source(ctx)
        if read_anew is not None:
            read_anew()
        out, err = io.StringIO(), io.StringIO()
        system = _System(arguments, ctx.stdin, out, err)
        with contextlib.ExitStack() as stack:
            if redirects:
                stack.enter_context(contextlib.redirect_stdout(out))
                stack.enter_context(contextlib.redirect_stderr(err))
                stack.enter_context(system.installed())
            if sandbox.mode == "full":
                scope = namespace(sandbox, names, files=files, members=members)
            else:
                given = {**members, "sys": {**members.get("sys", {}), **system.members()}}
                scope = namespace(sandbox, {**names, **system.names()}, files=files, members=given)
            code = _run(filename, source, sandbox, scope, err)
        ctx.stdout.write(out.getvalue())
        return CommandResult(exit_code=code, stderr=err.getvalue())

    return python


def _source(ctx: CommandContext) -> tuple[str, str, list[str]]:
    match ctx.args:
        case ["-c", text, *rest]:
            return "<string>", text, ["-c", *rest]
        case ["-m", *_]:
            raise TerminalError(f"python: -m is not available: {_HELP}")
        case [] | ["-"]:
            return "<stdin>", ctx.stdin.read(), ["-"]
        case [path, *rest]:
            try:
                return path, ctx.fs.read(path).decode("utf-8"), [path, *rest]
            except (OSError, UnicodeDecodeError) as error:
                raise TerminalError(f"python: cannot open {path}: {error}", exit_code=2) from None
        case _:
            raise TerminalError(f"python: {_HELP}")


def _run(filename: str, source: str, sandbox: SandboxPlan, scope: dict[str, Any], err: io.StringIO) -> int:
    remember_source(filename, source)
    try:
        exec(compile(source, sandbox, filename), scope)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        err.write(f"{end.code}\n")
        return 1
    except (Exception, GeneratorExit) as error:
        err.write(error_text(error).traceback)
        return 1
    return 0


class _System:
    """What a script finds of its own as `sys`: arguments and streams."""

    def __init__(self, arguments: list[str], stdin: Any, out: io.StringIO, err: io.StringIO) -> None:
        self._arguments, self._stdin, self._out, self._err = arguments, stdin, out, err

    def names(self) -> dict[str, object]:
        return {"print": self._print, "input": self._input, "exit": _exit}

    def members(self) -> dict[str, object]:
        own = {"stdin": self._stdin, "stdout": self._out, "stderr": self._err}
        return {"argv": self._arguments, "exit": _exit, **own}

    @contextlib.contextmanager
    def installed(self) -> Generator[None]:
        before = sys.argv, sys.stdin
        sys.argv, sys.stdin = self._arguments, self._stdin
        try:
            yield
        finally:
            sys.argv, sys.stdin = before

    def _print(
        self,
        *values: object,
        sep: str | None = " ",
        end: str | None = "\n",
        file: Any = None,
        flush: bool = False,
    ) -> None:
        print(*values, sep=sep, end=end, file=self._out if file is None else file)

    def _input(self, prompt: str = "") -> str:
        self._out.write(prompt)
        line = self._stdin.readline()
        if not line:
            raise EOFError("there is no more standard input")
        return str(line).rstrip("\n")


def _exit(code: object = None) -> NoReturn:
    raise SystemExit(code)
