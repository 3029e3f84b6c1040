"""Control groups as the kernel holds them: each bound is met by a process in a group and not by the same one outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agex_policies.errors import IsolationUnavailable
from agex_protocol.plan import Limits
from agex_supervisor.cgroup import OVERHEAD_BYTES, Group, Groups
from agex_supervisor.errors import WorkerFailed
from agex_supervisor.group_directory import sweep
from agex_supervisor.hierarchies import Found, Hierarchy, Unusable, find, write
from tests.nobody import NOBODY

SMALL = Limits(memory_bytes=1 << 20, workspace_size_bytes=1 << 20, threads=8)
SHARE = "(cpu weight [0-9]+( on at most [0-9]+ processors)?|no share of the processor: .+)"
SMALL_BYTES = SMALL.memory_bytes + SMALL.workspace_size_bytes + OVERHEAD_BYTES

# Each waits for a line before it begins, so that it can be put into a group first.
WRITE_A_MEMORY_FILE = f"""
import os, resource, sys
sys.stdin.readline()
mapped = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + (4 << 20),) * 2)
file, piece = os.memfd_create('agex-test'), bytes(1 << 20)
for _ in range({2 * SMALL_BYTES >> 20}):
    os.write(file, piece)
print('written')
"""
FILL_MEMORY = """
import resource, sys
sys.stdin.readline()
mapped = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (mapped + (16 << 20),) * 2)
kept = []
try:
    while True:
        kept.append(bytearray(1 << 18))
except MemoryError:
    kept.clear()
    print('MemoryError')
"""
START_THREADS = """
import sys, threading
sys.stdin.readline()
stop, started = threading.Event(), 0
try:
    for _ in range(40):
        threading.Thread(target=stop.wait).start()
        started += 1
except RuntimeError:
    pass
