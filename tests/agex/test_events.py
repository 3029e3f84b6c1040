"""What a caller hears of a task while it runs: events and tokens, by handlers of both kinds, and on a console."""

from __future__ import annotations

import asyncio
import io
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

import agex
from agex.llm import OpenAI, PythonAction, Reply, Scripted, Usage, scripted_server


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=4)
    yield pool
    pool.close()


def spoken(code: str, text: str = "hello there") -> Reply:
    return Reply(text, [PythonAction(code)], Usage(10, 5))


def task_of(pool: agex.Pool, *script: Any, llm: Any = None, **choices: Any) -> agex.Task[[], int]:
    agent = agex.Agent(name="tester", isolation="kernel", llm=llm or Scripted(script), pool=pool, **choices)

    @agent.task
    def count() -> int:
        """Count."""
        raise NotImplementedError

    return count


# --- what they carry ---


def test_events_carry_ids_times_usage_and_cost_in_their_order(pool: agex.Pool) -> None:
    before = time.time()
    outcome = task_of(pool, spoken("print(1)"), spoken("task_success(3)"), prices=(1.0, 2.0)).run()
    started, first, output, second, success = outcome.events

    assert [type(event).__name__ for event in outcome.events] == [
        "TaskStartEvent",
        "ActionEvent",
        "OutputEvent",
        "ActionEvent",
        "SuccessEvent",
    ]
    assert len({event.id for event in outcome.events}) == 5
    times = [event.time for event in outcome.events]
    assert before <= times[0] and times == sorted(times)
    assert {(event.namespace, event.parent) for event in outcome.events} == {("tester", None)}
    assert [event.commit_hash for event in outcome.events][-1] == outcome.commit is not None
    assert isinstance(first, agex.ActionEvent) and isinstance(success, agex.SuccessEvent)
    assert (first.usage, first.cost) == (Usage(10, 5), pytest.approx(20e-6))
    assert (success.type, success.value, success.usage, success.cost) == ("int", "3", Usage(20, 10), outcome.cost)
    assert [agex.Event.from_json(event.to_json()) for event in outcome.events] == outcome.events


def test_inputs_and_results_are_shown_by_pictures_and_never_kept(pool: agex.Pool) -> None:
    agent = agex.Agent(isolation="kernel", llm=Scripted(["task_success(inputs.df)"]), pool=pool)
    agent.module(pd)

    @agent.task
    def same(df: pd.DataFrame, text: str) -> pd.DataFrame:
        """Give it back."""
        raise NotImplementedError

    frame = pd.DataFrame({"a": range(100_000)})
    outcome = same.run(frame, "\x1b[31m" + "x" * 100_000)
    started, success = outcome.events[0], outcome.events[-1]

    assert isinstance(started, agex.TaskStartEvent) and isinstance(success, agex.SuccessEvent)
    assert started.inputs["df"].startswith("DataFrame of 100000 rows x 1 columns")
    assert "\x1b" not in started.inputs["text"] and len(started.inputs["text"]) < 2_000
    assert success.value.startswith("DataFrame of 100000 rows x 1 columns")
    assert sum(len(event.to_json()) for event in outcome.events) < 10_000


def test_the_repr_of_a_class_that_the_agent_wrote_is_not_called_in_this_process() -> None:
    code = "class Trap:\n    def __repr__(self):\n        open('called', 'w').close()\n        return 'x'\ntask_success(Trap())"
    agent = agex.Agent(llm=Scripted([code]))

    @agent.task
    def trap() -> object:
        """Trap."""
        raise NotImplementedError

    success = trap.run().events[-1]

    assert isinstance(success, agex.SuccessEvent)
    assert success.value == "<Trap>"


# --- handlers ---


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("handler_awaits", [False, True])
def test_handlers_of_both_kinds_hear_all_in_order_in_tasks_of_both_kinds(
    pool: agex.Pool, awaited: bool, handler_awaits: bool
) -> None:
    heard: list[agex.Event] = []
    pieces: list[str] = []

    async def hear(event: agex.Event) -> None:
        await asyncio.sleep(0)
        heard.append(event)

    async def listen(token: str) -> None:
        await asyncio.sleep(0)
        pieces.append(token)

    with scripted_server([spoken("print(1)"), spoken("task_success(3)", "done")]) as url:
        task = task_of(pool, llm=OpenAI("scripted", base_url=url, api_key="none")).with_options(
            on_event=hear if handler_awaits else heard.append,
            on_token=listen if handler_awaits else pieces.append,
        )
        outcome = asyncio.run(task.arun()) if awaited else task.run()

    assert outcome.value == 3, outcome.message
    assert heard == [replace(event, commit_hash=None) for event in outcome.events]
    assert "".join(pieces) == "hello theredone"


