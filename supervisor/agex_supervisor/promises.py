"""The promise matrix: which sets of mechanisms hold which promise, and what a worker's layers make of it.

A cell is a set of mechanisms that TOGETHER hold a promise. A worker starts only if every promise has a cell whose
mechanisms were all applied and verified. Mechanisms are layers, some with the version from which they cover it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agex_policies.errors import IsolationUnavailable


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One layer as a cell needs it. `least` is the Landlock ABI from which it covers the promise."""

    layer: str
    least: int = 0

    def __str__(self) -> str:
        return f"{self.layer} (ABI {self.least} or later)" if self.least else self.layer


LANDLOCK_FILES = Mechanism("landlock", 3)  # ABI 3 closes truncate()
LANDLOCK_SCOPES = Mechanism("landlock", 6)
SECCOMP = Mechanism("seccomp")
RLIMITS = Mechanism("rlimits")
DESCRIPTORS = Mechanism("descriptors")
PARENT = Mechanism("parent")
WATCH = Mechanism("watch")
SLOT = Mechanism("slot")
TYPED_CHANNEL = Mechanism("typed channel")

Cell = frozenset[Mechanism]

# Never substitutable; every other cell stands on these.
FLOOR: tuple[Mechanism, ...] = (
    DESCRIPTORS,
    PARENT,
    Mechanism("capabilities"),
    Mechanism("no_new_privs"),
    SECCOMP,
)

CELLS: Mapping[str, tuple[Cell, ...]] = {
    "files.read": (frozenset({LANDLOCK_FILES, SECCOMP}),),
    "files.write": (frozenset({LANDLOCK_FILES, SECCOMP}),),
    "files.metadata": (frozenset({SECCOMP}),),
    "network": (frozenset({SECCOMP}),),
    "programs": (frozenset({SECCOMP}),),
    "processes": (frozenset({SECCOMP}),),
    "signals": (frozenset({SECCOMP}), frozenset({LANDLOCK_SCOPES, SECCOMP})),
    "introspection": (frozenset({SECCOMP, LANDLOCK_FILES}),),
    "memory": (frozenset({RLIMITS, SECCOMP}),),
    "cpu": (frozenset({RLIMITS, WATCH}),),
    "disk": (frozenset({RLIMITS, WATCH, LANDLOCK_FILES}),),
    "descriptors": (frozenset({RLIMITS, DESCRIPTORS}),),
    "leftovers": (frozenset({PARENT, SLOT, SECCOMP}),),
    "channel": (frozenset({TYPED_CHANNEL}),),
}

# What `process` isolation still holds; the rest of the promises it lists as unenforced.
PROCESS_HOLDS: Mapping[str, tuple[str, ...]] = {
    "memory": ("rlimits",),
    "cpu": ("rlimits", "watch"),
    "descriptors": ("rlimits", "descriptors"),
    "channel": ("typed channel",),
}

# Held by the supervisor for every worker, so no report of the worker's is needed.
BY_SUPERVISOR = {"watch": "enforced", "slot": "enforced", "typed channel": "enforced"}

REMEDIES = {
    "landlock": "a Linux kernel of 6.2 or later with Landlock in its lsm= list, and the Python package `landlock`"
    " (pip install 'landlock>=1.0.0.dev5,<2')",
    "seccomp": "a kernel with CONFIG_SECCOMP_FILTER, the library libseccomp.so.2 (package libseccomp2) and the Python"
    " package `pyseccomp`",
}


@dataclass(frozen=True, slots=True)
class LockdownReport:
    """What holds for one worker: promise -> mechanisms, layer -> state.

    unenforced: promises and policy keys that nothing holds. verified: layers that were seen from outside. probes:
    promise -> what came of trying to break it in the locked worker, before its first task.
    """

    isolation: str
    promises: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    layers: dict[str, str] = field(default_factory=dict[str, str])
    unenforced: list[str] = field(default_factory=list[str])
    verified: list[str] = field(default_factory=list[str])
    probes: dict[str, str] = field(default_factory=dict[str, str])


def hold(layers: Mapping[str, str]) -> dict[str, list[str]]:
    """Each promise with the mechanisms of the first cell that these layers fill.

    IsolationUnavailable for the first promise (or part of the floor) that none fills.
    """
    for mechanism in FLOOR:
        if not _fills(mechanism, layers):
            raise unavailable(mechanism.layer, layers.get(mechanism.layer, "not applied"))
    held: dict[str, list[str]] = {}
    for promise, cells in CELLS.items():
        cell = next((cell for cell in cells if all(_fills(each, layers) for each in cell)), None)
        if cell is None:
            raise _unheld(promise, cells, layers)
        held[promise] = sorted(str(each.layer) for each in cell)
    return held


def unavailable(layer: str, why: str) -> IsolationUnavailable:
    """The error for a layer that could not be put up: names the first promise that stands on it."""
    promise = next(
        (name for name, cells in CELLS.items() if all(any(each.layer == layer for each in cell) for cell in cells)),
        "files.read",
    )
    could = sorted({str(each) for cell in CELLS[promise] for each in cell})
    return IsolationUnavailable(
        promise=promise,
        could_hold=tuple(could),
        remedy=f"{layer}: {why}. {REMEDIES.get(layer, 'It is part of the floor that nothing can replace')}.",
    )


def _unheld(promise: str, cells: Iterable[Cell], layers: Mapping[str, str]) -> IsolationUnavailable:
    wanted = sorted({each for cell in cells for each in cell}, key=str)
    missing = [each for each in wanted if not _fills(each, layers)]
    states = "; ".join(f"{each.layer} is {layers.get(each.layer, 'off')}" for each in missing)
    remedies = "; ".join(REMEDIES.get(each.layer, each.layer) for each in missing)
    return IsolationUnavailable(
        promise=promise, could_hold=tuple(str(each) for each in wanted), remedy=f"{states}. What helps: {remedies}."
    )


def _fills(mechanism: Mechanism, layers: Mapping[str, str]) -> bool:
    state = layers.get(mechanism.layer, "off")
    if not state.startswith("enforced"):
        return False
    found = re.search(r"ABI (\d+)", state)
    return not mechanism.least or (found is not None and int(found[1]) >= mechanism.least)
