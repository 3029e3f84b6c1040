"""What the watch counts in a workspace that someone hostile filled, and that it leaves everything else alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agex_protocol.plan import Limits
from agex_supervisor.scratch import remove_tree
from agex_supervisor.transfer import copy_tree
from agex_supervisor.watch import MAX_DEPTH, Watch


def breach(place: Path, **limits: int) -> str | None:
    return Watch(os.getpid(), Limits(threads=1000, cpu_time_s=1e9, **limits), [place]).breach()


def test_a_workspace_within_its_limits_is_no_breach(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(4096))
    assert breach(tmp_path, workspace_size_bytes=1 << 20, workspace_files=1) is None


def test_the_bytes_of_all_files_count_together(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"d{number}").mkdir()
        (tmp_path / f"d{number}" / "file").write_bytes(os.urandom(40_000))
    found = breach(tmp_path, workspace_size_bytes=100_000)
    assert found is not None and found.startswith("limits.workspace_size: ") and found.endswith(", 100000 allowed")


def test_a_sparse_file_counts_what_it_takes_on_disk(tmp_path: Path) -> None:
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 40)
    assert breach(tmp_path, workspace_size_bytes=1 << 20) is None


def test_the_number_of_files_is_counted_no_further_than_the_limit(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / str(number)).touch()
    assert breach(tmp_path, workspace_files=10) == "limits.workspace_files: 11 or more, 10 allowed"


def test_nesting_beyond_all_reason_is_a_breach_however_deep_it_goes(deep: Path) -> None:
    assert breach(deep) == f"a workspace of more than {MAX_DEPTH} levels"


def test_what_comes_home_of_such_a_workspace_is_none(deep: Path, tmp_path: Path) -> None:
    home = tmp_path / "slot" / "work"
    home.mkdir(parents=True)
    source, target = os.open(deep, os.O_RDONLY), os.open(home, os.O_RDONLY)
    try:
        copy_tree(source, target)
    finally:
        os.close(source)
        os.close(target)
    assert breach(tmp_path / "slot") is None


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside, place = tmp_path / "outside", tmp_path / "place"
    outside.mkdir()
    place.mkdir()
    for number in range(20):
        (outside / str(number)).touch()
    (place / "directory").symlink_to(outside)
    (place / "loop").symlink_to(place)
    assert breach(place, workspace_files=5) is None
    swapped = tmp_path / "swapped"
    swapped.symlink_to(outside)
    assert breach(swapped, workspace_files=5) is None


def test_a_place_that_is_gone_counts_nothing(tmp_path: Path) -> None:
    assert breach(tmp_path / "gone", workspace_files=0) is None


def test_threads_beyond_the_limit_are_a_breach() -> None:
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    try:
        found = Watch(os.getpid(), Limits(threads=2, cpu_time_s=1e9), []).breach()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert found is not None and found.startswith("limits.threads: ") and found.endswith(" threads, 2 allowed")


def test_processor_time_beyond_the_limit_is_a_breach_and_comes_first() -> None:
    program = "import sys, time\nwhile time.process_time() < 0.1: pass\nprint(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert Watch(process.pid, Limits(cpu_time_s=100.0), []).breach() is None
        found = Watch(process.pid, Limits(cpu_time_s=0.05, threads=0), []).breach()
    assert found == "limits.cpu_time: 0.05s of processor time are used up"


def test_a_process_that_is_gone_breaches_nothing() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert Watch(gone.pid, Limits(cpu_time_s=0.0, threads=0), []).breach() is None


def test_files_that_come_and_go_do_not_hide_the_others(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / str(number)).touch()
    stop = threading.Event()

    def churn() -> None:
        while not stop.is_set():
            for number in range(300, 400):
                (tmp_path / str(number)).touch()
            for number in range(300, 400):
                (tmp_path / str(number)).unlink()

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        found = {breach(tmp_path, workspace_files=299) for _ in range(100)}
    finally:
        stop.set()
        thread.join()
    assert found == {"limits.workspace_files: 300 or more, 299 allowed"}


def test_a_directory_that_cannot_be_read_is_a_breach_for_it_cannot_be_measured(
    unprivileged: Callable[[Callable[[Path], object]], object],
) -> None:
    def look(place: Path) -> str | None:
        (place / "closed").mkdir(mode=0o300)
        return breach(place)

    assert unprivileged(look) == (
        "limits.workspace_size: a directory of the workspace cannot be read, so it cannot be measured"
    )


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Two hundred directories in one another: a path to the last is longer than the kernel takes."""
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(200):
        os.mkdir("d" * 50, dir_fd=here)
        below = os.open("d" * 50, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    yield tmp_path
    remove_tree(tmp_path)


def test_what_cannot_be_watched_for_want_of_descriptors_counts_as_a_breach(tmp_path: Path) -> None:
    """In a child, because no descriptor is left to whoever lowers the limit."""
    program = """
import os, resource, sys
from pathlib import Path
from agex_protocol.plan import Limits
from agex_supervisor.watch import Watch
watch = Watch(os.getpid(), Limits(threads=1000), [Path(sys.argv[1])])
before = watch.breach()
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
for told in (before, watch._use(), watch._disk()):
    print(told)
"""
    told = "it cannot be watched, because the supervisor has no descriptor left; raise its limit of open files"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["None", f"limits.threads: {told}", f"limits.workspace_size: {told}"], (
        done.stderr
    )
