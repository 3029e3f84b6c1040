"""The layers together: their order, what is reported, and what still works beneath them."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

import pytest

from agex_protocol.plan import Limits, LockdownPlan


def nothing(world: Any) -> object:
    return "ran"


def test_every_layer_is_reported_as_enforced_in_the_order_it_went_up(
    run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None
) -> None:
    outcome = run_locked_down(nothing, kernel_plan, user=user)

    assert outcome.value == "ran"
    assert list(outcome.layers) == [
        "descriptors",
        "parent",
        "rlimits",
        "namespaces",
        "capabilities",
        "dumpable",
        "no_new_privs",
        "landlock",
        "seccomp",
        "listener",
    ]
    off = {"namespaces", "listener"}  # both take a supervisor
    assert {layer for layer, state in outcome.layers.items() if not state.startswith("enforced")} == off


def test_the_zygote_takes_no_new_privs_and_landlock(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    outcome = run_locked_down(nothing, kernel_plan)

    assert list(outcome.zygote_layers) == ["no_new_privs", "landlock"]
    assert outcome.zygote_layers["no_new_privs"] == "enforced"
    assert outcome.zygote_layers["landlock"].startswith(f"enforced: ABI {kernel_plan.landlock_abi}, ")


def test_a_layer_that_the_plan_leaves_out_is_reported_as_off(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    plan = replace(kernel_plan, landlock_abi=0, seccomp=b"", drop_capabilities=False)

    outcome = run_locked_down(nothing, plan)

    off = [layer for layer, state in outcome.layers.items() if state == "off"]
    assert off == ["namespaces", "capabilities", "landlock", "seccomp", "listener"]
    assert outcome.zygote_layers == {"no_new_privs": "enforced", "landlock": "off"}


def test_process_isolation_puts_up_no_kernel_layer(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    outcome = run_locked_down(nothing, replace(kernel_plan, isolation="process"))

    off = [layer for layer, state in outcome.layers.items() if state == "off"]
    assert off == ["capabilities", "dumpable", "landlock", "seccomp", "listener"]
    assert outcome.layers["no_new_privs"] == "enforced"


def test_a_worker_of_another_parent_than_its_zygote_does_not_start(
    run_locked_down: Any, kernel_plan: LockdownPlan
) -> None:
    outcome = run_locked_down(nothing, kernel_plan, zygote_pid=1)

    assert outcome.failed is not None
    assert outcome.failed[0] == "parent"
    assert "not the zygote 1: the zygote has died" in outcome.failed[1]


def test_without_the_zygotes_figure_a_confined_worker_has_no_base_for_its_memory_limit(
    run_locked_down: Any, kernel_plan: LockdownPlan
) -> None:
    def measure_oneself(world: Any) -> object:
        from agex_worker.lockdown import rlimits

        return rlimits.own_mapped_bytes()

    assert run_locked_down(measure_oneself, kernel_plan).failed[0] == "rlimits"
    assert run_locked_down(measure_oneself, replace(kernel_plan, isolation="process")).value > 0


def test_a_worker_dies_with_its_zygote(run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None) -> None:
    def wait_for_ever(world: Any) -> object:
        import signal

        signal.pause()
        return None

    # The worker holds stdout as well: the run ends only when both are gone.
    outcome = run_locked_down(wait_for_ever, kernel_plan, user=user, orphan=True)

    assert outcome.status == -signal.SIGKILL


def test_pandas_works_beneath_every_layer(run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None) -> None:
    pytest.importorskip("pandas")

    def workload(world: Any) -> object:
        import numpy
        import pandas

        frame = pandas.DataFrame({"group": ["a", "b", "a"], "value": [1.0, 2.0, 3.0]})
        frame.to_csv("frame.csv", index=False)
        read = pandas.read_csv("frame.csv")
        singular = numpy.linalg.svd(numpy.eye(3)).S
        return [read.groupby("group")["value"].mean().to_dict(), str(frame), singular.tolist()]

    outcome = run_locked_down(workload, kernel_plan, user=user, preload=["numpy", "pandas"])

    table = "  group  value\n0     a    1.0\n1     b    2.0\n2     a    3.0"
    assert outcome.value == [{"a": 2.0, "b": 2.0}, table, [1.0, 1.0, 1.0]]


def test_threads_and_asyncio_work_beneath_every_layer(
    run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None
) -> None:
    def workload(world: Any) -> object:
        import asyncio
        from concurrent.futures import ThreadPoolExecutor

        async def give() -> str:
            await asyncio.sleep(0)
            return "awaited"

        with ThreadPoolExecutor(4) as pool:
            return [list(pool.map(abs, [-1, -2])), asyncio.run(give())]

    assert run_locked_down(workload, kernel_plan, user=user).value == [[1, 2], "awaited"]


def test_files_of_the_slot_can_be_made_changed_moved_and_removed(
    run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None
) -> None:
    def workload(world: Any) -> object:
        import os
        from pathlib import Path

        Path("one/deep").mkdir(parents=True)
        Path("two").mkdir()
        Path("one/deep/file").write_text("text")
        os.symlink("one/deep/file", "link")
        os.rename("one/deep/file", "two/file")
        os.truncate("two/file", 2)
        os.unlink("link")
        os.rmdir("one/deep")
        return [Path("two/file").read_text(), sorted(os.listdir())]

    assert run_locked_down(workload, kernel_plan, user=user).value == ["te", ["one", "two"]]


def test_a_plan_may_make_another_directory_writable(
    run_locked_down: Any, ground: Any, kernel_plan: LockdownPlan
) -> None:
    def write_outside(world: Any) -> object:
        from pathlib import Path

        return Path(world.outside, "new").write_text("text")

    plan = replace(kernel_plan, write=(str(ground / "outside"),))

    assert run_locked_down(write_outside, plan).value == 4


def test_running_out_of_memory_is_an_error_that_the_code_can_handle(
    run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None
) -> None:
    def take_too_much(world: Any) -> object:
        kept = bytearray(world.plan.limits.memory_bytes // 2)
        try:
            bytearray(world.plan.limits.memory_bytes)
        except MemoryError:
            return len(kept)
        return "no limit"

    plan = replace(kernel_plan, limits=Limits(memory_bytes=256 << 20))

    assert run_locked_down(take_too_much, plan, user=user).value == 128 << 20
