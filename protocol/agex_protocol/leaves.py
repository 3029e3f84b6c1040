"""Small values with a type of their own: numbers beyond msgpack's, dates, addresses, paths, patterns.

`LEAVES` says for each kind which type it is, how it becomes plain data, how plain data of unknown origin becomes it again
(ValueError or TypeError when it cannot) and what that costs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from fractions import Fraction
from functools import cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo, available_timezones

from agex_protocol.budget import MAX_DECIMAL_EXPONENT, MAX_INT_BITS, MAX_PATTERN_BYTES, check_int


@dataclass(frozen=True, slots=True)
class Leaf:
    """How one kind crosses. `work` is what reading it costs, in units of `budget.Work`."""

    type: type[Any]
    pack: Callable[[Any], Any]
    unpack: Callable[[object], Any]
    work: int = 3


def pack_int(number: int) -> int | bytes:
    """A number as msgpack knows it, or its two's complement when it is beyond 64 bits."""
    if -(1 << 63) <= number < 1 << 64:
        return int(number)
    check_int(number)
    return number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True)


def unpack_int(wire: object) -> int:
    """Back from `pack_int`; never a bool."""
    if type(wire) is int:
        return wire
    if type(wire) is not bytes or len(wire) > MAX_INT_BITS // 8 + 1:
        raise ValueError("not an int")
    return int.from_bytes(wire, "big", signed=True)


def pack_zone(zone: tzinfo | None) -> Any:
    """A time zone by its key ("Europe/Paris"), or by its offset in microseconds and its name."""
    if zone is None:
        return None
    if type(zone) is timezone:
        offset = zone.utcoffset(None)
        micros, name = offset // timedelta(microseconds=1), zone.tzname(None)
        return [micros] if name == timezone(offset).tzname(None) else [micros, name]
    if type(zone) is ZoneInfo and zone.key:
        return zone.key
    raise ValueError(f"a time zone of type {type(zone).__qualname__} has no form on the wire; use zoneinfo.ZoneInfo")


def unpack_zone(wire: object) -> tzinfo | None:
    """Back from `pack_zone`. A key is looked up among the system's zones and nowhere else."""
    if wire is None:
        return None
    if type(wire) is str:
        # Asked for a key that it does not have, zoneinfo imports a package by the key's first part.
        if not _ZONE_KEY.fullmatch(wire) or wire.removeprefix("posix/").removeprefix("right/") not in _zones():
            raise ValueError("not the key of a time zone")
        return ZoneInfo(wire)
    match wire:
        case [int(offset)]:
            return UTC if offset == 0 else timezone(timedelta(microseconds=offset))
        case [int(offset), str(name)] if len(name) <= 64:
            return timezone(timedelta(microseconds=offset), name)
        case _:
            raise ValueError("not a time zone")


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _numbers(wire: object, count: int) -> list[int]:
    if type(wire) is not list or len(wire) != count or set(map(type, wire)) != {int}:
        raise ValueError(f"not a list of {count} ints")
    return cast(list[int], wire)


def _halves(wire: object, tail: int) -> tuple[list[int], tzinfo | None]:
    """The numbers of a date or time and, after them, its zone."""
    if type(wire) is not list or len(wire) != tail + 1:
        raise ValueError("not a time")
    parts = cast(list[object], wire)
    return _numbers(parts[:tail], tail), unpack_zone(parts[tail])


def _text(wire: object) -> str:
    if type(wire) is not str:
        raise ValueError("not a text")
    return wire


def _pack_datetime(moment: datetime) -> Any:
    day = (moment.year, moment.month, moment.day)
    return [*day, moment.hour, moment.minute, moment.second, moment.microsecond, moment.fold, pack_zone(moment.tzinfo)]


def _unpack_datetime(wire: object) -> datetime:
    (year, month, day, hour, minute, second, micro, fold), zone = _halves(wire, 8)
    return datetime(year, month, day, hour, minute, second, micro, zone, fold=fold)


def _pack_time(moment: time) -> Any:
    return [moment.hour, moment.minute, moment.second, moment.microsecond, moment.fold, pack_zone(moment.tzinfo)]


def _unpack_time(wire: object) -> time:
    (hour, minute, second, micro, fold), zone = _halves(wire, 5)
    return time(hour, minute, second, micro, zone, fold=fold)


def _unpack_complex(wire: object) -> complex:
    match wire:
        case [float(real), float(imaginary)]:
            return complex(real, imaginary)
        case _:
            raise ValueError("not a complex number")


def _pack_decimal(number: Decimal) -> str:
    _check_decimal(number)
    return str(number)


def _unpack_decimal(wire: object) -> Decimal:
    text = _text(wire)
    # As many digits as an int of MAX_INT_BITS has, a sign, a point and an exponent.
    if not _DECIMAL.fullmatch(text):
        raise ValueError("not a Decimal")
    number = Decimal(text)
    _check_decimal(number)
    return number


def _check_decimal(number: Decimal) -> None:
    if number.is_finite() and (
        abs(number.adjusted()) > MAX_DECIMAL_EXPONENT or len(number.as_tuple().digits) > _MAX_DIGITS
    ):
        raise ValueError(f"a Decimal beyond {_MAX_DIGITS} digits or an exponent of {MAX_DECIMAL_EXPONENT}")
    if not number.is_finite() and number.as_tuple().digits not in ((), (0,)):
        raise ValueError("a Decimal NaN with a payload")


