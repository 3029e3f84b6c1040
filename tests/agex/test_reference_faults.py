"""What systems of this kind are known to get wrong, each with a test that it is right here. The comment above a test names the
fault; those that another file of tests is about already are not repeated."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import agex
from agex.llm import PythonAction, Reply, Scripted, TerminalAction

ISOLATIONS = ("none", "kernel")


class Bill(BaseModel):
    total: float


class Client:
    """A client of some service, as an application has them."""

    def __init__(self) -> None:
        self.calls = 0

    def call(self) -> int:
        """Call the service."""
        self.calls += 1
        return self.calls


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=8)
    yield pool
    pool.close()


@pytest.fixture(params=ISOLATIONS)
def make(request: pytest.FixtureRequest, pool: agex.Pool) -> Callable[..., agex.Agent]:
    def make(*script: Any, **choices: Any) -> agex.Agent:
        return agex.Agent(llm=Scripted(script), pool=pool, **{"isolation": request.param, **choices})

    return make


def seen(agent: agex.Agent) -> list[str]:
    """What the model was told after each of its turns."""
    model = agent.model
    assert isinstance(model, Scripted)
    return ["\n".join(request.messages[-1].texts) for request in model.requests[1:]]  # type: ignore[union-attr]


# --- the contract ---


# The value was validated and then thrown away: a task that declares a model gave a dict.
def test_a_mapping_for_a_model_comes_back_as_the_model_and_an_int_for_a_float_as_a_float(
    make: Callable[..., agex.Agent],
) -> None:
    agent = make("task_success({'total': 3})")

    @agent.task
    def bill() -> Bill:
        """Make the bill."""
        raise NotImplementedError

    made = bill()
    assert type(made) is Bill and made == Bill(total=3.0) and type(made.total) is float


# Of long lists the first and the last ten were looked at.
def test_one_wrong_element_in_the_middle_of_a_long_list_is_found_on_the_way_in_and_on_the_way_out(
    make: Callable[..., agex.Agent],
) -> None:
    agent = make(
        "task_success([*range(50), *('x' for _ in range(100)), *range(50)])", "task_success(sum(inputs.numbers) * [1])"
    )

    @agent.task
    def ones(numbers: list[int]) -> list[int]:
        """As many ones as the sum."""
        raise NotImplementedError

    with pytest.raises(agex.ContractError):
        ones([*range(50), *("x" for _ in range(100)), *range(50)])  # type: ignore[list-item]
    assert agent.model.requests == []  # type: ignore[attr-defined]
    assert ones([1, 2]) == [1, 1, 1]
    assert "ContractError" in seen(agent)[0]


# How a task ended was told by exceptions that `except Exception` does not catch.
def test_every_ending_of_a_task_is_caught_by_except_exception(make: Callable[..., agex.Agent]) -> None:
    agent = make("task_fail('no')", "task_clarify('which?')", "pass", OSError("no route"), max_actions=1)

    @agent.task
    def do() -> int:
        """Do it."""
        raise NotImplementedError

    caught: list[str] = []
    for _ in range(4):
        try:
            do()
        except Exception as error:
            caught.append(type(error).__name__)
    assert caught == ["TaskFailed", "TaskNeedsInput", "BudgetExceeded", "LLMError"]
    assert [name for name in agex.errors.__all__ if not issubclass(getattr(agex.errors, name), Exception)] == []


# What a client of a model raised came out as it was, past whoever catches the errors of tasks, and no event told the end.
@pytest.mark.parametrize("awaited", [False, True])
def test_whatever_a_models_client_raises_ends_the_task_as_an_error_of_the_model(
    make: Callable[..., agex.Agent], awaited: bool
) -> None:
    broken = ValueError("no choices\x1b[2J")
    agent = make(broken, "task_success(1)")

    @agent.task
    def one() -> int:
        """One."""
        raise NotImplementedError

    outcome = asyncio.run(one.arun()) if awaited else one.run()
    assert isinstance(outcome.error, agex.LLMError) and outcome.error.__cause__ is broken
    assert (str(outcome.error), outcome.error.model) == ("scripted: ValueError: no choices\\x1b[2J", "scripted")
    last = agex.events(agent.state())[-1]
    assert isinstance(last, agex.ErrorEvent) and last.message == str(outcome.error)
    assert one() == 1


# What the agent did to its inputs reached the caller's own list.
def test_what_code_does_to_a_list_among_its_inputs_is_not_done_to_the_callers(make: Callable[..., agex.Agent]) -> None:
    agent = make("inputs.numbers.append(4)\ntask_success(len(inputs.numbers))")

    @agent.task
    def count(numbers: list[int]) -> int:
        """Count."""
        raise NotImplementedError

    numbers = [1, 2, 3]
    assert (count(numbers), numbers) == (4, [1, 2, 3])


# Names of agents were kept for the life of the process, so a name could be had once.
def test_a_name_is_free_for_any_number_of_agents_while_others_have_it(pool: agex.Pool) -> None:
    agents = [agex.Agent(name="analyst", llm=Scripted(["task_success(1)"]), pool=pool) for _ in range(2)]

    def one() -> int:
        """One."""
        raise NotImplementedError

    assert [agent.task(one)() for agent in agents] == [1, 1]
    del agents
    gc.collect()
    assert agex.Agent(name="analyst", pool=pool).name == "analyst"


# --- limits that do what they say ---


# The time for an action was ignored unless another limit had been switched off.
def test_the_time_for_an_action_holds_by_itself(make: Callable[..., agex.Agent]) -> None:
    agent = make("while True: pass", "task_success(1)", action_timeout_s=0.2)

    @agent.task
    def do() -> int:
        """Do it."""
        raise NotImplementedError

    assert do() == 1
    assert "deadline" in seen(agent)[0]


# Code that was in one call into C when its time was over went on to the end of it, and had its success.
def test_a_call_into_c_that_outlasts_the_action_is_no_success(make: Callable[..., agex.Agent]) -> None:
    agent = make("numbers = range(10 ** 8)\ntask_success(sum(numbers))", "task_success(1)", action_timeout_s=0.1)

    @agent.task
    def do() -> int:
        """Do it."""
        raise NotImplementedError

    assert do() == 1
    assert "deadline" in seen(agent)[0]


# In a worker such a call was waited for.
def test_a_call_into_c_without_an_end_is_ended_with_its_worker(pool: agex.Pool) -> None:
    with agex.Sandbox(isolation="kernel", pool=pool) as sandbox:
        assert sandbox.run("sum(range(10 ** 15))", timeout_s=0.2).status == "timeout"


# A mistyped level of isolation ran with less than was asked for.
@pytest.mark.parametrize("kind", [agex.Agent, agex.Sandbox])
@pytest.mark.parametrize("isolation", ["bogus", "Kernel", "", None])
def test_an_isolation_that_there_is_not_is_refused(kind: Callable[..., Any], isolation: Any) -> None:
    with pytest.raises(ValueError, match="isolation"):
        kind(isolation=isolation)


# What a registration was to say of one member alone was dropped without a word.
@pytest.mark.parametrize("choice", ["host_fs_access", "network_access", "scope"])
def test_a_choice_that_nothing_would_hold_is_refused(choice: str) -> None:
    agent, given = agex.Agent(), {choice: True}
    registering: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
        (agent.module, ("math",)),
        (agent.cls, (Bill,)),
        (agent.fn, (len,)),
        (agex.MemberSpec, ()),
    ]
    for register, what in registering:
        with pytest.raises(TypeError, match=choice):
            register(*what, **given)


# Nothing could be asked before an action ran.
def test_who_is_told_of_an_action_can_keep_it_from_running(make: Callable[..., agex.Agent]) -> None:
    agent = make("open('done.txt', 'w').write('x')\ntask_success(1)", "task_success(2)")

    @agent.task
    def do() -> int:
        """Do it."""
        raise NotImplementedError

    def approve(event: agex.Event) -> None:
        if isinstance(event, agex.ActionEvent) and "open" in str(event.action):
            do.cancel()

    asked = do.with_options(on_event=approve)
    assert asked.run().status == "cancelled"
    assert agent.state().files.list() == []
    assert asked() == 2


# Every action had a process of its own, started for it.
def test_the_actions_of_a_task_share_one_worker(pool: agex.Pool) -> None:
    tell = "import os\nprint(os.getpid())"
    agent = agex.Agent(
        llm=Scripted([tell, tell, tell, "task_success()"]), pool=pool, isolation="kernel", policy="full-python"
    )

    @agent.task
    def tell_all() -> None:
        """Tell."""
        raise NotImplementedError

    tell_all()
    assert len(set(seen(agent))) == 1


# --- where things run ---


# Functions and objects of the application ran as copies in the worker: what they did there, nobody saw.
def test_a_live_object_is_called_here_and_its_counter_counts_here(make: Callable[..., agex.Agent]) -> None:
    client, agent = Client(), make("service.call()\ntask_success(service.call())")
    agent.module(client, name="service")

    @agent.task
    def call_twice() -> int:
        """Call twice."""
        raise NotImplementedError

    assert (call_twice(), client.calls) == (2, 2)


# A function that was the result ran in the application's process, and had lost the functions that it used.
def test_a_function_that_comes_back_runs_in_its_worker_and_still_has_the_functions_that_it_uses(
    pool: agex.Pool,
) -> None:
    # It takes more steps than were counted there, too.
    steps = "for step in range(200_000):\n        n += step - step"
    script = f"def doubled(n):\n    {steps}\n    return 2 * where() + n - n\nprint(where())\ntask_success(doubled)"
    agent = agex.Agent(llm=Scripted([script]), pool=pool, isolation="kernel")
    calls: list[int] = []

    @agent.fn
    def where() -> int:
        """Where it is."""
        calls.append(threading.get_ident())
        return 21

    @agent.task
    def make() -> Callable[[int], int]:
        """Make it."""
        raise NotImplementedError

    with make() as doubled:  # type: ignore[attr-defined]
        assert isinstance(doubled, agex.Handle)
        assert (doubled(5), len(calls)) == (42, 2)


# A file opened by C code went past the patched open(), to the machine's own files.
def test_a_function_that_opens_by_c_code_reads_nothing_of_the_machine(pool: agex.Pool) -> None:
    agent = agex.Agent(llm=Scripted(["read_it()", "task_success(1)"]), pool=pool, isolation="kernel")

    @agent.fn(runs="worker")
    def read_it() -> str:
        """Read it."""
        import _io

        with _io.open("/etc/passwd") as file:
            return file.read()

    @agent.task
    def do() -> int:
        """Do it."""
        raise NotImplementedError

    outcome = do.run()
    assert "root:" not in seen(agent)[0]
    assert [event.error for event in outcome.events if isinstance(event, agex.OutputEvent)] == ["PermissionError"]


# With a sub-agent registered, the worker got the network back; the sub-agent's model was asked there, with its key.
def test_a_sub_agent_is_asked_in_this_process_and_opens_no_network_to_its_caller(pool: agex.Pool) -> None:
    specialist = agex.Agent(
        name="maker", llm=Scripted(["task_success(3)"]), pool=pool, isolation="kernel", policy="full-python"
    )

    @specialist.task
    def number() -> int:
        """A number."""
        raise NotImplementedError

    code = "import socket\ntry:\n    socket.socket(socket.AF_INET).connect(('127.0.0.1', 9))\nexcept PermissionError:\n"
    boss = agex.Agent(
        name="boss",
        llm=Scripted([code + "    task_success(number())"]),
        pool=pool,
        isolation="kernel",
        policy="full-python",
    )
    boss.fn(number)

    @boss.task
    def ask() -> int:
        """Ask."""
        raise NotImplementedError

    heard: list[agex.Event] = []
    assert ask.with_options(on_event=heard.append)() == 3
    assert len(specialist.model.requests) == 1  # type: ignore[attr-defined]
    assert {event.namespace for event in heard} == {"boss", "boss/maker"}


# The first task fetched a tokenizer from the internet, and failed without it.
@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_first_task_asks_nobody_on_a_network(isolation: str) -> None:
    program = f"""
