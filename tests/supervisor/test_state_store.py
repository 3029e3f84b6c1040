"""Versions of sessions, the same in memory, in a file and on a server."""

from __future__ import annotations

import json
import threading
from itertools import pairwise
from typing import Any

import pytest

from agex_supervisor.errors import StateError
from agex_supervisor.session_store import SessionStore
from agex_supervisor.state_store import StateStore
from agex_supervisor.stored_event import KEPT_CHARS, MAX_EVENT_BYTES
from agex_supervisor.versions import Changes, Diff
from tests.supervisor.state_stores import event
from tests.supervisor.state_stores import postgres as postgres
from tests.supervisor.state_stores import store as store


def held(session: SessionStore, commit: str | None = None) -> tuple[dict[str, bytes], dict[str, bytes], list[str]]:
    return (
        dict(session.files(commit)),
        dict(session.cache(commit)),
        [json.loads(text)["message"] for text, _ in session.events(commit)],
    )


def test_a_session_without_a_commit_is_empty_and_not_listed(store: StateStore) -> None:
    session = store.session("ann")

    assert (session.head, session.base, session.history(), store.sessions()) == (None, None, [], [])
    assert held(session) == ({}, {}, [])


def test_a_commit_has_files_cache_and_events_together_and_an_older_one_stays_what_it_was(store: StateStore) -> None:
    session = store.session("ann")

    first = session.commit(files={"a.txt": b"1", "in/b": b""}, cache={"k": b"x", "l": b"y"}, events=[event("one")])
    second = session.commit(files={"a.txt": b"2"}, removed=["in/b"], cache={"k": None}, events=[event("two")])
    third = session.commit(message="nothing new")

    assert held(session, first) == ({"a.txt": b"1", "in/b": b""}, {"k": b"x", "l": b"y"}, ["one"])
    assert held(session, second) == ({"a.txt": b"2"}, {"l": b"y"}, ["one", "two"])
    assert held(session, third) == held(session, second) == held(session)
    assert session.head == session.base == third


def test_each_event_comes_with_the_commit_that_first_held_it(store: StateStore) -> None:
    session = store.session("ann")
    first = session.commit(events=[event("a"), event("b")])
    session.commit(files={"x": b""})
    third = session.commit(events=[event("c")])

    for each in (session, store.session("ann")):
        assert each.events() == [(event("a"), first), (event("b"), first), (event("c"), third)]
        assert each.events(first) == [(event("a"), first), (event("b"), first)]
        assert each.events() == [(event("a"), first), (event("b"), first), (event("c"), third)]


def test_history_is_newest_first_and_each_has_one_parent(store: StateStore) -> None:
    session = store.session("ann")
    hashes = [session.commit(message=f"action {number}") for number in range(4)]

    history = session.history()

    assert [each.hash for each in history] == hashes[::-1]
    assert [each.message for each in history] == ["action 3", "action 2", "action 1", "action 0"]
    assert [each.parent for each in history] == [*hashes[2::-1], None]
    assert all(later.time >= earlier.time for later, earlier in pairwise(history))
    assert session.history(hashes[1]) == history[2:]


def test_a_diff_names_files_and_cache_keys_apart_and_together(store: StateStore) -> None:
    session = store.session("ann")
    first = session.commit(files={"kept": b"0", "gone": b"1", "other": b"2"}, cache={"k": b"1", "kept": b"3"})
    second = session.commit(files={"new": b"", "other": b"3"}, removed=["gone"], cache={"k": b"2", "fresh": b""})

    diff = session.diff(first, second)

    assert diff == Diff(Changes(("new",), ("gone",), ("other",)), Changes(("fresh",), (), ("k",)))
    assert (diff.added, diff.removed, diff.modified) == (("new", "fresh"), ("gone",), ("other", "k"))
    assert session.diff(first, first) == Diff()


def test_a_fork_begins_where_it_was_made_and_both_go_on_apart(store: StateStore) -> None:
    session = store.session("ann")
    first = session.commit(files={"a": b"1"}, events=[event("one")])
    session.commit(files={"a": b"2"}, events=[event("two")])

    fork = session.fork(first, "ann.second")
    forked = fork.commit(files={"b": b""}, events=[event("three")])

    assert held(fork) == ({"a": b"1", "b": b""}, {}, ["one", "three"])
    assert held(session) == ({"a": b"2"}, {}, ["one", "two"])
    assert [each.hash for each in fork.history()] == [forked, first]
    assert store.sessions() == ["ann", "ann.second"]