def test_an_async_handler_of_a_waiting_task_works_where_a_loop_runs_already(pool: agex.Pool) -> None:
    heard: list[str] = []

    async def hear(event: agex.Event) -> None:
        heard.append(type(event).__name__)

    async def notebook() -> int:
        return task_of(pool, "task_success(3)").with_options(on_event=hear)()

    assert asyncio.run(notebook()) == 3
    assert heard == ["TaskStartEvent", "ActionEvent", "SuccessEvent"]


@pytest.mark.parametrize("handler_awaits", [False, True])
def test_what_a_handler_raises_is_logged_each_time_and_ends_nothing(
    pool: agex.Pool, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], handler_awaits: bool
) -> None:
    def broken(given: object) -> None:
        raise RuntimeError("in the handler")

    async def broken_later(given: object) -> None:
        raise RuntimeError("in the handler")

    handler: Callable[[Any], Any] = broken_later if handler_awaits else broken
    task = task_of(pool, spoken("task_success(3)"))

    with caplog.at_level(logging.ERROR, "agex"):
        assert task.with_options(on_event=handler, on_token=handler)() == 3
    assert [record.getMessage() for record in caplog.records] == [
        "on_event raised for TaskStartEvent",
        "on_token raised for Token",
        "on_event raised for ActionEvent",
        "on_event raised for SuccessEvent",
    ]
    assert all(record.exc_info is not None for record in caplog.records)
    assert capsys.readouterr().out == ""


def test_a_token_is_text_that_says_whose_it_is(pool: agex.Pool) -> None:
    tokens: list[agex.Token] = []

    task_of(pool, spoken("task_success(3)")).with_options(on_token=tokens.append)()

    assert [(token, token.agent, token.namespace) for token in tokens] == [("hello there", "tester", "tester")]


# --- on a console ---


HOSTILE = "\x1b[2Jwiped\u202e [bold]markup[/bold] :smile:"


def printed(what: Any, **choices: Any) -> str:
    stream = io.StringIO()
    agex.pprint_events(what, stream=stream, width=200, **choices)
    return stream.getvalue()


def test_events_are_printed_as_they_come_and_nothing_in_them_acts() -> None:
    event = agex.OutputEvent(number=1, text=HOSTILE, error="E", agent="boss\x1b[1m")

    assert printed(event) == (
        "output of action 1 boss\\x1b[1m · E\n  \\x1b[2Jwiped\\u202e [bold]markup[/bold] :smile:\n"
    )


def test_a_whole_task_can_be_printed_at_each_verbosity(pool: agex.Pool) -> None:
    outcome = task_of(pool, spoken("print(1)\nprint(2)"), spoken("task_success(3)", ""), prices=(1.0, 1.0)).run()

    assert printed(outcome, verbosity="brief") == (
        "task count tester · session default\n"
        "action 1: python tester · 10 + 5 tokens · cost 1.5e-05\n"
        "output of action 1 tester\n"
        "action 2: python tester · 10 + 5 tokens · cost 1.5e-05\n"
        "success: int tester · 20 + 10 tokens · cost 3e-05\n"
    )
    normal = printed(outcome.events, max_lines=1)
    assert "  hello there\n  print(1)\n  ... 1 more lines\n" in normal
    verbose = printed(iter(outcome.events), verbosity="verbose", delta=True)
    assert "Finish with task_success(value)" in verbose and "  print(1)\n  print(2)\n" in verbose
    assert "tester +" in verbose


def test_sub_agents_stand_to_the_right_of_who_called_them() -> None:
    event = agex.NoteEvent(message="m", namespace="boss/a/b")

    assert printed(event) == "    note boss/a/b\n      m\n"
    assert printed(event, indent=False) == "note boss/a/b\n  m\n"
    deep = agex.NoteEvent(message="m", namespace="/" * 100_000)
    assert printed(deep).endswith("\n" + " " * 42 + "m\n")


