"""The workspace as agent code opens it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agex_worker.sandbox.files import WorkspaceFiles


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    file = tmp_path / "outside.txt"
    file.write_text("secret")
    return file


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    (folder / "inner").mkdir(parents=True)
    return folder


def test_files_are_written_and_read_beneath_the_root(root: Path) -> None:
    files = WorkspaceFiles(root)
    with files.open("inner/a.txt", "w", encoding="utf-8") as file:
        assert (file.write("é\n"), file.name) == (2, "inner/a.txt")
    with files.open(root / "inner" / "a.txt", "rb") as file:
        assert file.read() == "é\n".encode()
    with files.open("inner/../inner/a.txt", "a+", newline="") as file:
        assert file.write("x") == 1
    assert (root / "inner" / "a.txt").read_text(encoding="utf-8") == "é\nx"


@pytest.mark.parametrize("path", ["../outside.txt", "inner/../../outside.txt", "/etc/hostname", "..", ""])
def test_a_path_that_lies_outside_is_refused(root: Path, outside: Path, path: str) -> None:
    with pytest.raises(OSError) as caught:
        WorkspaceFiles(root).open(path or str(outside))
    assert type(caught.value) is PermissionError
    assert "[filesystem]" in str(caught.value)


@pytest.mark.parametrize("mode", ["r", "w", "a", "x", "r+"])
def test_a_symbolic_link_is_not_followed_wherever_it_stands(root: Path, outside: Path, mode: str) -> None:
    (root / "link.txt").symlink_to(outside)
    (root / "up").symlink_to(outside.parent)
    for path in ("link.txt", "up/outside.txt"):
        with pytest.raises(OSError) as caught:
            WorkspaceFiles(root).open(path, mode)
        assert type(caught.value) in (PermissionError, FileExistsError)
    assert outside.read_text() == "secret"


def test_what_is_missing_is_reported_by_the_path_that_was_given(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"\[Errno 2\] No such file or directory: 'inner/none.txt'"):
        WorkspaceFiles(root).open("inner/none.txt")


def test_opening_a_pipe_does_not_wait_for_its_other_end(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with WorkspaceFiles(root).open("pipe", "rb", 0) as pipe:
        assert pipe.read() == b""


@pytest.mark.parametrize("mode", ["", "rw", "rr", "q", "b"])
def test_a_mode_that_open_does_not_know_is_refused(root: Path, mode: str) -> None:
    with pytest.raises(ValueError, match="mode"):
        WorkspaceFiles(root).open("a.txt", mode)


@pytest.mark.parametrize("path", [b"a.txt", 1])
def test_a_path_is_text(root: Path, path: object) -> None:
    with pytest.raises(TypeError, match="open\\(\\) takes the path as a str"):
        WorkspaceFiles(root).open(path)  # type: ignore[arg-type]
