"""What stands in `[[ ... ]]`: comparisons, patterns and questions about files, joined by && || ! and brackets."""

from __future__ import annotations

import re
from collections.abc import Callable

from agex_worker.sandbox.tree import WorkspaceTree
from agex_worker.shell.classes import with_ranges
from agex_worker.shell.syntax import ShellSyntaxError
from agex_worker.shell.words import Words, matches

_NUMBERS: dict[str, Callable[[int, int], bool]] = {
    "-eq": lambda a, b: a == b,
    "-ne": lambda a, b: a != b,
    "-lt": lambda a, b: a < b,
    "-le": lambda a, b: a <= b,
    "-gt": lambda a, b: a > b,
    "-ge": lambda a, b: a >= b,
}
_COMPARING = {*_NUMBERS, "=", "==", "!=", "=~", "<", ">", "-nt", "-ot"}


def holds(raw: tuple[str, ...], words: Words, tree: WorkspaceTree) -> bool:
    """Whether the condition is met. ShellSyntaxError for one that is not understood."""
    condition = _Condition(raw, words, tree)
    result = condition.either()
    condition.require_end()
    return result


class _Condition:
    def __init__(self, raw: tuple[str, ...], words: Words, tree: WorkspaceTree) -> None:
        self._raw = raw
        self._words = words
        self._tree = tree
        self._at = 0

    def either(self) -> bool:
        value = self._both()
        while self._take("||"):
            value = self._both() or value
        return value

    def require_end(self) -> None:
        if self._at < len(self._raw):
            raise self._wrong()

    def _both(self) -> bool:
        value = self._single()
        while self._take("&&"):
            value = self._single() and value
        return value

    def _single(self) -> bool:
        if self._take("!"):
            return not self._single()
        if self._take("("):
            value = self.either()
            if not self._take(")"):
                raise self._wrong()
            return value
        first = self._next()
        following = self._raw[self._at] if self._at < len(self._raw) else ""
        if following in _COMPARING:
            self._at += 1
            return self._compared(first, following, self._next())
        if re.fullmatch("-[a-zA-Z]", first) and following not in ("", "&&", "||", ")"):
            return self._asked(first, self._words.text(self._next()))
        return self._words.text(first) != ""

    def _compared(self, raw: str, how: str, other: str) -> bool:
        first = self._words.text(raw)
        if how in _NUMBERS:
            return _NUMBERS[how](self._words.sum(first), self._words.sum(self._words.text(other)))
        if how == "=~":
            return self._searched(first, other)
        if how in ("<", ">"):
            second = self._words.text(other)
            return first < second if how == "<" else first > second
        if how in ("-nt", "-ot"):
            ages = [self._tree.status(path).st_mtime_ns for path in (first, self._words.text(other))]
            return ages[0] > ages[1] if how == "-nt" else ages[0] < ages[1]
        return matches(first, self._words.pattern(other)) is (how != "!=")

    def _searched(self, text: str, raw: str) -> bool:
        quoted = raw[:1] in "'\"" and raw[-1:] == raw[:1]
        expression = self._words.text(raw) if quoted or "$" in raw else raw
        try:
            return re.search(re.escape(expression) if quoted else with_ranges(expression), text) is not None
        except re.error as error:
            raise ShellSyntaxError(f"{expression[:60]!r} is no expression: {error}") from None

    def _asked(self, how: str, text: str) -> bool:
        tree = self._tree
        asked: dict[str, Callable[[], bool]] = {
            "-z": lambda: not text,
            "-n": lambda: bool(text),
            "-e": lambda: tree.exists(text),
            "-f": lambda: tree.isfile(text),
            "-d": lambda: tree.isdir(text),
            "-s": lambda: tree.exists(text) and tree.status(text).st_size > 0,
            "-r": lambda: tree.exists(text),
            "-w": lambda: tree.exists(text),
            "-x": lambda: tree.isdir(text),
            "-L": lambda: False,
            "-h": lambda: False,
            "-v": lambda: self._words.is_set(text),
        }
        if how not in asked:
            raise ShellSyntaxError(f"[[ {how}: there is no such question")
        return asked[how]()

    def _next(self) -> str:
        if self._at == len(self._raw):
            raise self._wrong()
        self._at += 1
        return self._raw[self._at - 1]

    def _take(self, word: str) -> bool:
        found = self._at < len(self._raw) and self._raw[self._at] == word
        self._at += found
        return found

    def _wrong(self) -> ShellSyntaxError:
        return ShellSyntaxError(f"[[ {' '.join(self._raw)[:60]} ]] is not understood")
