"""Agents that call agents: a specialist's task is a function of the orchestrator's code, in every isolation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import agex
from agex.lineage import MAX_DEPTH, session_below
from agex.llm import Fault, OpenAI, PythonAction, Reply, Scripted, TerminalAction, Usage, scripted_server
from agex_supervisor.session_name import SESSION_NAME

ISOLATIONS = ("none", "process", "kernel")
DYING = "import os\nos._exit(7)"


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=12)
    yield pool
    pool.close()


@pytest.fixture(params=ISOLATIONS)
def make(request: pytest.FixtureRequest, pool: agex.Pool) -> Callable[..., agex.Agent]:
    def make(name: str, script: list[Any] | Any, **choices: Any) -> agex.Agent:
        model = Scripted(script) if isinstance(script, list) else script
        return agex.Agent(name=name, llm=model, pool=pool, **{"isolation": request.param, **choices})

    return make


@pytest.fixture
def kernel(pool: agex.Pool) -> Callable[..., agex.Agent]:
    def make(name: str, script: list[Any] | Any, **choices: Any) -> agex.Agent:
        model = Scripted(script) if isinstance(script, list) else script
        return agex.Agent(name=name, llm=model, pool=pool, **{"isolation": "kernel", **choices})

    return make


def doubled(agent: agex.Agent) -> agex.Task[[int], int]:
    @agent.task
    def double(n: int) -> int:
        """Double it."""
        raise NotImplementedError

    return double


def report_of(agent: agex.Agent) -> agex.Task[[], str]:
    @agent.task
    def report() -> str:
        """Report."""
        raise NotImplementedError

    return report


SEEN = "try:\n    double(3)\nexcept Exception as error:\n    task_success(f'{type(error).__name__}: {error}')"


def seen_by_the_boss(boss: agex.Agent, specialist: agex.Agent, **choices: Any) -> str:
    """What the orchestrator's code catches when its sub-agent ends."""
    boss.fn(doubled(specialist).with_options(**choices))
    return report_of(boss)()


# --- a value and what it carries ---


def test_a_specialist_is_a_function_of_the_orchestrators_code(make: Callable[..., agex.Agent]) -> None:
    specialist = make("specialist", ["task_success(inputs.n * 2)"] * 2)
    boss = make("boss", ["task_success(str(double(double(3))))"])
    task = doubled(specialist)

    assert boss.fn(task) is task
    assert report_of(boss)() == "12"
    assert "double(n: int) -> int" in str(boss.model.requests[0])  # type: ignore[attr-defined]
    assert "Double it." in str(boss.model.requests[0])  # type: ignore[attr-defined]
    assert "inputs.n: int = 6" in str(specialist.model.requests[1])  # type: ignore[attr-defined]


def test_events_of_a_sub_agent_reach_the_parents_handlers_with_namespace_and_parent(
    make: Callable[..., agex.Agent],
) -> None:
    specialist = make("specialist", ["task_success(inputs.n * 2)"])
    boss = make("boss", ["task_success(str(double(3)))"])
    boss.fn(doubled(specialist))
    heard: list[agex.Event] = []

    outcome = report_of(boss).with_options(on_event=heard.append, session="ann").run()

    assert [(type(event).__name__, event.namespace, event.agent, event.session) for event in heard] == [
        ("TaskStartEvent", "boss", "boss", "ann"),
        ("ActionEvent", "boss", "boss", "ann"),
        ("TaskStartEvent", "boss/specialist", "specialist", "ann.specialist"),
        ("ActionEvent", "boss/specialist", "specialist", "ann.specialist"),
        ("SuccessEvent", "boss/specialist", "specialist", "ann.specialist"),
        ("SuccessEvent", "boss", "boss", "ann"),
    ]
    assert [event.id for event in outcome.events] == [event.id for event in heard]
    called_in = heard[1].id
    assert [event.parent for event in heard] == [None, None, called_in, called_in, called_in, None]
    assert len({event.id for event in heard}) == len(heard)


