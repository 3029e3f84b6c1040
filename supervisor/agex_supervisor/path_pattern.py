"""Patterns of paths. Code of a worker chooses paths, and often patterns: matched by a regular expression, a few stars and a
long name would hold this process for hours."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

MAX_PATTERN_CHARS = 1_000


def like(pattern: str) -> Callable[[str], bool]:
    """Whether a path fits: `*` and `?` stay within a name, `**` stands for any folders. ValueError for one that is too long."""
    if len(pattern) > MAX_PATTERN_CHARS:
        raise ValueError(f"a pattern of {len(pattern)} characters; it has at most {MAX_PATTERN_CHARS}")
    return _read(pattern).fits


@dataclass
class _Places:
    """All places of a pattern that a path can have come to, as bits of a number, go on together: a step for each character.

    by_character: the places that this one leads past. in_name: those that any character of a name leads past. stays and
    stays_in_name: those where any character, or any of a name, leads nowhere else. skipped and skipped_with_name: those that
    may be left out, alone or with the next one. folder: those within the name of a folder, which its slash leads back from.
    """

    count: int = 0
    end: str = ""  # what every path that fits ends with
    by_character: dict[str, int] = field(default_factory=dict[str, int])
    in_name: int = 0
    stays: int = 0
    stays_in_name: int = 0
    skipped: int = 0
    skipped_with_name: int = 0
    folder: int = 0

    def fits(self, path: str) -> bool:
        if not path.endswith(self.end):
            return False
        places = self._with_skipped(1)
        for character in path:
            moved = (places & self.by_character.get(character, 0)) << 1 | places & self.stays
            if character == "/":
                moved |= (places & self.folder) >> 1
            else:
                moved |= (places & self.in_name) << 1 | places & self.stays_in_name
            places = self._with_skipped(moved)
            if not places:
                return False
        return bool(places >> self.count)

    def _with_skipped(self, places: int) -> int:
        before = 0
        while places != before:
            before = places
            places |= (places & self.skipped) << 1 | (places & self.skipped_with_name) << 2
        return places


def _read(pattern: str) -> _Places:
    places = _Places()
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    for piece in pieces:
        here = 1 << places.count
        match piece:
            case "**/":
                places.skipped_with_name |= here
                places.in_name |= here
                places.stays_in_name |= here << 1
                places.folder |= here << 1
                places.count += 2
            case "?":
                places.in_name |= here
                places.count += 1
            case "**":
                places.skipped |= here
                places.stays |= here
                places.count += 1
            case "*":
                places.skipped |= here
                places.stays_in_name |= here
                places.count += 1
            case _:
                for character in piece:
                    places.by_character[character] = places.by_character.get(character, 0) | 1 << places.count
                    places.count += 1
    places.end = pieces[-1]
    return places
