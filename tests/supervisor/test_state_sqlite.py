"""The file of a store: what it is, what it refuses to be, and what comes of one that is damaged."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import re
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from agex_supervisor import sqlite_store
from agex_supervisor.checked_store import CheckedStore
from agex_supervisor.errors import ConfigurationError, StateError
from agex_supervisor.sqlite_store import SqliteStore
from agex_supervisor.state_store import FORMAT_KEY, StateStore
from tests.supervisor.state_stores import event

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def opened(path: Path, *, create: bool = True) -> StateStore:
    return StateStore.open(f"sqlite:///{path}", create=create)


def made(path: Path, commits: int = 3) -> list[str]:
    with opened(path) as store:
        session = store.session("ann")
        return [
            session.commit(files={f"{n}": bytes([n]) * 3000}, cache={"k": b"x"}, events=[event(str(n))])
            for n in range(commits)
        ]


def run_sql(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def refusal(path: Path, *, create: bool = True) -> str:
    with pytest.raises(StateError) as caught:
        opened(path, create=create)
    return str(caught.value).replace(str(path), "FILE")


def sqlite_of(store: StateStore) -> SqliteStore:
    checked = store.repo.store
    assert isinstance(checked, CheckedStore) and isinstance(checked.store, SqliteStore)
    return checked.store


# --- what it is ---


def test_the_file_is_its_owners_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(path) as store:
            store.session("ann").commit()
            modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    finally:
        os.umask(before)

    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}


def test_a_store_is_there_when_it_is_opened_again(path: Path) -> None:
    commits = made(path)
    with opened(path, create=False) as store:
        session = store.session("ann")
        assert [each.hash for each in session.history()] == commits[::-1]
        assert session.files()["2"] == b"\2" * 3000


def test_a_commit_writes_what_changed_and_not_what_was_there(path: Path) -> None:
    with opened(path) as store:
        session = store.session("ann")
        session.commit(files={f"d/{n}": os.urandom(20_000) for n in range(100)}, events=[event("x" * 20_000)])
        written: list[int] = []
        backend = sqlite_of(store)
        before = backend.cas_many

        def counted(expected, writes, removes=()):  # type: ignore[no-untyped-def]
            written.append(sum(len(value) for value in writes.values()))
            return before(expected, writes, removes)

        backend.cas_many = counted  # type: ignore[method-assign]
        session.commit(files={"d/3": b"new" * 100}, events=[event("small")])

    # Some nodes of the tree of a hundred names, and the record of the commit.
    assert 300 < sum(written) < 6_000


def test_one_commit_is_one_transaction(path: Path) -> None:
    with opened(path) as store:
        session = store.session("ann")
        session.commit(files={"a": b"1"})
        backend = sqlite_of(store)
        statements: list[str] = []
        connection = backend._connected()
        connection.set_trace_callback(statements.append)
        session.commit(files={"a": b"2"}, cache={"k": b"1"}, events=[event("one")])
        connection.set_trace_callback(None)

    marks = [each for each in statements if each.split()[0] in ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT")]
    assert marks == ["BEGIN IMMEDIATE", "COMMIT"]
    assert statements[0] == "BEGIN IMMEDIATE" and statements[-1] == "COMMIT"


def test_what_fails_in_a_transaction_leaves_nothing_and_the_store_goes_on(path: Path) -> None:
    with opened(path) as store:
        session = store.session("ann")
        first = session.commit(files={"a": b"1"})
        with pytest.raises(StateError, match=" cannot be used "), store.writing():
            session.commit(files={"a": b"2"})
            raise sqlite3.OperationalError("made up")
        assert (session.head, session.files()["a"]) == (first, b"1")

    with opened(path) as store:
        session = store.session("ann")
        session.commit(files={"b": b"2"})
        assert dict(session.files()) == {"a": b"1", "b": b"2"}


def test_a_sweep_gives_the_disk_its_room_back(path: Path) -> None:
    with opened(path) as store:
        store.session("kept").commit(files={"a": b"1"})
        store.session("gone").commit(files={"big": os.urandom(5_000_000)})
        store.forget("gone")
        assert store.collect() == 1
    assert path.stat().st_size < 200_000


def test_who_is_kept_waiting_for_too_long_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(path)
    monkeypatch.setattr(sqlite_store, "BUSY_S", 0.05)
    with opened(path) as store, contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError) as caught:
            store.session("ann").commit()
        other.execute("ROLLBACK")
        store.session("ann").commit()
    assert (
        str(caught.value) == f"the store {path} is being written to by somebody else, for more than 0.05 s; try again"
    )


def test_readers_do_not_wait_for_a_writer(path: Path) -> None:
    commits = made(path)
    with opened(path) as store, contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.session("ann").head == commits[-1]
        other.execute("ROLLBACK")


def test_a_fork_of_the_process_has_a_connection_of_its_own(path: Path) -> None:
    code = f"""