print(started)
stop.set()
"""
SUPERVISE = """
import subprocess, sys
from agex_protocol.plan import Limits
from agex_supervisor.cgroup import Groups
groups = Groups(sys.argv[1])
group = groups.new(1, Limits())
sleeper = subprocess.Popen(['sleep', '1000'], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
group.join(sleeper.pid)
print(sleeper.pid, flush=True)
sys.stdin.read()
"""
BE_DELEGATED = """
import os, pathlib, signal, sys
from agex_protocol.plan import Limits
from agex_supervisor.cgroup import Groups
from agex_supervisor.hierarchies import write
for leaf in sys.argv[2:]:
    write(pathlib.Path(leaf) / 'cgroup.procs', str(os.getpid()))
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
groups = Groups(sys.argv[1])
assert not groups.unavailable, groups.unavailable
group = groups.new(1, Limits())
child = os.fork()
if not child:
    signal.pause()
group.join(child)
group.check(child)
groups.close()
os.waitpid(child, 0)
print(group.state)
"""

LOOK = """
import os, pathlib, sys
from agex_supervisor.hierarchies import Unusable, find, write
write(pathlib.Path(sys.argv[1]) / 'cgroup.procs', str(os.getpid()))
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    print(find(controllers=(sys.argv[2],)).hierarchies[0].directory)
except Unusable as error:
    print(error)
"""


@pytest.fixture
def prefix() -> str:
    """Of the test's own, so that no sweep meets a neighbour's."""
    return f"agextest{uuid.uuid4().hex[:12]}"


@pytest.fixture
def groups(prefix: str) -> Iterator[Groups]:
    groups = Groups(prefix)
    if groups.unavailable:
        pytest.skip(groups.unavailable)
    yield groups
    groups.close()
    assert left(prefix) == []


def left(prefix: str) -> list[Path]:
    return [path for hierarchy in find().hierarchies for path in hierarchy.directory.glob(f"{prefix}-*")]


def python(program: str, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def run(program: str, group: Group | None) -> tuple[int, str]:
    """Exit status and output of a program, in a group or not."""
    with python(program) as process:
        if group is not None:
            group.join(process.pid)
            group.check(process.pid)
        output, _ = process.communicate("go\n")
    return process.returncode, output.strip()


def members(prefix: str) -> set[int]:
    found: set[int] = set()
    for top in left(prefix):
        for procs in top.glob("*/cgroup.procs"):
            found |= {int(word) for word in procs.read_text().split()}
    return found


# --- what a group holds ---


def test_memory_that_no_rlimit_counts_is_ended_by_the_group_and_by_nothing_else(groups: Groups) -> None:
    group = groups.new(1, SMALL)
    assert run(WRITE_A_MEMORY_FILE, group) == (-signal.SIGKILL, "")
    assert group.out_of_memory()
    assert SMALL_BYTES * 0.9 < group.peak_bytes() <= SMALL_BYTES
    assert run(WRITE_A_MEMORY_FILE, None) == (0, "written")


def test_code_in_a_group_meets_the_memory_error_that_it_can_handle_first(groups: Groups) -> None:
    group = groups.new(1, SMALL)
    assert run(FILL_MEMORY, group) == (0, "MemoryError")
    assert not group.out_of_memory()


def test_threads_are_bounded_by_the_group_and_by_nothing_else(groups: Groups) -> None:
    assert run(START_THREADS, groups.new(1, SMALL)) == (0, str(SMALL.threads))  # beside the first
    assert run(START_THREADS, None) == (0, "40")


def test_the_state_says_what_is_enforced(groups: Groups) -> None:
    version = find().hierarchies[0].version
    assert re.fullmatch(f"enforced: v{version} memory 1.6 GiB, pids 65, {SHARE}", groups.new(1, Limits()).state)
    assert re.fullmatch(f"enforced: v{version} memory 66 MiB, pids 9, {SHARE}", groups.new(2, SMALL).state)


def test_two_workers_of_two_pools_never_share_a_group(groups: Groups, prefix: str) -> None:
    other = Groups(prefix)
    try:
        other.new(1, SMALL)
        with python("input()") as process:
            groups.new(2, SMALL).join(process.pid)
            with pytest.raises(IsolationUnavailable) as caught:
                other.new(2, SMALL).check(process.pid)
            process.communicate("\n")
        told = str(caught.value)
        assert f"cgroup: seen from outside, process {process.pid} is in the group /" in told
        assert re.search(rf"/{prefix}-[^ ]*/2, not in [^ ]*/{prefix}-[^ ]*/2\.", told), told
    finally:
        other.close()


# --- what goes wrong ---


def test_a_process_that_is_gone_can_neither_join_nor_be_verified(groups: Groups) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    group = groups.new(1, SMALL)
    with pytest.raises(WorkerFailed, match="the worker died before it could be put into its group") as caught:
        group.join(gone.pid)
    assert caught.value.reason == "start"
    with pytest.raises(IsolationUnavailable, match=re.escape(f"/proc/{gone.pid}/cgroup cannot be read")):
        group.check(gone.pid)


def test_a_group_that_is_there_already_is_not_taken_over(groups: Groups) -> None:
    groups.new(1, SMALL)
    with pytest.raises(IsolationUnavailable, match="a group could not be made"):
        groups.new(1, SMALL)


def test_a_limit_that_the_kernel_does_not_take_leaves_no_group(groups: Groups, prefix: str) -> None:
    with pytest.raises(IsolationUnavailable, match="a group could not be made"):
        groups.new(1, Limits(threads=-5))
    assert [path for top in left(prefix) for path in top.glob("1")] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_without_a_group_of_ones_own_they_are_unavailable_and_the_reason_is_told(
    unprivileged: Callable[[Callable[[Path], object]], object],
) -> None:
    def look(_: Path) -> str:
        groups = Groups()
        with pytest.raises(IsolationUnavailable, match="cgroup: "):
            groups.new(1, Limits())
        groups.close()
        return groups.unavailable

    assert "is not writable for this user" in str(unprivileged(look))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can hand over a group")
def test_an_ordinary_user_has_groups_where_one_was_delegated(prefix: str) -> None:
    try:
        hierarchies = find().hierarchies
    except Unusable as error:
        pytest.skip(str(error))
    tops = [hierarchy.directory / f"{prefix}-delegated" for hierarchy in hierarchies]
    version = hierarchies[0].version
    leaves = tops if version == 1 else [top / "main" for top in tops]
    for directory in dict.fromkeys((*tops, *leaves)):
        directory.mkdir()
        for path in (directory, *(directory / f"cgroup.{name}" for name in ("procs", "subtree_control"))):
            if path.exists():
                os.chown(path, NOBODY, NOBODY)
    try:
        with python(BE_DELEGATED, prefix, *map(str, leaves)) as process:
            output, _ = process.communicate()
        assert re.fullmatch(f"enforced: v{version} memory 1.6 GiB, pids 65, {SHARE}\n", output)
    finally:
        for top in tops:
            for directory in sorted((top, *(path for path in top.rglob("*") if path.is_dir())), reverse=True):
                directory.rmdir()


# --- their end ---


def test_a_group_is_gone_once_its_worker_is(groups: Groups, prefix: str) -> None:
    group = groups.new(1, SMALL)
    run("input()", group)
    group.remove()
    assert [path for top in left(prefix) for path in top.glob("1")] == []
    group.remove()


def test_a_group_that_is_still_in_use_is_removed_with_a_later_one(groups: Groups, prefix: str) -> None:
    group = groups.new(1, SMALL)
    with python("input()") as process:
        group.join(process.pid)
        group.remove()
        assert members(prefix) == {process.pid}
        process.communicate("\n")
    groups.new(2, SMALL)
    assert {path.name for top in left(prefix) for path in top.iterdir() if path.is_dir()} == {"2"}


def test_closing_ends_what_is_left_in_the_groups(prefix: str) -> None:
    groups = Groups(prefix)
    if groups.unavailable:
        pytest.skip(groups.unavailable)
    with python("input()") as process:
        groups.new(1, SMALL).join(process.pid)
        groups.close()
        assert process.wait() == -signal.SIGKILL
    assert left(prefix) == []


def test_a_sweep_removes_what_a_dead_supervisor_left_with_the_process_in_it_and_nothing_before(
    groups: Groups, prefix: str, wait_gone: Callable[[int], None]
) -> None:
    ours = sorted(left(prefix))
    with python(SUPERVISE, prefix) as supervisor:
        assert supervisor.stdout is not None
        sleeper = int(supervisor.stdout.readline())
        sweep(find().hierarchies, prefix)
        assert members(prefix) == {sleeper}
        supervisor.kill()
        supervisor.wait()
        assert members(prefix) == {sleeper}
        sweep(find().hierarchies, prefix)
    wait_gone(sleeper)
    assert sorted(left(prefix)) == ours


def test_a_sweep_leaves_groups_of_other_names_alone(groups: Groups, prefix: str) -> None:
    other = find().hierarchies[0].directory / f"{prefix}-somebody's"
    other.mkdir()
    try:
        sweep(find().hierarchies, prefix)
        assert other.exists()
    finally:
        other.rmdir()


def test_a_new_pool_sweeps(groups: Groups, prefix: str) -> None:
    top = find().hierarchies[0].directory / f"{prefix}-1-1-0"
    top.mkdir()
    Groups(prefix).close()
    assert not top.exists()


# --- where they can be made ---


def tree(root: Path, mounts: str, groups: str) -> Path:
    """A directory of /proc for a machine whose control groups lie below `root`."""
    process = root / "process"
    process.mkdir()
    (process / "mountinfo").write_text(mounts.format(root=str(root).replace(" ", "\\040")))
    (process / "cgroup").write_text(groups)
    return process


def unified(directory: Path, controllers: str, enabled: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cgroup.procs").touch()
    (directory / "cgroup.controllers").write_text(controllers)
    (directory / "cgroup.subtree_control").write_text(enabled)


UNIFIED = "30 23 0:26 {at} {{root}}/cg rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
SPLIT = (
    "31 23 0:28 / {root}/v1 rw - tmpfs tmpfs rw\n"
    "32 31 0:29 /box {root}/v1/memory rw,relatime shared:7 - cgroup cgroup rw,memory\n"
    "33 31 0:30 /box {root}/v1/pids rw,relatime shared:8 - cgroup cgroup rw,pids\n"
)


def test_version_2_is_used_where_both_controllers_are_handed_down(tmp_path: Path) -> None:
    unified(tmp_path / "cg" / "a" / "b", "cpu memory pids\n", "memory pids\n")
    process = tree(tmp_path, UNIFIED.format(at="/"), "0::/a/b\n")
    everything = ("memory", "pids", "cpu")
    assert find(process) == Found((Hierarchy(2, everything, tmp_path / "cg/a/b", "/a/b", ""),), "")
    assert (tmp_path / "cg/a/b/cgroup.subtree_control").read_text().startswith("+cpu")


def test_a_share_is_not_asked_for_where_there_is_a_reason_not_to(tmp_path: Path) -> None:
    unified(tmp_path / "cg", "cpu memory pids\n", "memory pids\n")
    process = tree(tmp_path, UNIFIED.format(at="/"), "0::/\n")
    assert find(process, no_share="no!") == Found((Hierarchy(2, ("memory", "pids"), tmp_path / "cg", "/", ""),), "no!")
    assert (tmp_path / "cg/cgroup.subtree_control").read_text() == "memory pids\n"


def test_a_mount_that_shows_a_part_of_the_hierarchy_is_understood(tmp_path: Path) -> None:
    root = tmp_path / "with space"
    unified(root / "cg" / "b", "memory pids\n", "memory pids\n")
    process = tree(root, UNIFIED.format(at="/a"), "0::/a/b\n")
    found = find(process)
    assert found.hierarchies == (Hierarchy(2, ("memory", "pids"), root / "cg/b", "/a/b", ""),)
    # Memory and processes are bounded all the same.
    assert found.no_share.startswith(f"version 2: {root}/cg/b has no cpu controller (bound to version 1, or not handed")
    assert "Delegate=cpu memory pids" in found.no_share


def test_version_1_is_used_where_version_2_lacks_a_controller(tmp_path: Path) -> None:
    unified(tmp_path / "cg", "hugetlb\n", "")
    for name in ("memory", "pids"):
        (tmp_path / "v1" / name / "job").mkdir(parents=True)
        (tmp_path / "v1" / name / "job" / "cgroup.procs").touch()
    process = tree(tmp_path, UNIFIED.format(at="/") + SPLIT, "9:pids:/box/job\n4:memory:/box/job\n0::/\n")
    assert find(process) == Found(
        (
            Hierarchy(1, ("memory",), tmp_path / "v1/memory/job", "/box/job", "memory"),
            Hierarchy(1, ("pids",), tmp_path / "v1/pids/job", "/box/job", "pids"),
        ),
        "version 1: no cpu hierarchy is mounted",
    )


@pytest.mark.parametrize(
    ("names", "controllers", "no_share"),
    [
        ("pids,memory", ("memory", "pids"), "version 1: no cpu hierarchy is mounted"),
        ("cpu,pids,memory", ("memory", "pids", "cpu"), ""),
    ],
)
def test_controllers_that_share_a_hierarchy_share_a_directory(
    names: str, controllers: tuple[str, ...], no_share: str, tmp_path: Path
) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "cgroup.procs").touch()
    process = tree(tmp_path, f"32 31 0:29 / {{root}}/v1 rw - cgroup cgroup rw,{names}\n", f"4:{names}:/\n")
    assert find(process) == Found((Hierarchy(1, controllers, tmp_path / "v1", "/", names),), no_share)


def test_a_hierarchy_of_version_1_whose_new_groups_have_no_processor_gives_no_share(tmp_path: Path) -> None:
    for name in ("memory", "pids", "cpu"):
        (tmp_path / "v1" / name / "job").mkdir(parents=True)
        (tmp_path / "v1" / name / "job" / "cgroup.procs").touch()
    cpu = "34 31 0:31 /box {root}/v1/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuset\n"
    process = tree(tmp_path, SPLIT + cpu, "9:pids:/box/job\n4:memory:/box/job\n2:cpu,cpuset:/box/job\n")
    found = find(process)
    assert [each.controllers for each in found.hierarchies] == [("memory",), ("pids",)]
    assert found.no_share == (
        f"version 1: {tmp_path}/v1/cpu/job has cpuset as well, whose new groups have no processor to run on"
    )


NOWHERE = {
    "nothing mounted": ("", "", "version 2: it is not mounted; version 1: no memory hierarchy is mounted"),
    "own group out of sight": (
        UNIFIED.format(at="/other"),
        "0::/a\n",
        "this process's own group /a is not visible below {root}/cg; version 1: no memory hierarchy is mounted",
    ),
    "own group above the namespace": (
        UNIFIED.format(at="/"),
        "0::/../../b\n",
        "this process's own group /../../b is not visible below {root}/cg; version 1: no memory hierarchy is mounted",
    ),
    "nonsense": (
        "x\n - \n - cgroup2\n\n",
        "::\n:\nx:y\n0::relative\n",
        "version 2: it is not mounted; version 1: no memory",
    ),
}


@pytest.mark.parametrize("machine", NOWHERE)
def test_a_machine_without_them_is_told_why(machine: str, tmp_path: Path) -> None:
    mounts, groups, reason = NOWHERE[machine]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "cgroup.procs").touch()
    with pytest.raises(Unusable) as caught:
        find(tree(tmp_path, mounts, groups))
    assert str(caught.value).startswith(reason.format(root=tmp_path))


def test_without_proc_they_are_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="mountinfo cannot be read: No such file or directory"):
        find(tmp_path)


@pytest.fixture
def delegated() -> Iterator[tuple[Path, str]]:
    """A real group of version 2 with a leaf, and a controller that the machine has there."""
    mount = next(
        (line.split(" ") for line in Path("/proc/self/mountinfo").read_text().splitlines() if " - cgroup2 " in line),
        None,
    )
    if os.geteuid() != 0 or mount is None or mount[3] != "/":
        pytest.skip("needs root, and the root of a version 2 hierarchy")
    root = Path(mount[4])
    offered = (root / "cgroup.controllers").read_text().split()
    if not offered:
        pytest.skip("version 2 has no controller here")
    enabled = (root / "cgroup.subtree_control").read_text().split()
    controller = next((name for name in offered if name in enabled), offered[-1])
    write(root / "cgroup.subtree_control", f"+{controller}")
    unit = root / f"agextest-{uuid.uuid4().hex}"
    (unit / "main").mkdir(parents=True)
    yield unit, controller
    (unit / "main").rmdir()
    unit.rmdir()
    if controller not in enabled:
        write(root / "cgroup.subtree_control", f"-{controller}")


def found_from(group: Path, controller: str) -> str:
    """Where an ordinary user's process in that group finds that it may make groups; or why not."""
    with python(LOOK, str(group), controller) as process:
        output, _ = process.communicate()
    return output.partition("; version 1")[0].strip()


def test_a_group_of_version_2_that_is_not_handed_over_is_not_used(delegated: tuple[Path, str]) -> None:
    unit, controller = delegated
    found = found_from(unit / "main", controller)
    assert found.startswith(f"version 2: {unit}/main has no {controller} controller (bound to version 1, or not handed")
    assert "DelegateSubgroup=main" in found


def test_a_delegated_group_of_version_2_is_used_from_its_leaf_and_not_from_itself(delegated: tuple[Path, str]) -> None:
    unit, controller = delegated
    for path in (unit, unit / "cgroup.procs", unit / "cgroup.subtree_control", unit / "main"):
        os.chown(path, NOBODY, NOBODY)
    # The kernel does not share a group out while a process lives in it, and the application is not ours to move.
    assert found_from(unit, controller).startswith(
        f"version 2: {unit} cannot control children (Device or resource busy)"
    )
    assert found_from(unit / "main", controller) == str(unit)
