"""The loop by itself: what it asks for, and how a task ends, without a model and without a worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agex_supervisor.death import Death
from agex_supervisor.events import ActionEvent, NoteEvent, OutputEvent
from agex_supervisor.execution import ErrorInfo, Executed
from agex_supervisor.loop import Act, Ask, Brief, Budget, Cancelled, DeadlinePassed, Finish, Keep, Spending, Tell, loop
from agex_supervisor.model import (
    AssistantMessage,
    EditFile,
    ModelError,
    Observation,
    PythonAction,
    Reply,
    Request,
    TerminalAction,
    Usage,
    UserMessage,
    WriteFile,
)

DONE = Executed("succeeded", 42)
RAISED = Executed("raised", error=ErrorInfo("ValueError", "no", "Traceback\nValueError: no"))
TIMED_OUT = Executed("died", death=Death("timeout", "the deadline of the action passed"))


class Play:
    """Runs a loop with these replies of a model and these results of actions; an exception is thrown in."""

    def __init__(
        self, replies: list[Any], results: list[Any], more: Mapping[str, Any] | None = None, **budget: Any
    ) -> None:
        self.requests: list[Request] = []
        self.codes: list[str] = []
        self.events: list[Any] = []
        self.kept: list[str] = []
        brief = Brief(
            "system", "task", (), "act, please", lambda left: f"{left} left" if left <= 1 else None, **(more or {})
        )
        self.finish = self._run(loop(brief, Budget(**budget)), iter(replies), iter(results))

    def _run(self, steps: Any, replies: Any, results: Any) -> Finish:
        value: Any = None
        try:
            while True:
                effect = steps.throw(value) if isinstance(value, Exception) else steps.send(value)
                value = None
                match effect:
                    case Ask(request):
                        self.requests.append(request)
                        value = next(replies)
                    case Act(action):
                        self.codes.append(getattr(action, "code", ""))
                        value = next(results)
                    case Tell(event):
                        self.events.append(event)
                    case Keep(message):
                        self.kept.append(message)
                    case _:
                        raise AssertionError(f"{effect!r} is no effect")
        except StopIteration as stop:
            finish: Finish = stop.value
            return finish


def reply(*codes: str, tokens: int = 0) -> Reply:
    return Reply(actions=[PythonAction(code) for code in codes], usage=Usage(tokens, tokens))


def test_a_value_ends_the_task() -> None:
    play = Play([reply("a", tokens=3)], [DONE])
    assert play.finish == Finish("success", value=42, usage=Usage(3, 3), actions=1)
    assert play.codes == ["a"]
    assert [type(event) for event in play.events] == [ActionEvent]


@pytest.mark.parametrize(
    ("executed", "status", "message"),
    [
        (Executed("gave_up", text="cannot"), "failed", "cannot"),
        (Executed("asked", text="which?"), "needs_input", "which?"),
        (Executed("died", death=Death("cancelled", "by the caller")), "cancelled", "the task was cancelled"),
    ],
)
def test_each_way_to_end_has_its_status(executed: Executed, status: str, message: str) -> None:
    finish = Play([reply("a")], [executed]).finish
    assert (finish.status, finish.message, finish.actions) == (status, message, 1)


def test_a_broken_protocol_ends_the_task_at_once() -> None:
    finish = Play([reply("a", "b")], [Executed("died", death=Death("violation", "garbage"))]).finish
    assert (finish.status, finish.cause) == ("error", "violation")
    assert finish.message == "the worker broke the protocol: garbage"


def test_what_an_action_gave_is_shown_to_the_model_with_what_it_said_before() -> None:
    play = Play([reply("a"), reply("b")], [Executed("finished", stdout="seen\n"), DONE])
    assert play.requests[1].messages == (
        UserMessage("task"),
        AssistantMessage("", (PythonAction("a"),)),
        Observation(("seen",)),
    )
    assert [type(event) for event in play.events] == [ActionEvent, OutputEvent, ActionEvent]


def test_an_action_that_fails_keeps_the_later_ones_of_its_reply_from_running() -> None:
    play = Play([reply("a", "b", "c"), reply("d")], [Executed("finished"), RAISED, DONE])
    assert play.codes == ["a", "b", "d"]
    assert isinstance(observation := play.requests[1].messages[-1], Observation)
    assert observation.texts == (
        "[1 of 3: python_action]\n(no output; print what you want to see, and call task_success(value) to finish)",
        "[2 of 3: python_action]\nTraceback\nValueError: no",
        "[3 of 3: python_action]\nnot run: action 2 failed",
    )


def test_a_worker_that_dies_is_told_of_and_the_task_goes_on() -> None:
    play = Play([reply("a"), reply("b")], [TIMED_OUT, DONE])
    assert play.finish.status == "success"
    assert isinstance(observation := play.requests[1].messages[-1], Observation)
    assert "was ended (timeout: the deadline of the action passed)" in observation.texts[0]


def test_workers_that_die_one_after_the_other_end_the_task() -> None:
    finish = Play([reply("a")] * 9, [TIMED_OUT] * 9).finish
    assert (finish.status, finish.cause, finish.actions) == ("error", "worker", 3)


def test_a_worker_that_lived_in_between_starts_the_count_anew() -> None:
    fine = Executed("finished")
    finish = Play([reply("a")] * 9, [TIMED_OUT, TIMED_OUT, fine, TIMED_OUT, TIMED_OUT, DONE]).finish
    assert (finish.status, finish.actions) == ("success", 6)


def test_actions_are_counted_one_by_one_also_within_a_reply() -> None:
    play = Play([reply(*"abcdefgh")], [Executed("finished")] * 8, max_actions=3)
    assert play.codes == ["a", "b", "c"]
    assert (play.finish.status, play.finish.cause, play.finish.actions) == ("budget", "max_actions", 3)


def test_a_silent_model_is_nudged_and_each_nudge_counts() -> None:
    play = Play([Reply("thinking"), Reply("", problems=["no such tool: x"]), reply("a")], [DONE], max_actions=9)
    assert play.requests[1].messages[-1] == UserMessage("act, please")
    assert play.requests[2].messages[-1] == UserMessage("no such tool: x")
    assert [type(event) for event in play.events[:2]] == [NoteEvent, NoteEvent]
    assert play.finish.actions == 3
    assert Play([Reply("thinking")] * 5, [], max_actions=2).finish.status == "budget"


def test_the_model_is_told_when_its_actions_run_out() -> None:
    play = Play([reply("a"), reply("b")], [Executed("finished", stdout="x"), DONE], max_actions=2)
    assert play.requests[1].messages[-1] == Observation(("x\n\n1 left",))


def test_each_observation_of_a_turn_says_which_action_it_belongs_to() -> None:
    actions: list[Any] = [WriteFile("a", "b"), EditFile("a\n", "b", "c"), TerminalAction("ls"), PythonAction("x")]
    results = [
        Executed("finished", text="wrote a"),
        Executed("finished", text="edited"),
        Executed("finished", stdout="a"),
    ]
    play = Play([Reply(actions=actions, problems=["no such tool: y"]), reply("b")], [*results, RAISED, DONE])
    assert play.requests[1].messages[-1] == Observation(
        (
            "[1 of 4: write_file a]\nwrote a",
            "[2 of 4: edit_file a\\n]\nedited",
            "[3 of 4: terminal_action]\na",
            "[4 of 4: python_action]\nTraceback\nValueError: no",
            "no such tool: y",
        )
    )


def test_an_exit_code_that_is_not_0_stops_the_turn_and_is_the_last_error() -> None:
    failed = Executed("finished", stdout="some", stderr="why", exit_code=3)
    play = Play([Reply(actions=[TerminalAction("a"), TerminalAction("b")])], [failed], max_actions=1)
    assert play.finish.last_error == "[1 of 2: terminal_action]\nsome\n[stderr]\nwhy\n[exit code 3]"
    (output,) = [event for event in play.events if isinstance(event, OutputEvent)]
    assert output.error == "exit code 3"


@pytest.mark.parametrize(
    ("budget", "cause"), [({"max_tokens": 20}, "max_tokens"), ({"max_cost": 0.01, "price_in": 1000.0}, "max_cost")]
)
def test_tokens_and_money_end_a_task_before_the_next_question(budget: dict[str, Any], cause: str) -> None:
    play = Play([reply("a", tokens=10), reply("b", tokens=10)], [Executed("finished")] * 2, **budget)
    assert (play.finish.status, play.finish.cause, len(play.requests)) == ("budget", cause, 1)


@pytest.mark.parametrize(
    ("thrown", "status"),
    [(ModelError("refused"), "error"), (DeadlinePassed(), "timeout"), (Cancelled(), "cancelled")],
)
@pytest.mark.parametrize("where", ["asking", "acting"])
def test_what_a_driver_throws_in_ends_the_task_with_what_is_known(thrown: Exception, status: str, where: str) -> None:
    second = thrown if where == "asking" else reply("b", tokens=5)
    play = Play([reply("a", tokens=5), second], [RAISED, thrown])
    assert play.finish.status == status
    assert play.finish.usage == (Usage(5, 5) if where == "asking" else Usage(10, 10))
    assert play.finish.last_error == "Traceback\nValueError: no"


def test_setup_runs_before_the_first_request_and_counts_neither_as_an_action_nor_as_a_death() -> None:
    play = Play([reply("a"), reply("b")], [TIMED_OUT, TIMED_OUT, DONE], {"setup": "s"}, max_actions=2)

    assert play.finish.status == "success"
    assert play.codes == ["s", "a", "b"]
    assert [(type(event), getattr(event, "source", "")) for event in play.events[:3]] == [
        (ActionEvent, "setup"),
        (OutputEvent, "setup"),
        (NoteEvent, ""),
    ]
    first, note = play.requests[0].messages
    assert first == UserMessage("task")
    assert isinstance(note, UserMessage) and "It FAILED" in note.text


@pytest.mark.parametrize(
    ("result", "status"),
    [
        (DONE, "success"),
        (Executed("gave_up", text="no"), "failed"),
        (Executed("died", death=Death("violation", "noise")), "error"),
        (Executed("died", death=Death("cancelled", "by the caller")), "cancelled"),
        (Cancelled(), "cancelled"),
        (DeadlinePassed(), "timeout"),
    ],
)
def test_setup_may_end_the_task_before_a_model_is_asked(result: Any, status: str) -> None:
    play = Play([], [result], {"setup": "s"})

    assert (play.finish.status, play.finish.actions, play.requests) == (status, 0, [])


def test_what_sub_agents_used_counts_for_the_budget() -> None:
    spent = iter([Spending(), Spending(Usage(30, 30), 2.0), Spending(Usage(30, 30), 2.0)])
    play = Play([reply("a", tokens=10)], [RAISED], {"delegated": lambda: next(spent)}, max_tokens=80)
    assert (play.finish.cause, play.finish.message) == ("max_tokens", "80 tokens used, max_tokens=80")

    spent = iter([Spending(), Spending(cost=2.0)])
    play = Play([reply("a")], [RAISED], {"delegated": lambda: next(spent)}, max_cost=2.0)
    assert play.finish.cause == "max_cost"


def test_a_question_gives_the_conversation_which_another_loop_goes_on_with() -> None:
    asked = Executed("asked", text="which year?")
    said = reply("a", "b")
    first = Play([said], [Executed("finished", stdout="seen"), asked])

    assert first.finish.messages == (
        UserMessage("task"),
        AssistantMessage("", tuple(said.actions)),
        Observation(("[1 of 2: python_action]\nseen", "[2 of 2: python_action]\n(this ended the script)")),
    )
    second = Play([reply("c")], [DONE], {"earlier": first.finish.messages})
    assert second.requests[0].messages == (*first.finish.messages, UserMessage("task"))
    assert second.finish.messages == ()
