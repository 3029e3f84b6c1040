"""A worker has the descriptors that it was given, whatever the zygote had open."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any, Literal

import pytest

from agex_protocol.plan import LockdownPlan


def list_descriptors(world: Any) -> object:
    import os

    found = []
    for descriptor in range(1024):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        found.append(descriptor)
    return len(found)


@pytest.mark.parametrize("isolation", ["kernel", "process"])
def test_only_stdio_and_the_channel_stay_open(
    isolation: Literal["process", "kernel"], run_locked_down: Any, kernel_plan: LockdownPlan
) -> None:
    # The harness holds two listening sockets and a file open at the fork.
    outcome = run_locked_down(list_descriptors, replace(kernel_plan, isolation=isolation))

    assert outcome.value == 4
    assert outcome.layers["descriptors"] == "enforced: 4 open"


def in_a_child(code: str) -> str:
    finished = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_nothing_is_closed_below_or_between_adjacent_descriptors() -> None:
    code = """
import os
from agex_worker.lockdown import descriptors
high = os.dup2(1, 200)
os.dup2(1, 199)
os.dup2(1, 300)
descriptors.close_others({0, 1, 2, 199, 200})
print(descriptors.assert_only({0, 1, 2, 199, 200}))
"""
    assert in_a_child(code) == "enforced: 5 open\n"


def test_everything_can_be_closed() -> None:
    code = """
import os
from agex_worker.lockdown import descriptors
descriptors.close_others(set())
try:
    os.fstat(2)
except OSError:
    os._exit(0)
os._exit(1)
"""
    assert in_a_child(code) == ""


def test_a_descriptor_that_is_left_open_is_named() -> None:
    code = """
import os
from agex_worker.lockdown import descriptors
from agex_worker.lockdown.errors import LayerFailed
os.dup2(1, 50)
try:
    descriptors.assert_only({0, 1, 2})
except LayerFailed as failure:
    print(failure)
"""
    assert in_a_child(code) == "descriptors: [50] are open beside the permitted [0, 1, 2]\n"


def test_a_descriptor_that_should_be_open_and_is_not_is_named() -> None:
    code = """
from agex_worker.lockdown import descriptors
from agex_worker.lockdown.errors import LayerFailed
try:
    descriptors.assert_only({0, 1, 2, 77})
except LayerFailed as failure:
    print(failure)
"""
    assert in_a_child(code) == "descriptors: [77] must stay open and are closed; pass them to the fork\n"


def test_a_pipe_that_nobody_writes_to_any_more_counts_as_open() -> None:
    # The kernel has something to say of such a one, too, as it has of one that is closed.
    code = """
import os
from agex_worker.lockdown import descriptors
from agex_worker.lockdown.errors import LayerFailed
reading, writing = os.pipe()
os.close(writing)
try:
    descriptors.assert_only({0, 1, 2})
except LayerFailed as failure:
    print(failure)
print(descriptors.assert_only({0, 1, 2, reading}))
"""
    assert in_a_child(code) == ("descriptors: [3] are open beside the permitted [0, 1, 2]\nenforced: 4 open\n")


def test_a_descriptor_opened_as_a_path_may_be_kept_and_must_be_closed_when_it_is_spent() -> None:
    code = """
import os
from agex_worker.lockdown import descriptors
from agex_worker.lockdown.errors import LayerFailed
path = os.open("/", os.O_PATH)
print(descriptors.assert_only({0, 1, 2, path}))
try:
    descriptors.assert_only({0, 1, 2}, spent={path})
except LayerFailed as failure:
    print(failure)
os.close(path)
print(descriptors.assert_only({0, 1, 2}, spent={path}))
"""
    assert in_a_child(code) == (
        "enforced: 4 open\ndescriptors: [3] are open beside the permitted [0, 1, 2]\nenforced: 3 open\n"
    )
