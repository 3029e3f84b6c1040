"""Explanations name what decides, who set it and what would change it; differences say who allows more."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path

import pytest

from agex_policies.bpf import ARCHITECTURES
from agex_policies.difference import Difference, differences
from agex_policies.explain import Answer, answers_on, settings_of
from agex_policies.load import PACKAGED
from agex_policies.machine import Machine
from agex_policies.schema import Policy, values


@pytest.fixture(autouse=True)
def no_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGEX_POLICY_PATH", raising=False)
    monkeypatch.delenv("AGEX_POLICY_CEILING", raising=False)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "table.csv").write_text("1")
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("data/table.csv")
    path = tmp_path / "mine.toml"
    path.write_text(
        """
extends = "base.toml"
widen = ["filesystem.write", "network.allow"]
[filesystem]
write = ["out"]
[network]
allow = ["api.example.com:443"]
[limits]
threads = 8
"""
    )
    (tmp_path / "base.toml").write_text('widen = ["filesystem.read"]\n[filesystem]\nread = ["data"]\n')
    return path


def line(path: Path, text: str) -> str:
    return f"{path}:{1 + path.read_text().splitlines().index(text)}"


def test_every_key_is_told_with_the_line_that_set_it(mine: Path) -> None:
    policy = Policy.load(mine)
    settings = {each.key: each for each in settings_of(policy)}
    assert {key: each.value for key, each in settings.items()} == values(policy)
    assert settings["limits.threads"].set_by == (f"{mine}:9",)
    assert settings["filesystem.read"].set_by == (f"{mine.parent / 'base.toml'}:3",)
    assert settings["limits.memory"].set_by == (line(PACKAGED / "default.toml", 'memory = "1GiB"'),)
    assert settings["host_calls.max_rate"].set_by == ()
    assert policy.origin.sources == (PACKAGED / "default.toml", mine.parent / "base.toml", mine)


def test_a_list_is_told_with_all_that_added_to_it(mine: Path) -> None:
    child = mine.parent / "child.toml"
    child.write_text('extends = "mine.toml"\nwiden = ["network.allow"]\nnetwork.allow = ["db.example.com:5432"]\n')
    settings = {each.key: each for each in settings_of(Policy.load(child))}
    assert settings["network.allow"].set_by == (f"{mine}:7", f"{child}:3")


def test_a_path_is_judged_where_its_links_lead(mine: Path) -> None:
    policy, folder = Policy.load(mine), mine.parent
    reading, writing = answers_on(policy, f"path:{folder}/link")
    where = f"{folder}/link, which is {folder}/data/table.csv after symbolic links,"
    assert reading == Answer(
        f"read of {folder}/link",
        True,
        f"{where} lies in {folder}/data",
        "filesystem.read",
        f"{folder / 'base.toml'}:3",
    )
    assert writing == Answer(
        f"write to {folder}/link",
        False,
        f"{where} lies in nothing that is granted for writing, nor in the workspace",
        "filesystem.write",
        f"{mine}:5",
        f'put `write = ["{folder}/link"]` under [filesystem], and "filesystem.write" into `widen`',
    )


def test_what_is_granted_for_writing_is_read_too(mine: Path) -> None:
    reading, writing = answers_on(Policy.load(mine), f"path:{mine.parent}/out/new.txt")
    assert (reading.allowed, reading.key, reading.set_by) == (True, "filesystem.write", f"{mine}:5")
    assert (writing.allowed, writing.key, writing.set_by) == (True, "filesystem.write", f"{mine}:5")
    assert writing.why.endswith("; there is nothing at that path now")


def test_what_is_advised_for_a_path_allows_it(mine: Path) -> None:
    path = mine.parent / "elsewhere"
    reading, writing = answers_on(Policy.load(mine), f"path:{path}")
    assert (reading.allowed, writing.allowed) == (False, False)
    policy = Policy.load(mine).extend(
        f'widen = ["filesystem.read", "filesystem.write"]\n[filesystem]\nread = ["{path}"]\nwrite = ["{path}"]'
    )
    reading, writing = answers_on(policy, f"path:{path}")
    assert (reading.allowed, writing.allowed) == (True, True)


@pytest.mark.parametrize("path", ["/", "/dev", "/proc/1/environ", "/sys/kernel"])
def test_what_no_policy_can_grant_is_not_advised(path: str) -> None:
    for answer in answers_on(Policy.load("default"), f"path:{path}"):
        assert (answer.allowed, answer.to_allow) == (False, "")
        assert answer.why.endswith("; no policy can grant it, for it holds far more than files, or none")


def test_what_is_not_there_has_to_be_made_before_it_is_granted(mine: Path) -> None:
    reading, _ = answers_on(Policy.load(mine), f"path:{mine.parent}/nowhere")
    assert reading.to_allow == (
        f'once it exists, put `read = ["{mine.parent}/nowhere"]` under [filesystem], and "filesystem.read" into `widen`'
    )


def test_python_is_read_and_by_no_policy_written() -> None:
    reading, writing = answers_on(Policy.load("default"), f"path:{dataclasses.__file__}")
    assert (reading.allowed, reading.key) == (True, "")
    assert (writing.allowed, writing.key, writing.to_allow) == (False, "", "")


def test_a_relative_path_is_told_to_lie_in_the_workspace() -> None:
    with pytest.raises(ValueError, match="lies in the workspace"):
        answers_on(Policy.load("default"), "path:data/x")


def test_a_host_is_told_with_its_grant_and_what_it_takes(mine: Path) -> None:
    policy = Policy.load(mine)
    (granted,) = answers_on(policy, "host:API.example.com:443")
    assert granted == Answer(
        "connection to API.example.com:443",
        True,
        "granted for TLS that names api.example.com, if its address is a public one",
        "network.allow",
        f"{mine}:7",
    )
    (other,) = answers_on(policy, "host:api.example.com:80")
    assert (other.allowed, other.why) == (False, "granted are api.example.com:443")
    assert other.to_allow == 'put `allow = ["api.example.com:80"]` under [network], and "network.allow" into `widen`'
    (never,) = answers_on(policy, "host:localhost:80")
    assert (never.allowed, never.to_allow) == (False, "")
    assert "grant its address" in never.why


@pytest.mark.parametrize(
    ("name", "allowed", "why"),
    [
        ("getpid", True, "in group 'identity', allowed. "),
        (
            "kill",
            True,
            "in group 'signals', allowed with some arguments: where argument 0 is the worker's own process and argument 1"
            " & 0x1 is 0x1, or where ",
        ),
        ("ptrace", False, "in group 'deadly', ends the worker. "),
        ("clone3", False, "in group 'threads', refused with ENOSYS. "),
        ("socket", False, "refused with EPERM. It reaches others through a socket; "),
        ("no_such_call", False, "refused with EPERM. It stands in no group, "),
    ],
)
def test_a_system_call_is_told_with_its_group_and_the_arguments_that_pass(name: str, allowed: bool, why: str) -> None:
    (answer,) = answers_on(Policy.load("default"), f"syscall:{name}")
    assert (answer.subject, answer.allowed, answer.key, answer.to_allow) == (f"system call {name}", allowed, "", "")
    assert answer.why.startswith(why)


def test_the_bits_of_an_argument_are_those_of_this_machine() -> None:
    (answer,) = answers_on(Policy.load("default"), "syscall:openat")
    assert f"argument 2 & {0x70_1040 | ARCHITECTURES[platform.machine()]:#x} is 0x0" in answer.why


def test_a_system_call_is_told_with_the_entry_that_opens_or_shuts_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('widen = ["syscalls.allow"]\n[syscalls]\nallow = ["priorities"]\ndeny = ["socketpair"]\n')
    policy = Policy.load(path)
    (opened,), (shut,), (optional,) = (
        answers_on(policy, f"syscall:{name}") for name in ("sched_setaffinity", "socketpair", "timerfd_create")
    )
    assert (opened.allowed, opened.key, opened.set_by) == (True, "syscalls.allow", f"{path}:3")
    assert (shut.allowed, shut.key, shut.set_by) == (False, "syscalls.deny", f"{path}:4")
    assert (optional.allowed, optional.key, optional.set_by) == (False, "syscalls.allow", f"{path}:3")
    assert optional.to_allow == 'put `allow = ["timerfd_create"]` under [syscalls], and "syscalls.allow" into `widen`'


def test_where_nothing_can_run_everything_is_denied_for_that_reason() -> None:
    lacking = dataclasses.replace(Machine.detect(), seccomp=False)
    (answer,) = answers_on(Policy.load("default"), "syscall:getpid", lacking)
    assert not answer.allowed
    assert answer.why.startswith("nothing runs here: the promise 'programs' cannot be held here: ")


@pytest.mark.parametrize("on", ["", "path:", "/data", "file:/data", "syscall"])
def test_a_question_that_is_none_is_refused(on: str) -> None:
    with pytest.raises(ValueError, match="is not path:/data/x, host:api.example.com:443 or syscall:ptrace"):
        answers_on(Policy.load("default"), on)


def test_differences_say_key_by_key_who_allows_more() -> None:
    base = Policy.load("default").extend({"widen": ["env.pass"], "env": {"pass": ["TZ"]}})
    first = base.extend({"limits": {"memory": "512MiB", "wall_time": "1s"}})
    second = base.extend(
        {
            "widen": ["python.builtins"],
            "limits": {"memory": "0.5GiB", "wall_time": "2s"},
            "python": {"builtins": ["vars"], "modules": ["numpy"]},
            "isolation": {"accept": ["process"]},
        }
    )
    assert differences(first, first) == ()
    assert differences(first, second) == (
        Difference("python.modules", ("*",), ("numpy",), "first"),
        Difference("python.builtins", (), ("vars",), "second"),
        Difference("limits.memory", "512MiB", "0.5GiB", "neither"),
        Difference("limits.wall_time", "1s", "2s", "second"),
        Difference("isolation.accept", (), ("process",), ""),
    )


def test_where_each_allows_what_the_other_does_not_both_are_wider() -> None:
    first, second = (Policy.load("default").extend({"python": {"modules": [name]}}) for name in ("numpy", "pandas"))
    assert differences(first, second) == (Difference("python.modules", ("numpy",), ("pandas",), "both"),)
