"""`agex state`: what stored sessions hold, shown without a byte of theirs reaching the terminal as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agex import Agent, NoteEvent, State
from agex.llm import Reply, Scripted, TerminalAction, WriteFile
from agex_supervisor.cache_entry import of_host


def agex(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agex", "state", *arguments], capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def stored(tmp_path: Path) -> tuple[str, list[str]]:
    """The path of a store, and its commits, oldest first."""
    path = str(tmp_path / "state.db")
    evil = "\x1b]0;owned\x07\u202e"
    with State(f"sqlite:///{path}") as state:
        session = state.session("ann")
        note = NoteEvent(agent="memo", session="ann", message=f"hello {evil}").to_json()
        first = session.store.commit(
            files={"a.txt": b"1", f"evil{evil}": b"22"}, events=[note], message=f"action {evil}"
        )
        second = session.store.commit(files={"a.txt": b"2"}, cache={"k": of_host([1]).to_bytes()}, message="action 2")
    return path, [first, second]


def test_events_are_shown_with_the_commit_that_each_left(stored: tuple[str, list[str]]) -> None:
    path, (first, _) = stored
    done = agex("events", path, "--session", "ann")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("  ", 1)[1] == f"{first[:12]}  Note       note; hello \\x1b]0;owned\\x07\\u202e\n"


def test_events_as_json_are_those_of_the_library(stored: tuple[str, list[str]]) -> None:
    path, (first, _) = stored
    done = agex("events", f"sqlite:///{path}", "--session", "ann", "--json")
    plain = json.loads(done.stdout)
    assert plain["session"] == "ann"
    assert [(each["kind"], each["message"], each["commit_hash"]) for each in plain["events"]] == [
        ("NoteEvent", "hello \x1b]0;owned\x07\u202e", first)
    ]
    assert done.stdout.isascii() and "\x1b" not in done.stdout


def test_show_tells_sessions_commits_files_and_cache(stored: tuple[str, list[str]]) -> None:
    path, (first, second) = stored
    lines = agex("show", path, "--session", "ann").stdout.splitlines()
    assert lines[:2] == ["sessions: ann", "session ann:"]
    assert [line.split("  ")[2:] for line in lines[2:4]] == [
        [second[:12], "action 2"],
        [first[:12], "action \\x1b]0;owned\\x07\\u202e"],
    ]
    assert lines[4:] == [
        "files:",
        "             1  a.txt",
        "             2  evil\\x1b]0;owned\\x07\\u202e",
        "cache:",
        "  k: list",
    ]


def test_show_of_an_earlier_commit_as_json(stored: tuple[str, list[str]]) -> None:
    path, (first, _) = stored
    plain = json.loads(agex("show", path, "--session", "ann", "--commit", first[:8], "--json").stdout)
    assert [each["hash"] for each in plain["commits"]] == [first]
    assert (plain["files"]["a.txt"], plain["cache"]) == (1, {})


def test_diff_names_what_changed(stored: tuple[str, list[str]]) -> None:
    path, (first, second) = stored
    done = agex("diff", path, first[:10], second, "--session", "ann")
    assert done.stdout == "modified  file a.txt\nadded     cache k\n"
    plain = json.loads(agex("diff", path, first, second, "--session", "ann", "--json").stdout)
    assert plain == {
        "files": {"added": [], "removed": [], "modified": ["a.txt"]},
        "cache": {"added": ["k"], "removed": [], "modified": []},
    }


def test_a_session_without_anything_is_told(stored: tuple[str, list[str]]) -> None:
    path, _ = stored
    assert agex("events", path).stdout == "no events in session default; sessions: ann\n"
    assert agex("show", path).stdout == "sessions: ann\nsession default:\nno files\nnothing in the cache\n"


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["events", "{path}.none"], 1, "agex: StateError: there is no store {path}.none; "),
        (["events", "mysql://x"], 1, "agex: ConfigurationError: state='mysql://x' names no store; "),
        (["events", "{path}", "--session", "../x"], 2, "Usage: "),
        (["diff", "{path}", "0" * 40, "1" * 40, "--session", "../x"], 2, "Usage: "),
        (
            ["show", "{path}", "--commit", "0" * 40],
            1,
            "agex: StateError: session 'default' of sqlite:///{path} has no ",
        ),
        (
            ["show", "{path}", "--commit", "abc"],
            1,
            "agex: StateError: no commit of session 'default' begins with 'abc'; ",
        ),
        (["diff", "{path}", "0" * 40, "1" * 40], 1, "agex: StateError: there is no such commit in "),
    ],
)
def test_what_is_not_there_is_one_line_and_makes_nothing(
    stored: tuple[str, list[str]], arguments: list[str], status: int, told: str
) -> None:
    path, _ = stored
    done = agex(*(each.replace("{path}", path) for each in arguments))
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(told.replace("{path}", path))
    assert "Traceback" not in done.stderr
    assert not Path(f"{path}.none").exists()


def test_what_an_agent_kept_is_shown_action_by_action(tmp_path: Path) -> None:
    path = str(tmp_path / "state.db")
    script = [
        Reply(text="\x1b[2Jhm", actions=[WriteFile("a.txt", "one"), TerminalAction("mkdir d; echo two > d/b.txt")]),
        "cache['made'] = {3, 4}\n1 / 0",
        "task_success(len(cache))",
    ]
    with Agent(name="clerk", llm=Scripted(script), state=f"sqlite:///{path}") as agent:

        @agent.task
        def work() -> int:
            """Work."""
            raise NotImplementedError

        outcome = work.run(session="ann")
        commits = [commit.hash for commit in agent.state("ann").history()]
    assert (outcome.unwrap(), outcome.commit, len(commits)) == (1, commits[0], 4)

    lines = [line.split()[2:4] for line in agex("events", path, "--session", "ann").stdout.splitlines()]
    assert [[kind, {commit[:12]: 4 - place for place, commit in enumerate(commits)}[at]] for at, kind in lines] == [
        ["TaskStart", 1],
        *(["Action", 1], ["Output", 1], ["File", 1]),
        *(["Action", 2], ["Output", 2], ["File", 2]),
        *(["Action", 3], ["Output", 3]),
        *(["Action", 4], ["Success", 4]),
    ]

    shown = json.loads(agex("show", path, "--session", "ann", "--json").stdout)
    assert [each["message"] for each in shown["commits"]] == [
        "work: success",
        "work: action 3: python_action",
        "work: action 2: terminal_action",
        "work: action 1: write_file a.txt",
    ]
    assert (shown["files"], shown["cache"]) == ({"a.txt": 3, "d/b.txt": 4}, {"made": "set"})
    compared = agex("diff", path, commits[-1], commits[0], "--session", "ann")
    assert compared.stdout.splitlines() == ["added     file d/b.txt", "added     cache made"]
