"""The promise matrix: which sets of mechanisms hold which promise, and what a worker's layers make of it.

A cell is a set of mechanisms that together hold one promise, on top of the floor. It is exact: the promise's payloads are
contained with all of its members, and one of them escapes with any member gone, where nothing of the promise's other cells
stands either (tests/escapes/test_matrix.py shows both). So a layer that stops most payloads of a promise and not all is
in no cell of it. A worker starts only if the floor and a cell of every promise were put up and verified.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from agex_policies.errors import IsolationUnavailable


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One layer as a cell needs it. `least` is the Landlock ABI from which it covers the promise."""

    layer: str
    least: int = 0

    def __str__(self) -> str:
        return f"{self.layer} (ABI {self.least} or later)" if self.least else self.layer


LANDLOCK = Mechanism("landlock", 1)
LANDLOCK_TRUNCATE = Mechanism("landlock", 3)
LANDLOCK_SCOPES = Mechanism("landlock", 6)
SECCOMP = Mechanism("seccomp")
CAPABILITIES = Mechanism("capabilities")
NO_NEW_PRIVS = Mechanism("no_new_privs")
RLIMITS = Mechanism("rlimits")
DESCRIPTORS = Mechanism("descriptors")
PARENT = Mechanism("parent")
WATCH = Mechanism("watch")
SLOT = Mechanism("slot")
TYPED_CHANNEL = Mechanism("typed channel")
NAMESPACES = Mechanism("namespaces")
CGROUP = Mechanism("cgroup")
SEATBELT = Mechanism("seatbelt")

Cell = frozenset[Mechanism]

# Never substitutable; every cell stands on these.
FLOOR: tuple[Mechanism, ...] = (DESCRIPTORS, PARENT, CAPABILITIES, NO_NEW_PRIVS, SECCOMP)

# A comment says why a layer that looks as if it held a promise does not.
CELLS: Mapping[str, tuple[Cell, ...]] = {
    "files.read": (frozenset({LANDLOCK}), frozenset({NAMESPACES})),
    "files.write": (frozenset({LANDLOCK_TRUNCATE}), frozenset({NAMESPACES})),
    # In a view of its own a worker may still change modes of what is granted for writing.
    "files.metadata": (frozenset({SECCOMP}),),
    # A network of its own has a way to a socket in a granted folder, and to the host of a virtual machine (vsock).
    "network": (frozenset({SECCOMP}),),
    # Landlock knows files: what is written into a memory file may be executed.
    "programs": (frozenset({SECCOMP}),),
    "processes": (frozenset({SECCOMP}),),
    # A process group reaches over the edges of process namespaces, to the workers of the same zygote.
    "signals": (frozenset({SECCOMP}), frozenset({LANDLOCK_SCOPES})),
    # Landlock shuts /proc and memory, the filter the calls that ask about a process by its number.
    "introspection": (frozenset({LANDLOCK, SECCOMP}), frozenset({NAMESPACES})),
    # RLIMIT_AS counts what is mapped; the filter lets nothing be made that is not.
    "memory": (frozenset({RLIMITS, SECCOMP}), frozenset({CGROUP})),
    # A group's share of the processor bounds no total.
    "cpu": (frozenset({WATCH}), frozenset({RLIMITS})),
    # The watch counts the slot alone, and bytes that lie on the disk: not what is written elsewhere, nor a file of holes.
    "disk": (frozenset({LANDLOCK_TRUNCATE, RLIMITS, WATCH}), frozenset({NAMESPACES, RLIMITS})),
    "descriptors": (frozenset({DESCRIPTORS, RLIMITS}),),
    # Without the filter a worker can ask to outlive its zygote, and leave shared memory; not out of its namespaces.
    "leftovers": (frozenset({PARENT, SECCOMP, SLOT}), frozenset({NAMESPACES, SLOT})),
    "channel": (frozenset({TYPED_CHANNEL}),),
}