import sys
def refuse(event, arguments):
    named = event in ("socket.getaddrinfo", "socket.gethostbyname", "urllib.Request", "http.client.connect")
    if named or (event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple)):
        raise AssertionError((event, arguments))
sys.addaudithook(refuse)
import agex
model = agex.llm.Scripted(["print('x' * 50_000)", "task_success(len(inputs.text))"])
agent = agex.Agent(llm=model, isolation={isolation!r})
agex.helpers.register_stdlib(agent)
@agent.task
def length(text: str) -> int:
    'How long it is.'
print(length('x' * 100_000))
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout) == (0, "100000\n"), ran.stderr


# Code was told that it may await, and could not in a task that is not awaited.
def test_what_is_asynchronous_is_called_plainly_in_tasks_of_both_kinds_and_the_model_is_told_so(
    make: Callable[..., agex.Agent],
) -> None:
    agent = make("await later(1)", "task_success(later(1))", "task_success(later(2))")

    @agent.fn
    async def later(n: int) -> int:
        """A number."""
        await asyncio.sleep(0)
        return n + 1

    @agent.task
    def waiting() -> int:
        """Do it."""
        raise NotImplementedError

    @agent.task
    async def awaited() -> int:
        """Do it."""
        raise NotImplementedError

    assert (waiting(), asyncio.run(awaited.arun()).unwrap()) == (2, 3)
    system = agent.model.requests[0].system  # type: ignore[attr-defined]
    assert "\nlater(n: int) -> int\n" in system and "await" not in system and "async" not in system
    assert "are called without it" in str(agent.model.requests[1])  # type: ignore[attr-defined]


