"""A task that asked goes on when somebody answers: the same session and inputs, with the conversation so far."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import agex
from agex.llm import OpenAI, PythonAction, Reply, Scripted, scripted_server

ASKS = "with open('note', 'w') as f:\n    f.write(inputs.topic)\ntask_clarify('which year?')"
ENDS = "with open('note') as f:\n    task_success(f.read() + ' ' + inputs.topic)"


@pytest.fixture(params=["none", "kernel"])
def agent_of(request: pytest.FixtureRequest) -> Callable[..., agex.Agent]:
    def agent_of(*script: Any) -> agex.Agent:
        return agex.Agent(name="tester", isolation=request.param, llm=Scripted(script))

    return agent_of


def titled(agent: agex.Agent) -> agex.Task[[str], str]:
    @agent.task
    def title(topic: str) -> str:
        """A title."""
        raise NotImplementedError

    return title


def asked(task: agex.Task[..., Any]) -> list[Any]:
    return task.agent.model.requests  # type: ignore[attr-defined, no-any-return]


def question_of(task: agex.Task[..., Any], *args: Any) -> agex.TaskNeedsInput:
    with pytest.raises(agex.TaskNeedsInput) as caught:
        task(*args)
    return caught.value


def test_an_answer_goes_on_in_the_session_with_inputs_options_and_conversation(
    agent_of: Callable[..., agex.Agent],
) -> None:
    heard: list[agex.Event] = []
    task = titled(agent_of(ASKS, ENDS)).with_options(session="ann", on_event=heard.append)

    question = question_of(task, "tea")

    assert question.question == "which year?"
    assert question.answer("1999") == "tea tea"
    first, second = asked(task)
    shown = str(second)
    assert shown.startswith(str(first))
    assert "task_clarify('which year?')" in shown and shown.endswith("The caller answers your question:\n1999")
    assert {event.session for event in heard} == {"ann"}
    asking, started = heard[3], heard[4]
    assert isinstance(asking, agex.ClarifyEvent) and isinstance(started, agex.TaskStartEvent)
    assert started.answers == asking.id


def test_what_ran_before_the_question_in_its_turn_is_told(agent_of: Callable[..., agex.Agent]) -> None:
    several = Reply(actions=[PythonAction("print('looked')"), PythonAction("task_clarify('year?')")])
    task = titled(agent_of(several, "task_success('x')"))

    assert question_of(task, "tea").answer("1999") == "x"
    assert "looked" in str(asked(task)[1].messages[-2])


def test_an_answer_may_lead_to_the_next_question(agent_of: Callable[..., agex.Agent]) -> None:
    task = titled(agent_of("task_clarify('a?')", "task_clarify('b?')", "task_success('x')"))

    with pytest.raises(agex.TaskNeedsInput) as caught:
        question_of(task, "tea").answer("1")

    assert caught.value.question == "b?"
    assert caught.value.answer("2") == "x"
    told = str(asked(task)[2])
    assert told.index("question:\n1") < told.index("b?") < told.index("question:\n2")


def test_a_task_that_is_awaited_is_answered_by_an_await_and_any_by_aanswer(
    agent_of: Callable[..., agex.Agent],
) -> None:
    agent = agent_of("task_clarify('a?')", "task_success(1)", "task_clarify('a?')", "task_success(2)")

    @agent.task
    async def count() -> int:
        """Count."""
        raise NotImplementedError

    async def scenario() -> list[int]:
        given = []
        for way in ("answer", "aanswer"):
            with pytest.raises(agex.TaskNeedsInput) as caught:
                await count()
            given.append(await getattr(caught.value, way)("yes"))
        return given

    assert asyncio.run(scenario()) == [1, 2]


def test_limits_count_anew_and_setup_does_not_run_again() -> None:
    agent = agex.Agent(llm=Scripted(["task_clarify('a?')", "task_success(1)"]), max_actions=1)

    @agent.task(setup="open('once', 'x').close()")
    def count() -> int:
        """Count."""
        raise NotImplementedError

    question = question_of(count)

    assert question.answer("yes") == 1
    assert [type(event).__name__ for event in question.outcome.events][-1] == "ClarifyEvent"


def test_an_answer_reaches_a_model_over_http_as_a_conversation_that_it_takes() -> None:
    with scripted_server(["task_clarify('a?')", "task_success('x')"]) as url:
        task = titled(agex.Agent(llm=OpenAI("scripted", base_url=url, api_key="none")))
        assert question_of(task, "tea").answer("yes") == "x"


def test_a_question_of_a_sessions_tenant_is_answered_in_it() -> None:
    task = titled(agex.Agent(llm=Scripted([ASKS, ENDS]))).with_options(tenant="acme", session="ann")

    question = question_of(task, "tea")

    assert question.answer("1999") == "tea tea"
    assert {event.session for event in question.outcome.events} == {"acme@@ann"}


@pytest.mark.parametrize("answer", ["", "  ", None, 3])
def test_an_answer_that_says_nothing_is_refused(answer: Any) -> None:
    question = question_of(titled(agex.Agent(llm=Scripted(["task_clarify('a?')"]))), "tea")

    with pytest.raises(agex.ContractError, match=r"answer\(\) takes what the agent is to know"):
        question.answer(answer)


def test_a_question_from_another_process_says_that_it_cannot_be_answered_here() -> None:
    question = question_of(titled(agex.Agent(llm=Scripted(["task_clarify('a?')"]))), "tea")

    travelled = pickle.loads(pickle.dumps(question))

    assert (type(travelled), travelled.question) == (agex.TaskNeedsInput, "a?")
    assert travelled.outcome.events == question.outcome.events and travelled.outcome.error is travelled
    with pytest.raises(agex.ConfigurationError, match="it comes from another process"):
        travelled.answer("yes")
