"""A child that allows no more than its parent always passes; one that allows more never does, unless it says so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agex_policies.difference import differences
from agex_policies.errors import PolicyError
from agex_policies.narrowing import WITHIN, wider_keys
from agex_policies.schema import ADDED_UP, Policy, values

# For each key values in a row, each allowing less than the one before.
LADDERS: dict[str, list[Any]] = {
    "python.mode": ["full", "restricted"],
    "python.modules": [["*"], ["numpy", "pandas"], ["numpy"], ["numpy.linalg"], []],
    "python.builtins": [["compile", "vars"], ["vars"], []],
    "filesystem.read": [["/srv", "/opt/data"], ["/srv"], ["/srv/a"], ["/srv/a/b"], []],
    "filesystem.write": [["/srv", "/opt/data"], ["/srv"], ["/srv/a"], []],
    "filesystem.hide_host": [False, True],
    "network.allow": [
        ["a.example:443", {"to": "b.example:443", "tls": "any"}],
        [{"to": "b.example:443", "tls": "any"}],
        ["b.example:443"],
        [],
    ],
    "syscalls.allow": [["priorities", "timers"], ["priorities"], ["sched_setaffinity"], []],
    "syscalls.deny": [[], ["socketpair"], ["socketpair", "truncate"]],
    "limits.memory": ["1TiB", "1GiB", "1GB", "1B"],
    "limits.cpu_time": ["1h", "59min", "1s", "1ms"],
    "limits.wall_time": ["1h", "59min", "1s", "1ms"],
    "limits.threads": [1_000, 10, 1],
    "limits.open_files": [1_000, 100, 16],
    "limits.file_size": ["1TiB", "1GiB", "1B"],
    "limits.workspace_size": ["1TiB", "1GiB", "1B"],
    "limits.workspace_files": [100_000, 10, 1],
    "limits.output": ["1TiB", "1GiB", "1B"],
    "results.max_size": ["1TiB", "1GiB", "1B"],
    "results.opaque": [True, False],
    "results.trust_unpickle": [True, False],
    "host_calls.errors": ["message", "type"],
    "host_calls.max_rate": [None, "100/s", "99/s", "99/min", "98/h"],
    "host_calls.max_bytes": [None, "1GiB", "1B"],
    "isolation.require": ["none", "process", "kernel"],
    "isolation.namespaces": ["off", "auto", "required"],
    "isolation.cgroup": ["off", "auto", "required"],
    "env.pass": [["TZ", "LANGUAGE"], ["TZ"], []],
}

steps = st.fixed_dictionaries({key: st.integers(0, len(ladder) - 1) for key, ladder in LADDERS.items()})


def changes(chosen: dict[str, int]) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    for key, step in chosen.items():
        table, leaf = key.split(".")
        tables.setdefault(table, {})[leaf] = LADDERS[key][step]
    if tables["filesystem"]["hide_host"] and tables["isolation"]["namespaces"] == "off":
        tables["isolation"]["namespaces"] = "auto"
    return tables


def parent_of(chosen: dict[str, int]) -> Policy:
    return Policy.load("default").extend({"widen": list(WITHIN), **changes(chosen)})


def test_every_key_that_grants_something_is_tried_here() -> None:
    assert set(LADDERS) == set(WITHIN)


@settings(max_examples=60)
@given(steps, st.data())
def test_a_child_that_allows_no_more_always_passes(chosen: dict[str, int], data: st.DataObject) -> None:
    parent = parent_of(chosen)
    narrower = {key: data.draw(st.integers(step, len(LADDERS[key]) - 1), label=key) for key, step in chosen.items()}
    child = parent.extend(changes(narrower))
    assert wider_keys(values(child), values(parent)) == ()
    assert {each.wider for each in differences(parent, child)} <= {"first", "neither", ""}


@settings(max_examples=60)
@given(steps, st.sampled_from(sorted(LADDERS)), st.data())
def test_a_child_that_allows_more_never_passes_unless_it_says_so(
    chosen: dict[str, int], key: str, data: st.DataObject
) -> None:
    chosen = {**chosen, key: data.draw(st.integers(1, len(LADDERS[key]) - 1))}
    parent = parent_of(chosen)
    table, leaf = key.split(".")
    wider = LADDERS[key][data.draw(st.integers(0, chosen[key] - 1))]
    if WITHIN[key](values(policy_with(key, wider))[key], values(parent)[key]):
        return  # hide_host raised the parent's namespaces
    try:
        child = parent.extend({table: {leaf: wider}})
    except PolicyError as error:
        if error.key == "filesystem.hide_host":
            return  # the one thing that two keys can contradict each other in
        assert (error.key, error.message.partition(" allows more than ")[1]) == (key, " allows more than ")
    else:
        # Entries add up: nothing that a child writes takes a denied call away from the list.
        assert values(child)[key] == values(parent)[key], f"{key} = {wider!r} passed"
        return
    child = parent.extend({"widen": [key], table: {leaf: wider}})
    found = {each.key: each.wider for each in differences(parent, child)}
    assert found[key] in ("second", "both")


def policy_with(key: str, value: Any) -> Policy:
    table, leaf = key.split(".")
    return Policy.load("default").extend({"widen": list(WITHIN), table: {leaf: value}})


@settings(max_examples=60)
@given(steps)
def test_a_policy_written_out_is_read_as_the_same_policy(chosen: dict[str, int]) -> None:
    policy = parent_of(chosen)
    again = Policy.load("default").extend(policy.to_toml().replace('extends = "default"\n', "", 1))
    assert {**values(again), **_lists(again)} == {**values(policy), **_lists(policy)}


def _lists(policy: Policy) -> dict[str, Any]:
    return {key: tuple(value) for key, value in values(policy).items() if key in ADDED_UP}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.dates() | st.times(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from([*Policy.model_fields, "limit"]),
        ANYTHING | st.dictionaries(st.sampled_from([key.partition(".")[2] for key in WITHIN]), ANYTHING, max_size=3),
        max_size=4,
    )
)
def test_whatever_stands_in_a_policy_it_is_a_policy_or_an_error_of_a_policy(document: dict[str, Any]) -> None:
    try:
        Policy.load("default").extend(document)
    except PolicyError as error:
        assert error.message and error.remedy


def test_a_ceiling_bounds_what_a_widening_child_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGEX_POLICY_CEILING", "default")
    policy = Policy.load("default")
    for key, ladder in LADDERS.items():
        table, leaf = key.split(".")
        if WITHIN[key](values(policy)[key], ladder[0]) and not WITHIN[key](ladder[0], values(policy)[key]):
            with pytest.raises(PolicyError, match="is beyond the ceiling 'default'"):
                policy.extend({"widen": [key], table: {leaf: ladder[0]}})
