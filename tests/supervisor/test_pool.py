"""The pool over its life: nothing is left behind, nobody's failure is another's, and it outlives its zygotes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from agex_policies.errors import IsolationUnavailable
from agex_protocol import messages as m
from agex_protocol.plan import LockdownPlan
from agex_supervisor import homecoming
from agex_supervisor import pool as pool_module
from agex_supervisor.errors import PoolExhausted, PreloadFailed
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.scratch import LOCK, remove_tree, sweep

HireFrom = Callable[..., Any]


@pytest.fixture(params=["namespaces", "no namespaces"])
def plan(request: pytest.FixtureRequest, plan: LockdownPlan) -> LockdownPlan:
    return plan if request.param == "namespaces" else replace(plan, namespaces="off")


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def wait_for_spares(pool: Pool) -> None:
    for thread in threading.enumerate():
        if thread.name == "agex-spares":
            thread.join()


def test_fifty_checkouts_leave_no_descriptor_process_or_directory(
    plan: LockdownPlan, open_descriptors: Callable[[], set[str]]
) -> None:
    descriptors, processes = open_descriptors(), children()
    pool = Pool(spares=1)
    kit = Kit(plan)
    root = pool.new_workspace().parent.parent
    for _ in range(50):
        home = pool.new_workspace()
        place = pool.checkout(kit, home)
        pool.checkin(place)
        slot = place.worker.slot.place
        assert home.is_dir() and not (isinstance(slot, Path) and slot.exists())
    wait_for_spares(pool)
    pool.close()
    assert not root.exists()
    assert open_descriptors() <= descriptors
    assert children() == processes


def test_failures_leave_no_descriptor_or_process(
    plan: LockdownPlan, open_descriptors: Callable[[], set[str]], tmp_path: Path
) -> None:
    descriptors, processes = open_descriptors(), children()
    pool = Pool(max_workers=1, spares=0, wait_s=0)
    for _ in range(3):
        with pytest.raises(PreloadFailed):
            pool.checkout(Kit(plan, ("there_is_no_such_module",)), pool.new_workspace())
        with pytest.raises(FileNotFoundError):
            pool.checkout(Kit(plan), tmp_path / "missing")
    place = pool.checkout(Kit(plan), pool.new_workspace())
    with pytest.raises(PoolExhausted):
        pool.checkout(Kit(plan), pool.new_workspace())
    pool.checkin(place)
    pool.close()
    assert open_descriptors() <= descriptors
    assert children() == processes


def test_a_worker_that_cannot_be_locked_is_refused_by_the_layers_name(
    plan: LockdownPlan, pool: Pool, open_descriptors: Callable[[], set[str]]
) -> None:
    kit = Kit(replace(plan, seccomp_told=b"\0" * 8))
    seen: list[set[str]] = []
    for _ in range(2):
        with pytest.raises(IsolationUnavailable) as caught:
            pool.checkout(kit, pool.new_workspace())
        assert "; seccomp: " in str(caught.value)
        seen.append(open_descriptors())
    assert seen[0] == seen[1]
    assert list(pool.new_workspace().parent.with_name("slots").iterdir()) == []


def test_a_killed_zygote_ends_its_workers_and_the_next_checkout_has_a_new_one(
    plan: LockdownPlan, hire_from: HireFrom, open_descriptors: Callable[[], set[str]]
) -> None:
    descriptors = open_descriptors()
    pool = Pool(spares=1)
    worker = hire_from(pool)
    wait_for_spares(pool)
    for _ in range(3):
        os.kill(worker.worker.zygote.pid, signal.SIGKILL)
        turn = worker.run("while True: pass")
        assert turn.death is not None and turn.death.cause == "exit"
        worker.worker.slot.remove()  # as its session would, which the fixture stands for, and only at the end
        worker = hire_from(pool)
        assert worker.value("1 + 1") == 2
        wait_for_spares(pool)
    pool.close()
    assert worker.run("1").death is not None
    worker.worker.close()
    worker.worker.slot.remove()
    assert open_descriptors() <= descriptors


def test_a_spare_that_was_killed_is_passed_over(
    plan: LockdownPlan, pool: Pool, hire_from: HireFrom, wait_gone: Callable[[int], None]
) -> None:
    before = children()
    pool.warm(Kit(plan))
    # A zygote has children, and where it has namespaces it is a child itself.
    (spare,) = [pid for pid in children() - before if not psutil.Process(pid).children()]
    os.kill(spare, signal.SIGKILL)
    wait_gone(spare)
    worker = hire_from(pool)
    assert worker.worker.pid != spare
    assert worker.value("2") == 2


def test_many_threads_share_a_pool(plan: LockdownPlan, open_descriptors: Callable[[], set[str]]) -> None:
    descriptors = open_descriptors()
    pool = Pool(max_workers=4, spares=2)
    kits = (Kit(plan), Kit(plan, ("json",)))
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(4):
                pool.checkin(pool.checkout(kits[number % 2], pool.new_workspace()))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for_spares(pool)
    assert errors == []
    assert pool.stats().busy == 0 and pool.stats().spares <= 4
    pool.close()
    assert open_descriptors() <= descriptors


def test_closing_while_spares_are_made_leaves_nothing(
    plan: LockdownPlan, open_descriptors: Callable[[], set[str]]
) -> None:
    descriptors, processes = open_descriptors(), children()
    for _ in range(5):
        pool = Pool(spares=3)
        home = pool.new_workspace()
        place = pool.checkout(Kit(plan), home)
        pool.close()
        pool.checkin(place)
        wait_for_spares(pool)
        assert not home.parent.parent.exists()
    assert open_descriptors() <= descriptors
    assert children() == processes


def test_closing_ends_a_session_that_is_still_writing(plan: LockdownPlan, hire_from: HireFrom) -> None:
    pool = Pool(spares=0)
    worker = hire_from(pool)
    root = worker.place.home.parent.parent
    code = (
        "import os\nprint('go')\nnumber = 0\nwhile True:\n    number += 1\n    os.mkdir(f'd{number % 500}-{number}')\n"
    )
    turns: list[Any] = []
    thread = threading.Thread(target=lambda: turns.append(worker.run(code)))
    thread.start()
    while not any(worker.workspace.iterdir()):
        pass
    pool.close()
    thread.join()
    assert turns[0].death.cause == "closed"
    assert not root.exists()


def test_a_closed_pool_says_so(plan: LockdownPlan) -> None:
    pool = Pool()
    pool.close()
    pool.close()
    for use in (lambda: pool.checkout(Kit(plan), None), pool.new_workspace, lambda: pool.warm(Kit(plan))):
        with pytest.raises(RuntimeError) as caught:
            use()
        assert str(caught.value) == "the pool is closed"


def test_kits_beyond_the_limit_lose_their_zygotes_once_these_have_no_workers(
    plan: LockdownPlan, monkeypatch: pytest.MonkeyPatch, open_descriptors: Callable[[], set[str]]
) -> None:
    monkeypatch.setattr(pool_module, "MAX_ZYGOTES", 2)
    descriptors, processes = open_descriptors(), children()
    pool = Pool(spares=0)
    kits = [Kit(replace(plan, policy=f"policy {number}")) for number in range(4)]
    first = pool.checkout(kits[0], pool.new_workspace())
    for kit in kits[1:]:
        pool.checkin(pool.checkout(kit, pool.new_workspace()))
    assert pool.stats().zygotes == 2
    assert first.worker.alive and first.worker.zygote.alive
    pool.checkin(first)
    assert not first.worker.zygote.alive
    kept = pool.checkout(kits[0], pool.new_workspace())
    for kit in kits[1:]:
        pool.checkin(pool.checkout(kit, pool.new_workspace()))
    pool.close()
    assert not kept.worker.alive or kept.worker.pid not in children()
    pool.checkin(kept)
    assert open_descriptors() <= descriptors
    assert children() == processes


@pytest.mark.parametrize(
    "replacement",
    [
        "os.symlink('/etc', 'work')",
        "pass",
        "os.mkdir('work', 0)",
        "open('work', 'w').write('a file')",
    ],
    ids=["a link", "nothing", "mode 0", "a file"],
)
def test_a_workspace_that_was_swapped_comes_home_as_a_directory(
    replacement: str, pool: Pool, hire_from: HireFrom
) -> None:
    worker = hire_from(pool)
    etc = os.stat("/etc")
    turn = worker.run(f"import os\nos.chdir('..')\nos.rename('work', 'away')\n{replacement}")
    # One that cannot be read is a breach for a supervisor that is not root: then it comes home all the same.
    assert isinstance(turn.ending, m.Finished) or (turn.death.cause == "limit" and "mkdir" in replacement), turn
    pool.checkin(worker.place)
    home = worker.place.home
    assert home.is_dir() and not home.is_symlink() and list(home.iterdir()) == []
    assert list((home.parent.parent / "slots").iterdir()) == []
    assert os.stat("/etc").st_mode == etc.st_mode
    worker.place = pool.checkout(worker.kit, home)  # the next session gets it, and the fixture gives it back


def test_files_stay_in_the_workspace_from_one_worker_to_the_next(pool: Pool, hire_from: HireFrom) -> None:
    worker = hire_from(pool)
    assert worker.value("open('kept.txt', 'w').write('text')") == 4
    pool.checkin(worker.place)
    worker.place = pool.checkout(worker.kit, worker.place.home)
    assert (worker.workspace / "kept.txt").read_text() == "text"


def test_a_pool_does_not_cross_a_fork_and_the_child_harms_nothing(plan: LockdownPlan, hire_from: HireFrom) -> None:
    """In a process of its own, for pytest has threads."""
    program = """
    import os, sys
    from agex_policies.compile import compile_plan
    from agex_policies.schema import Policy
    from agex_supervisor.pool import Kit, Pool

    pool, kit = Pool(spares=0), Kit(compile_plan(Policy.load("full-python"), "kernel"))
    place = pool.checkout(kit, pool.new_workspace())
    child = os.fork()
    if child == 0:
        pool.checkin(place)
        pool.close()
        try:
            pool.checkout(kit, None)
        except RuntimeError as error:
            own = Pool(spares=0)
            own.checkin(own.checkout(kit, own.new_workspace()))
            own.close()
            os._exit(0 if str(error) == "this pool was made before a fork; make one in this process" else 1)
        os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert place.worker.alive
    pool.checkin(place)
    pool.close()
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


