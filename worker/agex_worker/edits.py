"""Finds the piece of a text that an edit means, and replaces it: exactly, else but for spaces at the ends of lines, else but
for how deep it is indented. What is not there, or is there more than once, is an error that shows where to look."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MAX_SHOWN_CHARS = 200
# A replacement of so many characters is not there by chance.
_TELLING = 8
# Of a longer file only these lines are compared when nothing fits: it is for a hint.
MAX_COMPARED_LINES = 5_000


class EditRefused(ValueError):
    """The edit cannot be made; the message says why, with the lines that come nearest."""

    __module__ = "builtins"


@dataclass(frozen=True, slots=True)
class Edited:
    """The new text, and what was done to it in words."""

    text: str
    note: str


def edited(text: str, search: str, replace: str, *, all: bool) -> Edited:
    """`text` with `search` replaced once, or wherever it is. EditRefused says why not.

    A file in which all lines end with CRLF, or none does, keeps that, whichever way the two pieces are written.
    """
    if not search.strip():
        raise EditRefused("search is empty: give the text to be replaced, or write the whole file with write_file")
    if "\r\n" in text and text.count("\n") == text.count("\r\n") == text.count("\r"):
        made = edited(_plain(text), _plain(search), _plain(replace), all=all)
        return Edited(made.text.replace("\n", "\r\n"), made.note)
    if "\r\n" in search and "\r\n" not in text:
        return edited(text, _plain(search), _plain(replace), all=all)
    if search == replace:
        return Edited(text, "nothing changed: search and replace are the same")
    if count := text.count(search):
        if count > 1 and not all:
            raise _ambiguous([_line_of(text, at) for at in _places(text, search)], count)
        return Edited(text.replace(search, replace), _replaced(count))
    for find, how in _TOLERANT:
        found = find(text, search)
        if len(found) > 1 and not all:
            raise _ambiguous([each.first + 1 for each in found], len(found))
        if found:
            return Edited(_with(text, found, replace), f"{_replaced(len(found))} (matched {how})")
    if _stands(replace, text):
        line = _line_of(text, text.index(replace))
        return Edited(text, f"nothing changed: search is not there, and replace is already (line {line})")
    raise EditRefused(f"search was not found.{_nearest(text, search)}")


def _stands(replace: str, text: str) -> bool:
    """Whether the edit was made before: a piece of a word would be found anywhere."""
    meant = replace.strip()
    if meant and meant in (line.strip() for line in text.splitlines()):
        return replace in text
    return len(meant) >= _TELLING and replace in text


@dataclass(frozen=True, slots=True)
class _Found:
    """Lines of the text that are meant, and how a line of the replacement is indented to stand there."""

    first: int
    count: int
    fit: Callable[[str], str]


def _by_ends(text: str, search: str) -> list[_Found]:
    wanted = [line.rstrip() for line in _lines(search)]
    return _windows([line.rstrip() for line in text.split("\n")], wanted, lambda line: line)


def _by_indent(text: str, search: str) -> list[_Found]:
    """Where the lines fit when all of them are moved by the same indent."""
    lines, wanted = [line.rstrip() for line in text.split("\n")], [line.rstrip() for line in _lines(search)]
    lead = next(at for at, line in enumerate(wanted) if line)
    own = _indent(wanted[lead])
    found: list[_Found] = []
    for first in range(len(lines) - len(wanted) + 1):
        if lines[first + lead].lstrip() != wanted[lead].lstrip():
            continue
        there = _indent(lines[first + lead])
        if own and there and set(own) != set(there):
            continue  # tabs for spaces are no shift
        fit = _shift(own, there)
        if lines[first : first + len(wanted)] == [fit(line) for line in wanted]:
            if not found or first >= found[-1].first + found[-1].count:
                found.append(_Found(first, len(wanted), fit))
    return found


def _by_levels(text: str, search: str) -> list[_Found]:
    """Where the lines fit but for what a level of the indent is made of: tabs, or so many spaces."""
    lines, wanted = [line.rstrip() for line in text.split("\n")], [line.rstrip() for line in _lines(search)]
    found: list[_Found] = []
    for place in _windows([line.lstrip() for line in lines], [line.lstrip() for line in wanted], lambda line: line):
        here = lines[place.first : place.first + place.count]
        pairs = [(_indent(old), _indent(new)) for old, new in zip(wanted, here, strict=True) if old]
        levels = dict(pairs)
        fit = _levelled(levels) if all(levels[old] == new for old, new in pairs) else None
        if fit is not None:
            found.append(_Found(place.first, place.count, fit))
    return found


def _levelled(levels: dict[str, str]) -> Callable[[str], str] | None:
    """What makes of an indent like those that are known one like theirs; None where they do not go up together."""
    known = sorted(levels.items(), key=lambda pair: len(pair[0]))
    steps: list[tuple[str, str]] = []
    for (flat, old), (deep, new) in itertools.pairwise(known):
        if not deep.startswith(flat) or not new.startswith(old) or new == old:
            return None
        steps.append((deep.removeprefix(flat), new.removeprefix(old)))
    one, other = min(steps, default=known[-1], key=lambda step: len(step[0]))
    if not one:
        return None

    def fit(line: str) -> str:
        if not line.strip():
            return ""
        indent = _indent(line)
        near, made = next(((old, new) for old, new in reversed(known) if indent.startswith(old)), ("", ""))
        count, rest = divmod(len(indent) - len(near), len(one))
        return made + other * count + " " * rest + line.lstrip()

    return fit


_TOLERANT: tuple[tuple[Callable[[str, str], list[_Found]], str], ...] = (
    (_by_ends, "spaces at line ends aside"),
    (_by_indent, "indented"),
    (_by_levels, "tabs and spaces aside"),
)


def _windows(lines: Sequence[str], wanted: Sequence[str], fit: Callable[[str], str]) -> list[_Found]:
    found: list[_Found] = []
    first = 0
    while first + len(wanted) <= len(lines):
        if lines[first] == wanted[0] and list(lines[first : first + len(wanted)]) == list(wanted):
            found.append(_Found(first, len(wanted), fit))
            first += len(wanted)
        else:
            first += 1
    return found


def _with(text: str, found: Sequence[_Found], replace: str) -> str:
    lines = text.split("\n")
    for each in reversed(found):
        lines[each.first : each.first + each.count] = [each.fit(line) for line in _lines(replace)] if replace else []
    return "\n".join(lines)


def _shift(before: str, after: str) -> Callable[[str], str]:
    def shifted(line: str) -> str:
        if not line:
            return line
        return after + (line.removeprefix(before) if line.startswith(before) else line.lstrip())

    return shifted


def _lines(piece: str) -> list[str]:
    """The lines of a piece; the newline at its end, if there is one, begins no further line."""
    return piece.removesuffix("\n").split("\n")


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n")


def _places(text: str, search: str) -> list[int]:
    places, at = [], text.find(search)
    while at >= 0:
        places.append(at)
        at = text.find(search, at + len(search))
    return places


def _line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _replaced(count: int) -> str:
    return "replaced 1 place" if count == 1 else f"replaced {count} places"


def _ambiguous(lines: Sequence[int], count: int) -> EditRefused:
    shown = ", ".join(map(str, lines[:10])) + (", ..." if len(lines) > 10 else "")
    return EditRefused(
        f"search is there {count} times (at lines {shown}): add lines around it so that it is there once, or say all=true"
    )


def _nearest(text: str, search: str) -> str:
    """The lines most like the first line that is searched for, numbered, each with the next one."""
    wanted = next(line.strip() for line in _lines(search) if line.strip())[:MAX_SHOWN_CHARS]
    if not text.strip():
        return " The file is empty."
    lines = text.removesuffix("\n").split("\n")
    stripped = [line.strip()[:MAX_SHOWN_CHARS] for line in lines[:MAX_COMPARED_LINES]]
    near = difflib.get_close_matches(wanted, set(stripped) - {""}, n=3, cutoff=0.5)
    numbers = sorted({stripped.index(each) for each in near})
    if not numbers:
        return f" The file has {len(lines)} lines, and none is like {wanted[:80]!r}; read it first."
    shown = sorted({number + step for number in numbers for step in (0, 1) if number + step < len(lines)})
    return " The nearest lines:\n" + "\n".join(f"{at + 1}: {lines[at][:MAX_SHOWN_CHARS].rstrip()}" for at in shown)
