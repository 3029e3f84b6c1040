"""The share of the processor, as the kernel keeps it: what workers burn beside their supervisor, and what their groups say."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

import agex
from agex_protocol.plan import Limits
from agex_supervisor import processor_share
from agex_supervisor.cgroup import Groups
from agex_supervisor.hierarchies import SHARE, Hierarchy, find

# A supervisor on one processor burns half a second of it, beside two workers that burn in two threads each. Says how much
# they had for each second of its own.
BURN_BESIDE_TWO_WORKERS = """
import json, os, subprocess, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from agex_protocol.plan import Limits
from agex_supervisor import processor_share
from agex_supervisor.cgroup import Groups
if sys.argv[2] == 'without':
    processor_share.unfit = lambda: 'for the comparison'
burn = '''
import hashlib, sys, threading
sys.stdin.readline()
def burn():
    while True:
        hashlib.sha256(block)
block = bytes(1 << 20)
for _ in range(2): threading.Thread(target=burn).start()
print(flush=True)
'''
def used(pid): return time.clock_gettime((~pid << 3) | 2)
groups = Groups(sys.argv[1])
workers = []
for serial in (1, 2):
    worker = subprocess.Popen([sys.executable, '-c', burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    groups.new(serial, Limits()).join(worker.pid)
    workers.append(worker)
for worker in workers:
    worker.stdin.write(b'\\n'); worker.stdin.flush(); worker.stdout.readline()
before, own = sum(used(worker.pid) for worker in workers), time.process_time()
while time.process_time() < own + 0.5: pass
theirs = sum(used(worker.pid) for worker in workers) - before
print(theirs / 0.5)
groups.close()
"""


@pytest.fixture
def prefix() -> str:
    return f"agextest{uuid.uuid4().hex[:12]}"


@pytest.fixture
def groups(prefix: str) -> Iterator[Groups]:
    """With a share of the processor."""
    groups = Groups(prefix)
    if groups.unavailable:
        pytest.skip(groups.unavailable)
    try:
        if no_share := find().no_share:
            pytest.skip(no_share)
        yield groups
    finally:
        groups.close()


def place(prefix: str) -> tuple[Hierarchy, Path]:
    """Where the pool's groups lie that give it its share."""
    hierarchy = next(each for each in find().hierarchies if SHARE in each.controllers)
    (pool,) = hierarchy.directory.glob(f"{prefix}-*")
    return hierarchy, pool


def weight(group: Path) -> int:
    """In the units of version 2."""
    if (version_2 := group / "cpu.weight").exists():
        return int(version_2.read_text())
    return round(int((group / "cpu.shares").read_text()) * 100 / 1024)


def processors(group: Path) -> float | None:
    """How many a group may have at most; None for all."""
    if (version_2 := group / "cpu.max").exists():
        quota, period = version_2.read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    quota_us = int((group / "cpu.cfs_quota_us").read_text())
    return None if quota_us < 0 else quota_us / int((group / "cpu.cfs_period_us").read_text())


def burnt(prefix: str, how: str) -> float:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", BURN_BESIDE_TWO_WORKERS, prefix, how],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        check=True,
        start_new_session=True,  # of which the kernel may make a group of its own
    )
    return float(done.stdout)


def test_two_workers_that_burn_in_two_threads_each_leave_their_supervisor_the_larger_part(
    groups: Groups, prefix: str
) -> None:
    # Half of what it has is what the weights say; a group of the usual weight has as much as it, threads by themselves four times.
    assert burnt(prefix, "with") < 0.75
    assert burnt(prefix, "without") > 1.5


def test_the_state_is_what_the_groups_read_from_outside(groups: Groups, prefix: str) -> None:
    group = groups.new(1, Limits())
    _, pool = place(prefix)
    assert group.state.endswith(f", cpu weight {weight(pool)}")
    assert weight(pool / "1") == 100
    assert processors(pool) is processors(pool / "1") is None


def test_a_worker_of_fewer_threads_than_the_machine_has_processors_is_bounded_to_as_many(
    groups: Groups, prefix: str
) -> None:
    if (most := len(os.sched_getaffinity(0))) < 2:
        pytest.skip("needs two processors")
    few, enough = groups.new(1, Limits(threads=1)), groups.new(2, Limits(threads=most))
    _, pool = place(prefix)
    assert few.state.endswith(f", cpu weight {weight(pool)} on at most 1 processor")
    assert enough.state.endswith(f", cpu weight {weight(pool)}")
    assert (processors(pool / "1"), processors(pool / "2")) == (1.0, None)


def test_a_tighter_bound_of_the_supervisors_own_stays_and_is_told(groups: Groups, prefix: str) -> None:
    hierarchy, pool = place(prefix)
    if hierarchy.version != 1 or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs version 1, and two processors")
    (pool / "cpu.cfs_quota_us").write_text("50000")
    assert groups.new(1, Limits(threads=1)).state.endswith(" within a tighter bound of the supervisor's own")
    assert processors(pool / "1") is None


def test_a_worker_is_in_its_share_and_the_report_says_so(groups: Groups) -> None:
    with agex.Sandbox(isolation="kernel", policy="full-python") as sandbox:
        lockdown = sandbox.run("1").lockdown
    assert lockdown is not None
    assert lockdown.layers["cgroup"].rpartition(", ")[2] == groups.new(1, Limits()).state.rpartition(", ")[2]
    assert "cgroup" in lockdown.verified


# --- how much ---


def version_1(directory: Path) -> Hierarchy:
    (directory / "cpu.shares").touch()
    return Hierarchy(1, (SHARE,), directory, "/a", SHARE)


def given(hierarchy: Hierarchy, group: Path) -> str:
    return processor_share.give_way(hierarchy, group)


def test_beside_threads_of_the_supervisor_it_is_half_of_one_for_each_processor_and_less_for_a_niced_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hierarchy = version_1(tmp_path)
    for count, niceness, shares, told in (
        (1, 0, "512", "cpu weight 50"),
        (4, 0, "2048", "cpu weight 200"),
        (1, 10, "55", "cpu weight 5"),
        (1, 19, "7", "cpu weight 1"),
        (64, -20, "262144", "cpu weight 25600"),
    ):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, count=count: set(range(count)))
        monkeypatch.setattr(os, "getpriority", lambda *_, niceness=niceness: niceness)
        (tmp_path / "cpu.shares").write_text("")
        assert given(hierarchy, tmp_path) == told
        assert (tmp_path / "cpu.shares").read_text() == shares


