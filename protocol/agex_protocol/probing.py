"""How far Python looks for a free place when it puts keys of these hashes into a dict or a set.

Nobody can choose the hashes of texts. Those of numbers are the numbers, and such can be chosen that each finds all places
taken that the others took before it: a megabyte of them takes minutes. So the steps are counted before any table is made,
as CPython takes them: in every size that the table grows through, in the order in which keys come into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import compress

Charge = Callable[[int], None]


def charge_dict(hashes: Sequence[int], charge: Charge) -> None:
    """Count what a dict of these takes beyond a step for each key."""
    step = _step(hashes)
    if step % 2 or _is_power(step):  # those with an odd step have places of their own in every size
        return
    size = _SMALLEST
    while True:
        usable = size * 2 // 3
        _fill_dict(hashes[:usable], size, charge)
        if usable >= len(hashes):
            return
        size = _power_from(3 * usable)


def charge_set(hashes: Sequence[int], charge: Charge) -> None:
    """The same for a set; and for the copy that a check makes of it, to which they come in the order of their places."""
    step = _step(hashes)
    if step.bit_count() == 1 and step != 1:
        charge(len(hashes))  # they come to rows that are full, for a while
    if not _is_power(step):
        charge(2 * len(hashes))  # for the looking itself, which takes that much more than for a dict
        _grow_set(_grow_set(hashes, charge), charge)


def _grow_set(hashes: Sequence[int], charge: Charge) -> list[int]:
    """The hashes as a set has them that got them in this order."""
    size, held = _SMALLEST, 0
    inside: list[int] = []
    while True:
        full = -(-(size - 1) * 3 // 5)
        inside = _fill_set([*inside, *hashes[held:full]], size, charge)
        held = full
        if held > len(hashes):
            return inside
        size = _power_from(held * (2 if held > _LARGE_SET else 4) + 1)


def _fill_dict(hashes: Sequence[int], size: int, charge: Charge) -> None:
    mask, steps = size - 1, 0
    taken = bytearray(size)
    for each in hashes:
        place = each & mask
        if taken[place]:
            rest = each & _WORD
            while taken[place]:
                rest >>= 5
                place = (place * 5 + rest + 1) & mask
                steps += 1
            if steps > _STEPS_AT_ONCE:
                charge(steps // _STEPS_PER_WORK)
                steps = 0
        taken[place] = 1
    charge(steps // _STEPS_PER_WORK)


def _fill_set(hashes: Sequence[int], size: int, charge: Charge) -> list[int]:
    """Which looks at the nine places that follow before it goes further; gives the hashes by their places."""
    mask, steps = size - 1, 0
    taken = bytearray(size)
    inside: list[int] = [0] * size
    for each in hashes:
        place = each & mask
        if taken[place]:
            rest = each & _WORD
            while (free := taken.find(0, place, place + (_ROW if place + _ROW <= size else 1))) < 0:
                rest >>= 5
                place = (place * 5 + rest + 1) & mask
                steps += 3
            place = free
            steps += 1
            if steps > _STEPS_AT_ONCE:
                charge(steps // _STEPS_PER_WORK)
                steps = 0
        taken[place] = 1
        inside[place] = each
    charge(steps // _STEPS_PER_WORK)
    return list(compress(inside, taken))


def _step(hashes: Sequence[int]) -> int:
    """What each is beyond the one before, or 0 if that is not the same for all."""
    step = hashes[1] - hashes[0]
    return step if step and list(hashes) == list(range(hashes[0], hashes[0] + step * len(hashes), step)) else 0


def _is_power(step: int) -> bool:
    # Of multiples of a power of two none takes more than some thirty steps in a dict, nor a hundred in a set.
    return step.bit_count() == 1


def _power_from(least: int) -> int:
    """The smallest size of a table that is not below this."""
    return 1 << max(3, (least - 1).bit_length())


_SMALLEST = 8
_LARGE_SET = 50_000
_ROW = 10
_WORD = (1 << 64) - 1
_STEPS_PER_WORK = 5
_STEPS_AT_ONCE = 1000
