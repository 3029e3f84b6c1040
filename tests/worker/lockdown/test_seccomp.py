"""Fitting the filter, and installing it."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest

from agex_protocol.plan import SECCOMP_PID_PLACEHOLDER, LockdownPlan
from agex_worker.lockdown import seccomp
from agex_worker.lockdown.errors import LayerFailed


def program(*immediates: int) -> bytes:
    return b"".join(struct.pack("=HBBI", 0x15, 1, 2, immediate) for immediate in immediates)


def test_every_placeholder_becomes_the_process_id_and_nothing_else_changes() -> None:
    before = program(7, SECCOMP_PID_PLACEHOLDER, 8, SECCOMP_PID_PLACEHOLDER)

    chosen = seccomp.Filter(before)
    chosen.fit(4321)

    assert chosen.instructions.raw == program(7, 4321, 8, 4321)


def test_a_placeholder_across_two_fields_is_none() -> None:
    low, high = SECCOMP_PID_PLACEHOLDER & 0xFFFF, SECCOMP_PID_PLACEHOLDER >> 16
    across = struct.pack("=HBBHHHBBI", 0x15, 0, 0, 0, low, high, 0, 0, 0)

    with pytest.raises(LayerFailed) as caught:
        seccomp.Filter(across)

    assert caught.value.layer == "seccomp"
    assert caught.value.message == "the filter has no place for the worker's process id; compile the policy again"


@pytest.mark.parametrize("size", [0, 7, 8 * 4097])
def test_bytes_that_are_no_program_are_refused(size: int) -> None:
    with pytest.raises(LayerFailed) as caught:
        seccomp.Filter(bytes(size))

    assert caught.value.message == f"{size} bytes are no BPF program; compile the policy again"


def test_a_program_that_the_kernel_refuses_leaves_no_worker(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    def nothing(world: Any) -> object:
        return "ran"

    nonsense = struct.pack("=HBBI", 0xFFFF, 0, 0, SECCOMP_PID_PLACEHOLDER)

    outcome = run_locked_down(nothing, replace(kernel_plan, seccomp=nonsense))

    assert outcome.failed == ("seccomp", "could not be put up: [Errno 22] Invalid argument: seccomp")


def test_a_thread_that_was_there_before_the_filter_is_under_it(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    def filter_late(world: Any) -> object:
        import os
        import threading
        from concurrent.futures import ThreadPoolExecutor

        from agex_policies.bpf import compile_filter
        from agex_worker.lockdown import seccomp

        def make_memory() -> str:
            try:
                os.memfd_create("x")
            except PermissionError:
                return "refused"
            return "reached"

        with ThreadPoolExecutor(1) as pool:
            before = pool.submit(make_memory).result()
            seccomp.apply(seccomp.Filter(compile_filter()))
            return [before, pool.submit(make_memory).result(), threading.active_count()]

    late = replace(kernel_plan, landlock_abi=0, seccomp=b"")

    assert run_locked_down(filter_late, late).value == ["reached", "refused", 2]


def test_a_worker_may_signal_itself_and_nobody_else(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    def signal_around(world: Any) -> object:
        import os
        import signal

        caught = []
        signal.signal(signal.SIGUSR1, lambda number, frame: caught.append(number))
        os.kill(os.getpid(), signal.SIGUSR1)
        refused = []
        for target in (0, -1, 1, world.zygote_pid):
            try:
                os.kill(target, 0)
            except PermissionError:
                refused.append(target)
        return [len(caught), len(refused)]

    # Landlock off: the filter alone has to hold.
    assert run_locked_down(signal_around, replace(kernel_plan, landlock_abi=0)).value == [1, 4]
