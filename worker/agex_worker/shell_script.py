"""Shell text taken apart into statements: what is one pipeline is left to termish, loops, conditions and assignments are not.

echo a | sort && for f in *.py; do wc -l $f; done > counts
`--- Simple ---'    `--- For, with its redirects -------'
"""

from __future__ import annotations

import ast
import operator
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_OPENERS = {"for", "while", "until", "if"}
_LEADERS = {"do", "then", "else"}
_CLOSERS = {"done", "fi"}
_WORD = re.compile(r"[^\s;|&<>]+")
_FOR = re.compile(r"for\s+([A-Za-z_]\w*)(?:\s+in(?:\s+(.*))?)?", re.DOTALL)
_ASSIGN = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
_BARE = re.compile(r"\$(\w+|\{\w+\})")
_OPERATORS: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: int(a / b),
    ast.Mod: lambda a, b: a - int(a / b) * b,
    ast.Lt: operator.lt,
    ast.Gt: operator.gt,
    ast.LtE: operator.le,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
MAX_NUMBER = 1 << 63


class ShellSyntaxError(Exception):
    """The text is no shell text that is understood here; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Simple:
    """A pipeline, as it was written, and the variables that are set for it alone."""

    text: str
    given: tuple[Assign, ...] = ()


@dataclass(frozen=True, slots=True)
class Assign:
    """NAME=word."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class For:
    name: str
    words: str
    body: list[Statement]
    redirects: str


@dataclass(frozen=True, slots=True)
class While:
    condition: list[Statement]
    body: list[Statement]
    until: bool
    redirects: str


@dataclass(frozen=True, slots=True)
class If:
    """Conditions with what follows on each; None is the condition of `else`."""

    branches: list[tuple[list[Statement] | None, list[Statement]]]
    redirects: str


Compound = For | While | If


@dataclass(frozen=True, slots=True)
class Statement:
    """`after`: "&&" or "||" where it depends on what came before, else ";"."""

    node: Simple | Assign | Compound
    after: str = ";"


def parse(text: str) -> list[Statement]:
    """The statements of a text. ShellSyntaxError for what is not understood."""
    reader = _Reader(_pieces(text))
    statements = reader.until(frozenset())
    if reader.piece is not None:
        raise ShellSyntaxError(f"{reader.piece.text.split()[0]!r} without the word that it belongs to")
    return statements


def words_of(text: str) -> list[tuple[str, bool]]:
    """The words of a text, quotes and all, and whether each is a bare variable."""
    words, start, at, quote = list[str](), -1, 0, _Quotes()
    while at <= len(text):
        character = text[at] if at < len(text) else " "
        inside = quote.step(character)
        if inside or not character.isspace():
            start = at if start < 0 else start
        elif start >= 0:
            words.append(text[start:at])
            start = -1
        whole = text.startswith("$(", at) and quote.kind != "'" and not quote.escaped
        at = max(at, _closing(text, at + 1) if whole else at) + 1
    return [(word, _BARE.fullmatch(word) is not None) for word in words]


def expanded(text: str, variables: Mapping[str, str], run: Callable[[str], str]) -> str:
    """The text with `$((...))` computed and `$(...)` run: outside quotes its output is words, inside double quotes one text."""
    made, at, quote = list[str](), 0, _Quotes()
    while at < len(text):
        opens = text.startswith("$(", at) and quote.kind != "'" and not quote.escaped
        end = _closing(text, at + 1) if opens else -1
        if end >= 0 and text.startswith("$((", at) and text[end - 1] == ")":
            made.append(str(_computed(text[at + 3 : end - 1], variables)))
            at = end + 1
        elif end >= 0:
            output = run(text[at + 2 : end]).rstrip("\n")
            made.append(_in_quotes(output) if quote.kind else " ".join(map(shlex.quote, output.split())))
            at = end + 1
        elif text[at] == "\n" and not quote.kind:
            made.append(text[at:])  # a here-document, which stands for itself
            break
        else:
            quote.step(text[at])
            made.append(text[at])
            at += 1
    return "".join(made)