def test_what_the_terminal_asks_is_a_sub_agent_too(make: Callable[..., agex.Agent]) -> None:
    specialist = make("specialist", ["task_success(inputs.n * 2)"] * 2)
    commands = "python -c 'print(double(3))'; twice 5"
    boss = make("boss", [Reply(actions=[TerminalAction(commands)]), "task_success('done')"])
    task = boss.fn(doubled(specialist))

    @boss.terminal
    def twice(ctx: agex.CommandContext) -> None:
        """Twice a number."""
        ctx.stdout.write(str(task(int(ctx.args[0]))))

    heard: list[agex.Event] = []
    outcome = report_of(boss).with_options(on_event=heard.append, session="ann").run()

    assert [event.id for event in outcome.events] == [event.id for event in heard]
    (output,) = (event.text for event in heard if isinstance(event, agex.OutputEvent))
    assert output.split() == ["6", "10"]
    below = [event for event in heard if event.namespace == "boss/specialist"]
    assert [type(event).__name__ for event in below] == ["TaskStartEvent", "ActionEvent", "SuccessEvent"] * 2
    assert {(event.session, event.parent) for event in below} == {("ann.specialist", heard[1].id)}


def test_a_handler_that_both_have_hears_an_event_once_and_the_specialists_own_hears_only_its(
    kernel: Callable[..., agex.Agent],
) -> None:
    both: list[agex.Event] = []
    own: list[str] = []
    specialist = kernel("specialist", ["task_success(inputs.n)"] * 2)
    boss = kernel("boss", ["task_success(str(double(3) + single(4)))"])
    task = doubled(specialist)
    boss.fn(task.with_options(on_event=both.append))
    boss.fn(task.with_options(on_event=lambda event: own.append(event.namespace)), name="single")

    outcome = report_of(boss).with_options(on_event=both.append).run()

    assert [event.id for event in both] == [event.id for event in outcome.events]
    assert own == ["boss/specialist"] * 3


def test_the_tokens_of_a_sub_agent_are_told_apart(kernel: Callable[..., agex.Agent]) -> None:
    heard: list[tuple[str, str]] = []
    specialist = kernel("specialist", [Reply("under", [PythonAction("task_success(1)")])])
    boss = kernel("boss", [Reply("over", [PythonAction("task_success(str(double(3)))")])])
    boss.fn(doubled(specialist))

    def listen(token: agex.Token) -> None:
        heard.append((token.namespace, token))

    report_of(boss).with_options(on_token=listen)()

    assert heard == [("boss", "over"), ("boss/specialist", "under")]


def test_a_sub_agent_has_a_session_of_its_own_that_stays(make: Callable[..., agex.Agent]) -> None:
    count = "with open('log', 'a+') as f:\n    f.write('x')\n    task_success(f.tell())"
    specialist = make("specialist", [count] * 4)
    boss = make("boss", ["task_success(str([double(1), double(1)]))", "task_success(str(double(1)))"])
    boss.fn(doubled(specialist))

    assert report_of(boss)() == "[1, 2]"
    assert report_of(boss).with_options(session="other")() == "1"
    assert doubled(specialist).with_options(session="default.specialist")(1) == 3


@pytest.mark.parametrize("agent", ["x", "a b/..", "x" * 300, "é"])
def test_the_session_of_a_sub_agent_is_always_a_name_of_a_session_and_another_at_each_level(agent: str) -> None:
    names = ["default"]
    for _ in range(20):
        names.append(session_below(names[-1], agent))

    assert len(set(names)) == len(names)
    assert all(SESSION_NAME.fullmatch(name) for name in names)
    assert session_below("s", "a/b") != session_below("s", "a-b")


# --- how it can end ---

