"""The walls stand and ordinary programs run: every workload in native Python, and restricted where its modules can be given."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

import agex
from tests.workloads.programs import WORKLOADS, Workload

RESTRICTED = [workload for workload in WORKLOADS if workload.registered]


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(spares=0)
    yield pool
    pool.close()


@pytest.mark.parametrize("namespaces", ["auto", "off"])
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_a_workload_passes_under_full_python(workload: Workload, namespaces: str, pool: agex.Pool) -> None:
    _need(workload)
    policy = _policy("full-python", namespaces)

    with agex.Sandbox(policy=policy, pool=pool) as sandbox:
        outcome = sandbox.run(workload.code)

    assert (outcome.status, outcome.error) == ("ok", None), outcome
    assert outcome.value == workload.value


@pytest.mark.parametrize("namespaces", ["auto", "off"])
@pytest.mark.parametrize("workload", RESTRICTED, ids=lambda workload: workload.name)
def test_a_workload_passes_under_default_with_its_modules_registered(
    workload: Workload, namespaces: str, pool: agex.Pool
) -> None:
    _need(workload)
    policy = _policy("default", namespaces)

    with agex.Sandbox(policy=policy, modules=workload.registered, pool=pool) as sandbox:
        outcome = sandbox.run(workload.code)

    assert (outcome.status, outcome.error) == ("ok", None), outcome
    assert outcome.value == workload.value


def _need(workload: Workload) -> None:
    if workload.library and importlib.util.find_spec(workload.library) is None:
        pytest.skip(f"{workload.library} is not installed")


def _policy(name: str, namespaces: str) -> agex.Policy:
    policy = agex.Policy.load(name)
    if namespaces == "off":
        policy = policy.extend({"widen": ["isolation.namespaces"], "isolation": {"namespaces": "off"}})
    return policy
