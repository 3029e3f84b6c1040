"""`{a,b}` and `{1..3}` in a raw word: the words that it stands for."""

from __future__ import annotations

import re

from agex_worker.shell.quotes import end_of_piece
from agex_worker.shell.syntax import ShellSyntaxError

MAX_WORDS = 10_000
_RANGE = re.compile(r"(-?\d{1,9})\.\.(-?\d{1,9})(?:\.\.(-?\d{1,9}))?|([A-Za-z])\.\.([A-Za-z])")


def braced(raw: str) -> list[str]:
    """One word for each way through its braces."""
    if "{" not in raw:
        return [raw]
    at = 0
    while at < len(raw):
        if raw[at] == "{" and (found := _choices(raw, at)) is not None:
            choices, end = found
            after = braced(raw[end:])
            words = [raw[:at] + choice + rest for each in choices for choice in braced(each) for rest in after]
            if len(words) > MAX_WORDS:
                raise ShellSyntaxError(f"more than {MAX_WORDS} words come of {raw[:40]!r}")
            return words
        at = end_of_piece(raw, at)
    return [raw]


def _choices(raw: str, opened: int) -> tuple[list[str], int] | None:
    """What stands between the commas of a brace, or in its range, and where it ends. None for one that is only a brace."""
    depth, at, start = 0, opened, opened + 1
    choices: list[str] = []
    while at < len(raw):
        if raw[at] == "{":
            depth += 1
        elif raw[at] == "," and depth == 1:
            choices.append(raw[start:at])
            start = at + 1
        elif raw[at] == "}":
            depth -= 1
            if depth == 0:
                if choices:
                    return [*choices, raw[start:at]], at + 1
                series = _series(raw[start:at])
                return None if series is None else (series, at + 1)
        at = end_of_piece(raw, at)
    return None


def _series(text: str) -> list[str] | None:
    found = _RANGE.fullmatch(text)
    if found is None:
        return None
    first, last, step, letter, other = found.groups()
    if letter:
        ends = ord(letter), ord(other)
        return [
            chr(each)
            for each in range(ends[0], ends[1] + (1 if ends[0] <= ends[1] else -1), 1 if ends[0] <= ends[1] else -1)
        ]
    by = abs(int(step or 1)) or 1
    start, end = int(first), int(last)
    if abs(end - start) // by >= MAX_WORDS:
        raise ShellSyntaxError(f"more than {MAX_WORDS} words come of '{{{text}}}'")
    width = max(len(first), len(last)) if first.lstrip("-").startswith("0") or last.lstrip("-").startswith("0") else 0
    numbers = range(start, end + 1, by) if start <= end else range(start, end - 1, -by)
    return [str(each).zfill(width) for each in numbers]
