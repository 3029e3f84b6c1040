"""Agent and the calls of its tasks: every ending, sessions, options, cancelling, the model over real HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import agex
from agex.llm import Fault, OpenAI, PythonAction, Reply, Scripted, Usage, scripted_server
from agex.tokens import estimated_tokens


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=6)
    yield pool
    pool.close()


def task_of(pool: agex.Pool, model: Any, **choices: Any) -> agex.Task[[], int]:
    agent = agex.Agent(name="tester", isolation="kernel", llm=model, pool=pool, **choices)

    @agent.task
    def count() -> int:
        """Count."""
        raise NotImplementedError

    return count


# --- endings ---


def test_a_success_carries_its_value_usage_events_and_lockdown(pool: agex.Pool) -> None:
    model = Scripted(["print('look')", Reply(actions=[PythonAction("task_success(3)")], usage=Usage(100, 20))])
    heard: list[agex.Event] = []

    outcome = task_of(pool, model, prices=(1.0, 2.0)).with_options(on_event=heard.append).run()

    assert (outcome.status, outcome.value, outcome.error, outcome.unwrap()) == ("success", 3, None, 3)
    assert outcome.usage == Usage(100, 20)
    assert outcome.cost == pytest.approx(140e-6)
    assert outcome.lockdown.isolation == "kernel" and "seccomp" in outcome.lockdown.promises["network"]
    assert [type(event).__name__ for event in outcome.events] == [
        "TaskStartEvent",
        "ActionEvent",
        "OutputEvent",
        "ActionEvent",
        "SuccessEvent",
    ]
    assert [event.id for event in heard] == [event.id for event in outcome.events]
    assert {(event.agent, event.session) for event in heard} == {("tester", "default")}


def test_tokens_from_the_providers_cache_have_their_own_price(pool: agex.Pool) -> None:
    def replies() -> Scripted:
        usage = Usage(1000, 10, cached_tokens=900)
        return Scripted([Reply(actions=[PythonAction(code)], usage=usage) for code in ("print(1)", "task_success(3)")])

    outcome = task_of(pool, replies(), prices=(1.0, 2.0, 0.1)).run()
    assert outcome.usage == Usage(2000, 20, 1800)
    assert outcome.cost == pytest.approx((200 * 1.0 + 1800 * 0.1 + 20 * 2.0) / 1e6)
    assert [event.cost for event in outcome.events if isinstance(event, agex.ActionEvent)] == [
        pytest.approx(outcome.cost / 2)
    ] * 2
    assert all(agex.Event.from_json(event.to_json()) == event for event in outcome.events)

    # Without a price of their own they cost what the others do.
    assert task_of(pool, replies(), prices=(1.0, 2.0)).run().cost == pytest.approx((2000 * 1.0 + 20 * 2.0) / 1e6)


@pytest.mark.parametrize("choices", [{"max_tokens": 100}, {"max_cost": 0.0001, "prices": (1.0, 1.0)}])
def test_a_budget_holds_too_where_the_server_counts_no_tokens(pool: agex.Pool, choices: dict[str, Any]) -> None:
    model = Scripted(["print(1)"] * 9)

    outcome = task_of(pool, model, **choices).run()

    assert (outcome.status, len(model.requests)) == ("budget", 1)
    assert outcome.usage.input_tokens == estimated_tokens(str(model.requests[0]))
    assert (
        task_of(pool, Scripted(["task_success(3)"])).run().usage == Usage()
    )  # nothing is made up where nothing is bounded


def test_giving_up_and_asking_are_errors_with_their_words(pool: agex.Pool) -> None:
    with pytest.raises(agex.TaskFailed, match="no data") as failed:
        task_of(pool, Scripted(["task_fail('no data')"]))()
    with pytest.raises(agex.TaskNeedsInput) as asked:
        task_of(pool, Scripted(["task_clarify('which year?')"]))()

    assert failed.value.outcome.status == "failed"
    assert (asked.value.question, asked.value.outcome.status) == ("which year?", "needs_input")


def test_actions_used_up_are_a_budget_error_with_the_last_error(pool: agex.Pool) -> None:
    with pytest.raises(agex.BudgetExceeded) as caught:
        task_of(pool, Scripted(["1 / 0"] * 5), max_actions=2)()

    assert (caught.value.budget, caught.value.outcome.status) == ("max_actions", "budget")
    assert "ZeroDivisionError" in (caught.value.last_error or "")


@pytest.mark.parametrize(
    ("choices", "budget"),
    [({"max_tokens": 50}, "max_tokens"), ({"max_cost": 0.0001, "prices": (10.0, 10.0)}, "max_cost")],
)
def test_tokens_and_cost_are_bounded(pool: agex.Pool, choices: dict[str, Any], budget: str) -> None:
    replies = [Reply(actions=[PythonAction("print(1)")], usage=Usage(40, 20)) for _ in range(5)]
    model = Scripted(replies)

    with pytest.raises(agex.BudgetExceeded) as caught:
        task_of(pool, model, **choices)()

    assert (caught.value.budget, len(model.requests)) == (budget, 1)


def test_a_task_that_takes_too_long_is_a_timeout_also_within_an_action(pool: agex.Pool) -> None:
    with pytest.raises(agex.TaskTimeout) as caught:
        task_of(pool, Scripted(["while True: pass"] * 3), task_timeout_s=1.0)()

    assert isinstance(caught.value, TimeoutError)
    assert caught.value.outcome.status == "timeout"


def test_an_action_that_takes_too_long_is_observed_and_the_next_gets_a_new_worker(pool: agex.Pool) -> None:
    model = Scripted(["open('file', 'w').write('x')\nwhile True: pass", "task_success(len(open('file').read()))"])

    assert task_of(pool, model, action_timeout_s=0.5)() == 1
    assert "the deadline of the action passed" in str(model.requests[1].messages[-1])


def test_a_worker_that_dies_is_observed_and_one_that_dies_again_and_again_ends_the_task(pool: agex.Pool) -> None:
    dying = "import os\nos._exit(7)"
    model = Scripted([dying, dying, "task_success(3)"])

    assert task_of(pool, model, policy="full-python")() == 3
    assert "exit status 7" in str(model.requests[1].messages[-1])
    with pytest.raises(agex.WorkerDied) as caught:
        task_of(pool, Scripted([dying] * 4), policy="full-python")()
    assert caught.value.outcome.status == "error"


def test_a_worker_that_breaks_the_protocol_ends_the_task_and_no_other(pool: agex.Pool) -> None:
    noise = "import os\nfor fd in range(3, 64):\n    try:\n        os.write(fd, b'noise' * 99)\n    except OSError:\n        pass\nwhile True: pass"

    with pytest.raises(agex.ProtocolViolation) as caught:
        task_of(pool, Scripted([noise]), policy="full-python")()

    assert caught.value.outcome.status == "error"
    assert task_of(pool, Scripted(["task_success(1)"]), policy="full-python")() == 1


def test_a_turn_without_an_action_is_answered_and_counted(pool: agex.Pool) -> None:
    model = Scripted([Reply(text="Let me think."), "task_success(1)"])

    assert task_of(pool, model)() == 1
    assert "Nothing was run" in str(model.requests[1].messages[-1])
    with pytest.raises(agex.BudgetExceeded):
        task_of(pool, Scripted([Reply(text="hm")] * 3), max_actions=2)()


def test_swallowing_the_end_does_not_undo_it(pool: agex.Pool) -> None:
    code = "try:\n    task_success(1)\nexcept BaseException:\n    pass\ntask_success(2)"

    assert task_of(pool, Scripted([code]), policy="full-python")() == 1


# --- the model over HTTP ---


def served(script: list[Any], pool: agex.Pool, **choices: Any) -> agex.TaskOutcome:
    with scripted_server(script) as url:
        model = OpenAI("scripted", base_url=url, api_key="none", **choices)
        return task_of(pool, model).run()


def test_the_job_is_done_over_real_http(pool: agex.Pool) -> None:
    outcome = served(["print(1)", "task_success(41 + 1)"], pool)

    assert (outcome.status, outcome.value) == ("success", 42)
    assert outcome.usage.input_tokens > 0


@pytest.mark.parametrize(
    "fault",
    [Fault(status=429, retry_after=0.01), Fault(status=500), Fault("disconnect"), Fault("disconnect", after_chunks=2)],
)
def test_a_fault_of_the_wire_is_retried_and_costs_no_action(pool: agex.Pool, fault: Fault) -> None:
    outcome = served([fault, "task_success(1)"], pool)

    assert (outcome.status, outcome.value) == ("success", 1)
    assert len([event for event in outcome.events if isinstance(event, agex.ActionEvent)]) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, retry_after=0.0),
        Fault(status=500, retry_after=0.0),
        Fault(status=401, message="no such key"),
        Fault("garbage"),
    ],
    ids=str,
)
def test_a_fault_that_stays_is_an_llm_error_with_its_outcome(pool: agex.Pool, fault: Fault) -> None:
    outcome = served([fault] * 20, pool)

    assert (outcome.status, type(outcome.error)) == ("error", agex.LLMError)
    with pytest.raises(agex.LLMError) as caught:
        outcome.unwrap()
    assert caught.value.outcome is outcome
    assert outcome.message


def test_a_silent_model_is_cut_off_by_the_clients_own_deadline_and_by_the_tasks(pool: agex.Pool) -> None:
    slow = Fault("slow", seconds=3600)
    assert type(served([slow] * 20, pool, timeout_s=0.2).error) is agex.LLMError

    with scripted_server([slow] * 20) as url:
        task = task_of(pool, OpenAI("scripted", base_url=url, api_key="none"))
        assert type(task.with_options(timeout_s=0.5).run().error) is agex.TaskTimeout


def test_a_model_that_answers_nonsense_is_told_and_may_correct_itself(pool: agex.Pool) -> None:
    outcome = served([Reply(text="Sure! Here is the answer: 42."), "task_success(42)"], pool)

    assert (outcome.status, outcome.value) == ("success", 42)


def test_an_exhausted_script_is_an_llm_error(pool: agex.Pool) -> None:
    with pytest.raises(agex.LLMError, match="used up"):
        task_of(pool, Scripted(["print(1)"]))()


# --- awaiting, cancelling, mapping ---


def test_an_async_task_is_awaited(pool: agex.Pool) -> None:
    agent = agex.Agent(isolation="kernel", llm=Scripted(["task_success(1)", "task_success(2)"]), pool=pool)

    @agent.task
    async def count() -> int:
        """Count."""
        raise NotImplementedError

    async def both() -> tuple[int, int]:
        return await count(), (await count.arun()).unwrap()

    assert asyncio.run(both()) == (1, 2)


def test_cancelling_from_another_thread_ends_the_call(pool: agex.Pool) -> None:
    begun = threading.Event()
    agent = agex.Agent(isolation="kernel", llm=Scripted(["begin()\nwhile True: pass"]), pool=pool)
    agent.fn(begun.set, name="begin")

    @agent.task
    def spin() -> int:
        """Spin."""
        raise NotImplementedError

    def cancel() -> None:
        begun.wait()
        assert spin.cancel("nosuch") is False
        assert spin.cancel() is True

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(agex.TaskCancelled) as caught:
        spin()
    thread.join()

    assert caught.value.outcome.status == "cancelled"
    assert spin.cancel() is False


def test_cancelling_an_awaited_call_cleans_up_and_passes(pool: agex.Pool) -> None:
    async def scenario() -> None:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()
        agent = agex.Agent(isolation="kernel", llm=Scripted(["begin()\nwhile True: pass"]), pool=pool)

        @agent.fn
        def begin() -> None:
            loop.call_soon_threadsafe(begun.set)

        @agent.task
        def spin() -> int:
            """Spin."""
            raise NotImplementedError

        running = asyncio.ensure_future(spin.arun())
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert spin.cancel() is False

    busy = pool.stats().busy
    asyncio.run(scenario())
    assert pool.stats().busy == busy


def test_map_calls_with_each_item_in_a_session_of_its_own(pool: agex.Pool) -> None:
    agent = agex.Agent(
        isolation="kernel",
        llm=Scripted(["open('only-once', 'x').close()\ntask_success(inputs.n * inputs.by)"] * 5),
        pool=pool,
    )

    @agent.task
    def times(n: int, by: int) -> int:
        """Multiply."""
        raise NotImplementedError

    assert times.map(range(5), concurrency=2, by=10) == [0, 10, 20, 30, 40]


def test_map_raises_the_first_failure_or_gives_every_outcome(pool: agex.Pool) -> None:
    code = "task_fail('odd') if inputs.n % 2 else task_success(inputs.n)"
    agent = agex.Agent(isolation="kernel", llm=Scripted([code] * 20), pool=pool)

    @agent.task
    def even(n: int) -> int:
        """Only even ones."""
        raise NotImplementedError

    with pytest.raises(agex.TaskFailed, match="odd"):
        even.map(range(4))
    outcomes = even.map(range(4), outcomes=True)
    assert [outcome.status for outcome in outcomes] == ["success", "failed", "success", "failed"]
    assert asyncio.run(even.amap([2, 4])) == [2, 4]


# --- sessions and options ---


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 129, "a\n"])
def test_a_session_name_that_could_be_a_path_is_refused(pool: agex.Pool, name: str) -> None:
    with pytest.raises(ValueError, match="session name"):
        task_of(pool, Scripted(["task_success(1)"])).with_options(session=name)()


def test_a_session_serves_one_call_at_a_time(pool: agex.Pool) -> None:
    impatient = agex.Pool(max_workers=2, wait_s=0.05)
    agent = agex.Agent(isolation="kernel", llm=Scripted(["again()\ntask_success(1)"]), pool=impatient)

    @agent.fn
    def again() -> None:
        with pytest.raises(agex.SessionBusy, match="default"):
            count.with_options(session="default")()

    @agent.task
    def count() -> int:
        """Count."""
        raise NotImplementedError

    assert count() == 1
    impatient.close()


def test_inline_options_work_unless_a_parameter_has_their_name(pool: agex.Pool) -> None:
    agent = agex.Agent(isolation="kernel", llm=Scripted(["task_success(inputs.session)"]), pool=pool)

    @agent.task
    def name(session: str) -> str:
        """Its name."""
        raise NotImplementedError

    assert name(session="mine") == "mine"
    heard: list[agex.Event] = []
    plain = task_of(pool, Scripted(["task_success(1)"]))
    assert plain(session="other", on_event=heard.append) == 1  # type: ignore[call-arg]
    assert {event.session for event in heard} == {"other"}


def test_a_handler_that_raises_is_logged_and_not_fatal(pool: agex.Pool, caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: agex.Event) -> None:
        raise RuntimeError("handler")

    assert task_of(pool, Scripted(["task_success(1)"])).with_options(on_event=broken)() == 1
    assert "on_event raised" in caplog.text


# --- the agent itself ---


def test_making_an_agent_needs_no_key_and_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGEX_MODEL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    agent = agex.Agent(isolation="kernel")

    with pytest.raises(agex.ConfigurationError, match="AGEX_MODEL"):
        agent.start()


def test_ill_typed_choices_raise_at_once() -> None:
    with pytest.raises(ValueError, match="kernal"):
        agex.Agent(isolation="kernal")
    with pytest.raises(ValueError, match="max_actions"):
        agex.Agent(max_actions=0)
    with pytest.raises(agex.ConfigurationError, match="prices"):
        agex.Agent(max_cost=1.0)
    with pytest.raises(ValueError, match="max_tokens must be above 0"):
        agex.Agent(max_tokens=0)
    for prices in ((1.0,), (1.0, -1.0), (1.0, 2.0, float("nan")), (1.0, 2.0, 3.0, 4.0)):
        with pytest.raises(ValueError, match="prices are those of a million tokens in"):
            agex.Agent(prices=prices)  # type: ignore[arg-type]


def test_start_warms_the_pool_and_close_ends_the_agent() -> None:
    pool = agex.Pool(max_workers=2)
    agent = agex.Agent(isolation="kernel", llm=Scripted([]), pool=pool)

    @agent.task
    def count() -> int:
        """Count."""
        raise NotImplementedError

    with agent:
        assert pool.stats().zygotes == 1
    with pytest.raises(agex.ConfigurationError, match="closed"):
        count()
    pool.close()


def test_repr_says_what_runs_where(pool: agex.Pool) -> None:
    agent = agex.Agent(name="clerk", isolation="kernel", llm=Scripted([]), pool=pool)
    agent.module("math")
    agent.fn(len, name="size")

    assert repr(agent) == (
        "<Agent clerk isolation='kernel' policy='default'; in the worker: math; in this process: size>"
    )


def test_a_module_that_cannot_be_imported_in_a_worker_is_named_with_the_remedies(
    pool: agex.Pool, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "key.txt"
    secret.write_text("key")
    (tmp_path / "reads_a_key.py").write_text(f"KEY = open({str(secret)!r}).read()\n")
    monkeypatch.syspath_prepend(tmp_path)
    agent = agex.Agent(isolation="kernel", llm=Scripted([]), pool=pool)
    agent.module("reads_a_key")

    with pytest.raises(agex.AgexError) as caught:
        agent.start()
    for told in ("reads_a_key", "FileNotFoundError", "[filesystem] read opens them", "[env] pass", "runs='host'"):
        assert told in str(caught.value)


def test_a_raised_isolation_is_obeyed_and_a_lowered_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGEX_ISOLATION", "process")

    assert agex.Agent(isolation="none").isolation == "process"
    assert agex.Agent(isolation="kernel").isolation == "kernel"
    monkeypatch.setenv("AGEX_ISOLATION", "fortress")
    with pytest.raises(agex.ConfigurationError, match="fortress"):
        agex.Agent()
