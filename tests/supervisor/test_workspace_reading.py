"""A workspace is read as hostile ground, and only what changed of it; and a commit's files are put back where they were."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agex_supervisor.errors import StateError
from agex_supervisor.transfer import MAX_DEPTH
from agex_supervisor.workspace_reading import MAX_NAMED, LeftOut, WorkspaceChanges, WorkspaceReading
from agex_supervisor.workspace_writing import write_workspace
from tests.nobody import need_nobody

ROOT = Path(__file__).parents[2]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture
def directory(place: Path) -> Iterator[int]:
    opened = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    yield opened
    os.close(opened)


def reading(max_bytes: int = 1 << 20, max_files: int = 1000, **more: object) -> WorkspaceReading:
    return WorkspaceReading(max_bytes=max_bytes, max_files=max_files, **more)  # type: ignore[arg-type]


def look(workspace: WorkspaceReading, directory: int) -> WorkspaceChanges:
    """Read, and say that it was stored."""
    changes = workspace.read(directory)
    workspace.committed()
    return changes


def only_left_out(path: str, why: str) -> WorkspaceChanges:
    return WorkspaceChanges({}, (), (LeftOut(path, why),))


def settle(path: Path) -> None:
    """Make a file one that was changed some time ago, as far as the kernel's clock can tell: its step is over."""
    started = path.stat().st_ctime_ns
    probe = path.with_name(f"{path.name}.probe")
    while True:
        probe.touch()
        if probe.stat().st_ctime_ns > started:
            probe.unlink()
            return
        probe.unlink()


# --- what changed ---


def test_the_first_reading_has_everything_and_the_next_only_what_changed(place: Path, directory: int) -> None:
    (place / "in" / "deep").mkdir(parents=True)
    (place / "a.txt").write_bytes(b"a")
    (place / "in" / "deep" / "b").write_bytes(b"")
    (place / "in" / "c").write_bytes(b"c" * 5000)
    workspace = reading()

    assert look(workspace, directory) == WorkspaceChanges({"a.txt": b"a", "in/deep/b": b"", "in/c": b"c" * 5000}, ())
    assert look(workspace, directory) == WorkspaceChanges({}, ())

    (place / "a.txt").write_bytes(b"A")
    (place / "in" / "c").unlink()
    (place / "new").write_bytes(b"n")
    assert look(workspace, directory) == WorkspaceChanges({"a.txt": b"A", "new": b"n"}, ("in/c",))
    assert look(workspace, directory) == WorkspaceChanges({}, ())


def test_what_was_not_committed_is_new_once_more(place: Path, directory: int) -> None:
    (place / "a").write_bytes(b"1")
    (place / "b").write_bytes(b"1")
    workspace = reading()
    assert look(workspace, directory).added == {"a", "b"}
    (place / "a").write_bytes(b"2")
    (place / "b").unlink()
    (place / "c").write_bytes(b"3")
    settle(place / "c")
    for _ in range(3):
        changes = workspace.read(directory)
        assert (changes, changes.added) == (WorkspaceChanges({"a": b"2", "c": b"3"}, ("b",)), {"c"})
    workspace.committed()
    assert workspace.read(directory) == WorkspaceChanges({}, ())


def test_a_file_written_again_with_what_it_held_did_not_change(place: Path, directory: int) -> None:
    (place / "a").write_bytes(b"same")
    workspace = reading()
    look(workspace, directory)
    (place / "a").write_bytes(b"same")
    assert look(workspace, directory) == WorkspaceChanges({}, ())


def test_what_is_stored_already_is_not_new_in_another_copy(place: Path, directory: int, tmp_path: Path) -> None:
    digests = write_workspace({"a": b"1", "in/b": b"2"}, directory)
    workspace = reading(known=digests)
    (place / "in" / "b").write_bytes(b"3")
    (place / "a").unlink()
    assert look(workspace, directory) == WorkspaceChanges({"in/b": b"3"}, ("a",))