def test_colour_is_for_terminals_and_for_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    event = agex.FailEvent(message="m")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")

    assert "\x1b" not in printed(event)
    assert "\x1b[1;31m" in printed(event, color=True)
    assert "\x1b" not in printed(event, color=False)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for no_color, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", no_color)
        stream = Terminal()
        agex.pprint_events(event, stream=stream)
        assert ("31m" in stream.getvalue()) is coloured


def test_printers_are_handlers_as_they_are(pool: agex.Pool, capsys: pytest.CaptureFixture[str]) -> None:
    task = task_of(pool, spoken("task_success(3)", "hi \x1b[2J"))

    task.with_options(on_event=agex.pprint_events)()
    shown = capsys.readouterr().out
    assert shown.startswith("task count tester") and "\x1b" not in shown

    task_of(pool, spoken("task_success(3)", "hi \x1b[2J")).with_options(on_token=agex.pprint_tokens)()
    assert capsys.readouterr().out == "hi \\x1b[2J"


def test_in_a_notebook_printers_write_text_to_where_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class ZMQInteractiveShell:  # by which rich knows a notebook
        pass

    monkeypatch.setattr("builtins.get_ipython", ZMQInteractiveShell, raising=False)
    stream = io.StringIO()

    agex.pprint_events(agex.FailEvent(message="m"), stream=stream)
    for token in ("one ", "two"):
        agex.pprint_tokens(token, stream=stream)

    assert stream.getvalue() == "the agent gave up\n  m\none two"


def test_a_state_is_printed_as_the_events_in_it() -> None:
    with agex.State() as state:
        ann = state.session("ann")
        ann.files.write("a.txt", "1")
        first = ann.head or ""
        ann.files.remove("a.txt")

        assert printed(ann) == (
            "files changed by the user\n  added: a.txt\nfiles changed by the user\n  removed: a.txt\n"
        )
        assert printed(ann.checkout(first)) == "files changed by the user\n  added: a.txt\n"


def test_what_is_no_event_is_refused_by_the_printer() -> None:
    with pytest.raises(TypeError, match="pprint_events prints events, not int"):
        agex.pprint_events([1])
    with pytest.raises(ValueError, match="verbosity is 'brief', 'normal' or 'verbose', not 'loud'"):
        agex.pprint_events([], verbosity="loud")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_lines is at least 1"):
        agex.pprint_events([], max_lines=0)


@pytest.mark.parametrize(
    ("encoding", "written"), [("ascii", r"h\xe9llo \u2211"), ("latin-1", r"héllo \u2211"), ("utf-8", "héllo ∑")]
)
def test_what_a_stream_cannot_encode_is_written_out(encoding: str, written: str) -> None:
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, newline="\n") as stream:
        agex.pprint_events(agex.FailEvent(message="héllo ∑", agent="a", cost=0.5), stream=stream, width=80)
        agex.pprint_tokens("héllo ∑", stream=stream)
        stream.flush()
        text = raw.getvalue().decode(encoding)

    between = "-" if encoding == "ascii" else "·"
    assert text == f"the agent gave up a {between} cost 0.5\n  {written}\n{written}"


def test_the_deepest_agents_have_half_of_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    agex.pprint_events(agex.NoteEvent(message="a note", namespace="a" + "/b" * 30), width=50)

    printed = capsys.readouterr().out.splitlines()
    assert (printed[-1], max(map(len, printed))) == (" " * 27 + "a note", 50)


def test_an_event_after_a_piece_of_text_begins_a_line_of_its_own() -> None:
    stream = io.StringIO()
    for piece in ("Now I ", "look."):
        agex.pprint_tokens(piece, stream=stream)
    agex.pprint_events(agex.NoteEvent(message="m"), stream=stream, width=80, verbosity="brief")
    agex.pprint_tokens("Done.\n", stream=stream)
    agex.pprint_events(agex.NoteEvent(message="m"), stream=stream, width=80, verbosity="brief")

    assert stream.getvalue() == "Now I look.\nnote\nDone.\nnote\n"