def test_beside_the_leaf_that_holds_the_supervisor_it_is_half_of_that(tmp_path: Path) -> None:
    leaf, pool = tmp_path / "main", tmp_path / "pool"
    for directory in (leaf, pool):
        directory.mkdir()
        (directory / "cpu.weight").write_text("300\n")
    hierarchy = Hierarchy(2, (SHARE,), tmp_path, "/a", "", leaf)
    (pool / "cpu.weight").write_text("")
    assert given(hierarchy, pool) == "cpu weight 150"
    assert (pool / "cpu.weight").read_text() == "150"


def test_a_kernel_without_weights_or_bounds_gives_none_and_is_told(tmp_path: Path) -> None:
    hierarchy = Hierarchy(2, (SHARE,), tmp_path, "/a", "")
    assert given(hierarchy, tmp_path) == (
        "no share of the processor: this kernel has no weights for groups (CONFIG_FAIR_GROUP_SCHED)"
    )
    assert (
        processor_share.bound(hierarchy, tmp_path, 0) == " without a bound (the kernel has none: CONFIG_CFS_BANDWIDTH)"
    )


def test_a_bound_of_version_2_is_written_with_its_period(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    (tmp_path / "cpu.max").touch()
    hierarchy = Hierarchy(2, (SHARE,), tmp_path, "/a", "")
    assert processor_share.bound(hierarchy, tmp_path, 3) == " on at most 3 processors"
    assert (tmp_path / "cpu.max").read_text() == "300000 100000"
    assert processor_share.bound(hierarchy, tmp_path, 4) == ""


def test_a_real_time_supervisor_has_workers_without_a_share(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    assert processor_share.unfit() == ""
    monkeypatch.setattr(os, "sched_getscheduler", lambda _: os.SCHED_FIFO | os.SCHED_RESET_ON_FORK)
    groups = Groups(prefix)
    try:
        if groups.unavailable:
            pytest.skip(groups.unavailable)
        assert groups.new(1, Limits()).state.endswith(
            ", no share of the processor: the supervisor runs with a real-time policy, which knows no weights"
        )
    finally:
        groups.close()
