"""A session's state as the application sees it: files, cache, events, versions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import agex
from agex import ConfigurationError, Diff, NoteEvent, Opaque, SessionState, State, StateError
from agex_supervisor.cache_entry import CacheEntry
from agex_supervisor.versions import Changes


@pytest.fixture(params=["memory", "sqlite"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'state.db'}"
    with State(url) as opened:
        yield opened


@pytest.fixture
def ann(state: State) -> SessionState:
    return state.session("ann")


# --- State ---


def test_a_state_opens_nothing_before_it_is_used(tmp_path: Path) -> None:
    state = State(f"sqlite:///{tmp_path / 'state.db'}")
    assert list(tmp_path.iterdir()) == []
    assert state.session().head is None
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".db"] == ["state.db"]
    state.close()


def test_a_url_that_names_no_store_is_refused_at_once_and_no_password_is_shown() -> None:
    with pytest.raises(ConfigurationError, match='names no store; there are "memory:"'):
        State("mysql:///x")
    shown = repr(State("postgresql://ann:secret@db.example.com:5433/app?password=secret"))
    assert shown == "<State postgresql://db.example.com:5433/app>"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://ann:sec@ret@host:5433/app", "state='postgresql://host:5433/app' cannot be read as "),
        ("postgresql://ann:sec/ret@host/app", "state='postgresql://host/app' cannot be read as "),
        ("postgresql+psycopg://ann:secret@host/app", "state='postgresql+psycopg://host/app' names no store; "),
        ("mysql://ann:secret@host/app?x=y&password=secret", "state='mysql://host/app' names no store; "),
        ("redis://host/app?user=a@b&password=secret", "state='redis:...' names no store; "),
        ("sqlite:///a\0b", "state='sqlite:///a\\\\x00b' names no store; "),
    ],
)
def test_a_password_is_in_no_error_however_its_url_was_written(url: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        State(url)
    assert str(caught.value).startswith(told)
    assert "ret" not in str(caught.value).partition(";")[0]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:sec%40ret@host/app",
        "postgresql://ann:se?c#ret@host/app",
        "postgresql://host/app?user=ann@example.com&password=secret",
        "postgresql:///app?host=/run/postgresql",
    ],
)
def test_a_url_that_a_server_understands_is_taken(url: str) -> None:
    assert "ret" not in repr(State(url))


def test_a_relative_path_is_relative_and_four_slashes_are_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with State("sqlite:///a.db") as first, State(f"sqlite:///{tmp_path}/b.db") as second:
        first.session().files.write("x", b"1")
        second.session().files.write("x", b"2")
    assert {each.name for each in tmp_path.iterdir()} == {"a.db", "b.db"}


def test_each_state_in_memory_is_its_own() -> None:
    with State() as first, State("memory:") as second:
        first.session().files.write("a", b"1")
        assert second.sessions() == []


def test_a_closed_state_is_opened_again_by_its_next_use(tmp_path: Path) -> None:
    state = State(f"sqlite:///{tmp_path / 'state.db'}")
    state.session().files.write("a", b"1")
    state.close()
    assert state.session().files.read("a") == b"1"
    state.close()


def test_sessions_are_listed_forgotten_and_collected(state: State) -> None:
    state.session("ann").files.write("a", b"1")
    state.session("bob").files.write("b", b"1")
    assert state.sessions() == ["ann", "bob"]
    state.forget("ann")
    assert (state.sessions(), state.collect()) == (["bob"], 1)
    with pytest.raises(ValueError, match="session name '../ann' must be"):
        state.session("../ann")


# --- files ---


def test_what_the_application_writes_is_a_commit_with_an_event_that_the_agent_sees(ann: SessionState) -> None:
    ann.files.write("in/sales.csv", b"1,2")
    ann.files.write("in/sales.csv", "1,ä")
    ann.files.remove("in/sales.csv")

    seen = [
        (type(each).__name__, each.session, each.source, each.added, each.modified, each.removed)
        for each in agex.events(ann)
    ]  # type: ignore[attr-defined]
    path = ("in/sales.csv",)
    assert seen == [
        ("FileEvent", "ann", "user", path, (), ()),
        ("FileEvent", "ann", "user", (), path, ()),
        ("FileEvent", "ann", "user", (), (), path),
    ]
    contents = [ann.checkout(each.hash).files for each in reversed(ann.history())]
    assert [files.list() for files in contents] == [["in/sales.csv"], ["in/sales.csv"], []]
    assert contents[1].read("in/sales.csv") == "1,ä".encode()


def test_files_are_listed_by_folder_and_found_by_pattern(ann: SessionState) -> None:
    for path in ("a.csv", "b.txt", "r/a.csv", "r/x/y.csv", "rr/z.csv", "r/.hidden", "r/[1].csv"):
        ann.files.write(path, b"")
    files = ann.files
    assert files.list() == ["a.csv", "b.txt", "r/.hidden", "r/[1].csv", "r/a.csv", "r/x/y.csv", "rr/z.csv"]
    assert files.list("r") == files.list("r/") == ["r/.hidden", "r/[1].csv", "r/a.csv", "r/x/y.csv"]
    assert files.glob("*.csv") == ["a.csv"]
    assert files.glob("**/*.csv") == ["a.csv", "r/[1].csv", "r/a.csv", "r/x/y.csv", "rr/z.csv"]
    assert files.glob("r/**") == files.list("r")
    assert files.glob("?/?.csv") == ["r/a.csv"]
    assert files.glob("r/[1].csv") == ["r/[1].csv"]
    assert ("a.csv" in files, "a" in files) == (True, False)


def test_a_file_that_is_not_there_and_a_path_that_leads_elsewhere_are_told(ann: SessionState) -> None:
    with pytest.raises(StateError, match=r"^there is no file 'a\\x1b' in session 'ann'$"):
        ann.files.read("a\x1b")
    with pytest.raises(StateError, match="^there is no file '../x' in session 'ann'$"):
        ann.files.remove("../x")
    with pytest.raises(StateError, match=r"^the file \.\./x cannot be stored: "):
        ann.files.write("../x", b"")
    assert ann.head is None


# --- cache ---


def test_the_cache_holds_plain_data_as_such_and_everything_else_as_an_opaque(ann: SessionState) -> None:
    plain = {"a": [1, 2.5, None, True, "x"], "b": {"c": b"bytes"}}
    sealed: Opaque[object] = Opaque(b"\x80\x04.", type="Model", repr="<Model>")
    ann.cache["plain"] = plain
    ann.cache["sealed"] = sealed

    assert ann.cache["plain"] == plain
    assert ann.cache["sealed"] == sealed
    assert (list(ann.cache), len(ann.cache), "x" in ann.cache) == (["plain", "sealed"], 2, False)
    assert ann.cache.types() == {"plain": "dict", "sealed": "Model"}
    del ann.cache["plain"]
    assert list(ann.cache) == ["sealed"]
    for use in (lambda: ann.cache["plain"], lambda: ann.cache.__delitem__("plain")):
        with pytest.raises(KeyError, match="plain"):
            use()


def test_what_cannot_be_in_the_cache_is_refused(ann: SessionState) -> None:
    with pytest.raises(StateError, match="^'__x' cannot be a key of the cache: it begins with two underscores$"):
        ann.cache["__x"] = 1
    with pytest.raises(StateError, match=r"the application stores plain data or an agex\.Opaque$"):
        ann.cache["x"] = object()
    assert ann.head is None


def test_a_cache_entry_that_was_changed_in_the_store_is_told(ann: SessionState) -> None:
    entry = bytearray(CacheEntry.of("plain", "host", "str", "'x'", b"\xa1x", ()).to_bytes())
    entry[entry.index(b"\xa1x") + 1] = ord("y")
    ann.store.commit(cache={"k": bytes(entry)})
    with pytest.raises(StateError, match="not those of its sha256"):
        ann.cache["k"]


# --- versions ---


def test_a_checkout_stands_at_its_commit_whatever_comes_and_cannot_be_written_to(ann: SessionState) -> None:
    ann.files.write("a", b"1")
    ann.cache["k"] = 1
    first = ann.history()[-1].hash
    past = ann.checkout(first)
    ann.files.write("a", b"2")

    assert (past.head, past.files.read("a"), list(past.cache), len(past.history())) == (first, b"1", [], 1)
    assert len(agex.events(past)) == 1
    assert repr(past).startswith(f"<SessionState 'ann' at {first} of ")
    told = f"^the state at commit {first} is past and cannot be changed; fork"
    for write in (
        lambda: past.files.write("a", b"3"),
        lambda: past.files.remove("a"),
        lambda: past.cache.__setitem__("k", 3),
        lambda: past.cache.__delitem__("k"),
    ):
        with pytest.raises(StateError, match=told):
            write()
    with pytest.raises(StateError, match="^session 'ann' of .* has no commit 0{40}, or no more; "):
        ann.checkout("0" * 40)


def test_each_event_tells_the_state_as_its_action_left_it(ann: SessionState) -> None:
    for number in range(3):
        note = NoteEvent(agent="memo", session="ann", message=str(number))
        ann.store.commit(files={"n": str(number).encode()}, events=[note.to_json()])

    for number, event in enumerate(agex.events(ann)):
        assert isinstance(event, NoteEvent) and (event.message, event.agent) == (str(number), "memo")
        assert event.commit_hash is not None
        assert ann.checkout(event.commit_hash).files.read("n") == str(number).encode()


def test_a_fork_goes_on_from_where_it_was_made(state: State, ann: SessionState) -> None:
    ann.files.write("a", b"1")
    first = ann.head
    assert first is not None
    ann.files.write("a", b"2")

    fork = ann.fork(first, "ann.two")
    fork.files.write("b", b"3")

    assert fork.diff(first, fork.head or "") == Diff(files=Changes(added=("b",)))
    assert (fork.session, fork.files.list(), ann.files.read("a")) == ("ann.two", ["a", "b"], b"2")
    assert state.sessions() == ["ann", "ann.two"]


def test_a_session_shows_its_own_past_and_that_of_no_other(state: State, ann: SessionState) -> None:
    ann.files.write("a", b"1")
    shared = ann.head
    fork = ann.fork(shared, "ben")
    ann.files.write("a", b"2")
    fork.files.write("b", b"3")
    theirs = fork.head

    assert state.session("ben").checkout(shared).files.list() == ["a"]
    told = (
        f"session 'ann' of {re.escape(ann.store.store.name)} has no commit {theirs}, or no more; an event's `session`"
    )
    for _ in range(2):
        with pytest.raises(StateError, match=f"^{told} says whose its commit is$"):
            ann.checkout(theirs)
    with pytest.raises(StateError, match=f"^{told}"):
        ann.fork(theirs, "carl")
    with pytest.raises(TypeError, match="^a commit is named by its hash, a str, not by int$"):
        ann.checkout(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert ann.diff(ann.head, theirs).files == Changes(added=("b",), modified=("a",))
    assert state.sessions() == ["ann", "ben"]


def test_commits_of_a_session_are_its_own_in_whatever_order_they_are_asked_for(state: State, ann: SessionState) -> None:
    for number in range(6):
        ann.files.write("n", str(number))
    six = [commit.hash for commit in ann.history()]
    reader = state.session("ann")
    assert [reader.checkout(six[at]).files.read("n") for at in (2, 4, 1, 2)] == [b"3", b"1", b"4", b"3"]
    for number in range(6, 9):
        ann.files.write("n", str(number))
    newer = [commit.hash for commit in ann.history()]
    assert [reader.checkout(newer[at]).files.read("n") for at in (1, 2, 8, 0)] == [b"7", b"6", b"0", b"8"]


def test_what_is_no_name_of_a_session_is_told_in_few_words(state: State) -> None:
    with pytest.raises(TypeError, match="^a session is named by a str, not by int$"):
        state.session(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"^session name 'x{140}\.\.\.' must be 1 to 128 of the characters "):
        state.session("x" * 100_000)


def test_an_event_of_a_kind_that_nobody_knows_is_told_with_its_commit(ann: SessionState) -> None:
    commit = ann.store.commit(events=['{"kind": "FutureEvent"}'])
    with pytest.raises(
        StateError, match=f"^commit {commit} holds an event that cannot be read: .*; it may be of a newer agex$"
    ):
        agex.events(ann)


def test_two_objects_of_one_session_see_what_either_writes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'state.db'}"
    with State(url) as first, State(url) as second:
        first.session("ann").files.write("a", b"1")
        second.session("ann").files.write("b", b"2")
        assert first.session("ann").files.list() == ["a", "b"]
        assert [each.message for each in first.session("ann").history()] == ["write b", "write a"]


def test_a_file_that_would_take_others_away_is_not_written(ann: SessionState) -> None:
    ann.files.write("a", b"1")
    ann.files.write("d/e", b"2")
    for path, why in (("a/b", "'a' is a file; remove\\(\\) it first"), ("d", "a folder with files has that name")):
        with pytest.raises(StateError, match=f"^the file {path} cannot be stored: {why}$"):
            ann.files.write(path, b"3")
    assert ann.files.list() == ann.files.list(".") == ["a", "d/e"]
    assert ann.files.list("./d/") == ["d/e"]


def test_a_path_that_no_workspace_can_have_is_told_before_it_is_lost(ann: SessionState) -> None:
    with pytest.raises(StateError, match="more than 60 folders within one another"):
        ann.files.write("d/" * 61 + "f", b"")
    with pytest.raises(StateError, match=r"^the file \\ud800 cannot be stored: its name is not text \(UTF-8\)$"):
        ann.files.write("\ud800", b"")
    with pytest.raises(TypeError, match=r"^a path is a str, relative to the workspace, not PosixPath$"):
        ann.files.write(Path("a"), b"")  # type: ignore[arg-type]
    assert ann.head is None
