"""Each limit of the plan binds the worker."""

from __future__ import annotations

import errno
import resource
import signal
from dataclasses import replace
from typing import Any, Literal

import pytest

from agex_protocol.plan import Limits, LockdownPlan
from agex_worker.lockdown import rlimits


def test_sizes_and_times_of_the_plan_become_limits() -> None:
    plan = Limits(memory_bytes=1 << 30, cpu_time_s=1.2, open_files=32, file_size_bytes=1 << 20)

    assert rlimits.limits(plan, mapped=5 << 20) == {
        resource.RLIMIT_AS: (5 << 20) + (1 << 30),
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: 3,  # half as much again, rounded up, and one
        resource.RLIMIT_FSIZE: 1 << 20,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_NICE: 0,
        resource.RLIMIT_NOFILE: 32,
        resource.RLIMIT_RTPRIO: 0,
        resource.RLIMIT_SIGPENDING: 256,
    }


@pytest.mark.parametrize("isolation", ["kernel", "process"])
def test_soft_and_hard_limit_are_the_same(
    isolation: Literal["process", "kernel"], run_locked_down: Any, kernel_plan: LockdownPlan
) -> None:
    def read_limits(world: Any) -> object:
        import resource

        names = ("AS", "CORE", "CPU", "FSIZE", "MEMLOCK", "MSGQUEUE", "NICE", "NOFILE", "RTPRIO", "SIGPENDING")
        limits = [resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in names]
        return [soft == hard != resource.RLIM_INFINITY for soft, hard in limits]

    outcome = run_locked_down(read_limits, replace(kernel_plan, isolation=isolation))

    assert outcome.value == [True] * 10


def test_a_limit_is_never_raised_above_the_one_in_force(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    def ask_for_more(world: Any) -> object:
        import resource

        from agex_worker.lockdown import rlimits

        rlimits.apply({resource.RLIMIT_NOFILE: 1 << 20})
        return resource.getrlimit(resource.RLIMIT_NOFILE)

    outcome = run_locked_down(ask_for_more, replace(kernel_plan, seccomp=b"", limits=Limits(open_files=64)))

    assert outcome.value == [64, 64]


def test_a_file_does_not_grow_beyond_its_limit(
    run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None
) -> None:
    def write_much(world: Any) -> object:
        with open("file", "wb", buffering=0) as file:
            file.write(bytes(1 << 16))
            return file.write(b"x")

    small = replace(kernel_plan, limits=Limits(file_size_bytes=1 << 16))

    assert run_locked_down(write_much, small, user=user).refused == errno.EFBIG
    assert run_locked_down(write_much, kernel_plan, user=user).value == 1


def test_no_more_files_are_open_than_the_limit(
    run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None
) -> None:
    def open_many(world: Any) -> object:
        import os

        return len([os.dup(0) for _ in range(100)])

    small = replace(kernel_plan, limits=Limits(open_files=32))

    assert run_locked_down(open_many, small, user=user).refused == errno.EMFILE
    assert run_locked_down(open_many, kernel_plan, user=user).value == 100


def test_a_worker_that_used_up_its_processor_time_is_killed(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    def spin(world: Any) -> object:
        import signal

        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        while True:
            pass

    short = replace(kernel_plan, limits=Limits(cpu_time_s=0.5))

    assert run_locked_down(spin, short).status == -signal.SIGKILL
