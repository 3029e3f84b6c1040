"""Goes through shell text: words, blanks, ends of lines, and the documents that begin there. Words stay raw."""

from __future__ import annotations

import re

from agex_worker.shell.quotes import end_of_piece
from agex_worker.shell.syntax import HereDocument, Redirect, ShellSyntaxError

ENDS_WORD = " \t\n;|&<>()"
_REDIRECT = re.compile(r"(\d{0,4})(&>>|&>|<<<|<<-|<<|>>|>\||>&|<&|<|>)")


class Scanner:
    """A place in a text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._awaited: list[tuple[HereDocument, str, bool]] = []  # documents, their last lines, and whether tabs go

    @property
    def rest(self) -> str:
        return self._text[self._at :]

    def require_documents(self) -> None:
        for _, last, _ in self._awaited:
            raise ShellSyntaxError(_endless(last))

    def redirect(self) -> Redirect | None:
        self.blanks()
        found = _REDIRECT.match(self._text, self._at)
        if found is None or found.group().startswith("&") and found.group(1):
            return None
        start, how = self._at, found.group(2)
        self._at = found.end()
        descriptor = int(found.group(1)) if found.group(1) else 0 if how.startswith("<") else 1
        if self.stands("("):
            self._at = start
            raise ShellSyntaxError(f"{how}(...) is not available: write to a file first, or use a pipe")
        target = self.word()
        if target is None:
            raise ShellSyntaxError(f"nothing after {how!r}")
        how = ">" if how == ">|" else how
        if not how.startswith("<<") or how == "<<<":
            return Redirect(descriptor, how, target)
        document = HereDocument(literal=any(each in target for each in "'\"\\"))
        self._awaited.append((document, re.sub(r"['\"\\]", "", target), how == "<<-"))
        return Redirect(descriptor, "<<", target, document)

    def words(self) -> list[str]:
        words: list[str] = []
        while (word := self.word()) is not None:
            words.append(word)
        return words

    def word(self, *, brackets: bool = False) -> str | None:
        """The next word, or None where there is none. brackets: ( ) and | belong to it."""
        self.blanks()
        start = self._at
        while self._at < len(self._text) and (
            self._text[self._at] not in ENDS_WORD or brackets and self._text[self._at] in "()|"
        ):
            self._at = end_of_piece(self._text, self._at)
        return self._text[start : self._at] if self._at > start else None

    def peeked(self) -> str:
        """The next word, which is left there; "" where there is none, or a quoted one."""
        self.blanks()
        at = self._at
        while at < len(self._text) and self._text[at] not in ENDS_WORD:
            at += 1
        return self._text[self._at : at]

    def take(self, word: str, *, opener: str = "") -> None:
        if self.peeked() != word:
            raise ShellSyntaxError(f"{opener!r} without its {word!r}")
        self._at += len(word)

    def closed(self, bracket: str) -> None:
        self.blanks()
        if not self.stands(bracket):
            raise ShellSyntaxError(f"a {bracket!r} is missing")
        self._at += 1

    def stands(self, *texts: str) -> bool:
        return self._text.startswith(texts, self._at)

    def end_of_sum(self, at: int) -> int:
        """Past the `))` that closes a `((`; -1 where it is no sum but brackets within one another."""
        try:
            end = end_of_piece("$" + self._text[at:], 0) - 1 + at
        except ShellSyntaxError:
            return -1
        return end if self._text[end - 2] == ")" else -1

    def blanks(self) -> None:
        while self._at < len(self._text):
            if self._text[self._at] in " \t":
                self._at += 1
            elif self.stands("\\\n"):
                self._at += 2
            elif self._text[self._at] == "#" and (self._at == 0 or self._text[self._at - 1] in ENDS_WORD):
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            else:
                return

    def lines(self) -> None:
        """Go past blanks and ends of lines, and take the documents that begin there."""
        self.blanks()
        while self.stands("\n"):
            self._at += 1
            for document, last, tabs in self._awaited:
                document.text = self._document(last, tabs)
            self._awaited.clear()
            self.blanks()

    def _document(self, last: str, tabs: bool) -> str:
        lines: list[str] = []
        while self._at < len(self._text):
            end = self._text.find("\n", self._at)
            end = len(self._text) if end < 0 else end
            line, self._at = self._text[self._at : end], min(end + 1, len(self._text))
            line = line.lstrip("\t") if tabs else line
            if line.rstrip() == last:
                return "".join(f"{each}\n" for each in lines)
            lines.append(line)
        raise ShellSyntaxError(_endless(last))


def _endless(last: str) -> str:
    return f"the text after << does not end: a line with {last!r} alone is missing"