import os, threading
from agex_supervisor.state_store import StateStore

store = StateStore.open("sqlite:///{path}")
session = store.session("ann")
session.commit(files={{"before": b""}})
pid = os.fork()
session.commit(files={{"child" if pid == 0 else "parent": b""}})
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print(sorted(session.files()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("['before', 'child', 'parent']\n", "")


def test_threads_may_share_one_store(path: Path) -> None:
    with opened(path) as store:
        session = store.session("ann")
        threads = [threading.Thread(target=session.commit, kwargs={"files": {str(n): b""}}) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(session.files()) == [str(n) for n in range(8)]


# --- what it refuses ---


@pytest.mark.parametrize(
    "url", ["", "sqlite:", "sqlite://x", "sqlite:///", "file.db", "mysql://u:secret@h/d", "memory", "disk:x"]
)
def test_a_url_that_names_no_store_is_told_with_those_that_do(url: str) -> None:
    with pytest.raises(ConfigurationError, match='names no store; there are "memory:", "sqlite:///file.db"'):
        StateStore.open(url)


def test_a_file_that_is_not_there_is_made_only_where_that_is_meant(path: Path) -> None:
    assert (
        refusal(path, create=False) == "there is no store FILE; an Agent with this state= makes it with its first task"
    )
    assert not path.exists()
    assert refusal(path.parent / "nowhere" / "state.db").endswith("its folder must exist and be writable")


def test_a_file_of_another_kind_is_left_as_it_is(path: Path) -> None:
    path.write_bytes(b"text, and quite a lot of it: " * 100)
    before = path.read_bytes()
    assert refusal(path) == "the store FILE is no SQLite file; name another file"
    assert path.read_bytes() == before


def test_what_is_no_file_is_no_store(path: Path) -> None:
    path.mkdir()
    assert refusal(path) == "the store FILE is a folder; name a file in it"
    path.rmdir()
    os.mkfifo(path)
    assert refusal(path) == "the store FILE is no regular file; name another"


def test_a_place_that_cannot_be_looked_at_is_told(path: Path) -> None:
    path.touch()
    assert (
        refusal(path / "state.db") == "the store FILE cannot be reached: Not a directory; look at the folders above it"
    )


@pytest.mark.parametrize("how", ["removed", "renamed", "replaced"])
def test_a_file_that_goes_away_while_it_is_open_is_told_and_not_written_to_for_nobody(path: Path, how: str) -> None:
    made(path)
    with opened(path) as store:
        session = store.session("ann")
        session.commit(files={"a": b"1"})
        before = session.head
        if how == "removed":
            path.unlink()
        else:
            path.rename(path.with_name("old.db"))
            path.with_name("state.db-wal").rename(path.with_name("old.db-wal"))
        if how == "replaced":
            made(path)
        told = f"^the store {re.escape(str(path))} was removed, renamed or replaced while it was open: put it back, or go on"
        with pytest.raises(StateError, match=told):
            session.commit(files={"a": b"2"})
        with pytest.raises(StateError, match=told):
            session.refresh()
    if how == "renamed":
        with opened(path.with_name("old.db"), create=False) as store:
            assert store.session("ann").head == before


def test_a_store_of_a_relative_path_is_the_same_file_in_a_fork_that_goes_elsewhere(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    with StateStore.open("sqlite:///state.db") as store:
        session = store.session("ann")
        session.commit(files={"a": b"1"})
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                os.chdir("/")
                session.commit(files={"a": b"2"})
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert dict(session.files()) == {"a": b"2"}


def test_a_database_of_another_program_is_left_as_it_is(path: Path) -> None:
    run_sql(path, "CREATE TABLE entry (key TEXT PRIMARY KEY, value BLOB)")
    before = path.read_bytes()
    assert refusal(path) == "FILE is an SQLite file of another program; name another file"
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_store_only_where_that_is_meant(path: Path) -> None:
    path.touch()
    assert (
        refusal(path, create=False)
        == "FILE is empty and no store; an Agent with this state= makes it one with its first task"
    )
    made(path)


def test_a_store_of_a_later_version_is_left_as_it_is(path: Path) -> None:
    made(path)
    run_sql(path, "PRAGMA user_version = 2")
    assert refusal(path) == (
        "the store FILE is of version 2, and this agex knows 1: use the agex that wrote it, or name another file"
    )
    run_sql(path, "PRAGMA user_version = 1", f"UPDATE entry SET value = CAST('2' AS BLOB) WHERE key = '{FORMAT_KEY}'")
    assert refusal(path) == (
        "the state in sqlite:///FILE is of format b'2', and this agex knows b'1': use the agex that wrote it, or name"
        " another store"
    )
    run_sql(
        path,
        f"UPDATE entry SET value = CAST('1' AS BLOB) WHERE key = '{FORMAT_KEY}'",
        "UPDATE entry SET value = CAST('5' AS BLOB) WHERE key = '__kvgit_version__'",
    )
    assert refusal(path) == (
        "the state in sqlite:///FILE is of a newer kvgit: use the version that wrote it, or name another store"
    )


# --- what is damaged, or hostile ---


def used(store: StateStore) -> None:
    for name in store.sessions():
        session = store.session(name)
        for commit in session.history():
            dict(session.files(commit.hash)), dict(session.cache(commit.hash)), session.events(commit.hash)
        session.diff(session.history()[0].hash, session.history()[-1].hash)
        session.commit(files={"more": b"1"}, events=[event("more")])
    store.collect()


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_file_is_a_state_error_or_no_matter_and_never_anything_else(path: Path, seed: int) -> None:
    made(path, commits=6)
    whole = path.read_bytes()
    chance = random.Random(seed)
    refused = 0
    for _ in range(25):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 10, 200))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        for beside in ("-wal", "-shm"):
            Path(f"{path}{beside}").unlink(missing_ok=True)
        path.write_bytes(damaged[: chance.choice((len(whole), len(whole), chance.randrange(len(whole))))])
        try:
            with opened(path) as store:
                used(store)
        except StateError:
            refused += 1
    assert refused > 5


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kvgit:blob:", b"other"),
        ("__commit_root__", b"[]"),
        ("__commit_root__", b'"nowhere"'),
        ("__parent_commit__", b"{"),
        ("__commit_time__", b'"late"'),
        ("__info__", b"null"),
        ("__info__", b'{"message": 1, "events": []}'),
        ("__info__", b'{"message": "", "events": [1]}'),
        ("__branch_head__", b"\xff"),
        ("kvgit:keyset:", b"{}"),
        ("kvgit:keyset:", b'{"kind":"leaf","items":{"f/0":"!"}}'),
    ],
)
def test_a_record_that_is_not_what_it_should_be_is_a_state_error(path: Path, key: str, value: bytes) -> None:
    made(path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        end = key[:-1] + chr(ord(key[-1]) + 1)
        connection.execute("UPDATE entry SET value = ? WHERE key >= ? AND key < ?", (value, key, end))
    with opened(path) as store, pytest.raises(StateError):
        session = store.session("ann")
        session.history(), session.events(), dict(session.files())


@pytest.mark.parametrize("key", ["__branch_head__ann", "__parent_commit__", "__commit_root__"])
def test_a_sweep_takes_nothing_where_something_is_damaged(path: Path, key: str) -> None:
    commits = made(path)
    key = key if key.endswith("ann") else f"{key}{commits[1]}"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        (whole,) = connection.execute("SELECT value FROM entry WHERE key = ?", (key,)).fetchone()
        connection.execute("UPDATE entry SET value = ? WHERE key = ?", (b"[]", key))
    with opened(path) as store:
        with pytest.raises(StateError):
            store.collect()
        store.repo.store.set(key, whole)
    with opened(path) as store:
        assert [each.hash for each in store.session("ann").history()] == commits[::-1]
        assert store.session("ann").files(commits[0])["0"] == bytes(3000)


def test_something_stored_that_is_gone_is_a_state_error_and_not_an_empty_folder(path: Path) -> None:
    made(path)
    run_sql(path, "DELETE FROM entry WHERE key LIKE 'kvgit:keyset:%'")
    with opened(path) as store:
        session = store.session("ann")
        missing = r"is damaged \(something stored is missing\); restore it from a copy$"
        with pytest.raises(StateError, match=missing):
            list(session.files())
        with pytest.raises(StateError, match=missing):
            session.commit(files={"new": b""})


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("exit 3",)


def test_stored_pickles_are_bytes_and_nothing_opens_them(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened_here(*_: object, **__: object) -> None:
        raise AssertionError("something unpickles")

    evil = [pickle.dumps(Evil(), protocol) for protocol in range(6)]
    for name in ("loads", "load", "Unpickler"):
        monkeypatch.setattr(pickle, name, opened_here)
    with opened(path) as store:
        ours, theirs = store.session("ann"), store.session("ann")
        for each in (ours, theirs):
            for number, data in enumerate(evil):
                each.commit(files={f"{number}.pickle": data, "both": data}, cache={str(number): data})
        assert store.repo._codec.decoder(evil[0]) == evil[0]
        assert ours.files()["3.pickle"] == evil[3] == theirs.cache()["3"]
        used(store)
