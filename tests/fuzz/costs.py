"""What each bomb costs the decoder: `python -m tests.fuzz.costs [NAME...]`, milliseconds of processor time per megabyte.

Each is made as large as makes it dearest: a megabyte, several, and what the budget just lets through. A value of less than a
megabyte counts as one. Ends with 1 where a bomb is dearer than LIMIT_MS; below are honest values, for comparison.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

import numpy as np
import pandas as pd

from agex_protocol.budget import Caps
from agex_protocol.encode import encode
from agex_protocol.errors import ValueRefused
from agex_supervisor.contract import Contract, ContractMismatch
from agex_supervisor.handle import Handle, Kept
from tests.fuzz.bombs import BOMBS, Bomb, Encoding
from tests.fuzz.library_bombs import LIBRARY_BOMBS, Database
from tests.fuzz.subjects import Line, Point

LIMIT_MS = 100
_MEGABYTE = 1_000_000
_TIMES = 3
_DATABASE = Database()
EVERY: tuple[Bomb, ...] = (*BOMBS, *LIBRARY_BOMBS)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one size of one bomb."""

    ms_per_mb: float
    size: int
    ms: float
    outcome: str


def main(names: list[str]) -> int:
    """Print a line for each; gives the exit code."""
    warnings.simplefilter("ignore")  # numpy and pandas warn of odd dates and frequencies
    dear = 0
    for bomb in EVERY:
        if names and not any(name in bomb.name for name in names):
            continue
        cost = dearest(bomb)
        dear += cost.ms_per_mb > LIMIT_MS
        print(_line(("! " if cost.ms_per_mb > LIMIT_MS else "  ") + bomb.name, cost), flush=True)
    print(f"{dear} of them above {LIMIT_MS} ms per MB. Honest values:")
    for bomb in HONEST:
        if not names:
            print(_line("  " + bomb.name, dearest(bomb)), flush=True)
    return int(dear > 0)


def dearest(bomb: Bomb) -> Cost:
    """The highest cost for a megabyte that any size of it has."""
    contract = bomb.contract()
    each = _size_of_each(bomb)
    costs = [measured(contract, bomb.make(max(1, size // each))) for size in (_MEGABYTE, 6 * _MEGABYTE)]
    if costs[0].outcome == "refused":
        below, above = 1, max(1, _MEGABYTE // each)
        for _ in range(8):
            middle = (below + above) // 2
            if outcome_of(contract, bomb.make(middle)) == "refused":
                above = middle
            else:
                below = middle
        costs.append(measured(contract, bomb.make(below)))
    return max(costs, key=lambda cost: cost.ms_per_mb)


def sized(bomb: Bomb, size: int) -> Encoding:
    """A bomb of about so many bytes."""
    return bomb.make(max(1, size // _size_of_each(bomb)))


def measured(contract: Contract, encoding: Encoding) -> Cost:
    """The quickest of several times, since the machine does other things too."""
    size, best, outcome = sum(map(len, _flat(encoding))), float("inf"), ""
    for _ in range(_TIMES):
        started = time.thread_time()
        outcome = outcome_of(contract, encoding)
        best = min(best, time.thread_time() - started)
    return Cost(best * 1000 / max(1.0, size / _MEGABYTE), size, best * 1000, outcome)


def outcome_of(contract: Contract, encoding: Encoding) -> str:
    """ "value", "mismatch" or "refused"."""
    try:
        decoded(contract, encoding)
    except ValueRefused:
        return "refused"
    except ContractMismatch:
        return "mismatch"
    return "value"


def decoded(contract: Contract, encoding: Encoding) -> Any:
    """The value; every object that it names is there."""
    head, buffers = encoding
    views = [memoryview(buffer) for buffer in buffers]
    return contract.decode(head, views, Caps(), hold=_held, find=lambda target: _DATABASE)


def _held(place: int, wanted: Any, kept: Kept) -> Handle[Any]:
    return Handle(cast(Any, None), kept, cast(Any, None))


def _size_of_each(bomb: Bomb) -> int:
    return max(1, (sum(map(len, _flat(bomb.make(2000)))) - sum(map(len, _flat(bomb.make(1000))))) // 1000)


def _line(name: str, cost: Cost) -> str:
    return f"{name:52} {cost.ms_per_mb:7.1f} ms/MB   {cost.size:>9} bytes in {cost.ms:7.1f} ms: {cost.outcome}"


def _flat(encoding: Encoding) -> list[bytes]:
    return [encoding[0], *encoding[1]]


def _honest(name: str, annotation: Any, value: Callable[[int], Any]) -> Bomb:
    def make(n: int) -> Encoding:
        head, buffers = encode(value(n), Contract.of(annotation, where="honest").shape)
        return head, [bytes(buffer) for buffer in buffers]

    return Bomb(name, annotation, make)


HONEST = (
    _honest("ints", list[int], lambda n: list(range(n))),
    _honest("texts", list[str], lambda n: [f"text {place}" for place in range(n)]),
    _honest("dict of texts to floats", dict[str, float], lambda n: {f"key {place}": place / 7 for place in range(n)}),
    _honest("rows", list[tuple[int, str]], lambda n: [(place, str(place)) for place in range(min(n, 60_000))]),
    _honest("dates", list[date], lambda n: [date.fromordinal(730_000 + place) for place in range(min(n, 60_000))]),
    _honest("classes", list[Point], lambda n: [Point(place, 0.5, f"label {place}") for place in range(n)]),
    _honest("models", list[Line], lambda n: [Line(price=place + 1.0) for place in range(min(n, 15_000))]),
    _honest(
        "frame",
        pd.DataFrame,
        lambda n: pd.DataFrame({"a": np.arange(n), "b": np.arange(n) / 7, "c": ["some text"] * n}),
    ),
)

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
