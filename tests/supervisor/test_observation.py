"""The text of an observation: output, then how the action ended; bounded and harmless to look at."""

from __future__ import annotations

import pytest

from agex_supervisor.death import Death
from agex_supervisor.execution import ErrorInfo, Executed
from agex_supervisor.observation import MAX_ERROR_CHARS, MAX_OUTPUT_CHARS, observed

NO_OUTPUT = "(no output; print what you want to see, and call task_success(value) to finish)"


@pytest.mark.parametrize(
    ("executed", "expected"),
    [
        (Executed("finished"), NO_OUTPUT),
        (Executed("finished", stdout="one\ntwo\n"), "one\ntwo"),
        (Executed("finished", stderr="careful\n"), "[stderr]\ncareful"),
        (
            Executed("raised", stdout="so far\n", error=ErrorInfo("E", "message", "Traceback\nE: message\n")),
            "so far\nTraceback\nE: message",
        ),
        (Executed("raised", error=ErrorInfo("E", "only a message")), "only a message"),
        (
            Executed("mismatch", error=ErrorInfo("ContractError", "value: a str, wanted int")),
            "task_success was refused: value: a str, wanted int",
        ),
        (
            Executed("died", stdout="before\n", death=Death("limit", "limits.threads: 9 threads, 8 allowed")),
            "before\nThe process that ran this action was ended (limit: limits.threads: 9 threads, 8 allowed)."
            " The next action gets a new one; files in the workspace are still there.",
        ),
    ],
)
def test_an_observation_shows_output_and_end(executed: Executed, expected: str) -> None:
    assert observed(executed) == expected


def test_nothing_in_an_observation_acts_on_a_terminal() -> None:
    evil = "\x1b[2J\u202e\r"
    for executed in (
        Executed("finished", stdout=evil, stderr=evil),
        Executed("raised", error=ErrorInfo("E", evil, evil)),
        Executed("mismatch", error=ErrorInfo("E", evil)),
    ):
        assert not set(observed(executed)) & set(evil) - set("[2J")


def test_an_observation_is_bounded_whatever_came() -> None:
    huge = "x" * (1 << 20)
    executed = Executed("raised", stdout=huge, stderr=huge, error=ErrorInfo("E", huge, huge))
    assert len(observed(executed)) < MAX_OUTPUT_CHARS * 5 // 4 + MAX_ERROR_CHARS + 100
