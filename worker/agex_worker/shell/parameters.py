"""What `${NAME...}` does to the value of a variable: defaults, pieces cut off, replaced, taken out."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from agex_worker.shell.syntax import ShellSyntaxError

if TYPE_CHECKING:
    from agex_worker.shell.words import Names, Words

_DEFAULT = re.compile(r"(:?)([-=?+])(.*)", re.DOTALL)
_CUT = re.compile(r"(##|#|%%|%)(.*)", re.DOTALL)
_REPLACED = re.compile(r"/([/#%]?)(.*)", re.DOTALL)
_CASES: dict[str, Callable[[str], str]] = {
    "^^": str.upper,
    ",,": str.lower,
    "^": lambda text: text[:1].upper() + text[1:],
    ",": lambda text: text[:1].lower() + text[1:],
}


def changed(name: str, value: str | None, change: str, words: Words, names: Names) -> str:
    """The value as the rest of a `${NAME...}` wants it."""
    if (found := _DEFAULT.fullmatch(change)) is not None:
        return _default(name, value, found, words, names)
    if value is None and names.strict:
        raise ShellSyntaxError(f"{name}: unbound variable")
    text = value or ""
    if change in _CASES:
        return _CASES[change](text)
    if (found := _CUT.fullmatch(change)) is not None:
        return _cut(text, found.group(1), words.pattern(found.group(2)))
    if (found := _REPLACED.fullmatch(change)) is not None:
        return _replaced(text, found.group(1), found.group(2), words)
    if change.startswith(":"):
        return _taken(text, change[1:], words)
    raise ShellSyntaxError(f"${{{name}{change[:40]}}} is not understood here; sed or awk can change a text")


def _default(name: str, value: str | None, found: re.Match[str], words: Words, names: Names) -> str:
    colon, how, word = found.groups()
    is_set = value is not None and not (colon and not value)
    if how == "+":
        return words.text(word) if is_set else ""
    if is_set:
        return value or ""
    if how == "?":
        raise ShellSyntaxError(f"{name}: {words.text(word) or 'it is not set'}")
    default = words.text(word)
    if how == "=":
        names.variables[name] = default
    return default


def _cut(text: str, how: str, pattern: str) -> str:
    sizes = range(len(text) + 1) if len(how) == 1 else range(len(text), -1, -1)
    like = re.compile(fnmatch.translate(pattern))
    for size in sizes:
        if how[0] == "#" and like.match(text[:size]):
            return text[size:]
        if how[0] == "%" and like.match(text[len(text) - size :]):
            return text[: len(text) - size]
    return text


def _replaced(text: str, how: str, rest: str, words: Words) -> str:
    old, _, new = _halves(rest)
    pattern = words.pattern(old)
    if not pattern:
        return text
    # What fnmatch makes of it, without the end that it asks for.
    like = fnmatch.translate(pattern)[:-2]
    like = {"#": rf"\A{like}", "%": rf"{like}\Z"}.get(how, like)
    replacement = words.text(new)
    return re.sub(like, lambda _: replacement, text, count=0 if how == "/" else 1)


def _halves(rest: str) -> tuple[str, str, str]:
    """At the first slash that is not escaped."""
    found = re.match(r"((?:\\.|[^\\/])*)(/?)(.*)", rest, re.DOTALL)
    assert found is not None
    return found.group(1), found.group(2), found.group(3)


def _taken(text: str, rest: str, words: Words) -> str:
    first, _, count = rest.partition(":")
    start = words.sum(first)
    start = max(len(text) + start, 0) if start < 0 else start
    if not count:
        return text[start:]
    size = words.sum(count)
    return text[start : len(text) + size] if size < 0 else text[start : start + size]
