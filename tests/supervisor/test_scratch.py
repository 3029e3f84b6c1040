"""Directories that hostile code filled are removed whole; those of others are left alone."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agex_supervisor.scratch import LOCK, PREFIX, Scratch, remove_tree, sweep
from agex_supervisor.transfer import Late


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory of the test's own, so that no sweep meets a neighbour's."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


def abandoned(temporary: Path, name: str = "agex-1-abandoned") -> Path:
    """What a killed supervisor leaves."""
    root = temporary / name
    root.mkdir()
    (root / LOCK).touch()
    (root / "slots").mkdir()
    return root


def test_a_scratch_is_private_and_gone_when_it_is_closed(temporary: Path) -> None:
    scratch = Scratch()
    workspace, slot = scratch.new_workspace(), scratch.new_slot(7)
    assert slot == scratch.root / "slots" / "7"
    assert [path.stat().st_mode & 0o777 for path in (scratch.root, workspace, slot)] == [0o700] * 3
    scratch.close()
    assert list(temporary.iterdir()) == []


def test_the_next_scratch_sweeps_what_a_dead_one_left(temporary: Path) -> None:
    root = abandoned(temporary)
    scratch = Scratch()
    assert not root.exists()
    scratch.close()


def test_a_scratch_that_lives_is_not_swept_whoever_sweeps() -> None:
    scratch = Scratch()
    program = "from agex_supervisor.scratch import sweep; sweep()"
    environment = {**os.environ, "TMPDIR": str(scratch.root.parent), "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    sweep()
    assert (scratch.root / LOCK).exists()
    scratch.close()


def test_a_sweep_leaves_alone_what_is_not_clearly_a_dead_supervisors(temporary: Path) -> None:
    outside = temporary / "outside"
    outside.mkdir()
    (outside / LOCK).touch()
    (temporary / "agex-1-link").symlink_to(outside)
    (temporary / "agex-1-file").touch()
    (temporary / "agex-1-unlocked").mkdir()
    (temporary / "agexperiment-1-other").mkdir()
    linked = temporary / "agex-1-linked-lock"
    linked.mkdir()
    (linked / LOCK).symlink_to(outside / LOCK)
    before = sorted(temporary.rglob("*"))
    sweep()
    assert sorted(temporary.rglob("*")) == before


def test_a_sweep_leaves_alone_what_another_holds(temporary: Path) -> None:
    root = abandoned(temporary)
    with open(root / LOCK) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sweep()
        assert root.exists()
    sweep()
    assert not root.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_sweep_leaves_alone_what_belongs_to_another_user(temporary: Path) -> None:
    root = abandoned(temporary)
    os.chown(root, 12345, 12345)
    sweep()
    assert root.exists()


def test_links_are_removed_and_what_they_point_to_is_not(temporary: Path) -> None:
    outside = temporary / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    tree = temporary / "tree"
    tree.mkdir()
    (tree / "directory").symlink_to(outside)
    (tree / "file").symlink_to(outside / "kept")
    (tree / "dangling").symlink_to("nowhere")
    (tree / "hard").hardlink_to(outside / "kept")
    remove_tree(tree)
    assert not tree.exists()
    assert (outside / "kept").read_text() == "kept"


def test_a_tree_deeper_than_any_path_is_removed(temporary: Path) -> None:
    tree = temporary / "tree"
    tree.mkdir()
    here = os.open(tree, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deeper", dir_fd=here)
        below = os.open("deeper", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    remove_tree(tree)
    assert not tree.exists()


def test_a_wide_tree_is_removed(temporary: Path) -> None:
    tree = temporary / "tree"
    for name in range(10):
        (tree / str(name)).mkdir(parents=True)
        for number in range(300):
            os.close(os.open(tree / str(name) / str(number), os.O_CREAT | os.O_WRONLY))
    remove_tree(tree)
    assert not tree.exists()


def test_directories_that_let_nobody_in_are_removed_without_roots_powers(
    unprivileged: Callable[[Callable[[Path], object]], object],
) -> None:
    def try_it(ground: Path) -> bool:
        tree = ground / "tree"
        (tree / "outer" / "inner").mkdir(parents=True)
        (tree / "outer" / "inner" / "file").touch()
        (tree / "beside").mkdir(mode=0)
        for closed in (tree / "outer" / "inner", tree / "outer"):
            closed.chmod(0)
        remove_tree(tree)
        return tree.exists()

    assert unprivileged(try_it) is False


def test_pipes_sockets_and_odd_names_are_removed(temporary: Path) -> None:
    tree = temporary / "tree"
    tree.mkdir()
    os.mkfifo(tree / "pipe")
    (tree / "-rf \n *").touch()
    os.close(os.open(os.fsencode(tree) + b"/\xff\xfe", os.O_CREAT))
    remove_tree(tree)
    assert not tree.exists()


def test_removing_what_is_gone_is_no_error(temporary: Path) -> None:
    remove_tree(temporary / "gone")


def test_a_link_in_place_of_the_tree_is_not_followed(temporary: Path) -> None:
    outside = temporary / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (temporary / "link").symlink_to(outside)
    with pytest.raises(OSError):
        remove_tree(temporary / "link")
    assert (outside / "kept").exists()


def test_a_directory_whose_owner_was_killed_before_it_had_locked_it_is_swept(temporary: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        pass
    empty, begun = temporary / f"{PREFIX}{dead.pid}-aaaa", temporary / f"{PREFIX}{dead.pid}-bbbb"
    alive, other = temporary / f"{PREFIX}{os.getpid()}-cccc", temporary / f"{PREFIX}{dead.pid}-dddd"
    for directory in (empty, begun, alive, other):
        directory.mkdir()
    (begun / "unlocked").touch()
    (other / "somebody's").touch()

    sweep()

    assert [each.exists() for each in (empty, begun, alive, other)] == [False, False, True, True]


def test_a_removal_that_is_out_of_time_goes_on_where_it_stopped(temporary: Path) -> None:
    tree = temporary / "tree"
    for number in range(20):
        (tree / str(number) / "below").mkdir(parents=True)
    with pytest.raises(Late):
        remove_tree(tree, until=0.0)
    assert tree.exists()
    remove_tree(tree)
    assert not tree.exists()
