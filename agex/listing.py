"""A list cut to a budget: whole lines first, then bare names, then a count. Never a character more than the budget."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_NAMES_SHARE = 0.35  # of the budget, at most, is kept for names when not every line fits


def listing(
    names: Sequence[str],
    line: Callable[[int, int], str],
    budget_chars: int,
    *,
    rest: str = "also: ",
    lines: int | None = None,
    total: int | None = None,
) -> str:
    """Lines for as many items as fit, from the first on; `line(index, room)` is asked only for those that are tried.

    At most `lines` items get one. `rest` opens the line of names of the others; `total` counts the items where `names`
    holds only the first of them.
    """
    count = len(names) if total is None else total
    reserve = int(min(sum(map(len, names)) + 2 * len(names) + len(rest), _NAMES_SHARE * budget_chars))
    shown: list[str] = []
    left = budget_chars
    for index in range(len(names) if lines is None else lines):
        room = left - 1 - (reserve if index + 1 < count else 0)
        text = line(index, room)
        if len(text) > room:
            break
        shown.append(text)
        left -= len(text) + 1
    tail = names_line(names[len(shown) :], left, opening=rest, total=count - len(shown))
    return "\n".join([*shown, tail] if tail else shown)


def names_line(names: Sequence[str], budget_chars: int, *, opening: str = "", total: int | None = None) -> str:
    """`opening a, b, ... and 7 more`, or '' where nothing fits or nothing is left."""
    count = len(names) if total is None else total
    whole = opening + ", ".join(names)
    if count == 0 or (count == len(names) and len(whole) <= budget_chars):
        return whole if count else ""
    text = ""
    for shown in range(len(names) + 1):
        longer = opening + ", ".join([*names[:shown], f"... and {count - shown} more"])
        if len(longer) > budget_chars:
            break
        text = longer
    return text
