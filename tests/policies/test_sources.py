"""No policy is read that agent code could have written: not in a workspace, and not by way of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agex_policies.compile import paths_of
from agex_policies.errors import PolicyError
from agex_policies.schema import Policy, refuse_sources_in
from agex_policies.sources import SCRATCH_LOCK, SCRATCH_PREFIX, way_to
from agex_supervisor import scratch


@pytest.fixture(autouse=True)
def no_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGEX_POLICY_PATH", raising=False)
    monkeypatch.delenv("AGEX_POLICY_CEILING", raising=False)


@pytest.fixture
def workspace() -> Iterator[Path]:
    """A workspace as pools make them."""
    running = scratch.Scratch()
    try:
        yield running.new_workspace()
    finally:
        running.close()


def written(path: Path, text: str = 'extends = "strict"\n') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_supervisors_directories_are_known_by_the_names_that_it_gives_them() -> None:
    assert (SCRATCH_PREFIX, SCRATCH_LOCK) == (scratch.PREFIX, scratch.LOCK)


def test_a_policy_in_a_workspace_of_a_pool_is_refused(workspace: Path) -> None:
    path = written(workspace / "policy.toml")
    with pytest.raises(PolicyError) as caught:
        Policy.load(path)
    root = workspace.parent.parent
    assert str(caught.value) == (
        f"{path} is reached through {root}, which holds workspaces: agent code could change it there;"
        " keep policies, and links to them, where no agent works"
    )


def test_a_link_into_a_workspace_is_refused_even_where_the_file_lies_outside(workspace: Path, tmp_path: Path) -> None:
    good = written(tmp_path / "good.toml")
    (workspace / "middle.toml").symlink_to(good)
    (tmp_path / "policy.toml").symlink_to(workspace / "middle.toml")
    Policy.load(good)
    with pytest.raises(PolicyError, match="which holds workspaces"):
        Policy.load(tmp_path / "policy.toml")


def test_a_way_through_a_workspace_and_out_again_is_refused(workspace: Path, tmp_path: Path) -> None:
    good = written(tmp_path / "good.toml")
    (workspace / "folder").mkdir()
    climbing = "../" * (len(workspace.parts) + 1)
    with pytest.raises(PolicyError, match="which holds workspaces"):
        Policy.load(f"{workspace}/folder/{climbing}{good}")


def test_a_parent_in_a_workspace_is_refused_with_the_line_that_names_it(workspace: Path, tmp_path: Path) -> None:
    written(workspace / "base.toml")
    path = written(tmp_path / "mine.toml", f'\nextends = "{workspace}/base.toml"\n')
    with pytest.raises(PolicyError) as caught:
        Policy.load(path)
    assert (caught.value.file, caught.value.line, caught.value.key) == (path, 2, "extends")


def test_a_folder_of_the_deployment_in_a_workspace_is_refused(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(workspace / "ours.toml")
    (tmp_path / "policies").symlink_to(workspace)
    monkeypatch.setenv("AGEX_POLICY_PATH", str(tmp_path / "policies"))
    with pytest.raises(PolicyError, match="which holds workspaces"):
        Policy.load("ours")
    monkeypatch.setenv("AGEX_POLICY_CEILING", "ours")
    with pytest.raises(PolicyError, match="which holds workspaces"):
        Policy.load("strict")


def test_every_way_into_a_directory_of_the_callers_own_is_found(tmp_path: Path) -> None:
    work = tmp_path / "work"
    good = written(tmp_path / "good.toml")
    inside = written(work / "deep" / "policy.toml")
    (work / "out.toml").symlink_to(good)
    (tmp_path / "folder").symlink_to(work / "deep")
    child = written(tmp_path / "child.toml", 'extends = "work/deep/policy.toml"\n')
    refuse_sources_in(Policy.load(good), work)
    for path in (inside, work / "out.toml", tmp_path / "folder" / "policy.toml", child):
        with pytest.raises(PolicyError) as caught:
            refuse_sources_in(Policy.load(path), work)
        assert caught.value.message.endswith(
            f"is reached through the workspace {work}, where agent code could change it"
        )


def test_a_parent_in_a_directory_of_the_callers_own_is_refused_with_the_line_that_names_it(tmp_path: Path) -> None:
    parent = written(tmp_path / "work" / "base.toml")
    path = written(tmp_path / "mine.toml", '\nextends = "work/base.toml"\n')
    with pytest.raises(PolicyError) as caught:
        refuse_sources_in(Policy.load(path), tmp_path / "work")
    assert str(caught.value) == (
        f"{path}:2: extends: {parent} is reached through the workspace {tmp_path / 'work'}, where agent code could change"
        " it; keep policies, and links to them, where no agent works"
    )


def test_a_ceiling_in_the_workspace_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ceiling = written(tmp_path / "work" / "ceiling.toml")
    monkeypatch.setenv("AGEX_POLICY_CEILING", str(ceiling))
    with pytest.raises(PolicyError) as caught:
        refuse_sources_in(Policy.load("strict"), tmp_path / "work")
    assert caught.value.file == ceiling


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [(None, None, "there is no policy file "), ("\n[limit]\nthreads = 1\n", 2, "there is no such")],
)
def test_a_ceiling_that_cannot_be_used_is_refused_by_the_name_of_its_variable(
    text: str | None, line: int | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ceiling = tmp_path / "ceiling.toml"
    if text is not None:
        written(ceiling, text)
    monkeypatch.setenv("AGEX_POLICY_CEILING", str(ceiling))
    with pytest.raises(PolicyError) as caught:
        Policy.load("strict")
    assert caught.value.message.startswith(f"AGEX_POLICY_CEILING={str(ceiling)!r} cannot be used: {reason}")
    assert caught.value.line == line


def test_what_a_program_adds_to_a_file_does_not_hide_the_file(tmp_path: Path) -> None:
    policy = Policy.load(written(tmp_path / "work" / "policy.toml")).extend({"limits": {"threads": 1}})
    with pytest.raises(PolicyError):
        refuse_sources_in(policy, tmp_path / "work")


@pytest.mark.parametrize("granted", [".", "policy.toml"])
def test_a_policy_that_agent_code_could_rewrite_under_it_is_refused(granted: str, tmp_path: Path) -> None:
    text = f'widen = ["filesystem.write"]\n[filesystem]\nwrite = ["{granted}"]\n'
    path = written(tmp_path / "data" / "policy.toml", text)
    with pytest.raises(PolicyError) as caught:
        paths_of(Policy.load(path))
    assert caught.value.file == path
    assert "is reached through what [filesystem] write grants:" in caught.value.message


def test_a_way_is_the_one_that_the_kernel_takes(tmp_path: Path) -> None:
    file = written(tmp_path / "a" / "b" / "file")
    (tmp_path / "up").symlink_to("a/b/..")
    (tmp_path / "a" / "absolute").symlink_to(tmp_path / "up")
    for path in (file, tmp_path / "up" / "b" / "file", tmp_path / "a" / "absolute" / "b" / "file"):
        assert way_to(path).file == Path(os.path.realpath(path)) == file
    with pytest.raises(FileNotFoundError):
        way_to(tmp_path / "up" / "file")
