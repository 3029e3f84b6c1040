"""An object of the supervisor's process as a worker holds it: by a name that only the supervisor can turn into the object.

The name is that of a registration, or `@` and 128 random bits in hexadecimal for what a host function gave.
"""

from __future__ import annotations

from dataclasses import dataclass

# What a worker may hold at once, and so what one message of ids that it gives back may carry.
MAX_HANDLES = 1_000
ID_CHARS = 33


@dataclass(frozen=True, slots=True)
class HostReference:
    """What goes to a worker in place of such an object. `kind` is the place of its HostObject in `Begin.objects`."""

    target: str
    kind: int


class HostHandle:
    """Base of what stands for it there. Two slots, so that agent code finds no dictionary to write into."""

    __slots__ = ("__target__", "__weakref__")


def target_of(handle: HostHandle) -> str:
    """By which name a Call or an argument means it."""
    return str(object.__getattribute__(handle, "__target__"))