ENDINGS: list[tuple[list[Any], dict[str, Any], str, str]] = [
    (["task_fail('no data')"], {}, "TaskFailed", "double(): no data"),
    (
        ["task_clarify('which year?')"],
        {},
        "TaskNeedsInput",
        "double() asks: which year? (call it again with what it needs to know)",
    ),
    (["print(1)"], {"max_actions": 1}, "BudgetExceeded", "double(): max_actions=1 is used up"),
    ([Fault(status=500)], {}, "LLMError", "double(): scripted: Fault(500)"),
    ([OSError("no route")], {}, "LLMError", "double(): scripted: OSError: no route"),
    (["while True: pass"], {"timeout_s": 0.3}, "TaskTimeout", "double(): task_timeout_s is over"),
]


@pytest.mark.parametrize(
    ("script", "choices", "kind", "message"),
    ENDINGS,
    ids=[f"{kind} {place}" for place, (_, _, kind, _) in enumerate(ENDINGS)],
)
def test_every_ending_of_a_sub_agent_is_an_error_that_the_orchestrators_code_sees(
    make: Callable[..., agex.Agent], script: list[Any], choices: dict[str, Any], kind: str, message: str
) -> None:
    boss = make("boss", [SEEN])
    seen = seen_by_the_boss(boss, make("specialist", script), **choices)

    # In a worker the type is told in the text, because it is none of the types that its code has.
    told = f"{kind}: {message}" if boss.isolation == "none" else f"HostError: {kind}: {message}"
    assert seen.startswith(told.split("Fault(")[0])


def test_a_sub_agent_whose_workers_die_is_an_error_and_the_orchestrator_goes_on(
    kernel: Callable[..., agex.Agent],
) -> None:
    specialist = kernel("specialist", [DYING] * 3, policy="full-python")

    boss = kernel("boss", [SEEN], policy="full-python")
    assert seen_by_the_boss(boss, specialist).startswith("HostError: WorkerDied: double(): 3 workers died")


def test_a_sub_agent_that_breaks_the_protocol_is_an_error_and_the_orchestrator_goes_on(
    kernel: Callable[..., agex.Agent],
) -> None:
    noise = (
        "import os\nfor fd in range(3, 64):\n    try:\n        os.write(fd, b'noise' * 99)\n"
        "    except OSError:\n        pass\nwhile True: pass"
    )
    specialist = kernel("specialist", [noise], policy="full-python")

    boss = kernel("boss", [SEEN], policy="full-python")
    assert seen_by_the_boss(boss, specialist).startswith("HostError: ProtocolViolation: double(): the worker broke")


def test_a_sub_agent_that_is_cancelled_is_an_error_and_the_orchestrator_goes_on(
    make: Callable[..., agex.Agent],
) -> None:
    specialist = make("specialist", ["begin()\nwhile True: pass"])
    task = doubled(specialist)

    # The function that tells of the beginning cancels the call that called it.
    specialist.fn(lambda: task.cancel("default.specialist") and None, name="begin")
    boss = make("boss", [SEEN])
    boss.fn(task)

    assert "TaskCancelled: double(): the task was cancelled" in report_of(boss)()


def test_an_error_that_nobody_catches_is_an_observation_and_not_the_end(make: Callable[..., agex.Agent]) -> None:
    specialist = make("specialist", ["task_fail('no data')"])
    boss = make("boss", ["double(3)", "task_success('went on')"])
    boss.fn(doubled(specialist))

    assert report_of(boss)() == "went on"
    assert "double(): no data" in str(boss.model.requests[1].messages[-1])  # type: ignore[attr-defined]


def test_the_orchestrators_code_gets_no_hold_of_what_the_sub_agent_did(pool: agex.Pool) -> None:
    specialist = agex.Agent(name="specialist", llm=Scripted(["task_fail('no data')"]))
    code = "try:\n    double(3)\nexcept Exception as error:\n    task_success(str(error.outcome))"
    boss = agex.Agent(name="boss", llm=Scripted([code]))
    boss.fn(doubled(specialist))

    assert report_of(boss)() == "None"


# --- what ends the orchestrator ends its sub-agents ---


