"""Where a path leads, and whether that is granted: by text where that decides, by the links on the way where not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agex_protocol.plan import Limits, LockdownPlan
from agex_worker.granted import Granted


@pytest.fixture
def granted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Granted:
    """Own files in "own", where the process is; what may be read in "lib"; and a secret outside of both."""
    for name in ("own/folder", "lib/folder", "secret"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "own/away").symlink_to(tmp_path / "secret")
    (tmp_path / "own/folder/home").symlink_to("..")
    (tmp_path / "own/back").symlink_to(tmp_path / "lib")
    (tmp_path / "lib/away").symlink_to(tmp_path / "secret")
    (tmp_path / "secret/back").symlink_to(tmp_path / "own")
    monkeypatch.chdir(tmp_path / "own")
    return Granted(LockdownPlan("custom", "kernel", Limits(), read=(str(tmp_path / "lib"),)), [str(tmp_path / "own")])


@pytest.mark.parametrize(
    "path",
    [
        "file",
        "./file",
        "",
        "nul\0",
        3,
        None,
        b"file",
        Path("folder/file"),
        "folder/home/file",
        "../own/file",
        "../lib/file",
        "back/file",
        "TMP/own",
        "TMP/own/.hidden",
        "TMP/own/folder/../file",
        "TMP/secret/back/file",
        "TMP/lib//file",
    ],
    ids=repr,
)
def test_what_is_granted_leads_nowhere_beyond(path: object, granted: Granted, tmp_path: Path) -> None:
    asked = path.replace("TMP", str(tmp_path)) if isinstance(path, str) else path
    assert granted.beyond(asked) is None


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("..", ""),
        ("../secret/x", "/secret/x"),
        (b"../secret/x", "/secret/x"),
        (Path("away/x"), "/secret/x"),
        ("away", "/secret"),
        ("folder/home/away/x", "/secret/x"),
        ("TMP/own/away/x", "/secret/x"),
        ("TMP/own/../secret", "/secret"),
        ("TMP/lib/away", "/secret"),
        ("TMP/library", "/library"),
    ],
    ids=repr,
)
def test_what_is_not_granted_is_told_as_the_path_that_it_leads_to(
    path: object, leads_to: str, granted: Granted, tmp_path: Path
) -> None:
    asked = path.replace("TMP", str(tmp_path)) if isinstance(path, str) else path
    assert granted.beyond(asked) == f"{tmp_path}{leads_to}"


def test_what_is_only_read_may_not_be_written(granted: Granted, tmp_path: Path) -> None:
    assert granted.beyond("back/file", writing=True) == f"{tmp_path}/lib/file"
    assert granted.beyond("folder/file", writing=True) is None


def test_a_link_that_is_not_followed_counts_as_itself_and_the_folders_on_its_way_do_not(
    granted: Granted, tmp_path: Path
) -> None:
    assert granted.beyond("away", follow=False) is None
    assert granted.beyond("./away/", follow=False) is None
    assert granted.beyond("away/x", follow=False) == f"{tmp_path}/secret/x"
    assert granted.beyond("away/..", follow=False) == str(tmp_path)


def test_what_may_be_relative_to_a_descriptor_is_left_to_the_kernel(granted: Granted) -> None:
    assert granted.beyond("../secret", relative=False) is None
    assert granted.beyond("/secret", relative=False) == "/secret"


def test_where_the_working_directory_is_gone_only_the_kernel_can_tell(granted: Granted, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert granted.beyond("../secret") is None