@dataclass(slots=True)
class _Quotes:
    """Which quotes a character stands in."""

    kind: str = ""
    escaped: bool = False

    def step(self, character: str) -> bool:
        """Whether the character is quoted, or a quote itself."""
        if self.escaped:
            self.escaped = False
            return True
        if character == "\\" and self.kind != "'":
            self.escaped = True
            return True
        if character == self.kind:
            self.kind = ""
            return True
        if not self.kind and character in "'\"":
            self.kind = character
            return True
        return bool(self.kind)


@dataclass(frozen=True, slots=True)
class _Piece:
    text: str
    after: str  # what stood before it
    first: str  # its first word


def _pieces(text: str) -> list[_Piece]:
    """The text cut at what separates statements; a leading `do` or `then` is a piece of its own."""
    pieces: list[_Piece] = []
    for after, piece in _cut(text):
        while piece:
            found = _WORD.match(piece)
            word = found.group() if found else ""
            if word not in _LEADERS:
                pieces.append(_Piece(piece, after, word))
                break
            pieces.append(_Piece(word, after, word))
            after, piece = ";", piece[len(word) :].strip()
    return pieces


def _cut(text: str) -> list[tuple[str, str]]:
    """What stands before each piece, and the piece. Quotes, `$(...)`, comments and here-documents are not cut."""
    found, start, at, after, quote = list[tuple[str, str]](), 0, 0, ";", _Quotes()
    heredocs: list[str] = []

    def cut(end: int, size: int, then: str) -> None:
        nonlocal start, after
        if piece := text[start:end].strip():
            found.append((after, piece))
            after = ";"
        after = then if then != ";" else after if not piece else ";"
        start = end + size

    while at < len(text):
        character = text[at]
        if not quote.kind and not quote.escaped and text.startswith("$(", at) and (end := _closing(text, at + 1)) >= 0:
            at = end + 1
        elif quote.step(character):
            at += 1
        elif character == "#" and (at == start or text[at - 1].isspace()):
            end = text.find("\n", at)
            text = text[:at] + (text[end:] if end >= 0 else "")
        elif found_heredoc := _HEREDOC.match(text, at):
            heredocs.append(found_heredoc.group(2))
            at = found_heredoc.end()
        elif character == "\n" and heredocs:
            at = _end_of(text, at + 1, heredocs)
            heredocs = []
            cut(at, 0, ";")
        elif text.startswith(("&&", "||"), at):
            cut(at, 2, text[at : at + 2])
            at += 2
        elif character in ";\n":
            cut(at, 1, ";")
            at += 1
        else:
            at += 1
    cut(len(text), 0, ";")
    return found


def _end_of(text: str, at: int, delimiters: list[str]) -> int:
    """Where the here-documents that begin at a line end."""
    for delimiter in delimiters:
        while at < len(text):
            end = text.find("\n", at)
            end = len(text) if end < 0 else end
            line, at = text[at:end], min(end + 1, len(text))
            if line.strip() == delimiter:
                break
    return at


def _closing(text: str, opened: int) -> int:
    """Where the parenthesis that is opened there is closed, or -1."""
    depth, quote = 0, _Quotes()
    for at in range(opened, len(text)):
        if quote.step(text[at]):
            continue
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return at
    return -1


