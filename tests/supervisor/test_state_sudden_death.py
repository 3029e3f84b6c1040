"""A store whose writer was killed at any moment is whole: the last acknowledged commit is there, and none is in half."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agex_supervisor.state_store import StateStore
from tests.supervisor.state_writer import CONTENT_BYTES, SESSION, commit_next, number_of

ROOT = Path(__file__).parents[2]
KILLS = 200


class Nursery:
    """Writers that are killed at random points; each goes on where the last one ended."""

    def __init__(self, process: subprocess.Popen[str], chance: random.Random) -> None:
        self._process = process
        self._chance = chance

    def killed_writer(self, path: Path) -> list[tuple[int, str]]:
        """What a writer said it had committed before it was killed."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        word, pid = self._line().split()
        assert word == "pid"
        acknowledged = [self._acknowledged(self._line()) for _ in range(self._chance.randrange(4))]
        # Somewhere within the next commit or two: they take about a millisecond.
        for _ in range(self._chance.randrange(30_000)):
            pass
        os.kill(int(pid), signal.SIGKILL)
        while not (line := self._line()).startswith("gone"):
            acknowledged.append(self._acknowledged(line))
        assert line == f"gone {signal.SIGKILL}"
        return acknowledged

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    @staticmethod
    def _acknowledged(line: str) -> tuple[int, str]:
        word, number, commit = line.split()
        assert word == "ack"
        return int(number), commit


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    command = [sys.executable, "-m", "tests.supervisor.state_writer", "nursery"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Nursery(process, random.Random(5))
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=60) == 0


def test_a_store_is_whole_after_each_of_two_hundred_kills(nursery: Nursery, tmp_path: Path) -> None:
    path, last = tmp_path / "none", -1
    for kill in range(KILLS):
        # Now and then a new one: that, too, can be killed.
        if kill % 20 == 0:
            path, last = tmp_path / f"{kill}.db", -1
        acknowledged = nursery.killed_writer(path)
        with StateStore.open(f"sqlite:///{path}") as store:
            session = store.session(SESSION)
            last = acknowledged[-1][0] if acknowledged else last
            assert number_of(session) in (last, last + 1)
            for number, commit in acknowledged:
                assert number_of(session, commit) == number
            last = number_of(session)
            check_whole(session.head, store, last)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def check_whole(head: str | None, store: StateStore, number: int) -> None:
    """The state is that which `commit_next` leaves: files, cache and events of one and the same commit."""
    session = store.session(SESSION)
    assert session.head == head
    expected = {
        f"data/{each % 7}": bytes([each % 256]) * CONTENT_BYTES for each in range(max(0, number - 6), number + 1)
    }
    assert dict(session.files()) == expected | ({"number": str(number).encode()} if number >= 0 else {})
    assert [commit.message for commit in session.history()] == [str(each) for each in range(number, -1, -1)]
    events = session.events()
    assert [text for text, _ in events] == [
        f'{{"kind": "NoteEvent", "message": "{each}"}}' for each in range(number + 1)
    ]
    assert [commit for _, commit in events] == [commit.hash for commit in reversed(session.history())]


def test_a_writer_goes_on_where_a_killed_one_ended(nursery: Nursery, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    nursery.killed_writer(path)
    with StateStore.open(f"sqlite:///{path}") as store:
        session = store.session(SESSION)
        number = number_of(session) + 1
        commit = commit_next(session, number)
        check_whole(commit, store, number)
