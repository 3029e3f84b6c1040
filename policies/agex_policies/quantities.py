"""Sizes, times and rates as people write them: "512MiB", "1.5s", "100/s". A number without a unit is refused, for it means
nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

SIZE_UNITS = {
    "B": 1,
    "KiB": 1 << 10,
    "MiB": 1 << 20,
    "GiB": 1 << 30,
    "TiB": 1 << 40,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
# Fractions, since decimals would count as the context of the thread says, which code in this process may have changed.
TIME_UNITS = {"ms": Fraction(1, 1000), "s": Fraction(1), "min": Fraction(60), "h": Fraction(3600)}

# Far above anything sensible, and far below what the kernel's own counters can hold.
_MOST_BYTES = 1 << 50
_MOST_SECONDS = 366 * 24 * 3600

_MOST_CALLS = 1_000_000_000

_QUANTITY = re.compile(r"(?P<number>[0-9]{1,18}(\.[0-9]{1,9})?) ?(?P<unit>[A-Za-z]+)")
_RATE = re.compile(r"(?P<count>[0-9]{1,10})/(?P<unit>s|min|h)")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and after that as many again in every `period_s` seconds."""

    count: int
    period_s: float

    @property
    def per_s(self) -> float:
        return self.count / self.period_s


def size_bytes(text: object) -> int:
    """`text` in bytes; at least one. ValueError says what is wrong with it."""
    number, unit = _split(text, tuple(SIZE_UNITS), example="512MiB")
    size = int(number * SIZE_UNITS[unit])
    if not 1 <= size <= _MOST_BYTES:
        raise ValueError(f"{text!r} is out of range: a size is at least 1 byte and at most 1024TiB")
    return size


def time_s(text: object) -> float:
    """`text` in seconds; above zero. ValueError says what is wrong with it."""
    number, unit = _split(text, tuple(TIME_UNITS), example="3s")
    seconds = number * TIME_UNITS[unit]
    if not 0 < seconds <= _MOST_SECONDS:
        raise ValueError(f"{text!r} is out of range: a time is above 0 and at most a year")
    return float(seconds)


def rate(text: object) -> Rate:
    """`text` as a Rate, from "100/s", "100/min" or "100/h"; at least one. ValueError says what is wrong with it."""
    if not isinstance(text, str) or (found := _RATE.fullmatch(text)) is None:
        raise ValueError(f"{text!r} is not a count a time in a string: write it like '100/s', '100/min' or '100/h'")
    count = int(found["count"])
    if not 1 <= count <= _MOST_CALLS:
        raise ValueError(f"{text!r} is out of range: at least 1 and at most {_MOST_CALLS} a time")
    return Rate(count, float(TIME_UNITS[found["unit"]]))


def _split(text: object, units: tuple[str, ...], example: str) -> tuple[Fraction, str]:
    if not isinstance(text, str) or (found := _QUANTITY.fullmatch(text)) is None:
        raise ValueError(f"{text!r} is not a number with a unit in a string: write it like {example!r}")
    if found["unit"] not in units:
        raise ValueError(f"{text!r} has the wrong unit {found['unit']!r}: use one of {', '.join(units)}")
    return Fraction(found["number"]), found["unit"]