def test_cancelling_the_orchestrator_ends_the_sub_agents_action(make: Callable[..., agex.Agent]) -> None:
    begun = threading.Event()
    specialist = make("specialist", ["begin()\nwhile True: pass"])
    specialist.fn(begun.set, name="begin")
    boss = make("boss", ["double(3)"])
    boss.fn(doubled(specialist))
    task = report_of(boss)
    canceller = threading.Thread(target=lambda: begun.wait() and task.cancel())
    canceller.start()

    outcome = task.run()
    canceller.join()

    assert outcome.status == "cancelled"
    assert [(type(event).__name__, event.namespace) for event in outcome.events[-2:]] == [
        ("CancelledEvent", "boss/specialist"),
        ("CancelledEvent", "boss"),
    ]


def silent_model(asked: threading.Event) -> Callable[[object], Fault]:
    """A reply that never comes; the event tells of the request."""

    def reply(request: object) -> Fault:
        asked.set()
        return Fault("slow", seconds=3600)

    return reply


def client(url: str) -> OpenAI:
    return OpenAI("scripted", base_url=url, api_key="none", timeout_s=3600.0)


@pytest.mark.parametrize("awaited", [False, True])
def test_cancelling_the_orchestrator_ends_the_sub_agents_request_to_its_model(
    kernel: Callable[..., agex.Agent], awaited: bool
) -> None:
    asked = threading.Event()
    with scripted_server([silent_model(asked)]) as url:
        specialist = kernel("specialist", client(url))
        boss = kernel("boss", ["double(3)"])
        if awaited:

            @boss.fn
            @specialist.task
            async def double(n: int) -> int:
                """Double it."""
                raise NotImplementedError

        else:
            boss.fn(doubled(specialist))
        task = report_of(boss)
        canceller = threading.Thread(target=lambda: asked.wait() and task.cancel())
        canceller.start()
        outcome = task.run()
        canceller.join()

    assert outcome.status == "cancelled"
    assert "boss/specialist" in {event.namespace for event in outcome.events}


@pytest.mark.parametrize("awaited", [False, True])
def test_cancelling_a_task_ends_its_own_request_to_the_model(kernel: Callable[..., agex.Agent], awaited: bool) -> None:
    asked = threading.Event()
    with scripted_server([silent_model(asked)]) as url:
        task = report_of(kernel("solo", client(url)))
        canceller = threading.Thread(target=lambda: asked.wait() and task.cancel())
        canceller.start()
        outcome = asyncio.run(task.arun()) if awaited else task.run()
        canceller.join()

    assert outcome.status == "cancelled"
    assert type(outcome.events[-1]) is agex.CancelledEvent


def test_the_orchestrators_deadline_ends_its_sub_agents(make: Callable[..., agex.Agent]) -> None:
    specialist = make("specialist", ["while True: pass"], task_timeout_s=3600.0)
    boss = make("boss", ["double(3)"])
    boss.fn(doubled(specialist))

    outcome = report_of(boss).with_options(timeout_s=1.0).run()

    assert outcome.status == "timeout"
    assert [(type(event).__name__, event.namespace) for event in outcome.events[-2:]] == [
        ("ErrorEvent", "boss/specialist"),
        ("ErrorEvent", "boss"),
    ]


def test_cancelling_an_awaited_orchestrator_ends_its_sub_agents(kernel: Callable[..., agex.Agent]) -> None:
    specialist = kernel("specialist", ["begin()\nwhile True: pass"])
    boss = kernel("boss", ["double(3)"])
    boss.fn(doubled(specialist))
    ended: list[str] = []

    async def scenario() -> None:
        begun, loop = asyncio.Event(), asyncio.get_running_loop()
        specialist.fn(lambda: loop.call_soon_threadsafe(begun.set) and None, name="begin")
        running = asyncio.ensure_future(
            report_of(boss).with_options(on_event=lambda event: ended.append(type(event).__name__)).arun()
        )
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(scenario())
    assert ended[-1] == "CancelledEvent"


# --- what it may do ---


