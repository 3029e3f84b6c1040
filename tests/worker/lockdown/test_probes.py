"""The self-test finds every layer that is missing, and lets a whole lockdown pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agex_protocol.plan import LockdownPlan
from agex_worker.lockdown import probes

PROMISES = [
    "files.read",
    "files.write",
    "files.metadata",
    "network",
    "programs",
    "processes",
    "signals",
    "introspection",
    "memory",
]


def try_oneself(world: Any) -> object:
    from agex_worker.lockdown import probes

    return probes.run(world.plan, slot=world.slot, zygote_pid=world.zygote_pid)


def test_a_locked_worker_passes_its_self_test(
    run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None
) -> None:
    outcome = run_locked_down(try_oneself, kernel_plan, user=user)

    results = dict(outcome.value)
    assert list(results) == PROMISES
    assert {result.split(":")[0] for result in results.values()} == {"refused"}


def test_the_self_test_reaches_everything_where_no_layer_is_on(
    run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None
) -> None:
    # Root without capabilities could not look into a zygote that has them.
    bare = replace(kernel_plan, landlock_abi=0, seccomp=b"", drop_capabilities=False)

    outcome = run_locked_down(try_oneself, bare, user=user)

    results = dict(outcome.value)
    assert list(results) == PROMISES
    assert {result.split(":")[0] for result in results.values()} == {probes.REACHED}


@pytest.mark.parametrize("missing, promise", [("landlock", "files.read"), ("seccomp", "files.metadata")])
def test_a_layer_that_the_plan_has_and_the_worker_has_not_fails_the_self_test(
    missing: str, promise: str, run_locked_down: Any, kernel_plan: LockdownPlan
) -> None:
    def try_for_every_layer(world: Any) -> object:
        from dataclasses import replace

        from agex_worker.lockdown import probes

        claimed = replace(world.plan, landlock_abi=world.plan.landlock_abi or 7, seccomp=world.plan.seccomp or b"x")
        return probes.run(claimed, slot=world.slot, zygote_pid=world.zygote_pid)

    weaker = replace(kernel_plan, landlock_abi=0) if missing == "landlock" else replace(kernel_plan, seccomp=b"")

    outcome = run_locked_down(try_for_every_layer, weaker)

    assert outcome.failed is not None
    assert outcome.failed[0] == missing
    assert outcome.failed[1].startswith(f"the self-test broke the promise {promise!r}: REACHED")


def test_what_the_policy_grants_is_not_tried(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    outcome = run_locked_down(try_oneself, replace(kernel_plan, read=("/",)))

    assert dict(outcome.value)["files.read"] == "not tried: the policy lets everything be read"


def test_process_isolation_promises_nothing_that_could_be_tried(kernel_plan: LockdownPlan) -> None:
    assert probes.run(replace(kernel_plan, isolation="process"), slot="/", zygote_pid=1) == ()
