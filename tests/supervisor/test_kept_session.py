"""A session while a task works in it: from the store into a directory, and back after each action."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agex_supervisor.errors import StateError
from agex_supervisor.kept_session import KeptSession
from agex_supervisor.state_store import StateStore
from agex_supervisor.workspace_reading import LeftOut, WorkspaceChanges
from tests.supervisor.state_stores import event


@pytest.fixture
def store() -> Iterator[StateStore]:
    with StateStore.open("memory:") as opened:
        yield opened


def kept(store: StateStore) -> KeptSession:
    return KeptSession(store.session("ann"), max_bytes=1000, max_files=100, apart=("skills",))


class Made(NamedTuple):
    commit: str
    changes: WorkspaceChanges


def made(session: KeptSession, directory: int, **kept: Any) -> Made:
    changes = session.read(directory)
    return Made(session.commit(changes, **kept), changes)


def folder(tmp_path: Path, name: str) -> tuple[Path, int]:
    place = tmp_path / name
    place.mkdir()
    return place, os.open(place, os.O_RDONLY | os.O_DIRECTORY)


def test_what_an_action_left_is_there_for_the_next_task_in_another_directory(store: StateStore, tmp_path: Path) -> None:
    place, directory = folder(tmp_path, "one")
    session = kept(store)
    assert session.place(directory) == {}
    (place / "skills").mkdir()
    (place / "skills" / "x").write_bytes(b"mounted")
    (place / "a").write_bytes(b"1")
    first = made(session, directory, cache={"k": b"x"}, events=[event("one")])
    (place / "a").write_bytes(b"2")
    (place / "b").write_bytes(b"3")
    os.mkfifo(place / "fifo")
    second = made(session, directory, cache={}, events=[event("two")])
    os.close(directory)

    assert (first.changes.added, first.changes.modified) == ({"a"}, ())
    assert (second.changes.added, second.changes.modified) == ({"b"}, ("a",))
    assert second.changes.left_out == (LeftOut("fifo", "it is a FIFO"),)

    place, directory = folder(tmp_path, "two")
    later = kept(store)
    assert dict(later.place(directory)) == {"k": b"x"}
    assert {each.name: each.read_bytes() for each in place.iterdir()} == {"a": b"2", "b": b"3"}
    (place / "b").unlink()
    third = made(later, directory, cache={"k": None}, events=[])
    os.close(directory)

    assert (dict(third.changes.files), third.changes.removed) == ({}, ("b",))
    session_store = store.session("ann")
    assert [dict(session_store.files(each.hash)) for each in session_store.history()] == [
        {"a": b"2"},
        {"a": b"2", "b": b"3"},
        {"a": b"1"},
    ]
    assert [(text, commit) for text, commit in session_store.events()] == [
        (event("one"), first.commit),
        (event("two"), second.commit),
    ]


def test_a_commit_that_failed_is_made_up_for_by_the_next(store: StateStore, tmp_path: Path) -> None:
    place, directory = folder(tmp_path, "one")
    session = kept(store)
    session.place(directory)
    (place / "a").write_bytes(b"1")
    with pytest.raises(StateError, match="^an event to be stored is no JSON: "):
        made(session, directory, cache={}, events=["no event"])
    made(session, directory, cache={}, events=[event("one")])
    os.close(directory)
    assert dict(store.session("ann").files()) == {"a": b"1"}


def test_what_the_application_wrote_meanwhile_stays_though_the_directory_lacks_it(
    store: StateStore, tmp_path: Path
) -> None:
    place, directory = folder(tmp_path, "one")
    session = kept(store)
    session.place(directory)
    (place / "a").write_bytes(b"1")
    made(session, directory, cache={}, events=[])
    store.session("ann").commit(files={"from-outside": b"2"})
    (place / "a").write_bytes(b"3")
    for _ in range(2):
        made(session, directory, cache={}, events=[])
    os.close(directory)
    assert dict(store.session("ann").files()) == {"a": b"3", "from-outside": b"2"}