def test_a_sub_agent_that_may_do_more_is_refused_at_the_start_with_key_and_remedy(pool: agex.Pool) -> None:
    specialist = agex.Agent(name="specialist", llm=Scripted([]), isolation="kernel", policy="default", pool=pool)
    boss = agex.Agent(name="boss", llm=Scripted(["task_success('x')"]), isolation="kernel", policy="strict", pool=pool)
    task = doubled(specialist)
    boss.fn(task)

    with pytest.raises(agex.PolicyError) as caught:
        boss.start()
    assert caught.value.key and caught.value.key in caught.value.message
    assert "sub-agent specialist (task double) has a policy that allows more than that of boss" in str(caught.value)
    assert caught.value.remedy == "narrow it, or say agent.fn(double, wider=True)"
    with pytest.raises(agex.PolicyError):
        report_of(boss)()
    assert boss.model.requests == []  # type: ignore[attr-defined]

    other = agex.Agent(name="boss", llm=Scripted(["task_success('x')"]), isolation="kernel", policy="strict", pool=pool)
    other.fn(task, wider=True)
    assert report_of(other)() == "x"


@pytest.mark.parametrize("wider", [False, True])
def test_a_sub_agent_that_is_held_less_is_refused_whatever_is_said(pool: agex.Pool, wider: bool) -> None:
    specialist = agex.Agent(name="specialist", llm=Scripted([]), isolation="process", pool=pool)
    boss = agex.Agent(name="boss", llm=Scripted([]), isolation="kernel", pool=pool)
    boss.fn(doubled(specialist), wider=wider)

    with pytest.raises(agex.PolicyError, match="isolation='process'.*Agent\\(isolation='kernel'\\)"):
        boss.start()


def test_a_sub_agent_may_be_held_more(pool: agex.Pool) -> None:
    specialist = agex.Agent(name="specialist", llm=Scripted(["task_success(6)"]), isolation="kernel", pool=pool)
    boss = agex.Agent(name="boss", llm=Scripted(["task_success(str(double(3)))"]), isolation="process", pool=pool)
    boss.fn(doubled(specialist))

    assert report_of(boss)() == "6"


def test_the_orchestrators_code_chooses_arguments_and_no_options(make: Callable[..., agex.Agent]) -> None:
    specialist = make("specialist", ["task_success(str(inputs.more))"])
    boss = make("boss", ["task_success(collect(session='other', max_actions=1, timeout_s=2, on_event=3))"])

    @boss.fn
    @specialist.task
    def collect(**more: object) -> str:
        """Collect."""
        raise NotImplementedError

    outcome = report_of(boss).run()

    assert outcome.value == "{'session': 'other', 'max_actions': 1, 'timeout_s': 2, 'on_event': 3}"
    assert {event.session for event in outcome.events} == {"default", "default.specialist"}


def test_code_that_calls_a_task_as_a_method_of_a_live_object_chooses_no_options_either(
    make: Callable[..., agex.Agent],
) -> None:
    specialist = make("specialist", ["task_success(str(inputs.more))"])
    boss = make("boss", ["task_success(service.collect(session='other'))"])

    class Service:
        @specialist.task
        def collect(self, **more: object) -> str:
            """Collect."""
            raise NotImplementedError

    boss.module(Service(), name="service")
    outcome = report_of(boss).run()

    assert outcome.value == "{'session': 'other'}", outcome.message
    assert {event.session for event in outcome.events} == {"default", "default.specialist"}


def test_the_code_of_a_sandbox_chooses_arguments_and_no_options(pool: agex.Pool) -> None:
    specialist = agex.Agent(
        name="specialist", llm=Scripted(["task_success(str(inputs.more))", "task_fail('no')"]), pool=pool
    )
    heard: list[str] = []

    @specialist.task
    def collect(**more: object) -> str:
        """Collect."""
        raise NotImplementedError

    given = collect.with_options(on_event=lambda event: heard.append(event.session))
    with agex.Sandbox(functions={"collect": given}, pool=pool) as sandbox:
        assert sandbox.run("collect(session='other')", returns=str).unwrap() == "{'session': 'other'}"
        assert sandbox.run("collect()").error.message == "TaskFailed: collect(): no"  # type: ignore[union-attr]
    assert set(heard) == {"default"}


