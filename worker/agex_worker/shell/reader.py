"""Reads shell text to commands. Words stay raw: what stands in them is looked at when they are filled in."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection
from functools import lru_cache

from agex_worker.shell.scanner import Scanner
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
    Redirect,
    Redirects,
    ShellSyntaxError,
    Simple,
    Step,
    Steps,
    Sum,
    Test,
    While,
)

_CLOSERS = {"do", "then", "else", "elif", "done", "fi", "esac", "}"}
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ASSIGN = re.compile(r"([A-Za-z_]\w*)(\+?)=", re.ASCII)
_MAX_NESTED = 40
_REMEMBERED_CHARS = 2_000


def read(text: str) -> Steps:
    """The commands of a text. ShellSyntaxError for what is not understood."""
    # What a loop reads again and again is short; a long text would be kept in an application's process for ever.
    return _remembered(text) if len(text) <= _REMEMBERED_CHARS else _read(text)


def _read(text: str) -> Steps:
    reader = _Reader(text)
    steps = reader.steps(())
    reader.require_documents()
    if reader.rest:
        raise ShellSyntaxError(f"{reader.rest.split()[0][:40]!r} without the word that it belongs to")
    return steps


_remembered = lru_cache(maxsize=256)(_read)


class _Reader(Scanner):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nested = 0

    def steps(self, ends: Collection[str]) -> Steps:
        """Commands up to one of these words, or to what closes a bracket around them, which is left."""
        found: list[Step] = []
        after = ";"
        while True:
            self.lines()
            if not self.rest or self.stands(")", ";;") or (word := self.peeked()) in ends or word in _CLOSERS:
                if after != ";":
                    raise ShellSyntaxError(f"nothing after {after!r}")
                return tuple(found)
            pipeline = self._pipeline()
            joined = next((each for each in ("&&", "||") if self.stands(each)), "")
            found.append(Step(pipeline, after, last=not joined))  # type: ignore[arg-type]
            after = joined or ";"
            if joined:
                self._at += 2
            elif self.stands(";", "&") and not self.stands(";;"):
                self._at += 1
            elif self.rest and not self.stands("\n", ")", ";;"):
                raise ShellSyntaxError(f"{self.rest.split()[0][:40]!r} cannot stand there")

    def _pipeline(self) -> Pipeline:
        negated = False
        while self.peeked() == "!":
            self.take("!")
            negated = not negated
        commands = [self._command()]
        while self.stands("|") and not self.stands("||"):
            merges = self.stands("|&")
            self._at += 2 if merges else 1
            if merges:
                commands[-1] = _with(commands[-1], (Redirect(2, ">&", "1"),))
            self.lines()
            if not self.rest:
                raise ShellSyntaxError("nothing after '|'")
            commands.append(self._command())
        return Pipeline(tuple(commands), negated)

    def _command(self) -> Command:
        self._nested += 1
        if self._nested > _MAX_NESTED:
            raise ShellSyntaxError(f"more than {_MAX_NESTED} commands within one another")
        try:
            compound = self._compound()
            if compound is None:
                return self._simple()
            redirects: list[Redirect] = []
            while (redirect := self.redirect()) is not None:
                redirects.append(redirect)
            return _with(compound, tuple(redirects))
        finally:
            self._nested -= 1

    def _compound(self) -> Command | None:
        self.blanks()
        if self.stands("((") and (end := self.end_of_sum(self._at)) > 0:
            text, self._at = self._text[self._at + 2 : end - 2], end
            return Sum(text)
        if self.stands("("):
            self._at += 1
            body = self.steps(())
            self.closed(")")
            return Group(body, apart=True)
        word = self.peeked()
        kinds: dict[str, Callable[[], Command]] = {
            "{": self._group,
            "if": self._if,
            "while": self._while,
            "until": self._while,
            "for": self._for,
            "case": self._case,
            "[[": self._test,
            "function": self._function,
        }
        if word in kinds:
            return kinds[word]()
        name = _NAME.match(self._text, self._at)
        if name is not None and re.compile(r"[ \t]*\([ \t]*\)").match(self._text, name.end()):
            return self._function()
        return None

    # --- compound commands ---

    def _group(self) -> Group:
        self.take("{")
        body = self.steps(("}",))
        self.take("}", opener="{")
        return Group(body, apart=False)

    def _if(self) -> If:
        branches: list[tuple[Steps | None, Steps]] = []
        opener = "if"
        while True:
            self.take(opener)
            condition = self._condition(opener, "then")
            branches.append((condition, self.steps(("elif", "else", "fi"))))
            if (opener := self.peeked()) != "elif":
                break
        if self.peeked() == "else":
            self.take("else")
            branches.append((None, self.steps(("fi",))))
        self.take("fi", opener="if")
        return If(tuple(branches))

    def _while(self) -> While:
        opener = self.peeked()
        self.take(opener)
        condition = self._condition(opener, "do")
        return While(condition, self._done(opener), until=opener == "until")

    def _condition(self, opener: str, end: str) -> Steps:
        condition = self.steps((end,))
        if not condition:
            raise ShellSyntaxError(f"{opener!r} without a condition")
        self.take(end, opener=opener)
        return condition

    def _done(self, opener: str) -> Steps:
        body = self.steps(("done",))
        self.take("done", opener=opener)
        return body

    def _for(self) -> For | ForSum:
        self.take("for")
        self.blanks()
        if self.stands("(("):
            end = self.end_of_sum(self._at)
            parts = self._text[self._at + 2 : end - 2].split(";")
            if end < 0 or len(parts) != 3:
                raise ShellSyntaxError("a `for ((` takes three sums with `;` between them")
            self._at = end
            self._do("for")
            return ForSum(parts[0], parts[1], parts[2], self._done("for"))
        name = self.word() or ""
        if not _NAME.fullmatch(name):
            raise ShellSyntaxError(f"'for {name}' is no `for NAME in WORDS`")
        words: list[str] | None = None
        self.lines()
        if self.peeked() == "in":
            self.take("in")
            words = self.words()
        self._do("for")
        return For(name, None if words is None else tuple(words), self._done("for"))

    def _do(self, opener: str) -> None:
        self.blanks()
        if self.stands(";"):
            self._at += 1
        self.lines()
        self.take("do", opener=opener)

    def _case(self) -> Case:
        self.take("case")
        word = self.word()
        self.lines()
        if word is None or self.peeked() != "in":
            raise ShellSyntaxError("a case is `case WORD in PATTERN) COMMANDS;; esac`")
        self.take("in")
        branches: list[tuple[tuple[str, ...], Steps]] = []
        while True:
            self.lines()
            if self.peeked() == "esac":
                break
            branches.append(self._branch())
        self.take("esac", opener="case")
        return Case(word, tuple(branches))

    def _branch(self) -> tuple[tuple[str, ...], Steps]:
        if self.stands("("):
            self._at += 1
        patterns: list[str] = []
        while (pattern := self.word()) is not None:
            patterns.append(pattern)
            self.blanks()
            if not self.stands("|"):
                break
            self._at += 1
        if not patterns:
            raise ShellSyntaxError("'case' without its 'esac'")
        self.closed(")")
        body = self.steps(("esac",))
        if self.stands(";;"):
            self._at += 2
        return tuple(patterns), body

    def _test(self) -> Test:
        self.take("[[")
        words: list[str] = []
        while True:
            self.lines()
            if self.stands("&&", "||"):
                word: str | None = self._text[self._at : self._at + 2]
                self._at += 2
            elif self.stands("(", ")", "<", ">"):
                word = self._text[self._at]
                self._at += 1
            else:
                word = self.word(brackets=bool(words) and words[-1] == "=~")
            if word is None:
                raise ShellSyntaxError("'[[' without its ']]'")
            if word == "]]":
                return Test(tuple(words))
            words.append(word)

    def _function(self) -> Function:
        if self.peeked() == "function":
            self.take("function")
        name = self.word() or ""
        self.blanks()
        if self.stands("("):
            self._at += 1
            self.closed(")")
        self.lines()
        body = self._command()
        if isinstance(body, Simple):
            raise ShellSyntaxError(f"a function is `{name or 'NAME'}() {{ COMMANDS; }}`")
        return Function(name, body)

    # --- simple commands ---

    def _simple(self) -> Simple:
        assigns: list[Assign] = []
        words: list[str] = []
        redirects: list[Redirect] = []
        while True:
            if (redirect := self.redirect()) is not None:
                redirects.append(redirect)
                continue
            if (word := self.word()) is None:
                break
            assigned = None if words else _ASSIGN.match(word)
            if assigned is None:
                words.append(word)
            elif not word[assigned.end() :] and self.stands("("):
                raise ShellSyntaxError("there are no arrays here: keep words in a variable, or lines in a file")
            else:
                assigns.append(Assign(assigned.group(1), word[assigned.end() :], bool(assigned.group(2))))
        if not (assigns or words or redirects):
            found = self.rest.split()[0][:40] if self.rest.strip() else "the end"
            raise ShellSyntaxError(f"a command is missing before {found!r}")
        return Simple(tuple(assigns), tuple(words), tuple(redirects))


def _with(command: Command, redirects: Redirects) -> Command:
    if not redirects:
        return command
    return dataclasses.replace(command, redirects=(*command.redirects, *redirects))
