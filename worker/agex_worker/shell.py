"""Runs shell commands on the workspace: termish has the commands, which work on our tree alone and are plain Python; loops,
conditions and variables are ours (shell_script.py). No program is started, and nothing of a shell outlives its action."""

from __future__ import annotations

import io
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn

from termish import (
    Command,
    CommandContext,
    CommandFunc,
    CommandResult,
    ParseError,
    Pipeline,
    Script,
    TerminalError,
    execute_script,
    to_script,
)

from agex_worker.sandbox.tree import WorkspaceTree
from agex_worker.shell_script import (
    Assign,
    Compound,
    For,
    If,
    ShellSyntaxError,
    Simple,
    Statement,
    While,
    expanded,
    parse,
    words_of,
)

# What no command can be called: a name with a space is never that of one.
_STATUS, _INPUT, _WORDS = "the status", "the input", "the words"
NOT_UNDERSTOOD = 2
MAX_DEPTH = 40

Write = Callable[[str], object]


class Shell:
    """One action's shell. `out` and `err` take what it prints, as it comes; `commands` are beside termish's own."""

    def __init__(self, tree: WorkspaceTree, out: Write, err: Write, commands: Mapping[str, CommandFunc]) -> None:
        self._tree = tree
        self._out = out
        self._err = err
        self._status = 0
        self._variables = {"HOME": tree.getcwd()}
        self._stdin = io.StringIO()
        self._given = ""
        self._words: list[str] = []
        self._depth = 0
        self._commands: dict[str, CommandFunc] = {
            "exit": self._exit,
            "break": lambda _: _leave(goes_on=False),
            "continue": lambda _: _leave(goes_on=True),
            "export": self._export,
            "read": self._read,
            "source": self._source,
            ".": self._source,
            "bash": self._bash,
            "sh": self._bash,
            **commands,
            _STATUS: lambda _: CommandResult(exit_code=self._status),
            _INPUT: self._input,
            _WORDS: self._take_words,
        }

    def run(self, text: str) -> int:
        """The exit code of the last command, or that of `exit`."""
        try:
            self._run_text(text)
        except _Exit as end:
            self._status = end.code
        except _Leave:
            self._complain("break and continue belong into a loop")
        return self._status

    # --- statements ---

    def _run_text(self, text: str) -> None:
        try:
            statements = parse(text)
        except ShellSyntaxError as error:
            self._complain(str(error))
            return
        self._run_all(statements)

    def _run_all(self, statements: list[Statement]) -> None:
        for statement in statements:
            if statement.after == "&&" and self._status or statement.after == "||" and not self._status:
                continue
            self._run_one(statement)

    def _run_one(self, statement: Statement) -> None:
        try:
            match statement.node:
                case Simple(text, given):
                    self._with_given(given, text)
                case Assign():
                    self._assign(statement.node)
                case compound:
                    self._compound(compound)
        except (ParseError, ShellSyntaxError) as error:
            self._complain(str(error))

    def _with_given(self, given: tuple[Assign, ...], text: str) -> None:
        before = dict(self._variables)
        for each in given:
            self._assign(each)
        if text:
            self._simple(self._filled(text))
            if given:
                self._variables.clear()
                self._variables.update(before)

    def _assign(self, node: Assign) -> None:
        self._variables[node.name] = " ".join(self._words_in(node.text))
        self._status = 0

    def _compound(self, node: Compound) -> None:
        with self._deeper(), self._reading(node.redirects):
            if not node.redirects.strip() or node.redirects.lstrip().startswith("<"):
                self._body(node)
                return
            self._given = self._captured(lambda: self._body(node))
            status = self._status
            (pipeline,) = to_script(f"true {self._filled(node.redirects)}").pipelines
            first, *rest = pipeline.commands
            self._execute(Pipeline([replace(first, name=_INPUT), *rest]))
            self._status = self._status or (0 if rest else status)

    def _body(self, node: Compound) -> None:
        match node:
            case For():
                self._status = 0
                for word in self._words_in(node.words, splits=True):
                    self._variables[node.name] = word
                    if not self._goes_on(node.body):
                        break
            case While():
                last = 0
                while self._holds(node.condition) is not node.until:
                    if not self._goes_on(node.body):
                        break
                    last = self._status
                self._status = last
            case If():
                for condition, body in node.branches:
                    if condition is None or self._holds(condition):
                        self._run_all(body)
                        return
                self._status = 0

    def _goes_on(self, body: list[Statement]) -> bool:
        """Run the body of a loop once; False where it says `break`."""
        try:
            self._run_all(body)
        except _Leave as leave:
            self._status = 0
            return leave.goes_on
        return True

    def _holds(self, condition: list[Statement]) -> bool:
        self._run_all(condition)
        return self._status == 0

    # --- one pipeline ---

    def _simple(self, text: str) -> None:
        script = to_script(text)
        for pipeline in script.pipelines:
            self._execute(pipeline)

    def _execute(self, pipeline: Pipeline) -> None:
        # The first command gives the status of what came before as `$?`, which is termish's own to keep.
        script = Script([Pipeline([Command(_STATUS)]), pipeline], [";"])
        try:
            self._out(execute_script(script, self._tree, self._commands, self._variables))
            self._status = 0
        except TerminalError as error:
            self._out(error.partial_output)
            self._err(_ended(error.display_stderr))
            self._status = error.exit_code & 0xFF or 1

    def _words_in(self, text: str, *, splits: bool = False) -> list[str]:
        """What words come to: variables, braces and patterns filled in. splits: also at the spaces in a bare variable."""
        found: list[str] = []
        for word, is_bare in words_of(self._filled(text)):
            self._words = []
            (pipeline,) = to_script(f"true {word}").pipelines
            self._execute(Pipeline([Command(_WORDS, pipeline.commands[0].args)]))
            found += " ".join(self._words).split() if splits and is_bare else self._words
        return found

    def _filled(self, text: str) -> str:
        """The text with what stands for `$(...)` and `$((...))` in it."""
        return expanded(text, self._variables, lambda inner: self._captured(lambda: self._run_text(inner)))

    def _captured(self, call: Callable[[], None]) -> str:
        pieces: list[str] = []
        before, self._out = self._out, pieces.append
        try:
            with self._deeper():
                call()
        finally:
            self._out = before
        return "".join(pieces)

    @contextmanager
    def _deeper(self) -> Generator[None]:
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                raise ShellSyntaxError(f"more than {MAX_DEPTH} commands within one another")
            yield
        finally:
            self._depth -= 1

    @contextmanager
    def _reading(self, redirects: str) -> Generator[None]:
        """`read` reads from what a loop is given by `<`."""
        before = self._stdin
        if redirects.lstrip().startswith("<"):
            self._stdin = io.StringIO(self._captured(lambda: self._simple(f"cat {redirects}")))
        try:
            yield
        finally:
            self._stdin = before

    def _complain(self, why: str) -> None:
        self._err(_ended(why))
        self._status = NOT_UNDERSTOOD

    # --- commands that know the shell ---

    def _exit(self, ctx: CommandContext) -> CommandResult:
        text = ctx.args[0] if ctx.args else str(self._status)
        raise _Exit(int(text) & 0xFF if text.isdigit() else NOT_UNDERSTOOD)

    def _export(self, ctx: CommandContext) -> None:
        for word in ctx.args:
            name, _, value = word.partition("=")
            ctx.env[name] = value

    def _read(self, ctx: CommandContext) -> CommandResult | None:
        names = [each for each in ctx.args if not each.startswith("-")] or ["REPLY"]
        line = ctx.stdin.readline() or self._stdin.readline()
        values = line.rstrip("\n").split(None, len(names) - 1) if len(names) > 1 else [line.rstrip("\n")]
        ctx.env |= dict(zip(names, [*values, *[""] * len(names)], strict=False))
        return None if line else CommandResult(exit_code=1)

    def _source(self, ctx: CommandContext) -> CommandResult | None:
        if not ctx.args:
            raise TerminalError("source: needs a file of commands")
        return self._inner(ctx, self._tree.read(ctx.args[0]).decode("utf-8", "replace"))

    def _bash(self, ctx: CommandContext) -> CommandResult | None:
        if ctx.args[:1] == ["-c"] and len(ctx.args) > 1:
            return self._inner(ctx, ctx.args[1])
        return self._source(ctx) if ctx.args else self._inner(ctx, ctx.stdin.read())

    def _inner(self, ctx: CommandContext, text: str) -> CommandResult | None:
        ctx.stdout.write(self._captured(lambda: self._run_text(text)))
        return CommandResult(exit_code=self._status) if self._status else None

    def _input(self, ctx: CommandContext) -> None:
        ctx.stdout.write(self._given)

    def _take_words(self, ctx: CommandContext) -> None:
        self._words = list(ctx.args)


class _Exit(BaseException):
    """Ends the shell; termish catches every Exception of a command."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Leave(BaseException):
    """Leaves one round of a loop, or the loop."""

    def __init__(self, *, goes_on: bool) -> None:
        super().__init__(goes_on)
        self.goes_on = goes_on


def _leave(*, goes_on: bool) -> NoReturn:
    raise _Leave(goes_on=goes_on)


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
