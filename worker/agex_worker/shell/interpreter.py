"""Runs shell commands on the workspace. The language is ours (reader.py, words.py), most commands are termish's,
which work on our tree alone and are plain Python. No program is started, and nothing of a shell outlives its action.

The commands of a pipe run one after the other, each with all that the one before it gave.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager

from termish import Command as Started
from termish import CommandContext, CommandFunc, CommandResult, Script, TerminalError, execute_script
from termish import Pipeline as Line
from termish.context import PipeStream
from termish.interpreter.core import BUILTINS

from agex_worker.sandbox.tree import WorkspaceTree
from agex_worker.shell.commands import FURTHER
from agex_worker.shell.conditions import holds
from agex_worker.shell.flow import Broken, Exit, Leave, Return, TooDeep
from agex_worker.shell.own import ShellOwn
from agex_worker.shell.reader import read
from agex_worker.shell.streams import Kept, ShellContext, Shown, Streams, Written, redirected, told
from agex_worker.shell.syntax import (
    Assign,
    Case,
    Command,
    For,
    ForSum,
    Function,
    Group,
    If,
    Pipeline,
    ShellSyntaxError,
    Simple,
    Steps,
    Sum,
    Test,
    While,
)
from agex_worker.shell.words import Names, Words, matches

NOT_UNDERSTOOD, NOT_FOUND = 2, 127
MAX_DEPTH = 40

Write = Callable[[str], object]


class Shell:
    """One action's shell. `out` and `err` take what it prints, as it comes; `commands` are beside those that there are."""

    def __init__(self, tree: WorkspaceTree, out: Write, err: Write, commands: Mapping[str, CommandFunc]) -> None:
        self.tree = tree
        self._home = tree.getcwd()
        self.names = Names({"HOME": self._home})
        self.functions: dict[str, Command] = {}
        self.locals: list[dict[str, str | None]] = []
        self.ends_on_error = False
        self.fails_as_a_whole = False  # a pipe, by any of its commands
        self.words = Words(tree, self.names, self._substituted)
        self._streams = Streams(PipeStream(), Shown(out), Shown(err))
        self._own = ShellOwn(self).commands()
        self._given: dict[str, CommandFunc] = {**FURTHER, **commands}
        self._depth = 0
        self._asked = 0  # conditions that are being looked at, in which a failure ends nothing
        self._within: int | None = None  # the status of the last `$(...)`
        self._told_names = False

    def run(self, text: str) -> int:
        """The exit code of the last command, or that of `exit`."""

        def begin(_: CommandContext) -> None:
            inside["sh"] = again
            self._begin(text)

        # Within a script of its own, so that xargs and find -exec know our commands.
        inside: dict[str, CommandFunc] = {name: self._called(name) for name in self._own} | self._given
        again = inside["sh"]
        inside["sh"] = begin
        try:
            execute_script(Script([Line([Started("sh")])]), self.tree, inside)
        except Broken as broken:
            raise broken.error from None
        return self.names.status

    def run_text(self, text: str, streams: Streams) -> None:
        """Read commands and run them."""
        try:
            steps = read(text)
        except ShellSyntaxError as error:
            self.complain(str(error), streams)
            return
        self.run_steps(steps, streams)

    def run_apart(
        self, text: str, streams: Streams, name: str, arguments: tuple[str, ...], *, ends_on_error: bool
    ) -> int:
        """Run commands as a shell of their own would."""
        before = self.names.name, self.names.arguments, self.ends_on_error
        self.names.name, self.names.arguments, self.ends_on_error = name, arguments, ends_on_error
        try:
            self._apart(Group(read(text), apart=False), streams)
        finally:
            self.names.name, self.names.arguments, self.ends_on_error = before
        return self.names.status

    def complain(self, why: str, streams: Streams, status: int = NOT_UNDERSTOOD) -> None:
        streams.err.write(_ended(why).encode("utf-8", "backslashreplace"))
        self.names.status = status

    def kind_of(self, name: str) -> str:
        """What a command is; "" where there is none of that name."""
        if name in self.functions:
            return "a function"
        return "a command" if name in self._own or name in self._given or name in BUILTINS else ""

    def _begin(self, text: str) -> None:
        streams = self._streams
        try:
            self.run_text(text, streams)
        except Exit as end:
            self.names.status = end.code
        except Leave:
            self.complain("break and continue belong into a loop", streams)
        except (TooDeep, RecursionError):
            self.complain(f"more than {MAX_DEPTH} commands within one another", streams, 1)
        except Exception as error:
            raise Broken(error) from None

    # --- lists and pipes ---

    def run_steps(self, steps: Steps, streams: Streams) -> None:
        for step in steps:
            if step.after == "&&" and self.names.status or step.after == "||" and not self.names.status:
                continue
            self._pipeline(step.pipeline, streams)
            if self.ends_on_error and step.last and not self._asked and not step.pipeline.negated and self.names.status:
                raise Exit(self.names.status)

    def _pipeline(self, pipeline: Pipeline, streams: Streams) -> None:
        *first, last = pipeline.commands
        failed = 0
        stdin = streams.stdin
        for command in first:
            given = bytearray()
            self._apart(command, Streams(stdin, Kept(given), streams.err))
            failed = self.names.status or failed
            stdin = PipeStream(bytes(given))
        if first:
            self._apart(last, Streams(stdin, streams.out, streams.err))
        else:
            self._command(last, streams)
        if self.fails_as_a_whole:
            self.names.status = self.names.status or failed
        if pipeline.negated:
            self.names.status = int(not self.names.status)

    def _apart(self, command: Command, streams: Streams) -> None:
        """Run it so that variables, functions and the current directory are as before afterwards, and `exit` ends it alone."""
        variables, functions, place = dict(self.names.variables), dict(self.functions), self.tree.getcwd()
        try:
            self._command(command, streams)
        except Exit as end:
            self.names.status = end.code
        except Leave:
            self.names.status = 0
        finally:
            self.names.variables.clear()
            self.names.variables.update(variables)
            self.functions = functions
            self._return_to(place)

    def _return_to(self, place: str) -> None:
        if self.tree.getcwd() != place:
            try:
                self.tree.chdir(place)
            except OSError:  # it is gone
                self.tree.chdir(self._home)

    def _command(self, command: Command, streams: Streams) -> None:
        try:
            inner = redirected(streams, command.redirects, self.tree, self.words.text, self.words.document)
            self._run(command, inner)
        except (OSError, ValueError) as error:
            self.complain(told(error), streams, 1)
        except ShellSyntaxError as error:
            self.complain(str(error), streams, 1)
            if self.names.strict:
                raise Exit(1) from None

    def _run(self, command: Command, streams: Streams) -> None:
        match command:
            case Simple():
                self._simple(command, streams)
            case Group(body, False):
                self.run_steps(body, streams)
            case Group():
                self._apart(Group(command.body, apart=False), streams)
            case If():
                self._if(command, streams)
            case While(condition, body, until):
                self._rounds(lambda: self._holds(condition, streams) is not until, body, streams)
            case For():
                self._for(command, streams)
            case ForSum():
                self._for_sum(command, streams)
            case Case():
                self._case(command, streams)
            case Sum(text):
                self.names.status = int(self.words.sum(text) == 0)
            case Test(words):
                self.names.status = int(not holds(words, self.words, self.tree))
            case Function(name, body):
                self.functions[name] = body
                self.names.status = 0

    # --- compound commands ---

    def _if(self, command: If, streams: Streams) -> None:
        for condition, body in command.branches:
            if condition is None or self._holds(condition, streams):
                self.run_steps(body, streams)
                return
        self.names.status = 0

    def _holds(self, condition: Steps, streams: Streams) -> bool:
        self._asked += 1
        try:
            self.run_steps(condition, streams)
        finally:
            self._asked -= 1
        return self.names.status == 0

    def _for_sum(self, command: ForSum, streams: Streams) -> None:
        self.words.sum(command.first)
        rounds = 0

        def goes_on() -> bool:
            nonlocal rounds
            if rounds:
                self.words.sum(command.step)
            rounds += 1
            return not command.condition.strip() or self.words.sum(command.condition) != 0

        self._rounds(goes_on, command.body, streams)

    def _rounds(self, goes_on: Callable[[], bool], body: Steps, streams: Streams) -> None:
        last = 0
        while goes_on():
            if not self._round(body, streams):
                last = 0
                break
            last = self.names.status
        self.names.status = last

    def _for(self, command: For, streams: Streams) -> None:
        words = self.names.arguments if command.words is None else self.words.fields(command.words)
        self.names.status = 0
        for word in words:
            self.names.variables[command.name] = word
            if not self._round(command.body, streams):
                break

    def _round(self, body: Steps, streams: Streams) -> bool:
        """Run the body of a loop once; False where it says `break`."""
        try:
            self.run_steps(body, streams)
        except Leave as leave:
            self.names.status = 0
            if leave.loops > 1:
                raise Leave(leave.loops - 1, goes_on=leave.goes_on) from None
            return leave.goes_on
        return True

    def _case(self, command: Case, streams: Streams) -> None:
        word = self.words.text(command.word)
        self.names.status = 0
        for patterns, body in command.branches:
            if any(matches(word, self.words.pattern(each)) for each in patterns):
                self.run_steps(body, streams)
                return

    # --- simple commands ---

    def _simple(self, command: Simple, streams: Streams) -> None:
        self._within = None
        words = self.words.fields(command.words)
        if not words:
            for each in command.assigns:
                self._assign(each)
            self.names.status = self._within or 0
            return
        before = {each.name: self.names.variables.get(each.name) for each in command.assigns}
        for each in command.assigns:
            self._assign(each)
        try:
            self.call(words[0], words[1:], streams)
        finally:
            self.names.restore(before)

    def _assign(self, assign: Assign) -> None:
        before = self.names.variables.get(assign.name, "") if assign.adds else ""
        self.names.variables[assign.name] = before + self.words.text(assign.word)

    def call(self, name: str, arguments: list[str], streams: Streams) -> None:
        """Run a command by its name."""
        if name in self.functions:
            self._call_function(name, arguments, streams)
        elif name in self._own:
            self.names.status = self._own[name](arguments, streams) & 0xFF
        elif (handler := self._given.get(name) or BUILTINS.get(name)) is not None:
            self._handle(name, handler, arguments, streams)
        elif "/" in name and self.tree.isfile(name):
            self._run_file(name, arguments, streams)
        else:
            self.complain(self._unknown(name), streams, NOT_FOUND)

    def _run_file(self, path: str, arguments: list[str], streams: Streams) -> None:
        first = self.tree.read(path, 0, 200).partition(b"\n")[0]
        is_python = path.endswith(".py") or first.startswith(b"#!") and b"python" in first
        self.call("python" if is_python else "sh", [path, *arguments], streams)

    def _call_function(self, name: str, arguments: list[str], streams: Streams) -> None:
        before, self.names.arguments = self.names.arguments, tuple(arguments)
        self.locals.append({})
        self.names.status = 0
        try:
            with self.deeper():
                self._command(self.functions[name], streams)
        except Return as end:
            self.names.status = end.code
        finally:
            self.names.arguments = before
            self.names.restore(self.locals.pop())

    def _handle(self, name: str, handler: CommandFunc, arguments: list[str], streams: Streams) -> None:
        out, err = Written(streams.out), Written(streams.err)
        context = ShellContext(arguments, streams.stdin, out, self.tree, self.names.variables, err)
        try:
            result = handler(context)
            code, said = (0, "") if result is None else (result.exit_code, result.stderr)
        except TerminalError as error:
            if isinstance(error.__context__, MemoryError):
                raise error.__context__ from None
            code, said = error.exit_code & 0xFF or 1, error.display_stderr
        except (RecursionError, MemoryError):
            raise
        except Exception as error:
            code, said = 1, f"{name}: {error or type(error).__name__}"
        finally:
            out.flush()
            err.flush()
        self.names.status = code & 0xFF if code & 0xFF or not code else 1
        streams.err.write(_ended(said).encode("utf-8", "backslashreplace"))

    def _unknown(self, name: str) -> str:
        if self._told_names:
            return f"{name}: command not found"
        self._told_names = True
        there = sorted({*self._own, *self._given, *BUILTINS, *self.functions} - {":", "[", "."})
        return f"{name}: command not found: no program can be started here, and there are {' '.join(there)}"

    # --- commands within commands ---

    def _substituted(self, text: str) -> str:
        given = bytearray()
        streams = Streams(PipeStream(), Kept(given), self._streams.err)
        before = self.names.status
        with self.deeper():
            self._apart(Group(read(text), apart=False), streams)
        self._within, self.names.status = self.names.status, before
        return given.decode("utf-8", "replace").replace("\0", "")

    @contextmanager
    def deeper(self) -> Generator[None]:
        self._depth += 1
        try:
            if self._depth > MAX_DEPTH:
                raise TooDeep
            yield
        finally:
            self._depth -= 1

    def _called(self, name: str) -> CommandFunc:
        """A command of the shell's own as xargs and the like call it."""

        def command(ctx: CommandContext) -> CommandResult | None:
            out = bytearray()
            err = bytearray()
            stdin = ctx.stdin if isinstance(ctx.stdin, PipeStream) else PipeStream()
            self.call(name, list(ctx.args), Streams(stdin, Kept(out), Kept(err)))
            ctx.stdout.write(out.decode("utf-8", "replace"))
            return CommandResult(exit_code=self.names.status, stderr=err.decode("utf-8", "replace"))

        return command


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"
