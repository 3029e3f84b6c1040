"""No capability is left to a worker, nor a way to one."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest

from agex_protocol.plan import LockdownPlan


def read_capabilities(world: Any) -> object:
    with open("/proc/self/status") as status:
        lines = dict(line.split(":\t", 1) for line in status)
    return {name: int(lines[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}


def bypass_file_modes(world: Any) -> object:
    import os

    os.chown("owned", 12345, -1)
    return "changed"


def alone(plan: LockdownPlan) -> LockdownPlan:
    return replace(plan, landlock_abi=0, seccomp=b"")


def test_a_worker_of_root_holds_no_capability(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root has capabilities to lose")

    outcome = run_locked_down(read_capabilities, alone(kernel_plan))

    assert outcome.value == {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapBnd": 0, "CapAmb": 0}
    assert outcome.layers["capabilities"] == "enforced: none held, bounding set empty"


def test_root_changes_an_owner_only_with_its_capabilities(
    run_locked_down: Any, kernel_plan: LockdownPlan, ground: Any
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root has capabilities to lose")
    (ground / "slots" / "one" / "owned").touch()

    assert run_locked_down(bypass_file_modes, alone(kernel_plan)).refused == 1
    assert run_locked_down(bypass_file_modes, replace(alone(kernel_plan), drop_capabilities=False)).value == "changed"


def test_no_worker_holds_a_capability_whatever_its_user(
    run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None
) -> None:
    outcome = run_locked_down(read_capabilities, alone(kernel_plan), user=user)

    held = {name: outcome.value[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")}
    assert held == {"CapInh": 0, "CapPrm": 0, "CapEff": 0, "CapAmb": 0}
