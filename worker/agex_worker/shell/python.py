"""The terminal's `python`: a file of the workspace, `-c` text or standard input, run as agent code is, behind the same inner
sandbox and with the same names. There is no task in it: task_success and its kin, `inputs` and `cache` are not there."""

from __future__ import annotations

import contextlib
import io
import platform
import sys
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, TextIO, cast

from termish import CommandContext, CommandResult, TerminalError

from agex_protocol.plan import SandboxPlan
from agex_worker.from_outside import FROM_OUTSIDE
from agex_worker.sandbox.compiler import compile
from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.sandbox.namespace import namespace
from agex_worker.shell.streams import ShellContext, Written
from agex_worker.tracebacks import MAX_MESSAGE_CHARS, bounded, error_text, remember_script, type_name

_HELP = "python FILE [ARGS], python -m MODULE [ARGS], python -c TEXT [ARGS], or python - for standard input"
_WITHOUT_EFFECT = {"-u", "-B", "-q", "-s", "-E", "-I", "-O"}


@dataclass(frozen=True, slots=True)
class _Program:
    """package: that of a module, which may import its neighbours by dots."""

    filename: str
    source: str
    arguments: list[str]
    package: str | None = None


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
        if ctx.args in (["-V"], ["--version"]):
            ctx.stdout.write(f"Python {platform.python_version()}\n")
            return None
        program = _program(ctx)
        if read_anew is not None:
            read_anew()
        # As it comes: what was printed before the action is ended is there.
        out = ctx.stdout
        if isinstance(out, Written):
            out.at_once()
        err: TextIO = ctx.stderr if isinstance(ctx, ShellContext) else io.StringIO()
        system = _System(program.arguments, ctx.stdin, out, err)
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
            code = _run(program, sandbox, scope, err)
        out.flush()
        err.flush()
        return CommandResult(exit_code=code, stderr=err.getvalue() if isinstance(err, io.StringIO) else "")

    return python


def _program(ctx: CommandContext) -> _Program:
    words = list(ctx.args)
    while words and words[0] in _WITHOUT_EFFECT:
        words.pop(0)
    match words:
        case ["-c", text, *rest]:
            return _Program("<string>", text, ["-c", *rest])
        case ["-m", name, *rest]:
            return _module(ctx, name, rest)
        case [] | ["-"]:
            return _Program("<stdin>", ctx.stdin.read(), ["-"])
        case [path, *rest] if not path.startswith("-"):
            return _Program(path, _text_of(ctx, path), [path, *rest])
        case _:
            raise TerminalError(f"python: {_HELP}", exit_code=2)


def _module(ctx: CommandContext, name: str, rest: list[str]) -> _Program:
    base = name.replace(".", "/")
    for path, package in ((f"{base}/__main__.py", name), (f"{base}.py", name.rpartition(".")[0])):
        if all(part.isidentifier() for part in name.split(".")) and ctx.fs.isfile(path):
            return _Program(path, _text_of(ctx, path), [path, *rest], package)
    raise TerminalError(
        f"python: there is no module {name!r} in the working directory, and no other is run by -m: {_HELP}"
    )


def _text_of(ctx: CommandContext, path: str) -> str:
    try:
        return ctx.fs.read(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TerminalError(f"python: cannot open {path}: {error}", exit_code=2) from None


def _run(program: _Program, sandbox: SandboxPlan, scope: dict[str, Any], err: TextIO) -> int:
    if program.package is not None:
        scope["__package__"] = program.package
    try:
        name = remember_script(program.filename, program.source)
        exec(compile(program.source, sandbox, name, relative=program.package is not None), scope)
    except SystemExit as end:
        return _exit_code(end, err)
    except (Exception, GeneratorExit, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) and sandbox.mode != "full":
            raise  # in the application's own process it is somebody's Ctrl-C
        err.write(error_text(error).traceback)
        return 1
    return 0


def _exit_code(end: SystemExit, err: TextIO) -> int:
    code: object = vars(SystemExit)["code"].__get__(end)
    if code is None:
        return 0
    if issubclass(type(code), int):
        return int.__and__(cast(int, code), 0xFF)  # plain, whatever the code's own class makes of &
    try:
        err.write(bounded(str(code), MAX_MESSAGE_CHARS) + "\n")
    except FROM_OUTSIDE:
        raise
    except BaseException as error:
        err.write(f"<what it ends with has no text: {type_name(error)}>\n")
    return 1


class _System:
    """What a script finds of its own as `sys`: arguments and streams."""

    def __init__(self, arguments: list[str], stdin: Any, out: TextIO, err: TextIO) -> None:
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