# What the application had put into a state before the first task was nowhere that code could reach.
def test_what_is_in_a_state_before_the_first_task_is_there_for_its_code(make: Callable[..., agex.Agent]) -> None:
    agent = make("import os\ntask_success(cache['rates']['usd'] + os.path.getsize('seed.txt'))")
    agent.state("ann").cache["rates"] = {"usd": 2}
    agent.state("ann").files.write("seed.txt", "four")

    @agent.task
    def total() -> int:
        """Total."""
        raise NotImplementedError

    assert total.with_options(session="ann")() == 6


# --- what is heard ---


# What a specialist said in words came as text among what its caller had printed.
def test_what_a_specialist_says_in_words_is_heard_as_its_own(make: Callable[..., agex.Agent]) -> None:
    said = Reply(text="Now the axes.", actions=[PythonAction("task_success(3)")])
    specialist, boss = make(said, name="maker"), make("task_success(number())", name="boss")

    @specialist.task
    def number() -> int:
        """A number."""
        raise NotImplementedError

    boss.fn(number)

    @boss.task
    def ask() -> int:
        """Ask."""
        raise NotImplementedError

    heard: list[tuple[str, str]] = []

    def hear(event: agex.Event) -> None:
        if isinstance(event, agex.ActionEvent):
            heard.append((event.namespace, event.text))

    ask.with_options(on_event=hear)()
    assert heard == [("boss", ""), ("boss/maker", "Now the axes.")]


