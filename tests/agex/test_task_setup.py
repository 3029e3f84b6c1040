"""Code of the developer's that is run before the model's first action."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import agex
from agex.llm import PythonAction, Scripted

ISOLATIONS = ("none", "kernel")


@pytest.fixture(params=ISOLATIONS)
def counting(request: pytest.FixtureRequest) -> Callable[..., agex.Task[[int], int]]:
    def counting(setup: str, *script: Any, **choices: Any) -> agex.Task[[int], int]:
        agent = agex.Agent(isolation=request.param, llm=Scripted(script), **choices)

        @agent.task(setup=setup)
        def count(n: int) -> int:
            """Count."""
            raise NotImplementedError

        return count

    return counting


def asked(task: agex.Task[..., Any]) -> list[Any]:
    return task.agent.model.requests  # type: ignore[attr-defined, no-any-return]


def test_setup_runs_first_and_is_shown_with_what_it_printed_but_is_no_action(
    counting: Callable[..., agex.Task[[int], int]],
) -> None:
    code = "open('seen', 'x').close()\nprint('the input is', inputs.n)"
    task = counting(code, "open('seen').close()\ntask_success(inputs.n)", max_actions=1)

    outcome = task.run(7)

    assert outcome.value == 7, outcome.message
    told = str(asked(task)[0].messages[-1])
    assert "The developer had this run before your first action:" in told
    assert "print('the input is', inputs.n)" in told and "the input is 7" in told
    shown = [(type(event).__name__, getattr(event, "source", None)) for event in outcome.events]
    assert shown == [
        ("TaskStartEvent", None),
        ("ActionEvent", "setup"),
        ("OutputEvent", "setup"),
        ("FileEvent", "agent"),
        ("ActionEvent", "main"),
        ("SuccessEvent", None),
    ]
    first = outcome.events[1]
    assert isinstance(first, agex.ActionEvent)
    assert (first.action, first.number, first.usage) == (PythonAction(code), 0, None)


def test_what_setup_raises_is_a_note_to_the_model_and_ends_nothing(
    counting: Callable[..., agex.Task[[int], int]],
) -> None:
    task = counting("1 / 0", "task_success(inputs.n)")

    outcome = task.run(7)

    assert outcome.value == 7
    told = str(asked(task)[0].messages[-1])
    assert "It FAILED" in told and "ZeroDivisionError" in told
    notes = [event.message for event in outcome.events if isinstance(event, agex.NoteEvent)]
    assert len(notes) == 1 and "ZeroDivisionError" in notes[0]


def test_names_of_setup_are_gone_as_those_of_every_action_and_it_may_end_the_task(
    counting: Callable[..., agex.Task[[int], int]],
) -> None:
    task = counting("x = 1", "print(x)", "task_success(2)")
    assert task(1) == 2
    assert "NameError" in str(asked(task)[1].messages[-1])

    early = counting("if inputs.n < 0:\n    task_fail('below zero')", "task_success(inputs.n)")
    with pytest.raises(agex.TaskFailed, match="below zero"):
        early(-1)
    assert asked(early) == []
    assert early(1) == 1


def test_a_worker_that_dies_in_setup_is_a_note_too() -> None:
    agent = agex.Agent(isolation="kernel", policy="full-python", llm=Scripted(["task_success(1)"]))

    @agent.task(setup="import os\nos._exit(7)")
    def count() -> int:
        """Count."""
        raise NotImplementedError

    outcome = count.run()

    assert outcome.value == 1
    assert "exit status 7" in str(asked(count)[0].messages[-1])


def test_setup_that_is_no_python_is_refused_at_decoration() -> None:
    agent = agex.Agent(llm=Scripted([]))

    with pytest.raises(ValueError, match="task count: setup= is not Python"):

        @agent.task(setup="def")
        def count() -> int:
            """Count."""
            raise NotImplementedError
