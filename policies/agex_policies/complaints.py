"""From what validation says about a value to a PolicyError that points at the line and says what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from agex_policies.errors import PolicyError
from agex_policies.load import Document
from agex_policies.wording import shown


def first_wrong(document: Document, error: ValidationError, keys: Iterable[str]) -> PolicyError:
    """The first thing that is wrong with a document. `keys` are all that there are, dotted."""
    # An unknown key first: its neighbours' errors often come from the same slip.
    detail = sorted(error.errors(), key=lambda detail: detail["type"] != "extra_forbidden")[0]
    place = [str(part) for part in detail["loc"] if isinstance(part, str)]
    known = list(keys)
    tables = {key.partition(".")[0] for key in known if "." in key}
    # Beyond a known key come pydantic's own words for the parts of a union.
    dotted = (".".join(place[:end]) for end in range(len(place), 0, -1))
    key = next((each for each in dotted if each in known and each not in tables), None)
    if detail["type"] == "extra_forbidden" and key is None:
        unknown = ".".join(place)
        return document.error("there is no such key", key=unknown, remedy=nearest(unknown, known))
    return document.error(_reason(detail), key=key or ".".join(place), remedy="see `agex policy schema`")


def nearest(key: str, known: Iterable[str]) -> str:
    """A remedy for a key that is none: the one that was probably meant, or else all."""
    names = list(known)
    for match in (difflib.get_close_matches(key, names, 1), [name for name in names if name.endswith("." + key)]):
        if match:
            return f"did you mean {match[0]!r}?"
    leaves = {name.rpartition(".")[2]: name for name in names}
    near = difflib.get_close_matches(key.rpartition(".")[2], leaves, 1)
    return f"did you mean {leaves[near[0]]!r}?" if near else f"there are {', '.join(names)}"


def _reason(detail: ErrorDetails) -> str:
    if detail["type"] == "value_error":
        return str(detail["ctx"]["error"]) if "ctx" in detail else detail["msg"]
    return f"{shown(detail['input'])}: {detail['msg'][:1].lower()}{detail['msg'][1:]}"