# On macOS, as its documentation has it: none of this was ever tried there. Nothing holds a promise without cells.
SEATBELT_FLOOR: tuple[Mechanism, ...] = (DESCRIPTORS, SEATBELT)
SEATBELT_CELLS: Mapping[str, tuple[Cell, ...]] = {
    **dict.fromkeys(CELLS, (frozenset({SEATBELT}),)),
    "memory": (),
    "cpu": (frozenset({RLIMITS, WATCH}),),
    "disk": (frozenset({RLIMITS, WATCH}),),
    "descriptors": (frozenset({DESCRIPTORS, RLIMITS}),),
    "leftovers": (),
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

_NO_FAULT_OF_THE_MACHINE = "a fresh start of this program; if it happens again, it is a fault of agex: please report it"

# layer -> what a person can do where it is missing
REMEDIES = {
    "namespaces": "a machine that lets this user make user namespaces: user.max_user_namespaces above 0, no AppArmor or"
    " container profile that refuses unshare; `agex doctor` says what stands in the way",
    "cgroup": "a control group that this process may divide: memory and pids of cgroup v1, or a delegated group of v2",
    "landlock": "a Linux kernel of 6.2 or later with Landlock in its lsm= list, and the Python package `landlock`"
    " (pip install 'landlock>=1.0.0.dev5,<2')",
    "seccomp": "a kernel with CONFIG_SECCOMP_FILTER, /proc mounted without hidepid, and x86_64 or aarch64; libseccomp is"
    " not needed, as a compiled filter comes with agex",
    "capabilities": "an ordinary user for the supervisor, or a container that does not forbid to give up capabilities",
    "no_new_privs": "Linux, and a container whose profile does not refuse prctl",
    "rlimits": "limits of this process that are not below what the policy needs; `ulimit -a` shows them",
    "seatbelt": "macOS, where it is experimental; Linux for code that you do not trust",
    "parent": _NO_FAULT_OF_THE_MACHINE,
    "descriptors": _NO_FAULT_OF_THE_MACHINE,
    "dumpable": _NO_FAULT_OF_THE_MACHINE,
    "watch": _NO_FAULT_OF_THE_MACHINE,
    "slot": _NO_FAULT_OF_THE_MACHINE,
    "typed channel": _NO_FAULT_OF_THE_MACHINE,
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


def hold(layers: Mapping[str, str], required: Collection[str] = ()) -> dict[str, list[str]]:
    """Each promise with the mechanisms of all the cells that these layers (name -> state) fill.

    required: layers that the policy does not leave open. Each is a second wall: a promise that it can hold has to have two
    filled cells without a common mechanism, if the matrix has such. IsolationUnavailable for the first promise, or part of
    the floor, that is not held. With Seatbelt, promises that nothing can hold there have an empty list.
    """
    floor, matrix = (SEATBELT_FLOOR, SEATBELT_CELLS) if "seatbelt" in layers else (FLOOR, CELLS)
    for mechanism in floor:
        if not _fills(mechanism, layers):
            raise unavailable(mechanism.layer, layers.get(mechanism.layer, "not applied"))
    held: dict[str, list[str]] = {}
    for promise, cells in matrix.items():
        filled = [cell for cell in cells if all(_fills(each, layers) for each in cell)]
        if cells and not filled:
            raise _unheld(promise, cells, layers)
        if not disjoint(filled) and wants_two(promise, required):
            raise _unheld(promise, cells, layers, f"only {', '.join(sorted(_layers(filled)))} holds it, of two walls; ")
        held[promise] = sorted(_layers(filled))
    return held


def held_by(layers: Mapping[str, str]) -> dict[str, list[str]]:
    """As `hold`, for a report: a promise that is not held has an empty list."""
    filled = {
        name: [cell for cell in cells if all(_fills(each, layers) for each in cell)] for name, cells in CELLS.items()
    }
    return {promise: sorted(_layers(cells)) for promise, cells in filled.items()}


def wants_two(promise: str, required: Collection[str]) -> bool:
    """Whether a policy that requires these layers wants the promise held twice, and it can be."""
    cells = CELLS[promise]
    return disjoint(cells) and not _layers(cells).isdisjoint(required)


def disjoint(cells: Iterable[Cell]) -> bool:
    """Whether two of these cells have no layer in common, so that no single fault opens both."""
    return any(_layers([one]).isdisjoint(_layers([other])) for one, other in combinations(cells, 2))


def unavailable(layer: str, why: str) -> IsolationUnavailable:
    """The error for a layer that could not be put up: names the first promise that stands on it."""
    matrix = SEATBELT_CELLS if layer == SEATBELT.layer else CELLS
    cells_with = {name: [layer in _layers([cell]) for cell in cells] for name, cells in matrix.items()}
    promise = next((name for name, found in cells_with.items() if found and all(found)), None)
    promise = promise or next((name for name, found in cells_with.items() if any(found)), "files.read")
    remedy = REMEDIES.get(layer)
    return IsolationUnavailable(
        promise=promise,
        could_hold=tuple(sorted({str(each) for cell in matrix[promise] for each in cell})),
        remedy=f"{layer}: {why}." + (f" What helps: {remedy}." if remedy else ""),
    )


def _unheld(promise: str, cells: Iterable[Cell], layers: Mapping[str, str], why: str = "") -> IsolationUnavailable:
    wanted = sorted({each for cell in cells for each in cell}, key=str)
    missing = [each for each in wanted if not _fills(each, layers)]
    states = "; ".join(f"{each.layer} is {layers.get(each.layer, 'off')}" for each in missing)
    remedies = "; or ".join(REMEDIES[each.layer] for each in missing)
    return IsolationUnavailable(
        promise=promise,
        could_hold=tuple(str(each) for each in wanted),
        remedy=f"{why}{states}. What helps: {remedies}.",
    )


def _layers(cells: Iterable[Cell]) -> set[str]:
    return {each.layer for cell in cells for each in cell}


def _fills(mechanism: Mechanism, layers: Mapping[str, str]) -> bool:
    state = layers.get(mechanism.layer, "off")
    if not state.startswith("enforced"):
        return False
    found = re.search(r"ABI (\d+)", state)
    return not mechanism.least or (found is not None and int(found[1]) >= mechanism.least)