def test_a_fork_takes_no_name_that_is_taken_and_no_commit_that_is_not_there(store: StateStore) -> None:
    session = store.session("ann")
    first = session.commit()

    with pytest.raises(StateError, match="there is a session 'ann' in .* already; choose another name"):
        session.fork(first, "ann")
    with pytest.raises(StateError, match="there is no such commit in "):
        session.fork("0" * 40, "bob")
    with pytest.raises(ValueError, match=r"session name '\.\./bob' must be"):
        session.fork(first, "../bob")


@pytest.mark.parametrize(
    "name", ["", "../../escaped", "a/b", ".hidden", "a b", "a\n", "ä", "a" * 129, "refs/tags/v1", "%s"]
)
def test_a_session_is_not_named_by_what_could_lead_elsewhere(store: StateStore, name: str) -> None:
    with pytest.raises(ValueError, match="must be 1 to 128 of the characters"):
        store.session(name)


def test_sessions_of_one_store_do_not_see_each_other(store: StateStore) -> None:
    ann, bob = store.session("ann"), store.session("bob")
    ann.commit(files={"a": b"1"}, events=[event("ann's")])
    bob.commit(files={"b": b"1"}, events=[event("bob's")])

    assert held(ann) == ({"a": b"1"}, {}, ["ann's"])
    assert held(bob) == ({"b": b"1"}, {}, ["bob's"])


def test_what_others_committed_meanwhile_is_kept_beside_ones_own(store: StateStore) -> None:
    ours, theirs = store.session("ann"), store.session("ann")
    ours.commit(files={"a": b"0", "b": b"0", "c": b"0"}, cache={"k": b"0"}, events=[event("zero")])
    theirs.refresh()

    theirs.commit(files={"a": b"1"}, removed=["c"], cache={"k": b"1"}, events=[event("theirs")])
    ours.commit(files={"b": b"2", "new": b""}, cache={"l": b"2"}, events=[event("ours")])

    assert held(ours) == ({"a": b"1", "b": b"2", "new": b""}, {"k": b"1", "l": b"2"}, ["zero", "theirs", "ours"])


def test_where_both_changed_the_same_the_later_commit_stands_and_says_so(store: StateStore) -> None:
    ours, theirs = store.session("ann"), store.session("ann")
    ours.commit(files={"both": b"0", "gone": b"0", "alike": b"0"}, cache={"k": b"0"})
    theirs.refresh()

    first = theirs.commit(
        files={"both": b"1", "gone": b"1", "alike": b"x"}, cache={"k": b"1"}, events=[event("theirs")]
    )
    second = ours.commit(
        files={"both": b"2", "alike": b"x"}, removed=["gone"], cache={"k": b"2"}, events=[event("ours")]
    )

    assert dict(ours.files()) == {"both": b"2", "alike": b"x"}
    assert dict(ours.cache()) == {"k": b"2"}
    assert [commit for _, commit in ours.events()] == [first, second, second]
    assert ours.said(second) == [text for text, _ in ours.events()[1:]]
    assert ours.events()[-1].text == event("ours")  # an end stays the end
    note = json.loads(ours.events()[-2].text)
    assert (note["kind"], note["session"]) == ("NoteEvent", "ann")
    assert note["message"] == (
        "changed by somebody else at the same time: the cache entry k, the file both, the file gone. What stands is the"
        f" version of this commit; the other one is in commit {first}."
    )
    assert dict(ours.files(first))["both"] == b"1"