SUPERVISOR = """
import os, sys
from agex_policies.compile import compile_plan
from agex_policies.schema import Policy
from agex_supervisor.pool import Kit, Pool

pool, kit = Pool(spares=0), Kit(compile_plan(Policy.load("full-python"), "kernel"))
pool.warm(kit)
place = pool.checkout(kit, pool.new_workspace())
pool.warm(kit)
if sys.argv[1] == "alone" or os.fork():
    print(place.worker.zygote.pid, place.worker.pid, place.home.parent.parent, flush=True)
sys.stdin.read()
os._exit(0)
"""


@pytest.mark.parametrize("forks", ["forks", "alone"])
def test_a_killed_supervisor_takes_its_processes_along_and_the_next_sweeps_its_directory(
    forks: str, wait_gone: Callable[[int], None]
) -> None:
    """Also when a child that the application forked lives on, with a copy of every descriptor."""
    command = [sys.executable, "-c", SUPERVISOR, forks]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        zygote, worker, root = supervisor.stdout.readline().split()
        below = {child.pid for child in psutil.Process(int(zygote)).children(recursive=True)}
        assert int(worker) in below and len(below) >= 2
        sweep()
        assert (Path(root) / LOCK).exists()
        supervisor.kill()
        for process in (int(zygote), *below):
            wait_gone(process)
    sweep()
    assert forks == "forks" or not Path(root).exists()
    remove_tree(Path(root))


@pytest.mark.parametrize("numbers", [{"max_workers": 0}, {"spares": -1}, {"wait_s": -0.5}])
def test_numbers_that_make_no_sense_are_refused(numbers: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Pool(**numbers)


def test_a_workspace_of_very_many_files_is_removed_behind_the_back_of_who_lets_go_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(homecoming, "REMOVAL_S", 0.0)
    pool = Pool(spares=0)
    workspace = pool.new_workspace()
    for number in range(50):
        (workspace / str(number) / "below").mkdir(parents=True)
    pool.drop_workspace(workspace)
    pool.close()
    assert not workspace.exists()
