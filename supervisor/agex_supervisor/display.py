"""Make text of worker or model origin safe to look at. Nothing of theirs reaches a terminal, a log or a page unescaped.

What a terminal would obey or a reader could not see is written out as `\\x1b`, `\\u202e` and the like, and the length is
bounded. Escaping is for eyes only: it is not reversible, and never applied to a value that is stored or computed with.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable

DEFAULT_LIMIT = 10_000


def display(text: str, *, limit: int = DEFAULT_LIMIT, one_line: bool = False) -> str:
    """`text` with nothing in it that acts or hides, at most `limit` characters long: beginning, a note, end.

    Newlines and tabs stay, unless `one_line` (for logs) writes them out too.
    """
    if limit < 0:
        raise ValueError(f"limit is {limit}; it counts characters and cannot be negative")
    text = str.__str__(text)  # with isolation "none" it may be of a class of agent code
    if len(text) <= limit:
        shown = _escape(text, one_line)
        if len(shown) <= limit:
            return shown
    # Room for the longest note there can be: less is left out than there is.
    room = limit - len(_note(len(text)))
    if room <= 0:
        return "".join(_fitting(text[:limit], one_line, limit))
    head = _fitting(text[:room], one_line, room - room // 2)
    tail = _fitting(reversed(text[-room:]), one_line, room // 2)
    return "".join(head) + _note(len(text) - len(head) - len(tail)) + "".join(reversed(tail))


def display_html(text: str, *, limit: int = DEFAULT_LIMIT) -> str:
    """`display(text)` for HTML, in an element or a quoted attribute. `limit` counts before `<` becomes `&lt;`."""
    return html.escape(display(text, limit=limit), quote=True)


def _fitting(text: Iterable[str], one_line: bool, room: int) -> list[str]:
    """As many of the first characters, written out, as fit whole, so that no escape is cut in two."""
    pieces: list[str] = []
    for character in text:
        piece = _escape(character, one_line)
        room -= len(piece)
        if room < 0:
            break
        pieces.append(piece)
    return pieces


def _note(characters: int) -> str:
    return f" [... {characters} characters left out ...] "


def _escape(text: str, one_line: bool) -> str:
    return (_SUSPECT_IN_LINE if one_line else _SUSPECT).sub(_written_out, text)


# All but printable ASCII is looked at one by one.
_SUSPECT = re.compile(r"[^\n\t\x20-\x7e]")
_SUSPECT_IN_LINE = re.compile(r"[^\x20-\x7e]")
_SHORT = {"\n": "\\n", "\t": "\\t"}

# Printable by category, yet without ink: joiners, fillers, the blank braille cell.
_INKLESS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")


def _written_out(match: re.Match[str]) -> str:
    character = match.group()
    if _has_ink_or_width(character):
        return character
    code = ord(character)
    if code < 0x100:
        return _SHORT.get(character, f"\\x{code:02x}")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _has_ink_or_width(character: str) -> bool:
    """False for controls, format characters (bidi, zero-width, tags), surrogates, line separators, and code points that
    this Python's tables do not know or leave to private use: tomorrow's controls are among them."""
    if character in _INKLESS or 0xE0000 <= ord(character) <= 0xE0FFF:
        return False
    return character.isprintable() or unicodedata.category(character) == "Zs"