def test_a_commit_that_was_stored_though_nobody_said_so_is_not_stored_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with StateStore.open("memory:") as store:
        session = store.session("ann")
        first = session.commit(files={"a": b"1"}, events=[event("one")])
        published = SessionStore._published
        stored: list[str] = []

        def cut_off(self: SessionStore, *what: Any) -> str:
            stored.append(published(self, *what))
            raise StateError("the server died")

        with monkeypatch.context() as patch:
            patch.setattr(SessionStore, "_published", cut_off)
            with pytest.raises(StateError, match="the server died"):
                session.commit(files={"a": b"2"}, events=[event("two")])

        assert session.commit(files={"a": b"2"}, events=[event("two")]) == stored[0]
        last = session.commit(events=[event("three")])
        assert [each.hash for each in session.history()] == [last, stored[0], first]
        assert [text for text, _ in session.events()] == [event("one"), event("two"), event("three")]


def test_two_who_make_a_session_at_once_both_keep_what_they_made(store: StateStore) -> None:
    ours, theirs = store.session("ann"), store.session("ann")

    theirs.commit(files={"a": b"1"}, events=[event("theirs")])
    ours.commit(files={"b": b"1"}, events=[event("ours")])

    assert held(ours) == ({"a": b"1", "b": b"1"}, {}, ["theirs", "ours"])


def test_a_file_where_others_made_a_folder_takes_its_place_and_the_other_way_round(store: StateStore) -> None:
    ours, theirs = store.session("ann"), store.session("ann")
    theirs.commit(files={"x/one": b"", "x/two/three": b"", "y": b"", "xy": b""})

    ours.commit(files={"x": b"a file", "y/below": b""})

    assert sorted(ours.files()) == ["x", "xy", "y/below"]


def test_threads_that_commit_to_one_session_lose_nothing(store: StateStore) -> None:
    def commit(who: int) -> None:
        session = store.session("ann")
        for number in range(10):
            session.commit(files={f"{who}/{number}": b"1"}, events=[event(f"{who} {number}")])

    threads = [threading.Thread(target=commit, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    files, _, said = held(store.session("ann"))
    assert sorted(files) == sorted(f"{who}/{number}" for who in range(4) for number in range(10))
    assert sorted(said) == sorted(f"{who} {number}" for who in range(4) for number in range(10))
    for who in range(4):
        assert [each for each in said if each.startswith(f"{who} ")] == [f"{who} {number}" for number in range(10)]


def test_a_sweep_takes_what_no_session_reaches_and_nothing_else(store: StateStore) -> None:
    kept, gone = store.session("kept"), store.session("gone")
    first = kept.commit(files={"a": b"1"}, events=[event("one")])
    kept.commit(files={"a": b"2"})
    lost = [gone.commit(files={"b": str(number).encode() * 5000}, cache={"k": b"3"}) for number in range(3)]
    fork = gone.fork(lost[0], "fork")

    assert store.collect() == 0
    store.forget("gone")
    assert store.collect() == 2

    assert (store.sessions(), held(kept, first)) == (["fork", "kept"], ({"a": b"1"}, {}, ["one"]))
    assert dict(fork.files()) == {"b": b"0" * 5000}
    with pytest.raises(StateError, match="there is no such commit in "):
        fork.files(lost[2])


def test_a_session_that_was_forgotten_is_not_made_again_by_who_still_writes_to_it(store: StateStore) -> None:
    session = store.session("ann")
    session.commit(files={"a": b"1"})
    store.forget("ann")

    with pytest.raises(StateError, match="there is no session 'ann' in .*, or it was forgotten"):
        session.commit(files={"a": b"2"})
    with pytest.raises(StateError, match="there is no session 'ann' in .*, or it was forgotten"):
        store.forget("ann")
    assert store.sessions() == []


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "its path is not a plain one below the workspace"),
        ("/etc/passwd", "its path is not a plain one below the workspace"),
        ("../x", "its path is not a plain one below the workspace"),
        ("a/../x", "its path is not a plain one below the workspace"),
        ("a//b", "its path is not a plain one below the workspace"),
        ("./a", "its path is not a plain one below the workspace"),
        ("a/", "its path is not a plain one below the workspace"),
        ("a\0b", "its name holds a null character"),
        ("\udcff", "its name is not text (UTF-8)"),
        ("ä" * 128, "a part of its path is longer than 255 bytes"),
        ("a/" * 512 + "b", "its path is longer than 1024 bytes"),
    ],
)
def test_a_path_that_could_not_be_written_again_is_refused(store: StateStore, path: str, why: str) -> None:
    session = store.session("ann")
    for change in ({"files": {path: b""}}, {"removed": [path]}):
        with pytest.raises(StateError) as caught:
            session.commit(**change)  # type: ignore[arg-type]
        assert str(caught.value).endswith(f"cannot be stored: {why}")
    assert session.head is None


