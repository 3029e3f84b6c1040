"""The ruleset that a plan becomes, and what each ABI of it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agex_protocol.plan import LockdownPlan
from agex_worker.lockdown import landlock

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_SOCK, MAKE_FIFO, MAKE_BLOCK = 1 << 6, 1 << 9, 1 << 10, 1 << 11
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15


@pytest.fixture(params=[1, 2, 3, 4, 5, 6, 7])
def abi(request: pytest.FixtureRequest) -> int:
    offered = landlock.prepare()
    if offered < request.param:
        pytest.skip(f"needs Landlock ABI {request.param}, this kernel has {offered}")
    return int(request.param)


def test_a_ruleset_handles_all_that_its_abi_knows(abi: int, kernel_plan: LockdownPlan) -> None:
    ruleset = landlock.ruleset(replace(kernel_plan, landlock_abi=abi), "/")

    added = {1: 0, 2: REFER, 3: REFER | TRUNCATE, 4: REFER | TRUNCATE}.get(abi, REFER | TRUNCATE | IOCTL_DEV)
    assert ruleset.files == (1 << 13) - 1 | added
    assert ruleset.tcp == (0b11 if abi >= 4 else 0)
    assert ruleset.scopes == (0b11 if abi >= 6 else 0)


def test_a_readable_path_gives_reading_and_a_writable_one_no_execution_and_no_special_file(
    kernel_plan: LockdownPlan,
) -> None:
    plan = replace(kernel_plan, read=("/read",), write=("/write",))

    ruleset = landlock.ruleset(plan, "/slot")

    never = EXECUTE | MAKE_CHAR | MAKE_SOCK | MAKE_FIFO | MAKE_BLOCK | IOCTL_DEV
    assert ruleset.rules == (
        landlock.Rule("/read", READ_FILE | READ_DIR, must_exist=False),
        landlock.Rule("/write", ruleset.files & ~never, must_exist=True),
        landlock.Rule("/slot", ruleset.files & ~never, must_exist=True),
    )


def try_everything(world: Any) -> object:
    import os
    import socket
    from collections.abc import Callable

    def list_a_directory() -> None:
        os.listdir(world.outside)

    def connect() -> None:
        socket.create_connection(("127.0.0.1", world.tcp_port)).close()

    def connect_abstract() -> None:
        with socket.socket(socket.AF_UNIX) as unix:
            unix.connect(world.abstract)

    def move_in_the_slot() -> None:
        os.mkdir("a")
        open("file", "x").close()
        os.rename("file", "a/file")

    def signal_the_zygote() -> None:
        os.kill(world.zygote_pid, 0)

    def refused(attempt: Callable[[], object]) -> bool:
        try:
            attempt()
        except OSError:
            return True
        return False

    return {
        "read": refused(list_a_directory),
        "fifo": refused(lambda: os.mkfifo("fifo")),
        "move": refused(move_in_the_slot),
        "truncate": refused(lambda: os.truncate(f"{world.outside}/secret.txt", 0)),
        "tcp": refused(connect),
        "abstract": refused(connect_abstract),
        "signal": refused(signal_the_zygote),
    }


def test_each_abi_refuses_what_it_can(
    abi: int, run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None
) -> None:
    plan = replace(kernel_plan, landlock_abi=abi, seccomp=b"")

    outcome = run_locked_down(try_everything, plan, user=user)

    assert outcome.value == {
        "read": True,
        "fifo": True,
        "move": abi == 1,  # before REFER, moving to another directory is refused everywhere
        "truncate": abi >= 3,
        "tcp": abi >= 4,
        "abstract": abi >= 6,
        "signal": abi >= 6,
    }
    assert outcome.layers["landlock"].startswith(f"enforced: ABI {abi}, ")


def test_abi_0_switches_the_layer_off(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    outcome = run_locked_down(try_everything, replace(kernel_plan, landlock_abi=0, seccomp=b""))

    assert set(outcome.value.values()) == {False}
    assert outcome.layers["landlock"] == "off"


def test_an_abi_beyond_the_kernels_steps_down_to_it(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    outcome = run_locked_down(try_everything, replace(kernel_plan, landlock_abi=1000))

    assert outcome.layers["landlock"].startswith(f"enforced: ABI {landlock.prepare()}, ")


def test_a_single_file_can_be_granted(run_locked_down: Any, kernel_plan: LockdownPlan, ground: Path) -> None:
    def read_both(world: Any) -> object:
        import os

        with open(f"{world.outside}/secret.txt") as file:
            content = file.read()
        try:
            os.listdir(world.outside)
        except PermissionError:
            return content
        return "listed"

    plan = replace(kernel_plan, read=(*kernel_plan.read, str(ground / "outside" / "secret.txt")))

    assert run_locked_down(read_both, plan).value == "secret"


def test_a_readable_path_that_is_not_there_is_passed_over(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    plan = replace(kernel_plan, read=(*kernel_plan.read, "/nowhere"))

    with_it = run_locked_down(try_everything, plan).layers["landlock"]
    without_it = run_locked_down(try_everything, kernel_plan).layers["landlock"]

    assert with_it == without_it


def test_a_writable_path_that_is_not_there_leaves_no_worker(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    outcome = run_locked_down(try_everything, replace(kernel_plan, write=("/nowhere",)), confine=False)

    assert outcome.failed == (
        "landlock",
        "/nowhere is to be writable and does not exist; create it or take it out of the policy",
    )


def test_without_the_package_there_is_no_zygote(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    outcome = run_locked_down(try_everything, kernel_plan, missing=["landlock"])

    assert outcome.failed is not None
    assert outcome.failed[0] == "landlock"
    assert outcome.failed[1].endswith("install it with: pip install 'landlock>=1.0.0.dev5,<2'")


def test_locking_down_needs_nothing_that_the_domain_refuses(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    def nothing(world: Any) -> object:
        return "ran"

    # Nothing to read at all, not even Python: what the layers need was imported before.
    assert run_locked_down(nothing, replace(kernel_plan, read=())).value == "ran"
