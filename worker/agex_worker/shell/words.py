"""Fills in the words of a command: braces, variables, `$(...)`, sums, quotes, and patterns of file names, in bash's order.

A word comes apart into pieces, because it matters later where a text comes from: what is quoted is neither split nor a
pattern, what came from an unquoted variable is both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from termish.interpreter.pathglob import expand as paths_like
from termish.interpreter.pathglob import has_magic

from agex_worker.sandbox.tree import WorkspaceTree
from agex_worker.shell.braces import braced
from agex_worker.shell.classes import with_ranges
from agex_worker.shell.parameters import changed
from agex_worker.shell.quotes import end_of_piece
from agex_worker.shell.sums import computed
from agex_worker.shell.syntax import ShellSyntaxError

_NAMED = re.compile(r"\$([A-Za-z_]\w*|[0-9]|[@*#?$!-])", re.ASCII)
_BRACED = re.compile(r"(#?)([A-Za-z_]\w*|\d+|[@*#?$!-])(.*)", re.ASCII | re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "f": "\f", "v": "\v"}
_ANSI = re.compile(r"\\(x[0-9a-fA-F]{1,2}|u[0-9a-fA-F]{1,4}|[0-7]{1,3}|.)", re.DOTALL)
_PLAIN = re.compile(r"[^\\$`]+")
_MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Piece:
    """kind: where the text comes from; "break" stands between two words of `"$@"`."""

    text: str
    kind: Literal["literal", "quoted", "filled", "break"]


@dataclass(slots=True)
class Names:
    """What words can speak of. arguments: $1, $2 and so on; strict: an unset variable is an error."""

    variables: dict[str, str]
    arguments: tuple[str, ...] = ()
    status: int = 0
    strict: bool = False
    name: str = "sh"

    def restore(self, before: Mapping[str, str | None]) -> None:
        """Give variables the values that they had."""
        for name, value in before.items():
            if value is None:
                self.variables.pop(name, None)
            else:
                self.variables[name] = value


class Words:
    """run: gives what the commands of a `$(...)` print."""

    def __init__(self, tree: WorkspaceTree, names: Names, run: Callable[[str], str]) -> None:
        self._tree = tree
        self._names = names
        self._run = run

    def fields(self, words: Sequence[str]) -> list[str]:
        """The words that these come to: none, one or several of each."""
        found: list[str] = []
        for raw in words:
            for each in braced(raw):
                for pieces in self._split(self._pieces(each)):
                    found += self._paths(pieces)
        return found

    def text(self, raw: str) -> str:
        """One text, which is not split and no pattern."""
        return "".join(" " if each.kind == "break" else each.text for each in self._pieces(raw))

    def pattern(self, raw: str) -> str:
        """A pattern, in which only what is not quoted stands for something else."""
        return with_ranges(_pattern(list(self._pieces(raw))))

    def document(self, text: str) -> str:
        """The lines of a here-document."""
        return "".join(" " if each.kind == "break" else each.text for each in self._quoted(text, escapes="$`\\"))

    def is_set(self, name: str) -> bool:
        return self._value(name) is not None

    def sum(self, text: str) -> int:
        return computed(self.document(text), self._names.variables)

    # --- pieces ---

    def _pieces(self, raw: str) -> Iterator[Piece]:
        at = 0
        if raw == "~" or raw.startswith("~/"):
            yield Piece(self._names.variables.get("HOME", "~"), "quoted")
            at = 1
        while at < len(raw):
            end = end_of_piece(raw, at)
            piece, first = raw[at:end], raw[at]
            if first == "'":
                yield Piece(piece[1:-1], "quoted")
            elif first == "\\":
                yield Piece("" if piece == "\\\n" else piece[1:] or "\\", "quoted")
            elif first == '"':
                yield from self._in_quotes(piece[1:-1])
            elif piece.startswith("$'"):
                yield Piece(_ANSI.sub(_unescaped, piece[2:-1]), "quoted")
            elif first == "$" and raw.startswith('"', end) and piece == "$":
                pass  # $"...", which is a text that could be translated
            elif first in "$`":
                end = self._end_of_name(raw, at, end)
                yield from self._filled(raw[at:end], "filled")
            else:
                yield Piece(piece, "literal")
            at = end

    def _in_quotes(self, inner: str) -> Iterator[Piece]:
        if inner in ("$@", "${@}") and not self._names.arguments:
            return  # no word at all
        yield Piece("", "quoted")
        yield from self._quoted(inner, escapes='$`"\\')

    def _quoted(self, text: str, *, escapes: str) -> Iterator[Piece]:
        at = 0
        while at < len(text):
            first = text[at]
            if first == "\\":
                following = text[at + 1 : at + 2]
                kept = (
                    "" if following == "\n" else following if following and following in escapes else first + following
                )
                yield Piece(kept, "quoted")
                at += 2
            elif first in "$`" and not text.startswith("$'", at):
                end = self._end_of_name(text, at, end_of_piece(text, at))
                yield from self._filled(text[at:end], "quoted")
                at = end
            else:
                plain = _PLAIN.match(text, at + 1)
                end = at + 1 if plain is None else plain.end()
                yield Piece(text[at:end], "quoted")
                at = end

    @staticmethod
    def _end_of_name(text: str, at: int, end: int) -> int:
        found = _NAMED.match(text, at) if end == at + 1 else None
        return found.end() if found is not None else end

    def _filled(self, piece: str, kind: Literal["filled", "quoted"]) -> Iterator[Piece]:
        """What stands for a piece that begins with $ or `."""
        if piece.startswith("$((") and piece.endswith("))"):
            yield Piece(str(self.sum(piece[3:-2])), kind)
        elif piece.startswith("$("):
            yield Piece(self._run(piece[2:-1]).rstrip("\n"), kind)
        elif piece.startswith("`"):
            yield Piece(self._run(re.sub(r"\\([`$\\])", r"\1", piece[1:-1])).rstrip("\n"), kind)
        elif piece.startswith("${"):
            yield from self._parameter(piece[2:-1], kind)
        elif len(piece) > 1:
            yield from self._parameter(piece[1:], kind)
        else:
            yield Piece(piece, kind)

    def _parameter(self, inner: str, kind: Literal["filled", "quoted"]) -> Iterator[Piece]:
        found = _BRACED.fullmatch(inner)
        if found is None:
            raise ShellSyntaxError(f"${{{inner[:40]}}} is not understood here; `$(...)`, sed or awk can change a text")
        length, name, change = found.groups()
        if inner == "#":
            length, name, change = "", "#", ""
        if name in "@*" and not change and not length:
            yield from self._arguments(name, kind)
            return
        value = self._value(name)
        if length and not change:
            size = len(self._names.arguments) if name in "@*" else len(value or "")
            yield Piece(str(size), kind)
            return
        if length:
            raise ShellSyntaxError(f"${{{inner[:40]}}} is not understood here")
        yield Piece(changed(name, value, change, self, self._names) if change else self._required(name, value), kind)

    def _arguments(self, name: str, kind: Literal["filled", "quoted"]) -> Iterator[Piece]:
        if name == "*" and kind == "quoted":
            yield Piece(" ".join(self._names.arguments), kind)
            return
        for place, each in enumerate(self._names.arguments):
            if place:
                yield Piece("", "break")
            yield Piece(each, kind)

    def _value(self, name: str) -> str | None:
        names = self._names
        if name.isdigit():
            number = int(name)
            if number == 0:
                return names.name
            return names.arguments[number - 1] if number <= len(names.arguments) else None
        special = {"?": str(names.status), "#": str(len(names.arguments)), "$": "1", "!": "", "-": ""}
        if name in special:
            return special[name]
        if name in "@*":
            return " ".join(names.arguments)
        return self._tree.getcwd() if name == "PWD" else names.variables.get(name)

    def _required(self, name: str, value: str | None) -> str:
        if value is None and self._names.strict:
            raise ShellSyntaxError(f"{name}: unbound variable")
        return value or ""

    # --- words of pieces ---

    def _split(self, pieces: Iterator[Piece]) -> list[list[Piece]]:
        """At the separators in what was filled in; a word of which nothing is left, and nothing was quoted, is none."""
        separators = self._names.variables.get("IFS", " \t\n")
        words: list[list[Piece]] = [[]]
        closed = False  # whether blanks have ended the last word already
        for piece in pieces:
            if piece.kind == "break":
                words.append([])
            elif piece.kind != "filled":
                words[-1].append(piece)
                closed = False
            else:
                for text, mark in _cut(piece.text, separators):
                    if text:
                        words[-1].append(Piece(text, "filled"))
                        closed = False
                    if mark and (words[-1] or (not mark.isspace() and not closed)):
                        words[-1] = words[-1] or [Piece("", "quoted")]
                        words.append([])
                        closed = mark.isspace()
        return [word for word in words if any(each.text or each.kind == "quoted" for each in word)]

    def _paths(self, pieces: list[Piece]) -> list[str]:
        plain = "".join(each.text for each in pieces)
        if not any(each.kind != "quoted" and _MAGIC.search(each.text) for each in pieces):
            return [plain]
        pattern = with_ranges(_pattern(pieces), of_names=True)
        return (paths_like(pattern, self._tree) if has_magic(pattern) else []) or [plain]


def matches(text: str, pattern: str) -> bool:
    """Whether the whole text is like the pattern."""
    return fnmatchcase(text, pattern)


def _pattern(pieces: Sequence[Piece]) -> str:
    escaped = [_MAGIC.sub(r"[\g<0>]", each.text) if each.kind == "quoted" else each.text for each in pieces]
    return "".join(escaped).replace("[^", "[!")


def _cut(text: str, separators: str) -> Iterator[tuple[str, str]]:
    """The texts between separators, each with the one behind it; a run of blanks counts as one."""
    if not separators:
        yield text, ""
        return
    blanks = "".join(each for each in separators if each.isspace())
    inner = "|".join(filter(None, [f"[{re.escape(blanks)}]+" if blanks else "", f"[{re.escape(separators)}]"]))
    at = 0
    for found in re.finditer(inner, text):
        yield text[at : found.start()], found.group()[0]
        at = found.end()
    yield text[at:], ""


def _unescaped(found: re.Match[str]) -> str:
    text = found.group(1)
    if text[0] in "xu" and len(text) > 1:
        return chr(int(text[1:], 16))
    if text[0] in "01234567":
        return chr(int(text, 8) & 0xFF)
    return _ESCAPES.get(text, text)