def test_a_commit_that_contradicts_itself_is_refused(store: StateStore) -> None:
    session = store.session("ann")
    with pytest.raises(StateError, match="^a is both written and removed$"):
        session.commit(files={"a": b""}, removed=["a"])
    with pytest.raises(StateError, match="^a/b is both a file and a folder$"):
        session.commit(files={"a/b": b"", "a/b/c": b""})
    with pytest.raises(StateError, match="^a key of the cache must be text of 1 to 1024 bytes, not ''$"):
        session.commit(cache={"": b""})
    with pytest.raises(TypeError, match="^bytes are stored, not str$"):
        session.commit(files={"a": "text"})  # type: ignore[dict-item]
    with pytest.raises(StateError, match="^an event to be stored is no JSON: "):
        session.commit(events=["{"])
    with pytest.raises(StateError, match="^an event to be stored must be a JSON object$"):
        session.commit(events=["[]"])
    assert store.sessions() == []


def test_names_that_only_look_alike_or_look_odd_are_kept_as_they_are(store: StateStore) -> None:
    odd = {"a b": b"1", "e\u0301": b"2", "\u00e9": b"3", "-rf": b"4", "new\nline\x1b[2J": b"5", "%s": b"6", "c/x": b"7"}
    session = store.session("ann")
    session.commit(files=odd, cache={"c/x": b"8", "f/x": b"9"})

    assert dict(session.files()) == odd
    assert list(session.files()) == sorted(odd)
    assert dict(session.cache()) == {"c/x": b"8", "f/x": b"9"}


def test_a_large_event_is_stored_with_its_long_texts_cut_and_stays_an_event(store: StateStore) -> None:
    session = store.session("ann")
    long = "a" * MAX_EVENT_BYTES + "z"
    session.commit(events=[json.dumps({"kind": "OutputEvent", "number": 3, "text": long, "parts": ["short", long]})])

    (stored,) = session.events()

    half = KEPT_CHARS // 2
    cut = f"{'a' * half} [... {len(long) - 2 * half} characters left out ...] {'a' * (half - 1)}z"
    assert json.loads(stored.text) == {"kind": "OutputEvent", "number": 3, "text": cut, "parts": ["short", cut]}


def test_an_event_that_cannot_be_cut_is_refused_and_nothing_is_stored(store: StateStore) -> None:
    session = store.session("ann")
    with pytest.raises(StateError, match="^an event of [0-9]+ bytes cannot be stored: 262144 are allowed"):
        session.commit(files={"a": b""}, events=[json.dumps({"kind": "x", "parts": list(range(100_000))})])
    assert session.head is None


@pytest.mark.parametrize("commit", ["", "HEAD", "0" * 39, "g" * 40, "../" * 14, "%s"])
def test_what_is_no_hash_names_no_commit(store: StateStore, commit: str) -> None:
    session = store.session("ann")
    session.commit()
    for read in (session.files, session.cache, session.events, session.history):
        with pytest.raises(StateError, match="is no hash of a commit, which is 40 of 0-9 a-f$"):
            read(commit)


def test_a_commit_is_found_by_the_beginning_of_its_hash(store: StateStore) -> None:
    session = store.session("ann")
    commit = session.commit()

    assert session.resolve(commit[:6]) == session.resolve(commit) == commit
    with pytest.raises(StateError, match="no commit of session 'ann' begins with"):
        session.resolve(commit[:5])


def test_stored_files_read_only_what_is_asked_for_and_know_what_is_not_there(store: StateStore) -> None:
    session = store.session("ann")
    session.commit(files={"a": b"1", "b": b"2"}, cache={"k": b""})
    files = session.files()
    session.commit(removed=["a"])

    assert (len(files), list(files), "a" in files, "c" in files, files["a"]) == (2, ["a", "b"], True, False, b"1")
    with pytest.raises(KeyError):
        files["k"]