class _Reader:
    """Reads pieces to statements."""

    def __init__(self, pieces: list[_Piece]) -> None:
        self._pieces = pieces
        self._at = 0
        self._depth = 0

    @property
    def piece(self) -> _Piece | None:
        return self._pieces[self._at] if self._at < len(self._pieces) else None

    def until(self, ends: frozenset[str]) -> list[Statement]:
        """Statements up to one of these words, which is left."""
        statements: list[Statement] = []
        while (piece := self.piece) is not None and piece.first not in ends:
            if piece.first in _LEADERS | _CLOSERS | {"elif"}:
                break
            self._at += 1
            statements.append(Statement(self._node(piece), piece.after))
        return statements

    def _node(self, piece: _Piece) -> Simple | Assign | Compound:
        if piece.first in _OPENERS:
            self._depth += 1
            if self._depth > 40:
                raise ShellSyntaxError("loops and conditions within one another, too many")
            try:
                readers: dict[str, Callable[[_Piece], Compound]] = {"for": self._for, "if": self._if}
                return readers.get(piece.first, self._while)(piece)
            finally:
                self._depth -= 1
        given, text = list[Assign](), piece.text
        while (assigned := _ASSIGN.match(text)) is not None:
            word = next((each for each, _ in words_of(assigned.group(2))), "")
            value = word if assigned.group(2).startswith(word) else ""
            given.append(Assign(assigned.group(1), value))
            text = assigned.group(2)[len(value) :].lstrip()
        return given[0] if len(given) == 1 and not text else Simple(text, tuple(given))

    def _for(self, piece: _Piece) -> For:
        head = _FOR.fullmatch(piece.text)
        if head is None:
            raise ShellSyntaxError(f"{piece.text!r} is no `for NAME in WORDS`")
        self._take("do", "for")
        body = self.until(frozenset({"done"}))
        return For(head.group(1), head.group(2) or "", body, self._take("done", "for"))

    def _while(self, piece: _Piece) -> While:
        condition = self._condition(piece, "do")
        body = self.until(frozenset({"done"}))
        return While(condition, body, piece.first == "until", self._take("done", piece.first))

    def _if(self, piece: _Piece) -> If:
        branches: list[tuple[list[Statement] | None, list[Statement]]] = []
        ends = frozenset({"elif", "else", "fi"})
        branches.append((self._condition(piece, "then"), self.until(ends)))
        while (each := self.piece) is not None and each.first == "elif":
            self._at += 1
            branches.append((self._condition(each, "then"), self.until(ends)))
        if (each := self.piece) is not None and each.first == "else":
            self._at += 1
            branches.append((None, self.until(ends)))
        return If(branches, self._take("fi", "if"))

    def _condition(self, piece: _Piece, end: str) -> list[Statement]:
        first = piece.text[len(piece.first) :].strip()
        condition = [Statement(self._node(_Piece(first, ";", (first.split() or [""])[0])))] if first else []
        condition += self.until(frozenset({end}))
        if not condition:
            raise ShellSyntaxError(f"{piece.first!r} without a condition")
        self._take(end, piece.first)
        return condition

    def _take(self, word: str, opener: str) -> str:
        """Go past this word; what stands after it."""
        piece = self.piece
        if piece is None or piece.first != word:
            raise ShellSyntaxError(f"{opener!r} without its {word!r}")
        self._at += 1
        return piece.text[len(word) :].strip()


def _in_quotes(text: str) -> str:
    return re.sub(r'([\\"$`])', r"\\\1", text)


def _computed(text: str, variables: Mapping[str, str]) -> int:
    """A sum of integers, as `$((...))` has it."""
    named = re.sub(r"\$?\{?([A-Za-z_]\w*)\}?", lambda found: variables.get(found.group(1), "0") or "0", text)
    try:
        value = int(_value(ast.parse(named.strip(), mode="eval").body))
    except (SyntaxError, ValueError, TypeError, KeyError, ZeroDivisionError, RecursionError, OverflowError) as error:
        raise ShellSyntaxError(f"$(({text})) cannot be computed: {error or type(error).__name__}") from None
    if abs(value) >= MAX_NUMBER:
        raise ShellSyntaxError(f"$(({text})) is too large a number")
    return value


def _value(node: Any) -> int:
    match node:
        case ast.Constant(value) if type(value) is int and abs(value) < MAX_NUMBER:
            return value
        case ast.BinOp(left, op, right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left), _value(right))
        case ast.Compare(left, [op], [right]) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left), _value(right))
        case ast.UnaryOp(ast.USub(), operand):
            return -_value(operand)
        case _:
            raise ValueError("only whole numbers, + - * / % and comparisons")
