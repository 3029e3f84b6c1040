"""The self-test finds every layer that is missing, and lets a whole lockdown pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agex_protocol.plan import LockdownPlan
from agex_worker.lockdown import probes

PROBES = [
    "files.read",
    "files.write",
    "files.metadata",
    "files.metadata/stat",
    "network",
    "programs",
    "processes",
    "signals",
    "introspection",
    "memory",
    "memory/size",
    "cpu",
    "disk",
    "descriptors",
    "leftovers",
]
# Held by the limits, which no test switches off.
LIMITED = {"memory/size", "cpu", "disk", "descriptors"}


def try_oneself(world: Any) -> object:
    from agex_worker.lockdown import probes

    return probes.run(world.plan, slot=world.slot, zygote_pid=world.zygote_pid)


def test_a_locked_worker_passes_its_self_test(
    run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None
) -> None:
    outcome = run_locked_down(try_oneself, kernel_plan, user=user)

    results = dict(outcome.value)
    assert list(results) == PROBES
    reached = [probe for probe, result in results.items() if not result.startswith("refused: ")]
    # What nothing but a view of its own could hide.
    assert reached == ["files.metadata/stat"]


def test_the_self_test_reaches_everything_where_no_layer_is_on(
    run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None
) -> None:
    # Root without capabilities could not look into a zygote that has them.
    bare = replace(kernel_plan, landlock_abi=0, seccomp=b"", drop_capabilities=False)

    outcome = run_locked_down(try_oneself, bare, user=user)

    results = dict(outcome.value)
    assert list(results) == PROBES
    assert {probe for probe, result in results.items() if not result.startswith(probes.REACHED)} == LIMITED


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
    outcome = run_locked_down(try_oneself, replace(kernel_plan, read=(*kernel_plan.read, "/etc", "/proc/version")))

    results = dict(outcome.value)
    assert results["files.read"] == results["files.metadata/stat"] == "not tried: the policy lets everything be read"


def test_limits_that_are_not_in_force_fail_the_self_test(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    def try_with_smaller_limits(world: Any) -> object:
        from dataclasses import replace

        from agex_worker.lockdown import probes

        found = []
        for limit in ("memory_bytes", "file_size_bytes", "open_files"):
            limits = replace(world.plan.limits, **{limit: getattr(world.plan.limits, limit) // 2})
            try:
                probes.run(replace(world.plan, limits=limits), slot=world.slot, zygote_pid=world.zygote_pid)
            except probes.LayerFailed as failure:
                found.append([failure.layer, failure.message.partition(":")[0]])
        return found

    outcome = run_locked_down(try_with_smaller_limits, kernel_plan)

    assert outcome.value == [
        ["rlimits", f"the self-test broke the promise {probe!r}"] for probe in ("memory/size", "disk", "descriptors")
    ]


def test_a_view_that_the_plan_has_and_the_worker_has_not_fails_the_self_test(
    run_locked_down: Any, kernel_plan: LockdownPlan
) -> None:
    def try_as_if_in_a_view(world: Any) -> object:
        from dataclasses import replace

        from agex_worker.lockdown import probes

        return probes.run(replace(world.plan, namespaces="auto"), slot=world.slot, zygote_pid=world.zygote_pid)

    outcome = run_locked_down(try_as_if_in_a_view, kernel_plan)

    assert outcome.failed is not None
    assert outcome.failed[0] == "namespaces"
    assert outcome.failed[1].startswith("the self-test broke the promise 'files.metadata/stat': REACHED: stat answers")


def test_process_isolation_promises_nothing_that_could_be_tried(kernel_plan: LockdownPlan) -> None:
    assert probes.run(replace(kernel_plan, isolation="process"), slot="/", zygote_pid=1) == ()
