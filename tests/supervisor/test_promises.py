"""The matrix: a worker starts only if every promise is held by layers that are really in force."""

from __future__ import annotations

import pytest

from agex_policies.errors import IsolationUnavailable
from agex_supervisor.promises import BY_SUPERVISOR, CELLS, FLOOR, PROCESS_HOLDS, REMEDIES, hold, unavailable

ENFORCED = {
    **BY_SUPERVISOR,
    "descriptors": "enforced: 4 open",
    "parent": "enforced",
    "rlimits": "enforced: 10 limits",
    "capabilities": "enforced",
    "no_new_privs": "enforced",
    "landlock": "enforced: ABI 7, 15 paths",
    "seccomp": "enforced: 436 instructions",
}


def test_with_all_layers_every_promise_names_what_holds_it() -> None:
    held = hold(ENFORCED)
    assert held.keys() == CELLS.keys()
    assert held["files.read"] == ["landlock", "seccomp"]
    assert held["network"] == ["seccomp"]
    assert all(held.values())


@pytest.mark.parametrize("layer", sorted(ENFORCED))
@pytest.mark.parametrize("state", ["off", "unavailable: no such call", "", None])
def test_no_layer_may_be_missing(layer: str, state: str | None) -> None:
    layers = {name: value for name, value in ENFORCED.items() if name != layer}
    if state is not None:
        layers[layer] = state
    with pytest.raises(IsolationUnavailable) as caught:
        hold(layers)
    assert layer in str(caught.value)


@pytest.mark.parametrize(("abi", "enough"), [(1, False), (2, False), (3, True), (5, True), (7, True)])
def test_landlock_counts_from_the_version_that_closes_truncate(abi: int, enough: bool) -> None:
    layers = {**ENFORCED, "landlock": f"enforced: ABI {abi}"}
    if enough:
        assert hold(layers)["files.write"] == ["landlock", "seccomp"]
        return
    with pytest.raises(IsolationUnavailable) as caught:
        hold(layers)
    assert caught.value.promise == "files.read"


def test_a_state_without_a_version_fills_no_cell_that_needs_one() -> None:
    with pytest.raises(IsolationUnavailable):
        hold({**ENFORCED, "landlock": "enforced"})


@pytest.mark.parametrize("mechanism", FLOOR, ids=str)
def test_the_error_of_a_layer_names_a_promise_and_a_remedy(mechanism: object) -> None:
    layer = str(mechanism)
    error = unavailable(layer, "the kernel said no")
    assert error.promise in CELLS
    assert f"{layer}: the kernel said no. " in str(error)
    assert REMEDIES.get(layer, "It is part of the floor that nothing can replace") in str(error)


def test_process_isolation_claims_no_promise_that_there_is_not() -> None:
    assert PROCESS_HOLDS.keys() < CELLS.keys()
