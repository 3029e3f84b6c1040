"""The words in which rules about system calls are written: a call, conditions on its arguments, and what becomes of it.

Seccomp sees numbers, not what pointers point to. Conditions are on the numbers, under a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from agex_protocol.plan import SECCOMP_PID_PLACEHOLDER

# The kernel reads most arguments as 32 bits and ignores what is above; so must the filter, or high bits get around it.
LOW_32 = 0xFFFF_FFFF
ALL_64 = 0xFFFF_FFFF_FFFF_FFFF

# Reads and writes that wait for the disk. The bit for it differs by architecture: this one, beyond those that LOW_32 has,
# stands for it until the rules are compiled.
O_DIRECT = 1 << 40


class Action(Enum):
    """What becomes of a call."""

    ALLOW = "allow"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Errno:
    """The call does nothing and returns this error; 0 is a success."""

    number: int


@dataclass(frozen=True, slots=True)
class Argument:
    """Holds if the argument at `index`, under `mask`, is `value`."""

    index: int
    value: int
    mask: int = LOW_32


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of these calls where all `arguments` hold; without arguments, always."""

    names: tuple[str, ...]
    action: Action | Errno
    arguments: tuple[Argument, ...] = ()

    @property
    def gives(self) -> bool:
        """Whether the caller gets something: the call itself, or a success without effect. Otherwise it is refused."""
        return self.action in (Action.ALLOW, Errno(0))

    def holds(self, name: str, arguments: Sequence[int], own_pid: int) -> bool:
        """Whether it is about this call of the process that knows itself as `own_pid`; as the kernel would decide."""
        return name in self.names and all(
            arguments[each.index] & each.mask == (own_pid if each.value == SECCOMP_PID_PLACEHOLDER else each.value)
            for each in self.arguments
        )


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that belong together, and why they are as they are."""

    name: str
    reason: str
    rules: tuple[Rule, ...]

    @property
    def calls(self) -> frozenset[str]:
        """The names of all calls that it has rules for."""
        return frozenset(name for rule in self.rules for name in rule.names)


def rule(action: Action | Errno, names: str, *arguments: Argument) -> Rule:
    return Rule(tuple(names.split()), action, arguments)


def allow(names: str, *arguments: Argument) -> Rule:
    return rule(Action.ALLOW, names, *arguments)


def allow_values(name: str, index: int, values: tuple[int, ...]) -> tuple[Rule, ...]:
    return tuple(allow(name, Argument(index, value)) for value in values)


def own_process(names: str, *, or_zero: bool) -> tuple[Rule, ...]:
    """The first argument is a process: this one, by its number or, where that means the same, by 0."""
    own = allow(names, Argument(0, SECCOMP_PID_PLACEHOLDER))
    return (own, allow(names, Argument(0, 0))) if or_zero else (own,)
