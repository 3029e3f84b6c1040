"""Two policies side by side: where they differ, and which of them allows more there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from agex_policies.narrowing import WITHIN
from agex_policies.schema import Policy, values

# "neither": written differently, and the same. "both": each allows what the other does not. "": the key grants nothing.
Wider = Literal["first", "second", "both", "neither", ""]


@dataclass(frozen=True, slots=True)
class Difference:
    """One key in which two policies have different values."""

    key: str
    first: Any
    second: Any
    wider: Wider


def differences(first: Policy, second: Policy) -> tuple[Difference, ...]:
    """Where the two differ, in the order of the schema. Names, descriptions and what they extend do not count."""
    ours, theirs = values(first), values(second)
    return tuple(
        Difference(key, ours[key], theirs[key], _wider(key, ours[key], theirs[key]))
        for key in ours
        if ours[key] != theirs[key]
    )


def _wider(key: str, first: Any, second: Any) -> Wider:
    if key not in WITHIN:
        return ""
    match WITHIN[key](first, second), WITHIN[key](second, first):
        case True, True:
            return "neither"
        case True, False:
            return "second"
        case False, True:
            return "first"
        case _:
            return "both"
