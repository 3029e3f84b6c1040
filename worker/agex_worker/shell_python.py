"""The terminal's `python`: a file of the workspace, `-c` text or standard input, run as agent code is, behind the same inner
sandbox. There is no task in it: task_success and its kin, `inputs` and the functions of the application are not there."""

from __future__ import annotations

import contextlib
import io
import types
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from termish import CommandContext, CommandResult, TerminalError

from agex_protocol.plan import SandboxPlan
from agex_worker.sandbox.compiler import compile
from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.sandbox.namespace import namespace
from agex_worker.tracebacks import error_text, remember_source

_HELP = "python FILE [ARGS], python -c TEXT [ARGS], or python - for standard input"


def python_command(
    sandbox: SandboxPlan, names: Mapping[str, object], files: WorkspaceFiles, *, redirects: bool
) -> Callable[[CommandContext], CommandResult | None]:
    """The command. redirects: this process is the worker's own, so what libraries print is caught as well."""

    def python(ctx: CommandContext) -> CommandResult | None:
        filename, source, arguments = _source(ctx)
        out, err = io.StringIO(), io.StringIO()
        system = _System(arguments, ctx.stdin, out, err)
        with contextlib.ExitStack() as stack:
            if redirects:
                stack.enter_context(contextlib.redirect_stdout(out))
                stack.enter_context(contextlib.redirect_stderr(err))
                stack.enter_context(system.installed())
            code = _run(filename, source, sandbox, {**names, **system.names()}, files, err)
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


def _run(
    filename: str,
    source: str,
    sandbox: SandboxPlan,
    names: Mapping[str, object],
    files: WorkspaceFiles,
    err: io.StringIO,
) -> int:
    remember_source(filename, source)
    try:
        members = {"sys": {name: value for name, value in vars(names["sys"]).items()}} if "sys" in names else {}
        given = {name: value for name, value in names.items() if name != "sys"}
        exec(compile(source, sandbox, filename), namespace(sandbox, given, files=files, members=members))
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 0xFF
        err.write(f"{end.code}\n")
        return 1
    except Exception as error:
        err.write(error_text(error).traceback)
        return 1
    return 0


class _System:
    """What a script finds of its own as `sys`: arguments and streams."""

    def __init__(self, arguments: list[str], stdin: Any, out: io.StringIO, err: io.StringIO) -> None:
        self._arguments, self._stdin, self._out, self._err = arguments, stdin, out, err

    def names(self) -> dict[str, object]:
        own = types.SimpleNamespace(
            argv=self._arguments, stdin=self._stdin, stdout=self._out, stderr=self._err, exit=_exit
        )
        return {"sys": own, "print": self._print, "input": self._input, "exit": _exit}

    @contextlib.contextmanager
    def installed(self) -> Any:
        import sys

        before = sys.argv, sys.stdin
        sys.argv, sys.stdin = self._arguments, self._stdin
        try:
            yield
        finally:
            sys.argv, sys.stdin = before

    def _print(self, *values: object, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False) -> None:
        print(*values, sep=sep, end=end, file=self._out if file is None else file)

    def _input(self, prompt: str = "") -> str:
        self._out.write(prompt)
        line = self._stdin.readline()
        if not line:
            raise EOFError("there is no more standard input")
        return str(line).rstrip("\n")


def _exit(code: object = None) -> NoReturn:
    raise SystemExit(code)
