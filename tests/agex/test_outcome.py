"""Which error stands for which ending, and that each carries its outcome."""

from __future__ import annotations

import pickle

import pytest

import agex
from agex.outcome import outcome_of
from agex_supervisor.loop import Finish
from agex_supervisor.promises import LockdownReport

ENDINGS = [
    (Finish("failed", message="m"), agex.TaskFailed),
    (Finish("needs_input", message="m"), agex.TaskNeedsInput),
    (Finish("timeout", message="m"), agex.TaskTimeout),
    (Finish("cancelled", message="m"), agex.TaskCancelled),
    (Finish("budget", message="m", cause="max_actions"), agex.BudgetExceeded),
    (Finish("error", message="m", cause="llm"), agex.LLMError),
    (Finish("error", message="m", cause="worker"), agex.WorkerDied),
    (Finish("error", message="m", cause="violation"), agex.ProtocolViolation),
]


@pytest.mark.parametrize(("finish", "kind"), ENDINGS, ids=[kind.__name__ for _, kind in ENDINGS])
def test_every_ending_without_a_value_has_its_error(finish: Finish, kind: type[agex.TaskError]) -> None:
    outcome = outcome_of(finish, [], LockdownReport("none"), None)

    assert (outcome.status, outcome.value, type(outcome.error)) == (finish.status, None, kind)
    with pytest.raises(kind) as caught:
        outcome.unwrap()
    assert caught.value.outcome is outcome
    assert isinstance(caught.value, agex.AgexError) and str(caught.value) == "m"


def test_a_success_has_a_value_and_no_error() -> None:
    outcome = outcome_of(Finish("success", value=3), [], LockdownReport("none"), None)

    assert (outcome.status, outcome.error, outcome.unwrap()) == ("success", None, 3)


def test_what_the_agent_last_ran_into_is_told_where_it_ran_out() -> None:
    finish = Finish("budget", message="used up", cause="max_actions", last_error="ValueError: x")
    error = outcome_of(finish, [], LockdownReport("none"), None).error

    assert isinstance(error, agex.BudgetExceeded)
    assert (error.budget, error.last_error) == ("max_actions", "ValueError: x")
    assert str(error) == "used up; the agent last ran into:\nValueError: x"


def test_an_error_of_the_client_is_passed_on_itself() -> None:
    given = agex.LLMError("m", model="x", retries=2)
    outcome = outcome_of(Finish("error", message="m", cause="llm", error=given), [], LockdownReport("none"), None)

    assert outcome.error is given and given.outcome is outcome


def test_timeouts_and_contract_errors_are_also_pythons_own() -> None:
    assert issubclass(agex.TaskTimeout, TimeoutError)
    assert issubclass(agex.ContractError, TypeError)


def test_an_outcome_of_a_success_can_be_kept() -> None:
    outcome = outcome_of(Finish("success", value=[1]), [], LockdownReport("none"), 0.5)

    assert pickle.loads(pickle.dumps(outcome)) == outcome