def test_no_free_worker_for_a_sub_agent_is_an_error_and_the_orchestrator_goes_on(pool: agex.Pool) -> None:
    full = agex.Pool(max_workers=1, spares=0, wait_s=0.05)
    specialist = agex.Agent(name="specialist", llm=Scripted([]), isolation="kernel", pool=full)
    boss = agex.Agent(name="boss", llm=Scripted([SEEN]), isolation="kernel", pool=pool)
    boss.fn(doubled(specialist))

    with agex.Sandbox(pool=full) as holder:
        holder.run("1").unwrap()
        assert report_of(boss)().startswith("HostError: PoolExhausted: all 1 workers are busy")
    full.close()


def test_a_task_that_a_handler_calls_is_nobodys_sub_agent(make: Callable[..., agex.Agent]) -> None:
    specialist = make("specialist", ["task_success(inputs.n * 2)"])
    boss = make("boss", ["task_success(str(double(3)))"])
    note = report_of(make("notes", ["task_success('noted')"]))
    boss.fn(doubled(specialist))
    noted: list[agex.TaskOutcome] = []

    def take_notes(event: agex.Event) -> None:
        if event.namespace == "boss/specialist" and isinstance(event, agex.SuccessEvent):
            noted.append(note.run())

    outcome = report_of(boss).with_options(on_event=take_notes).run()

    assert [event.namespace for event in noted[0].events] == ["notes"] * 3
    assert {event.namespace for event in outcome.events} == {"boss", "boss/specialist"}


def test_arguments_are_checked_by_the_specialists_annotations(make: Callable[..., agex.Agent]) -> None:
    specialist = make("specialist", [])
    boss = make("boss", ["double('three')", "task_success('went on')"])
    boss.fn(doubled(specialist))

    assert report_of(boss)() == "went on"
    assert "TypeError" in str(boss.model.requests[1].messages[-1])  # type: ignore[attr-defined]
    assert specialist.model.requests == []  # type: ignore[attr-defined]


def test_a_task_cannot_be_registered_where_it_makes_no_sense(pool: agex.Pool) -> None:
    agent = agex.Agent(name="solo", llm=Scripted([]))
    other = agex.Agent(name="other", llm=Scripted([]))
    task = doubled(agent)

    with pytest.raises(ValueError, match="double is a task of solo itself"):
        agent.fn(task)
    with pytest.raises(ValueError, match="double is a task already"):
        other.task(task)
    with pytest.raises(agex.ConfigurationError, match="leave out runs="):
        other.fn(task, runs="worker")
    with pytest.raises(ValueError, match="write @agent.fn above @specialist.task"):

        @other.task
        @other.fn
        def upside_down() -> int:
            """Count."""
            raise NotImplementedError

    other.fn(task)
    assert other.fn(task) is task  # the same again is no clash


# --- what it costs ---


def turn(code: str, tokens: int) -> Reply:
    return Reply(actions=[PythonAction(code)], usage=Usage(tokens, tokens))


def test_tokens_and_cost_of_sub_agents_count_for_the_orchestrator(kernel: Callable[..., agex.Agent]) -> None:
    specialist = kernel("specialist", [turn("task_success(6)", 100)], prices=(10.0, 10.0))
    unpriced = kernel("unpriced", [turn("task_success(8)", 1)])
    boss = kernel("boss", [turn("task_success(str(double(3) + other(4)))", 10)], prices=(1.0, 2.0))
    boss.fn(doubled(specialist))
    boss.fn(doubled(unpriced), name="other")

    outcome = report_of(boss).run()

    assert outcome.usage == Usage(111, 111)
    assert outcome.cost == pytest.approx((30 + 2000 + 3) / 1e6)
    ends = [event for event in outcome.events if isinstance(event, agex.SuccessEvent)]
    assert [event.usage for event in ends] == [Usage(100, 100), Usage(1, 1), Usage(111, 111)]