def test_a_folder_in_the_place_of_a_file_and_the_other_way_round(place: Path, directory: int) -> None:
    (place / "a").write_bytes(b"1")
    (place / "b").mkdir()
    (place / "b" / "c").write_bytes(b"2")
    workspace = reading()
    look(workspace, directory)
    (place / "a").unlink()
    (place / "a").mkdir()
    (place / "a" / "x").write_bytes(b"3")
    (place / "b" / "c").unlink()
    (place / "b").rmdir()
    (place / "b").write_bytes(b"4")
    assert look(workspace, directory) == WorkspaceChanges({"a/x": b"3", "b": b"4"}, ("a", "b/c"))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The files, not the folders, that are opened from here on."""
    seen: list[object] = []
    real = os.open

    def watched(path: object, flags: int, *args: int, **kwargs: int) -> int:
        if not flags & os.O_DIRECTORY:
            seen.append(path)
        return real(path, flags, *args, **kwargs)  # type: ignore[call-overload,no-any-return]

    monkeypatch.setattr(os, "open", watched)
    return seen


def test_what_the_kernel_says_was_not_touched_is_not_opened(place: Path, directory: int, opened: list[object]) -> None:
    for name in ("a", "b"):
        (place / name).write_bytes(b"1")
        settle(place / name)
    workspace = reading()
    look(workspace, directory)
    (place / "b").write_bytes(b"2")
    opened.clear()
    assert look(workspace, directory) == WorkspaceChanges({"b": b"2"}, ())
    assert opened == ["b"]


def test_a_file_that_was_read_in_the_very_step_of_the_clock_in_which_it_changed_is_read_once_more(
    place: Path, directory: int, opened: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Kernels since 6.13 mostly give times that are fine enough; before, a step is 4 ms.
    (place / "a").write_bytes(b"1")
    changed_ns = (place / "a").stat().st_ctime_ns
    workspace = reading()
    for clock_ns, again in ((changed_ns, ["a"]), (changed_ns + 1, ["a"]), (changed_ns + 2, [])):
        monkeypatch.setattr(time, "clock_gettime_ns", lambda _, now=clock_ns: now)
        opened.clear()
        look(workspace, directory)
        assert opened == again


def test_a_file_changed_again_within_the_same_step_of_the_clock_is_seen(place: Path, directory: int) -> None:
    file = place / "a"
    workspace = reading()
    for number in range(300):
        file.write_bytes(b"%03d" % number)
        assert look(workspace, directory).files == {"a": b"%03d" % number}


def test_times_that_the_file_itself_can_be_given_hide_no_change(place: Path, directory: int) -> None:
    file = place / "a"
    file.write_bytes(b"1")
    settle(file)
    workspace = reading()
    look(workspace, directory)
    before = file.stat()
    file.write_bytes(b"2")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert look(workspace, directory) == WorkspaceChanges({"a": b"2"}, ())


def test_a_mapping_that_leaves_no_trace_is_seen_by_reading_again(place: Path, directory: int) -> None:
    file = place / "a"
    file.write_bytes(b"1" * mmap.PAGESIZE)
    with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapping:
        mapping[0] = ord("2")
        settle(file)
        workspace = reading()
        look(workspace, directory)
        mapping[0] = ord("3")
        assert workspace.read(directory, again=True).files == {"a": b"3" + b"1" * (mmap.PAGESIZE - 1)}


def test_names_at_the_top_that_are_not_of_the_session_are_no_part_of_it(place: Path, directory: int) -> None:
    for folder in ("skills", "in/skills"):
        (place / folder).mkdir(parents=True)
        (place / folder / "a").write_bytes(b"1")
    assert reading(apart=("skills",)).read(directory) == WorkspaceChanges({"in/skills/a": b"1"}, ())


# --- what is left out ---


def test_links_are_not_followed_and_are_named(place: Path, directory: int, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "secret").write_bytes(b"secret")
    for name, target in (("file", "../secret"), ("folder", "../folder"), ("self", "self"), ("root", "/")):
        (place / name).symlink_to(target)
    changes = reading().read(directory)
    assert (changes.files, changes.removed) == ({}, ())
    assert sorted(each.path for each in changes.left_out) == ["file", "folder", "root", "self"]
    assert {each.why for each in changes.left_out} == {"it is a symbolic link"}


def test_a_file_of_several_names_is_not_read(place: Path, directory: int, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    os.link(tmp_path / "secret", place / "a")
    assert reading().read(directory) == only_left_out("a", "it is a file of 2 names (hard links)")


def test_a_fifo_does_not_hold_the_reader_up(place: Path, directory: int) -> None:
    os.mkfifo(place / "a")
    assert reading().read(directory) == only_left_out("a", "it is a FIFO")


def test_a_socket_is_left_out(place: Path, directory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("a")
        assert reading().read(directory) == only_left_out("a", "it is a socket")


def test_a_device_is_not_opened(place: Path, directory: int) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make a device")
    os.mknod(place / "a", 0o20666, os.makedev(1, 5))  # /dev/zero: it never ends
    assert reading().read(directory) == only_left_out("a", "it is a device")


def test_a_file_that_became_something_else_is_removed_and_named(place: Path, directory: int) -> None:
    (place / "a").write_bytes(b"1")
    workspace = reading()
    look(workspace, directory)
    (place / "a").unlink()
    os.mkfifo(place / "a")
    assert look(workspace, directory) == WorkspaceChanges({}, ("a",), (LeftOut("a", "it is a FIFO"),))


def test_a_sparse_file_counts_as_what_it_would_take(place: Path, directory: int) -> None:
    with (place / "huge").open("wb") as file:
        file.truncate(1 << 40)
    (place / "small").write_bytes(b"1")
    assert reading(max_bytes=1000).read(directory) == WorkspaceChanges(
        {"small": b"1"},
        (),
        (LeftOut("huge", f"its {1 << 40} bytes go beyond limits.workspace_size (1000 for all)"),),
    )


def test_all_files_together_stay_below_the_bound_also_when_they_were_read_before(place: Path, directory: int) -> None:
    for name in ("a", "b"):
        (place / name).write_bytes(bytes(400))
    workspace = reading(max_bytes=1000)
    assert sorted(look(workspace, directory).files) == ["a", "b"]
    (place / "c").write_bytes(bytes(400))
    changes = look(workspace, directory)
    assert len(changes.left_out) == 1 and changes.left_out[0].why == (
        "its 400 bytes go beyond limits.workspace_size (1000 for all)"
    )


def test_of_too_many_files_the_first_are_read_and_nothing_is_taken_for_removed(place: Path, directory: int) -> None:
    for number in range(10):
        (place / f"{number}").write_bytes(b"1")
    workspace = reading(max_files=12)
    assert len(look(workspace, directory).files) == 10
    for number in range(10, 40):
        (place / f"{number}").write_bytes(b"1")
    changes = look(workspace, directory)
    assert changes.removed == ()
    assert changes.left_out == (LeftOut(".", "more than limits.workspace_files (12) files: the rest is not read"),)


def test_names_that_are_no_text_or_too_long_are_named_in_a_way_that_can_be_looked_at(
    place: Path, directory: int
) -> None:
    (place / os.fsdecode(b"bad\xff\x1b[2J")).write_bytes(b"1")
    (place / os.fsdecode(b"dir\xff")).mkdir()
    (place / os.fsdecode(b"dir\xff") / "in").write_bytes(b"1")
    (place / "ok\x1b[2J").write_bytes(b"1")
    changes = reading().read(directory)
    assert changes.files == {"ok\x1b[2J": b"1"}
    assert sorted(changes.left_out, key=lambda each: each.path) == [
        LeftOut("bad\\udcff\\x1b[2J", "its name is not text (UTF-8)"),
        LeftOut("dir\\udcff", "its name is not text (UTF-8)"),
    ]


def test_what_lies_too_deep_is_named_and_takes_no_descriptors(place: Path, directory: int) -> None:
    here = os.dup(directory)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    before = set(os.listdir("/proc/self/fd"))
    deepest = "/".join(["d"] * (MAX_DEPTH + 1))
    assert reading().read(directory) == only_left_out(deepest, f"it lies more than {MAX_DEPTH} folders deep")
    assert set(os.listdir("/proc/self/fd")) == before


def test_only_so_many_are_named_and_the_rest_is_counted(place: Path, directory: int) -> None:
    for number in range(MAX_NAMED + 7):
        (place / f"{number}").symlink_to("x")
    changes = reading().read(directory)
    assert (len(changes.left_out), changes.more) == (MAX_NAMED, 7)


CLOSED = """
import json, os, sys
from agex_supervisor.workspace_reading import WorkspaceReading