# Threads in one session lost one another's events, and one of them died.
def test_four_threads_in_one_session_take_turns_and_lose_no_event(make: Callable[..., agex.Agent]) -> None:
    agent = make(*["cache['n'] = cache.get('n', 0) + 1\ntask_success(cache['n'])"] * 4)

    @agent.task
    def count() -> int:
        """Count."""
        raise NotImplementedError

    heard: list[str] = []
    counting = count.with_options(session="shared", on_event=lambda event: heard.append(type(event).__name__))
    values: list[int] = []
    threads = [threading.Thread(target=lambda: values.append(counting())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(values) == [1, 2, 3, 4]
    assert sorted(heard) == sorted(["TaskStartEvent", "ActionEvent", "SuccessEvent"] * 4)


# A print of two megabytes was shown as far as a cap of its own let it, and one of the cache lost its event.
def test_printing_much_or_the_cache_is_an_event_that_is_bounded_and_can_be_kept(
    make: Callable[..., agex.Agent],
) -> None:
    agent = make("cache['rows'] = [1, 2]\nprint(cache)", "print('x' * 2_000_000)", "task_success(1)")

    @agent.task
    def do() -> int:
        """Do it."""
        raise NotImplementedError

    outcome = do.run()
    first, second = seen(agent)
    assert "rows" in first and len(second) <= 16_500
    assert [agex.Event.from_json(event.to_json()) for event in outcome.events] == outcome.events


# An error was told by its type and message alone.
def test_an_error_is_told_with_the_line_that_raised_it(make: Callable[..., agex.Agent]) -> None:
    agent = make("def share(n):\n    return 1 / n\nshare(0)", "task_success(1)")

    @agent.task
    def do() -> int:
        """Do it."""
        raise NotImplementedError

    do()
    (told,) = seen(agent)
    assert "line 2, in share\n    return 1 / n" in told and told.rstrip().endswith(
        "ZeroDivisionError: division by zero"
    )


# --- what stays behind ---


# Folders appeared in the working directory, and the process's own functions were replaced for good.
def test_a_task_leaves_nothing_in_the_working_directory_and_nothing_patched(
    make: Callable[..., agex.Agent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import builtins
    import os
    import socket

    monkeypatch.chdir(tmp_path)

    def patchable() -> tuple[object, ...]:
        streams = (sys.stdin, sys.stdout, sys.stderr, sys.argv)
        return (builtins.open, os.listdir, os.path.exists, Path.open, socket.socket.connect, print, *streams)

    before = patchable()
    python = Reply(actions=[TerminalAction("echo 'print(1)' > p.py; python p.py x < p.py")])
    agent = make(python, "with open('a.txt', 'w') as file:\n    file.write('x')\ntask_success(1)")

    @agent.task
    def do() -> int:
        """Do it."""
        raise NotImplementedError

    with agent:
        assert do() == 1
    assert list(tmp_path.iterdir()) == []
    assert patchable() == before


# Attributes of the sandbox were written onto classes and functions of the application.
def test_registering_changes_neither_classes_nor_functions(make: Callable[..., agex.Agent]) -> None:
    def half(n: float) -> float:
        """Half."""
        return n / 2

    assert Client.__annotations__ == {}  # which Python makes when it is first asked for
    before = (dict(vars(Bill)), dict(vars(half)), dict(vars(Client)))
    agent = make()
    agent.cls(Bill)
    agent.cls(Client, runs="host")
    agent.fn(half)
    assert (dict(vars(Bill)), dict(vars(half)), dict(vars(Client))) == before