def test_the_orchestrators_budget_bounds_its_sub_agents(kernel: Callable[..., agex.Agent]) -> None:
    specialist = kernel("specialist", [turn("print(1)", 40)] * 9)
    boss = kernel(
        "boss", [turn(SEEN.replace("task_success", "print"), 10), turn("task_success('x')", 10)], max_tokens=100
    )
    boss.fn(doubled(specialist))

    with pytest.raises(agex.BudgetExceeded) as caught:
        report_of(boss)()

    # 20 of its own, then 80 at once: the second turn of the specialist is not asked for, nor that of the orchestrator.
    assert len(specialist.model.requests) == 1  # type: ignore[attr-defined]
    assert (caught.value.budget, caught.value.outcome.usage) == ("max_tokens", Usage(50, 50))
    assert "double(): 80 tokens used, max_tokens=80" in str(caught.value.outcome.events)


# --- nesting and concurrency ---


def test_agents_that_call_each_other_end_with_a_clear_error(make: Callable[..., agex.Agent]) -> None:
    first = make("a", ["task_success(str(double(1)))"] + ["task_success(other(1))"] * 9)
    second = make("b", ["task_success(other(1))"] * 9)
    there, back = doubled(second), doubled(first)
    first.fn(there)
    first.fn(there, name="other")
    second.fn(back, name="other")

    outcome = report_of(first).run()

    assert f"sub-agents are nested {MAX_DEPTH + 1} deep (a/b/a/b/a/b/a/b/a/b); at most {MAX_DEPTH}" in str(
        outcome.events
    )
    assert max(event.namespace.count("/") for event in outcome.events) == MAX_DEPTH


def test_two_threads_of_the_orchestrators_code_may_call_at_once(make: Callable[..., agex.Agent]) -> None:
    specialist = make("specialist", ["task_success(inputs.n * 2)"] * 2)
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(2) as threads:\n    task_success(str(list(threads.map(double, [1, 2]))))"
    )
    boss = make("boss", [code])
    boss.module("concurrent.futures")
    boss.fn(doubled(specialist))

    outcome = report_of(boss).run()

    assert outcome.value == "[2, 4]", outcome.message
    assert {event.namespace for event in outcome.events} == {"boss", "boss/specialist"}


def test_async_and_waiting_agents_call_each_other(make: Callable[..., agex.Agent]) -> None:
    waiting = make("waiting", ["task_success(inputs.n * 2)"] * 2)
    script = ["task_success(inputs.n * 3)"] * 2
    awaiting = make("awaiting", script)
    boss = make("boss", ["task_success(str([double(1), treble(1)]))"] * 2)
    boss.fn(doubled(waiting))

    @boss.fn
    @awaiting.task
    async def treble(n: int) -> int:
        """Treble it."""
        raise NotImplementedError

    task = report_of(boss)
    loops: list[int] = []

    async def listen(event: agex.Event) -> None:
        loops.append(id(asyncio.get_running_loop()))

    async def awaited() -> tuple[agex.TaskOutcome, int]:
        outcome = await task.with_options(on_event=listen).arun()
        return outcome, id(asyncio.get_running_loop())

    assert task() == "[2, 3]"
    outcome, loop = asyncio.run(awaited())
    assert outcome.value == "[2, 3]"
    assert {event.namespace for event in outcome.events} == {"boss", "boss/waiting", "boss/awaiting"}
    # A handler of an awaited task is awaited where the task is, whoever calls it.
    assert set(loops) == {loop} and len(loops) == len(outcome.events)


def test_a_function_of_the_application_may_call_tasks_and_map_them(make: Callable[..., agex.Agent]) -> None:
    specialist = make("specialist", ["task_success(inputs.n * 2)"] * 3)
    boss = make("boss", ["task_success(str(all_of([1, 2, 3])))"])
    task = doubled(specialist)

    @boss.fn
    def all_of(numbers: list[int]) -> list[int]:
        """Double all."""
        return task.map(numbers)

    outcome = report_of(boss).run()

    assert outcome.value == "[2, 4, 6]", outcome.message
    assert len({event.session for event in outcome.events}) == 4
    assert {event.namespace for event in outcome.events} == {"boss", "boss/specialist"}