if (user := int(sys.argv[2])) >= 0:
    os.setgid(user)
    os.setuid(user)
os.chdir(sys.argv[1])
os.makedirs("closed/in")
for path, mode in (("closed/in/a", 0o000), ("write-only", 0o200)):
    with open(path, "w") as file:
        file.write(path)
    os.chmod(path, mode)
os.chmod("closed/in", 0o400)
os.chmod("closed", 0o000)
os.symlink("write-only", "link")
changes = WorkspaceReading(max_bytes=1000, max_files=100).read(os.open(".", os.O_RDONLY))
print(json.dumps({path: content.decode() for path, content in sorted(changes.files.items())}))
"""


@pytest.mark.parametrize("user", ["self", "nobody"])
def test_modes_that_keep_their_owner_out_hide_nothing(user: str) -> None:
    number = need_nobody() if user == "nobody" else -1
    # pytest's own directories are closed to others.
    with tempfile.TemporaryDirectory() as place:
        os.chown(place, number, number)
        command = [sys.executable, "-c", CLOSED, place, str(number)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stderr == ""
    assert json.loads(done.stdout) == {"closed/in/a": "closed/in/a", "write-only": "write-only"}


# --- and back ---


def test_files_are_written_and_read_back_as_they_were(place: Path, directory: int) -> None:
    files = {"a": b"1", "in/b": b"", "in/deep/c": bytes(range(256)) * 1000, "odd \x1b name\n": b"2", "ä": b"3"}
    digests = write_workspace(files, directory)
    assert digests == {path: hashlib.sha256(content).digest() for path, content in files.items()}
    assert reading().read(directory) == WorkspaceChanges(files, ())
    assert {oct(each.stat().st_mode & 0o777) for each in place.rglob("*") if each.is_file()} == {"0o600"}


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", "a\0b"])
def test_no_stored_name_leads_out_of_the_directory(place: Path, directory: int, path: str) -> None:
    with pytest.raises(StateError, match="cannot be written: "):
        write_workspace({"first": b"", path: b"x"}, directory)
    assert list(place.iterdir()) == []


def test_no_link_that_is_there_is_written_through(place: Path, directory: int, tmp_path: Path) -> None:
    (place / "a").symlink_to(tmp_path / "outside")
    (place / "b").symlink_to(tmp_path)
    for path in ("a", "b/c"):
        with pytest.raises(OSError):
            write_workspace({path: b"x"}, directory)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["workspace"]