def _unpack_fraction(wire: object) -> Fraction:
    match wire:
        case [numerator, denominator]:
            below = unpack_int(denominator)
            if below < 1:
                raise ValueError("a Fraction's denominator is positive")
            return Fraction(unpack_int(numerator), below)
        case _:
            raise ValueError("not a Fraction")


def _unpack_uuid(wire: object) -> UUID:
    if type(wire) is not bytes:
        raise ValueError("not a UUID")
    return UUID(bytes=wire)


def _pack_path(path: PurePath) -> Any:
    if "\0" in str(path) or len(str(path)) > _MAX_PATH:
        raise ValueError(f"a path with a NUL, or beyond {_MAX_PATH} characters")
    flavour = next((_FLAVOURS[each] for each in type(path).__mro__ if each in _FLAVOURS), None)
    if flavour is None:
        raise ValueError(f"a path of the class {type(path).__name__}, which is neither POSIX's nor Windows'")
    return [flavour, str(path)]


def _unpack_path(wire: object) -> PurePath:
    match wire:
        case [str(flavour), str(text)] if flavour in _PATHS and len(text) <= _MAX_PATH and "\0" not in text:
            return _PATHS[flavour](text)
        case _:
            raise ValueError("not a path")


def _pack_pattern(pattern: re.Pattern[Any]) -> Any:
    _check_pattern(pattern.pattern, pattern.flags)
    return [pattern.pattern, pattern.flags]


def _unpack_pattern(wire: object) -> re.Pattern[Any]:
    match wire:
        case [str() | bytes() as text, int(flags)] if type(flags) is int:
            _check_pattern(text, flags)
            return re.compile(text, flags)
        case _:
            raise ValueError("not a pattern")


def _check_pattern(pattern: str | bytes, flags: int) -> None:
    """Refuse what `re` would be slow to compile: long patterns, and many sets that reach beyond Latin-1 (each is walked)."""
    text = pattern if isinstance(pattern, str) else pattern.decode("latin-1")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_PATTERN_BYTES:
        raise ValueError(f"a pattern of more than {MAX_PATTERN_BYTES} bytes")
    if flags & ~_PATTERN_FLAGS:
        raise ValueError(f"a pattern's flags are {flags}")
    if _WIDE.search(text) and text.count("[") > _MAX_WIDE_SETS:
        raise ValueError(f"a pattern of characters beyond Latin-1 with more than {_MAX_WIDE_SETS} sets")


def _pack_range(numbers: range) -> Any:
    return [pack_int(numbers.start), pack_int(numbers.stop), pack_int(numbers.step)]


def _unpack_range(wire: object) -> range:
    match wire:
        case [start, stop, step]:
            return range(unpack_int(start), unpack_int(stop), unpack_int(step))
        case _:
            raise ValueError("not a range")


def _address(kind: type[Any], work: int) -> Leaf:
    def unpack(wire: object) -> Any:
        text = _text(wire)
        if len(text) > _MAX_ADDRESS:
            raise ValueError("not an address")
        return kind(text)

    return Leaf(kind, str, unpack, work)


_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,3}")
_DECIMAL = re.compile(r"-?([0-9.]{1,1300}([Ee][+-]?[0-9]{1,6})?|Infinity|s?NaN)")
_MAX_DIGITS = 1234
_MAX_PATH = 4096
_MAX_ADDRESS = 120
_MAX_WIDE_SETS = 4
_WIDE = re.compile(r"[^\x00-\xff]|\\[uUN]")
_PATTERN_FLAGS = int(re.ASCII | re.IGNORECASE | re.LOCALE | re.MULTILINE | re.DOTALL | re.VERBOSE | re.UNICODE)
_FLAVOURS: dict[type[PurePath], str] = {PurePosixPath: "posix", PureWindowsPath: "windows", type(Path()): "path"}
_PATHS: dict[str, type[PurePath]] = {"posix": PurePosixPath, "windows": PureWindowsPath, "path": Path}

LEAVES: dict[str, Leaf] = {
    "complex": Leaf(complex, lambda number: [number.real, number.imag], _unpack_complex, 4),
    "range": Leaf(range, _pack_range, _unpack_range),
    "datetime": Leaf(datetime, _pack_datetime, _unpack_datetime, 6),
    "date": Leaf(date, lambda day: [day.year, day.month, day.day], lambda wire: date(*_numbers(wire, 3)), 2),
    "time": Leaf(time, _pack_time, _unpack_time, 5),
    "timedelta": Leaf(
        timedelta,
        lambda span: [span.days, span.seconds, span.microseconds],
        lambda wire: timedelta(*_numbers(wire, 3)),
    ),
    "decimal": Leaf(Decimal, _pack_decimal, _unpack_decimal, 5),
    "fraction": Leaf(
        Fraction, lambda part: [pack_int(part.numerator), pack_int(part.denominator)], _unpack_fraction, 10
    ),
    "uuid": Leaf(UUID, lambda identity: identity.bytes, _unpack_uuid, 3),
    "path": Leaf(PurePath, _pack_path, _unpack_path, 8),
    "pattern": Leaf(re.Pattern, _pack_pattern, _unpack_pattern, 25_000),
    "ipv4address": _address(IPv4Address, 8),
    "ipv6address": _address(IPv6Address, 16),
    "ipv4network": _address(IPv4Network, 10),
    "ipv6network": _address(IPv6Network, 20),
    "ipv4interface": _address(IPv4Interface, 16),
    "ipv6interface": _address(IPv6Interface, 24),
}
