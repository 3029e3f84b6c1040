"""The matrix: a worker starts only if every promise is held by layers that are really in force."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest

from agex_policies.errors import IsolationUnavailable
from agex_supervisor.promises import (
    BY_SUPERVISOR,
    CELLS,
    FLOOR,
    PROCESS_HOLDS,
    REMEDIES,
    SEATBELT_CELLS,
    SEATBELT_FLOOR,
    disjoint,
    hold,
    unavailable,
    wants_two,
)

# What every Linux that can run a worker has; the rest is what machines differ in.
LEAST = {
    **BY_SUPERVISOR,
    "descriptors": "enforced: 4 open",
    "parent": "enforced",
    "rlimits": "enforced: 10 limits",
    "capabilities": "enforced",
    "no_new_privs": "enforced",
    "seccomp": "enforced: 436 instructions",
}
NAMESPACES = {"namespaces": "enforced: user mount pid net ipc uts"}
CGROUP = {"cgroup": "enforced: v2 memory 1.5 GiB, pids 65"}
ON_A_MAC = {**BY_SUPERVISOR, "descriptors": "enforced", "rlimits": "enforced", "seatbelt": "enforced"}

# Where nothing but the least is there: what holds a promise of its own accord.
ALWAYS = {
    "files.metadata": ["seccomp"],
    "network": ["seccomp"],
    "programs": ["seccomp"],
    "processes": ["seccomp"],
    "signals": ["seccomp"],
    "memory": ["rlimits", "seccomp"],
    "cpu": ["rlimits", "watch"],
    "descriptors": ["descriptors", "rlimits"],
    "leftovers": ["parent", "seccomp", "slot"],
    "channel": ["typed channel"],
}
BY_NAMESPACES = {
    "files.read": ["namespaces"],
    "files.write": ["namespaces"],
    "introspection": ["namespaces"],
    "disk": ["namespaces", "rlimits"],
    "leftovers": ["namespaces", "slot"],
}


def landlock(abi: int) -> dict[str, str]:
    return {"landlock": f"enforced: ABI {abi}, 15 paths"} if abi else {"landlock": "off"}


def by_landlock(abi: int) -> dict[str, list[str]]:
    holds: dict[str, list[str]] = {}
    if abi >= 1:
        holds |= {"files.read": ["landlock"], "introspection": ["landlock", "seccomp"]}
    if abi >= 3:
        holds |= {"files.write": ["landlock"], "disk": ["landlock", "rlimits", "watch"]}
    return holds | ({"signals": ["landlock"]} if abi >= 6 else {})


def together(*tables: Mapping[str, list[str]]) -> dict[str, list[str]]:
    return {
        promise: sorted({each for table in tables for each in table.get(promise, [])})
        for promise in CELLS
        if any(promise in table for table in tables)
    }


@pytest.mark.parametrize("cgroup", [True, False], ids=["cgroup", "no cgroup"])
@pytest.mark.parametrize("abi", range(8))
def test_with_namespaces_every_machine_holds_every_promise(abi: int, cgroup: bool) -> None:
    held = hold(LEAST | NAMESPACES | landlock(abi) | (CGROUP if cgroup else {}))

    assert held == together(ALWAYS, BY_NAMESPACES, by_landlock(abi), {"memory": ["cgroup"]} if cgroup else {})
    assert held.keys() == CELLS.keys()


@pytest.mark.parametrize(
    ("abi", "promise", "could"),
    [
        (0, "files.read", ("landlock (ABI 1 or later)", "namespaces")),
        (1, "files.write", ("landlock (ABI 3 or later)", "namespaces")),
        (2, "files.write", ("landlock (ABI 3 or later)", "namespaces")),
        *((abi, "", ()) for abi in range(3, 8)),
    ],
)
def test_without_namespaces_landlock_has_to_be_new_enough(abi: int, promise: str, could: tuple[str, ...]) -> None:
    layers = LEAST | landlock(abi) | {"namespaces": "unavailable: unshare is refused"}
    if not promise:
        assert hold(layers) == together(ALWAYS, by_landlock(abi))
        return
    with pytest.raises(IsolationUnavailable) as caught:
        hold(layers)

    assert (caught.value.promise, caught.value.could_hold) == (promise, could)
    for told in (REMEDIES["landlock"], REMEDIES["namespaces"], layers["landlock"], layers["namespaces"]):
        assert told in caught.value.remedy


@pytest.mark.parametrize("machine", [NAMESPACES, landlock(7), {**NAMESPACES, **landlock(7), **CGROUP}], ids=" ".join)
@pytest.mark.parametrize("layer", [each.layer for each in FLOOR])
@pytest.mark.parametrize("state", ["off", "unavailable: no such call", "", None])
def test_nothing_stands_in_for_a_part_of_the_floor(layer: str, state: str | None, machine: dict[str, str]) -> None:
    layers = {name: value for name, value in (LEAST | machine).items() if name != layer}
    if state is not None:
        layers[layer] = state

    with pytest.raises(IsolationUnavailable) as caught:
        hold(layers)

    assert caught.value.remedy.startswith(f"{layer}: ") and REMEDIES[layer] in caught.value.remedy


@pytest.mark.parametrize(
    ("layer", "promise"), [("rlimits", "memory"), ("slot", "leftovers"), ("typed channel", "channel")]
)
def test_a_layer_without_which_a_promise_has_no_cell_is_missed_by_its_name(layer: str, promise: str) -> None:
    with pytest.raises(IsolationUnavailable) as caught:
        hold({**LEAST, **NAMESPACES, **landlock(7), layer: "off"})

    assert caught.value.promise == promise and f"{layer} is off" in caught.value.remedy


def test_a_state_without_a_version_fills_no_cell_that_needs_one() -> None:
    with pytest.raises(IsolationUnavailable):
        hold({**LEAST, "landlock": "enforced"})


# --- two walls ---


def test_these_promises_can_be_held_twice_with_nothing_in_common() -> None:
    twice = {"files.read", "files.write", "signals", "introspection", "memory", "cpu"}
    assert {promise for promise, cells in CELLS.items() if disjoint(cells)} == twice
    assert {promise for promise in CELLS if wants_two(promise, ["namespaces"])} == {
        "files.read",
        "files.write",
        "introspection",
    }
    assert {promise for promise in CELLS if wants_two(promise, ["cgroup"])} == {"memory"}
    assert not any(wants_two(promise, []) for promise in CELLS)


@pytest.mark.parametrize(
    ("abi", "promise"), [(0, "files.read"), (1, "files.write"), (2, "files.write"), (3, ""), (7, "")]
)
def test_where_namespaces_are_required_what_they_hold_has_to_be_held_without_them_too(abi: int, promise: str) -> None:
    layers = LEAST | NAMESPACES | landlock(abi)
    assert hold(layers)
    if not promise:
        assert hold(layers, ["namespaces"]) == hold(layers)
        return
    with pytest.raises(IsolationUnavailable) as caught:
        hold(layers, ["namespaces"])

    assert caught.value.promise == promise
    assert caught.value.remedy.startswith("only namespaces holds it, of two walls; landlock is ")
    assert REMEDIES["landlock"] in caught.value.remedy


def test_a_required_control_group_has_rlimits_and_the_filter_beside_it() -> None:
    layers = LEAST | NAMESPACES | landlock(7)
    assert hold(layers | CGROUP, ["cgroup"])["memory"] == ["cgroup", "rlimits", "seccomp"]
    with pytest.raises(IsolationUnavailable) as caught:
        hold(layers, ["cgroup"])
    assert (caught.value.promise, "cgroup is off" in caught.value.remedy) == ("memory", True)


# --- errors ---


def test_every_mechanism_has_a_remedy_and_none_asks_for_what_is_not_needed() -> None:
    tables = (*CELLS.values(), *SEATBELT_CELLS.values(), (FLOOR,), (SEATBELT_FLOOR,))
    layers = {each.layer for cells in tables for cell in cells for each in cell}
    assert layers <= REMEDIES.keys()
    assert "libseccomp is not needed" in " ".join(REMEDIES["seccomp"].split())


@pytest.mark.parametrize(
    ("layer", "promise"),
    [
        ("seccomp", "files.metadata"),
        ("landlock", "files.read"),
        ("namespaces", "files.read"),
        ("cgroup", "memory"),
        ("rlimits", "disk"),
        ("descriptors", "descriptors"),
        ("parent", "leftovers"),
        ("capabilities", "files.read"),
        ("dumpable", "files.read"),
        ("seatbelt", "files.read"),
    ],
)
def test_the_error_of_a_layer_names_a_promise_what_could_hold_it_and_a_remedy(layer: str, promise: str) -> None:
    error = unavailable(layer, "the kernel said no")

    assert (error.promise, error.remedy) == (promise, f"{layer}: the kernel said no. What helps: {REMEDIES[layer]}.")
    assert error.could_hold and all(error.could_hold)


def test_a_layer_that_nobody_knows_gets_an_error_without_a_remedy() -> None:
    assert unavailable("wall", "it fell").remedy == "wall: it fell."


# --- other matrices ---


def test_on_a_mac_seatbelt_holds_what_it_can_and_the_rest_is_held_by_nothing() -> None:
    held = hold(ON_A_MAC)

    assert held.keys() == CELLS.keys()
    assert {promise for promise, holders in held.items() if not holders} == {"memory", "leftovers"}
    by_seatbelt = {promise for promise, holders in held.items() if holders == ["seatbelt"]}
    assert by_seatbelt == {
        *("files.read", "files.write", "files.metadata", "network"),
        *("programs", "processes", "signals", "introspection"),
    }
    assert held["cpu"] == held["disk"] == ["rlimits", "watch"]


@pytest.mark.parametrize("layer", sorted(ON_A_MAC.keys() - {"slot"}))
def test_on_a_mac_no_layer_may_be_missing(layer: str) -> None:
    with pytest.raises(IsolationUnavailable, match=layer):
        hold({**ON_A_MAC, layer: "off"})


def test_process_isolation_claims_no_promise_that_there_is_not() -> None:
    assert PROCESS_HOLDS.keys() < CELLS.keys()


def test_all_matrices_have_the_same_promises_in_the_same_order() -> None:
    assert list(SEATBELT_CELLS) == list(CELLS)
    assert all(one != other for cells in CELLS.values() for one, other in itertools.combinations(cells, 2))
