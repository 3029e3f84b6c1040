"""The commands that know the shell which runs them: its variables, functions, loops and input."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from agex_worker.shell.flow import Exit, Leave, Return
from agex_worker.shell.streams import Streams
from agex_worker.shell.syntax import ShellSyntaxError

if TYPE_CHECKING:
    from agex_worker.shell.interpreter import Shell

Own = Callable[[list[str], Streams], int]
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class ShellOwn:
    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._names = shell.names

    def commands(self) -> dict[str, Own]:
        return {
            ":": lambda _arguments, _streams: 0,
            "exit": lambda arguments, _: self._end(arguments, Exit),
            "return": lambda arguments, _: self._end(arguments, Return),
            "break": lambda arguments, _: self._leave(arguments, goes_on=False),
            "continue": lambda arguments, _: self._leave(arguments, goes_on=True),
            "export": self._export,
            "declare": self._export,
            "readonly": self._export,
            "local": self._local,
            "unset": self._unset,
            "shift": self._shift,
            "set": self._set,
            "let": lambda arguments, _: int(0 == [self._shell.words.sum(each) for each in arguments or ["0"]][-1]),
            "read": self._read,
            "eval": lambda arguments, streams: self._inner(" ".join(arguments), streams),
            "source": self._source,
            ".": self._source,
            "bash": self._script,
            "sh": self._script,
            "env": self._env,
            "time": self._rest,
            "type": self._type,
            "wait": lambda _arguments, _streams: 0,
            "sleep": _sleep,
        }

    def _end(self, arguments: list[str], how: type[Exit]) -> int:
        text = arguments[0] if arguments else str(self._names.status)
        raise how(int(text) & 0xFF if text.lstrip("-").isdecimal() else 2)

    def _leave(self, arguments: list[str], *, goes_on: bool) -> int:
        loops = int(arguments[0]) if arguments and arguments[0].isdecimal() else 1
        raise Leave(max(loops, 1), goes_on=goes_on)

    # --- variables ---

    def _export(self, arguments: list[str], streams: Streams) -> int:
        for word in arguments:
            name, given, value = word.partition("=")
            if word.startswith("-"):
                continue
            if not _NAME.fullmatch(name):
                return self._complain(f"export: {name!r} is no name", streams)
            if given:
                self._names.variables[name] = value
        return 0

    def _local(self, arguments: list[str], streams: Streams) -> int:
        if not self._shell.locals:
            return self._complain("local: belongs into a function", streams)
        for word in arguments:
            name, _, value = word.partition("=")
            if not _NAME.fullmatch(name):
                return self._complain(f"local: {name!r} is no name", streams)
            self._shell.locals[-1].setdefault(name, self._names.variables.get(name))
            self._names.variables[name] = value
        return 0

    def _unset(self, arguments: list[str], streams: Streams) -> int:
        for name in arguments:
            self._names.variables.pop(name, None)
            if "-v" not in arguments:
                self._shell.functions.pop(name, None)
        return 0

    def _shift(self, arguments: list[str], streams: Streams) -> int:
        count = int(arguments[0]) if arguments and arguments[0].isdecimal() else 1
        if count > len(self._names.arguments):
            return 1
        self._names.arguments = self._names.arguments[count:]
        return 0

    def _set(self, arguments: list[str], streams: Streams) -> int:
        words = list(arguments)
        while words and words[0][:1] in "-+" and len(words[0]) > 1:
            word = words.pop(0)
            if word == "--":
                self._names.arguments = tuple(words)
                return 0
            on = word[0] == "-"
            letters = word[1:]
            if "o" in letters:
                name = words.pop(0) if words else ""
                letters = letters.replace("o", {"errexit": "e", "nounset": "u", "pipefail": "p"}.get(name, ""))
            self._shell.ends_on_error = on if "e" in letters else self._shell.ends_on_error
            self._names.strict = on if "u" in letters else self._names.strict
            self._shell.fails_as_a_whole = on if "p" in letters else self._shell.fails_as_a_whole
        if words:
            self._names.arguments = tuple(words)
        return 0

    def _read(self, arguments: list[str], streams: Streams) -> int:
        names, rest = list[str](), iter(arguments)
        for each in rest:
            if not each.startswith("-"):
                names.append(each)
            elif each[-1] in "pdntu":
                next(rest, None)
        names = names or ["REPLY"]
        line = streams.line().decode("utf-8", "replace")
        separators = self._names.variables.get("IFS", " \t\n")
        text = line.removesuffix("\n")
        if not any(each.startswith("-") and "r" in each for each in arguments):
            text = re.sub(r"\\(.)", r"\1", text)
        self._names.variables.update(zip(names, _parted(text, separators, len(names)), strict=True))
        return 0 if line.endswith("\n") else 1

    # --- commands within ---

    def _inner(self, text: str, streams: Streams) -> int:
        with self._shell.deeper():
            self._names.status = 0
            self._shell.run_text(text, streams)
        return self._names.status

    def _source(self, arguments: list[str], streams: Streams) -> int:
        if not arguments:
            return self._complain("source: needs a file of commands", streams, 2)
        try:
            text = self._shell.tree.read(arguments[0]).decode("utf-8", "replace")
        except OSError as error:
            return self._complain(f"{arguments[0]}: {error.strerror or error}", streams)
        before = self._names.arguments
        self._names.arguments = tuple(arguments[1:]) or before
        try:
            return self._inner(text, streams)
        except Return as end:
            return end.code
        finally:
            self._names.arguments = before

    def _script(self, arguments: list[str], streams: Streams) -> int:
        """Another shell: what it sets is gone with it."""
        words = list(arguments)
        while words and re.fullmatch(r"-[eux]+", words[0]):
            words.pop(0)
        if words[:1] == ["-c"]:
            text, (name, *rest) = " ".join(words[1:2]), words[2:] or ["sh"]
        elif words:
            try:
                text = self._shell.tree.read(words[0]).decode("utf-8", "replace")
            except OSError as error:
                return self._complain(f"{words[0]}: {error.strerror or error}", streams, 127)
            name, rest = words[0], words[1:]
        else:
            text, name, rest = streams.rest().decode("utf-8", "replace"), "sh", []
        flags = "".join(arguments[: len(arguments) - len(words)])
        with self._shell.deeper():
            return self._shell.run_apart(text, streams, name, tuple(rest), ends_on_error="e" in flags)

    def _env(self, arguments: list[str], streams: Streams) -> int:
        given = 0
        while given < len(arguments) and "=" in arguments[given]:
            given += 1
        if given < len(arguments):
            before = {word.partition("=")[0]: None for word in arguments[:given]}
            kept = {name: self._names.variables.get(name) for name in before}
            self._export(arguments[:given], streams)
            try:
                return self._rest(arguments[given:], streams)
            finally:
                self._names.restore(kept)
        lines = [f"{name}={value}\n" for name, value in self._names.variables.items()]
        streams.out.write("".join(lines).encode("utf-8", "backslashreplace"))
        return 0

    def _rest(self, arguments: list[str], streams: Streams) -> int:
        if arguments:
            self._shell.call(arguments[0], arguments[1:], streams)
        return self._names.status if arguments else 0

    def _type(self, arguments: list[str], streams: Streams) -> int:
        missing = 0
        for name in arguments:
            if kind := self._shell.kind_of(name):
                streams.out.write(f"{name} is {kind}\n".encode("utf-8", "backslashreplace"))
            else:
                missing = self._complain(f"type: {name}: not found", streams)
        return missing

    def _complain(self, why: str, streams: Streams, status: int = 1) -> int:
        self._shell.complain(why, streams, status)
        return status


def _parted(text: str, separators: str, count: int) -> list[str]:
    """So many parts of a line; the last has all the rest."""
    blanks = "".join(each for each in separators if each.isspace())
    text = text.strip(blanks) if blanks else text
    if count == 1 or not separators:
        return [text, *[""] * (count - 1)]
    marks = (
        f"[{re.escape(blanks)}]*[{re.escape(separators)}][{re.escape(blanks)}]*"
        if blanks
        else f"[{re.escape(separators)}]"
    )
    parts = re.split(marks, text, maxsplit=count - 1)
    return [*parts, *[""] * (count - len(parts))]


def _sleep(arguments: list[str], streams: Streams) -> int:
    units = {"s": 1, "m": 60, "h": 3600}
    try:
        seconds = sum(float(each.rstrip("smh")) * units.get(each[-1:], 1) for each in arguments)
    except ValueError:
        raise ShellSyntaxError("sleep: needs a number of seconds") from None
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))  # in pieces, between which an action in this process can be ended
    return 0
