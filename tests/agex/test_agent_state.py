"""An agent's sessions in a state: a version for each action, time travel, and what later tasks are told of earlier ones."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import agex
from agex.llm import Reply, Scripted, TerminalAction, WriteFile

# Scripts that open files do not close them.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
ISOLATIONS = ("none", "process", "kernel")


@pytest.fixture(params=ISOLATIONS)
def isolation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(spares=0)
    yield pool
    pool.close()


def test_each_action_is_a_version_and_the_past_can_be_looked_at(
    isolation: str, pool: agex.Pool, tmp_path: Path
) -> None:
    model = Scripted(
        [
            "open('notes.txt', 'w').write('one')\ncache['seen'] = [1]",
            Reply(actions=[WriteFile("notes.txt", "two"), TerminalAction("mkdir out; echo three > out/more.txt")]),
            "cache['seen'] = cache['seen'] + [2]\ntask_success(open('notes.txt').read())",
        ]
    )
    agent = agex.Agent(llm=model, isolation=isolation, pool=pool, state=f"sqlite:///{tmp_path}/state.db")

    @agent.task
    def work() -> str:
        """Work."""
        raise NotImplementedError

    outcome = work.run(session="ann")
    assert outcome.unwrap() == "two"
    state = agent.state("ann")
    assert outcome.commit == state.head
    assert state.files.list() == ["notes.txt", "out/more.txt"]
    assert state.cache["seen"] == [1, 2]

    actions = [event for event in agex.events(state) if isinstance(event, agex.ActionEvent)]
    assert [event.number for event in actions] == [1, 2, 3, 4]
    then = [state.checkout(event.commit_hash) for event in actions]
    assert [each.files.read("notes.txt") for each in then] == [b"one", b"two", b"two", b"two"]
    assert [each.files.list() for each in then][1:3] == [["notes.txt"], ["notes.txt", "out/more.txt"]]
    assert [each.cache["seen"] for each in then] == [[1], [1], [1], [1, 2]]
    assert [commit.hash for commit in state.history()] == [event.commit_hash for event in reversed(actions)]
    assert state.diff(then[0].head, then[2].head).files.added == ("out/more.txt",)
    known = {event.id: event.commit_hash for event in agex.events(state)}
    assert {event.id: event.commit_hash for event in outcome.events} == known
    files = [event for event in agex.events(state) if isinstance(event, agex.FileEvent)]
    assert [(event.added, event.modified) for event in files] == [
        (("notes.txt",), ()),
        ((), ("notes.txt",)),
        (("out/more.txt",), ()),
    ]
    agent.close()


def test_a_session_goes_on_in_another_agent_and_process(isolation: str, pool: agex.Pool, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"

    def agent_of(*script: str) -> tuple[agex.Agent, Scripted]:
        model = Scripted(list(script))
        return agex.Agent(llm=model, isolation=isolation, pool=pool, state=url), model

    def chat(agent: agex.Agent, message: str) -> str:
        @agent.task
        def chat(message: str) -> str:
            """Answer."""
            raise NotImplementedError

        return chat(message, session="ann")

    first, _ = agent_of("open('number.txt', 'w').write('7')\ncache['n'] = 7\ntask_success('I keep 7')")
    with first:
        assert chat(first, "remember 7") == "I keep 7"
    second, model = agent_of("task_success(f\"{open('number.txt').read()} {cache['n']}\")")
    second.state("ann").files.write("in/new.csv", b"a,b\n")
    with second:
        assert chat(second, "what was it?") == "7 7"
        told = str(model.requests[0].messages[0])
    assert "chat(message='remember 7')" in told and "I keep 7" in told
    assert "added: in/new.csv" in told


def test_what_the_host_writes_between_two_tasks_is_in_the_workspace_of_the_second(
    isolation: str, pool: agex.Pool
) -> None:
    model = Scripted(["task_success(1)", "task_success(len(open('data.bin', 'rb').read()))"])
    agent = agex.Agent(llm=model, isolation=isolation, pool=pool)

    @agent.task
    def count() -> int:
        """Count."""
        raise NotImplementedError

    assert count() == 1
    agent.state().files.write("data.bin", b"x" * 10)
    assert count() == 10
    assert [event.source for event in agex.events(agent.state()) if isinstance(event, agex.FileEvent)] == ["user"]


def test_what_the_host_writes_while_a_task_runs_is_there_for_the_next_one(isolation: str, pool: agex.Pool) -> None:
    agent = agex.Agent(
        llm=Scripted(
            [
                "open('own', 'w').write('o')\nput()",
                "task_success('')",
                "task_success(open('own').read() + open('put').read())",
            ]
        ),
        isolation=isolation,
        pool=pool,
    )

    @agent.fn
    def put() -> None:
        agent.state().files.write("put", b"p")

    @agent.task
    def work() -> str:
        """Work."""
        raise NotImplementedError

    assert [work(), work()] == ["", "op"]


def test_a_forked_session_and_its_origin_go_on_apart(pool: agex.Pool) -> None:
    agent = agex.Agent(
        llm=Scripted(["open('a', 'w').write('1')\ntask_success(0)", "open('a', 'w').write('2')\ntask_success(0)"]),
        pool=pool,
    )

    @agent.task
    def work() -> int:
        """Work."""
        raise NotImplementedError

    first = work.run(session="main")
    fork = agent.state("main").fork(first.commit, "other")
    work(session="other")
    assert (agent.state("main").files.read("a"), fork.files.read("a")) == (b"1", b"2")


def test_an_awaited_task_keeps_its_versions_and_tells_of_files_in_order(isolation: str, pool: agex.Pool) -> None:
    heard: list[str] = []

    async def on_event(event: agex.Event) -> None:
        await asyncio.sleep(0)
        heard.append(type(event).__name__)

    agent = agex.Agent(llm=Scripted(["open('f', 'w').write('x')", "task_success(1)"]), isolation=isolation, pool=pool)

    @agent.task
    async def work() -> int:
        """Work."""
        raise NotImplementedError

    assert asyncio.run(work.arun(on_event=on_event)).unwrap() == 1
    assert heard == [
        "TaskStartEvent",
        "ActionEvent",
        "OutputEvent",
        "FileEvent",
        "ActionEvent",
        "SuccessEvent",
    ]
    assert [type(event).__name__ for event in agex.events(agent.state())] == heard


def test_what_cannot_be_kept_is_said(isolation: str, pool: agex.Pool) -> None:
    if isolation == "none":
        pytest.skip("code there cannot make links")
    code = "import os\nos.mkfifo('pipe')" if isolation == "process" else "import os\nos.symlink('/etc', 'link')"
    agent = agex.Agent(llm=Scripted([code, "task_success(1)"]), isolation=isolation, policy="full-python", pool=pool)

    @agent.task
    def work() -> int:
        """Work."""
        raise NotImplementedError

    assert work() == 1
    notes = [event.message for event in agex.events(agent.state()) if isinstance(event, agex.NoteEvent)]
    assert notes and notes[0].startswith("not kept in the state of the session:\n")


def test_two_tasks_of_one_session_wait_for_each_other_and_lose_no_event(pool: agex.Pool, tmp_path: Path) -> None:
    state = agex.State(f"sqlite:///{tmp_path}/state.db")

    def run(name: str) -> None:
        model = Scripted([f"open('{name}', 'w').write('x')", "task_success(0)"])
        agent = agex.Agent(name=name, llm=model, pool=pool, state=state)

        @agent.task
        def work() -> int:
            """Work."""
            raise NotImplementedError

        work(session="shared")

    names = [f"a{number}" for number in range(6)]
    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = state.session("shared")
    assert kept.files.list() == names
    for name in names:
        own = [type(event).__name__ for event in agex.events(kept) if event.agent == name]
        assert own == ["TaskStartEvent", "ActionEvent", "OutputEvent", "FileEvent", "ActionEvent", "SuccessEvent"]
    state.close()


def test_agents_that_were_given_the_same_url_take_turns_in_a_session(tmp_path: Path) -> None:
    pool = agex.Pool(spares=0, wait_s=0.01)
    url = f"sqlite:///{tmp_path}/state.db"
    inner = agex.Agent(llm=Scripted(["task_success(1)"]), pool=pool, state=url)
    outer = agex.Agent(llm=Scripted(["task_success(ask())"]), pool=pool, state=url)

    @inner.task
    def one() -> int:
        """One."""
        raise NotImplementedError

    @outer.fn
    def ask() -> list[str]:
        said: list[str] = []

        def call(session: str) -> None:
            try:
                said.append(str(one(session=session)))
            except agex.SessionBusy as error:
                said.append(str(error).partition(";")[0].replace(inner.name, "inner"))

        for session in ("shared", "another"):
            thread = threading.Thread(target=call, args=(session,))
            thread.start()
            thread.join()
        return said

    @outer.task
    def work() -> list[str]:
        """Work."""
        raise NotImplementedError

    assert work(session="shared") == ["session 'shared' of inner is in use", "1"]
    pool.close()


def test_sessions_of_map_leave_nothing_in_the_state(pool: agex.Pool) -> None:
    agent = agex.Agent(llm=Scripted(["task_success(1)"] * 3), pool=pool)

    @agent.task
    def one(number: int) -> int:
        """One."""
        raise NotImplementedError

    assert one.map([1, 2, 3], concurrency=1) == [1, 1, 1]
    assert agent.state().head is None


def test_an_unreadable_store_is_told_and_nothing_runs(tmp_path: Path, pool: agex.Pool) -> None:
    (tmp_path / "state.db").write_bytes(b"no database " * 100)
    agent = agex.Agent(llm=Scripted(["task_success(1)"]), state=f"sqlite:///{tmp_path}/state.db", pool=pool)

    @agent.task
    def one() -> int:
        """One."""
        raise NotImplementedError

    with pytest.raises(agex.StateError):
        one()


def test_a_task_whose_version_cannot_be_kept_goes_no_further(isolation: str, pool: agex.Pool) -> None:
    state = agex.State()
    model = Scripted(["forget()", "task_success(1)"])
    agent = agex.Agent(llm=model, isolation=isolation, pool=pool, state=state)
    state.session("ann").files.write("in.txt", "x")

    @agent.fn
    def forget() -> None:
        state.forget("ann")

    @agent.task
    def one() -> int:
        """One."""
        raise NotImplementedError

    with pytest.raises(agex.StateError, match="there is no session 'ann' in memory:, or it was forgotten"):
        one.run(session="ann")
    assert len(model.requests) == 1
    agent.close()


def test_of_many_sessions_the_folders_of_few_are_kept_and_nothing_is_lost(
    pool: agex.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agex.sessions.MAX_IDLE", 2)
    code = "with open('n', 'a') as file:\n    file.write('x')\ntask_success(len(open('n').read()))"
    agent = agex.Agent(llm=Scripted([code] * 8), isolation="kernel", pool=pool)

    @agent.task
    def work() -> int:
        """Work."""
        raise NotImplementedError

    assert [work.run(session=name).unwrap() for name in "abcd" * 2] == [1] * 4 + [2] * 4
    assert list(agent.sessions._stays) == ["c", "d"]


def test_none_is_no_commit(pool: agex.Pool) -> None:
    state = agex.Agent(pool=pool).state()
    for ask in (lambda: state.checkout(None), lambda: state.diff(None, None), lambda: state.fork(None, "other")):
        with pytest.raises(agex.StateError, match="None is no commit"):
            ask()


def test_an_action_that_makes_more_files_than_an_event_can_name_is_a_version(isolation: str, pool: agex.Pool) -> None:
    code = "for number in range(3000):\n    with open(f'{number:0100}', 'w') as file:\n        file.write('x')"
    agent = agex.Agent(llm=Scripted([code, "task_success(0)"]), isolation=isolation, pool=pool)

    @agent.task
    def work() -> int:
        """Work."""
        raise NotImplementedError

    outcome = work.run(session="ann")

    assert outcome.unwrap() == 0
    state = agent.state("ann")
    (told,) = [event for event in agex.events(state) if isinstance(event, agex.FileEvent)]
    assert told in outcome.events
    assert 1000 < len(told.added) < 3000 and len(told.added) + told.more == 3000
    assert len(state.files.list()) == 3000
    agent.close()


@pytest.mark.parametrize("way", ["waiting", "awaiting"])
def test_a_task_hears_what_somebody_else_changed_at_the_same_time_before_its_end(pool: agex.Pool, way: str) -> None:
    state = agex.State()
    write = "open('both.txt', 'w').write('our {}')\nmeddle()\n"
    script = [write.format(1), write.format(2) + "task_success(0)"]
    agent = agex.Agent(name="memo", llm=Scripted(script), pool=pool, state=state)
    heard: list[agex.Event] = []

    @agent.fn
    def meddle() -> None:
        state.session("ann").files.write("both.txt", "theirs")

    @agent.task
    def work() -> int:
        """Work."""
        raise NotImplementedError

    async def hear(event: agex.Event) -> None:
        heard.append(event)

    options = work.with_options(session="ann", on_event=hear)
    outcome = options.run() if way == "waiting" else asyncio.run(options.arun())

    kept = [event for event in agex.events(state.session("ann")) if event.agent == "memo"]
    assert outcome.events == kept
    kinds = ["TaskStartEvent", "ActionEvent", "OutputEvent", "NoteEvent", "FileEvent"]
    assert [type(event).__name__ for event in kept] == [*kinds, "ActionEvent", "FileEvent", "NoteEvent", "SuccessEvent"]
    assert sorted(event.id for event in heard) == sorted(event.id for event in kept)
    notes = [event for event in kept if isinstance(event, agex.NoteEvent)]
    assert [note.message.partition(".")[0] for note in notes] == [
        "changed by somebody else at the same time: the file both"
    ] * 2
    assert {(note.session, note.namespace) for note in notes} == {("ann", "memo")}
    assert state.session("ann").files.read("both.txt") == b"our 2"
    agent.close()


@pytest.mark.parametrize("url", ["memory:", "sqlite:///{folder}/state.db"])
def test_an_agent_goes_on_with_the_state_that_was_closed_and_is_opened_again(
    url: str, pool: agex.Pool, tmp_path: Path
) -> None:
    state = agex.State(url.replace("{folder}", str(tmp_path)))
    code = "open('n', 'a').write('x')\ntask_success(len(open('n').read()))"
    agent = agex.Agent(llm=Scripted([code] * 3), pool=pool, state=state)

    @agent.task
    def work() -> int:
        """Work."""
        raise NotImplementedError

    assert [work(session="ann"), work(session="ann")] == [1, 2]
    state.close()
    assert work(session="ann") == (1 if url == "memory:" else 3)
    assert len(agent.state("ann").history()) == (1 if url == "memory:" else 3)
    state.close()


def test_what_keeps_versions_is_imported_with_the_agent_that_names_a_state(tmp_path: Path) -> None:
    code = "import sys, agex\nagex.Agent()\nassert 'kvgit' not in sys.modules\nagex.Agent(state={url!r})\nprint('kvgit' in sys.modules)"
    command = [sys.executable, "-c", code.replace("{url!r}", repr(f"sqlite:///{tmp_path}/state.db"))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_kept_is_said_once_and_again_where_it_changes(isolation: str, pool: agex.Pool) -> None:
    if isolation == "none":
        pytest.skip("code there cannot make links")
    link = "import os\nos.symlink('/etc', '{}')"
    script = [link.format("one"), "print(1)", link.format("two"), "import os\nos.unlink('one')", link.format("one")]
    agent = agex.Agent(llm=Scripted([*script, "task_success(1)"]), isolation=isolation, policy="full-python", pool=pool)

    @agent.task
    def work() -> int:
        """Work."""
        raise NotImplementedError

    assert work() == 1
    notes = [event.message for event in agex.events(agent.state()) if isinstance(event, agex.NoteEvent)]
    said = "not kept in the state of the session:\n{}: it is a symbolic link"
    assert notes == [said.format("one"), said.format("two"), said.format("one")]