def test_sessions_below_those_of_a_map_end_with_them(kernel: Callable[..., agex.Agent]) -> None:
    specialist = kernel("specialist", ["task_success(inputs.n * 2)"] * 2)
    boss = kernel("boss", ["task_success(double(inputs.n))"] * 2)
    task = doubled(specialist)
    boss.fn(task)

    @boss.task
    def again(n: int) -> int:
        """Double it by double."""
        raise NotImplementedError

    assert again.map([1, 2]) == [2, 4]
    assert specialist.sessions._stays == {}


def test_peers_are_plain_python(kernel: Callable[..., agex.Agent]) -> None:
    writer = kernel("writer", ["task_success('draft')", "task_success(inputs.text + '!')"])
    critic = kernel("critic", ["task_success(inputs.text.endswith('!'))"] * 2)

    @writer.task
    def write(text: str) -> str:
        """Write or improve it."""
        raise NotImplementedError

    @critic.task
    def approved(text: str) -> bool:
        """Whether it is good."""
        raise NotImplementedError

    draft = write("")
    while not approved(draft):
        draft = write(draft)

    assert draft == "draft!"


def test_a_handler_of_a_finished_orchestrator_is_no_parent(kernel: Callable[..., agex.Agent]) -> None:
    specialist = kernel("specialist", ["task_success(6)"])
    task = doubled(specialist)
    boss = kernel("boss", ["later()\ntask_success('x')"])
    over, results = threading.Event(), list[agex.TaskOutcome]()
    threads: list[threading.Thread] = []

    @boss.fn
    def later() -> None:
        import contextvars

        context = contextvars.copy_context()
        threads.append(
            threading.Thread(target=context.run, args=(lambda: over.wait() and results.append(task.run(3)),))
        )
        threads[0].start()

    outcome = report_of(boss).run()
    over.set()
    threads[0].join()

    assert {event.namespace for event in outcome.events} == {"boss"}
    assert {event.namespace for event in results[0].events} == {"specialist"}


def test_events_of_sub_agents_carry_the_versions_of_their_own_sessions(make: Callable[..., agex.Agent]) -> None:
    leaf = make("leaf", ["with open('l.txt', 'w') as file: file.write('x')", "task_success(inputs.n)"])
    middle = make("middle", ["task_success(below(inputs.n))"])
    boss = make("boss", ["task_success(str(below(3)))"])
    middle.fn(doubled(leaf), name="below")
    boss.fn(doubled(middle), name="below")

    outcome = report_of(boss).run()

    stored = {
        event.id: event.commit_hash
        for agent, session in ((boss, "default"), (middle, "default.middle"), (leaf, "default.middle.leaf"))
        for event in agex.events(agent.state(session))
    }
    assert {event.id: event.commit_hash for event in outcome.events} == stored
    assert None not in stored.values()
    written = next(event for event in outcome.events if isinstance(event, agex.FileEvent))
    assert leaf.state(written.session).checkout(written.commit_hash or "").files.list() == ["l.txt"]


def test_events_below_a_session_that_ends_carry_no_version(kernel: Callable[..., agex.Agent]) -> None:
    leaf = kernel("leaf", ["task_success(inputs.n)"])
    middle = kernel("middle", ["task_success(below(inputs.n))"])
    boss = kernel("boss", ["task_success(str(mapped(3)))"])
    middle.fn(doubled(leaf), name="below")
    task = doubled(middle)

    @boss.fn
    def mapped(n: int) -> list[int]:
        """Map it."""
        return task.map([n])

    outcome = report_of(boss).run()

    assert {(event.namespace, event.commit_hash is None) for event in outcome.events} == {
        ("boss", False),
        ("boss/middle", True),
        ("boss/middle/leaf", True),
    }
