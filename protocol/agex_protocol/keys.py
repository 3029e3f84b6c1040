"""What it costs to make a dict or a set of these keys, before one is made.

Nobody can choose the hashes of texts and bytes. Those of all else follow from the value, so they can be chosen: to be the same,
or to differ and still meet in the table (probing.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from itertools import groupby
from operator import eq
from typing import Any

from agex_protocol.budget import MAX_SHARED_HASH
from agex_protocol.probing import Charge

# charge_dict or charge_set of probing.py.
Count = Callable[[Sequence[int], Charge], None]


def check_keys(keys: Collection[Hashable], count: Count, charge: Charge, *, margin: int = 1) -> None:
    """Charge for it, nothing for texts and bytes. ValueError for too many of one hash, TypeError for a key without one.

    margin: times the count that may come out otherwise where other keys are salted, as they are in another process.
    """
    types = set(map(type, keys))
    if types <= _SALTED:
        return
    charge(len(keys))
    hashes = list(map(hash, keys))
    numbers = types <= _NUMBERS
    if not numbers or len(hashes) <= _SOME:
        _check_shared(hashes)
    if len(hashes) <= _FEW:
        return
    try:
        count(hashes, charge if numbers else lambda units: charge(units * margin))
    except ValueError:
        _check_shared(hashes[:_LOOKED_AT])  # which says it better
        raise


def _check_shared(hashes: list[int]) -> None:
    ordered: list[Any] = sorted(hashes)
    if any(map(eq, ordered, ordered[MAX_SHARED_HASH:])):
        shared = max(len(list(alike)) for _, alike in groupby(ordered))
        raise ValueError(f"{shared} keys share one hash, the limit is {MAX_SHARED_HASH}")


# Of so few not even the worst walk is long.
_FEW = 64
_SOME = 1000
_LOOKED_AT = 20_000
_SALTED = frozenset({str, bytes})
_NUMBERS = frozenset({int, float, bool, complex})
