"""What only the parent layer gives: see test_apply.py for a worker's death with its zygote."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest

from agex_protocol.plan import LockdownPlan


def read_state(world: Any) -> object:
    import ctypes
    import os

    from agex_worker.lockdown import kernel

    asked = ctypes.c_int(0)
    kernel.prctl(2, ctypes.addressof(asked))  # PR_GET_PDEATHSIG
    return [asked.value, kernel.prctl(3), os.umask(0o077)]  # PR_GET_DUMPABLE


@pytest.mark.parametrize("isolation, dumpable", [("kernel", 0), ("process", 1)])
def test_a_worker_asked_for_its_death_signal_and_is_hidden_in_kernel_isolation(
    isolation: Literal["process", "kernel"], dumpable: int, run_locked_down: Any, kernel_plan: LockdownPlan
) -> None:
    # Both must stand after the last change of credentials, some of which undo them.
    plan = replace(kernel_plan, isolation=isolation, landlock_abi=0, seccomp=b"")

    assert run_locked_down(read_state, plan).value == [9, dumpable, 0o077]
