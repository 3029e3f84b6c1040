"""A session through its executor: every ending in terms of the loop, and what another thread may do meanwhile."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from agex_protocol.budget import Caps
from agex_protocol.plan import LockdownPlan, SandboxPlan
from agex_supervisor.contract import Contract
from agex_supervisor.death import Death
from agex_supervisor.equipment import Equipment
from agex_supervisor.errors import PreloadFailed
from agex_supervisor.execution import ErrorInfo, Executed, Unsent, WorkerExecutor
from agex_supervisor.host_calls import HostCalls, hosted
from agex_supervisor.model import TerminalAction
from agex_supervisor.outbound import NotSendable, dump_bindings
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.session import Session

ANYTHING = Contract.of(Any, where="the value")
NUMBER = Contract.of(int, where="the value")
Executing = Callable[..., Any]


class Bench:
    """An executor with functions, and the shortest way to use it."""

    def __init__(self, pool: Pool, plan: LockdownPlan, functions: dict[str, Callable[..., Any]]) -> None:
        hosts = [hosted(name, each, inspect.signature(each, eval_str=True), "") for name, each in functions.items()]
        calls = HostCalls(hosts, Caps())
        equipment = Equipment(SandboxPlan(mode="full"), dump_bindings({}), calls.declared)
        self.session = Session(pool, Kit(plan), equipment, pool.new_workspace())
        self.executor = WorkerExecutor(self.session, calls, Caps())

    def run(self, code: str, returns: Contract = ANYTHING, *, task: bool = False, timeout_s: float = 60.0) -> Executed:
        return self.executor.execute(code, {}, returns, task=task, timeout_s=timeout_s, number=3)


@pytest.fixture
def bench(shared: Pool, plan: LockdownPlan) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def bench(**functions: Callable[..., Any]) -> Bench:
        benches.append(Bench(shared, plan, functions))
        return benches[-1]

    yield bench
    for each in benches:
        each.executor.close()


def test_a_value_comes_back_with_output_and_usage(bench: Executing) -> None:
    executed = bench().run("print('hello'); {'a': [1, 2.5, None]}")
    assert (executed.kind, executed.value, executed.stdout) == ("finished", {"a": [1, 2.5, None]}, "hello\n")
    assert executed.usage.wall_s > 0 and executed.usage.peak_rss_bytes > 0


@pytest.mark.parametrize(
    ("code", "kind", "value", "text"),
    [
        ("task_success(3)", "succeeded", 3, ""),
        ("task_fail('cannot')", "gave_up", None, "cannot"),
        ("task_clarify('which\\x1b?')", "asked", None, "which\\x1b?"),
        ("x = 1", "finished", None, ""),
    ],
)
def test_each_ending_of_a_task_has_its_kind(code: str, kind: str, value: object, text: str, bench: Executing) -> None:
    executed = bench().run(code, NUMBER, task=True)
    assert (executed.kind, executed.value, executed.text) == (kind, value, text)


def test_an_error_is_told_as_strings(bench: Executing) -> None:
    executed = bench().run("print('first')\n1 / 0")
    assert executed.kind == "raised"
    assert executed.error == ErrorInfo(
        "ZeroDivisionError",
        "division by zero",
        'Traceback (most recent call last):\n  File "<run 3>", line 2, in <module>\n    1 / 0\n    ~~^~~\n'
        "ZeroDivisionError: division by zero\n",
    )


def test_text_that_has_no_form_in_utf8_does_not_end_the_worker(bench: Executing) -> None:
    each = bench()
    executed = each.run("raise ValueError('\\udc80')")
    assert (executed.kind, executed.error.message) == ("raised", "\\udc80")
    assert each.run("task_fail('\\ud800')", task=True).text == "\\ud800"
    assert each.run("1 # \ud800").value == 1


def test_a_value_that_cannot_cross_stays_behind_and_says_what_it_was(bench: Executing) -> None:
    executed = bench().run("class C:\n    def __repr__(self): return 'a \\x1b C'\nC()")
    assert executed.kind == "finished" and isinstance(executed.value, Unsent)
    assert (executed.value.type, executed.value.repr) == ("C", "a \\x1b C")


def test_bytes_that_are_not_of_the_declared_shape_close_the_session(bench: Executing, channel_code: str) -> None:
    each = bench()
    executed = each.run(channel_code + "send('Finished', action, [b'\\xa1x', 0, []])", NUMBER)
    assert executed.kind == "died" and executed.death.cause == "violation"
    assert each.run("2", NUMBER).value == 2


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import os; os._exit(1)", "exit"),
        ("while True: pass", "timeout"),
        ("write(b'\\xff' * 4)\nwhile True: pass", "violation"),
    ],
)
def test_after_every_death_the_next_run_has_a_fresh_worker_and_the_same_files(
    code: str, cause: str, bench: Executing, channel_code: str
) -> None:
    each = bench()
    each.run("open('kept.txt', 'w').write('kept')")
    executed = each.run(channel_code + "print('before')\n" + code, timeout_s=0.5 if cause == "timeout" else 60)
    assert (executed.kind, executed.death.cause, executed.stdout) == ("died", cause, "before\n")
    assert each.run("open('kept.txt').read()").value == "kept"


def test_a_zygote_that_is_killed_during_a_run_is_replaced(bench: Executing) -> None:
    # Whatever this process has started: the zygotes of this file's pool.
    each = bench(kill_zygote=lambda: [child.kill() for child in psutil.Process().children()] and None)
    assert each.run("kill_zygote()\nwhile True: pass").kind == "died"
    assert each.run("3").value == 3


def test_cancel_from_another_thread_is_told_and_the_next_run_works(bench: Executing) -> None:
    def cancel() -> None:
        thread = threading.Thread(target=each.executor.cancel)
        thread.start()
        thread.join()

    each = bench(cancel=cancel)
    assert each.run("cancel()\nwhile True: pass").death == Death("cancelled", "cancelled by the caller")
    assert each.run("4").value == 4
    cancel()
    assert each.run("5").value == 5


def test_closing_from_another_thread_waits_for_the_run_that_it_ends(bench: Executing) -> None:
    running = threading.Event()
    each = bench(say=running.set)
    told: list[Executed] = []
    thread = threading.Thread(target=lambda: told.append(each.run("say()\nwhile True: pass")))
    thread.start()
    running.wait()
    each.executor.close()
    thread.join()
    assert told[0].death == Death("cancelled", "cancelled by the caller")


def test_a_host_function_may_close_the_session_that_calls_it(bench: Executing) -> None:
    sessions: list[Session] = []
    each = bench(close=lambda: sessions[0].close())
    sessions.append(each.session)
    assert each.run("close()").kind == "died"


def test_an_interrupt_in_a_host_function_is_the_applications_and_the_session_goes_on(bench: Executing) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    each = bench(interrupt=interrupt)
    with pytest.raises(KeyboardInterrupt):
        each.run("interrupt()")
    assert each.run("6").value == 6


def test_a_thread_that_outlives_its_action_cannot_call_the_host(bench: Executing) -> None:
    each = bench(f=lambda: 1)
    each.run(
        "import threading\ngo, errors = threading.Event(), []\n"
        "def late():\n    go.wait()\n    try:\n        f()\n    except RuntimeError as error:\n        errors.append(str(error))\n"
        "threading.late = threading.Thread(target=late); threading.late.start()\nthreading.go, threading.errors = go, errors"
    )
    # Between two actions nothing of it runs; in the next one it is an action's own call.
    assert each.run("import threading\nthreading.go.set(); threading.late.join(); len(threading.errors)").value == 0


def test_threads_that_call_while_the_action_ends_are_answered_first(bench: Executing) -> None:
    def f(number: int) -> int:
        return number

    each = bench(f=f)
    code = (
        "import threading\ndef call():\n    try:\n        for number in range(50): f(number)\n    except RuntimeError: pass\n"
        "for _ in range(4): threading.Thread(target=call, daemon=True).start()\n"
    )
    for _ in range(5):
        assert each.run(code).kind == "finished"
    assert each.run("f(7)").value == 7


def test_code_too_long_for_a_message_is_refused_and_the_session_goes_on(bench: Executing) -> None:
    each = bench()
    with pytest.raises(NotSendable) as caught:
        each.run("#" * (2 << 20))
    assert str(caught.value) == "the code has 2097152 characters, at most 1048576 cross; pass data as inputs"
    assert each.run("8").value == 8


def test_names_that_a_worker_cannot_make_are_refused_and_nothing_is_left(
    shared: Pool, plan: LockdownPlan, open_descriptors: Callable[[], set[str]]
) -> None:
    session = Session(shared, Kit(plan), Equipment(SandboxPlan(mode="full"), b"not a pickle"), shared.new_workspace())
    busy = shared.stats().busy
    before: set[str] = set()
    for _ in range(2):
        with pytest.raises(PreloadFailed) as caught:
            session.start()
        assert "the names registered for this session cannot be made in a worker: " in str(caught.value)
        before = before or open_descriptors()
    assert open_descriptors() <= before
    assert shared.stats().busy == busy


FORGE = """
import os, stat, sys
from agex_protocol import messages as m
from agex_protocol.codec import pack_message
from agex_protocol.framing import frame
session = next(each for each in __import__("gc").get_objects() if type(each).__name__ == "Session")
os.write(session._channel.descriptor, frame(pack_message(MESSAGE)))
import time
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("message", "task"),
    [
        ("m.Finished(session._action, m.Encoded(b''))", False),
        ("m.GaveUp(session._action, 'x')", False),
        ("m.Asked(session._action, 'x')", False),
        ("m.Kept(session._action, 'T', 'r', 'why')", False),
        ("m.Succeeded(session._action, m.Encoded(b'\\x03'))", False),
        ("m.Kept(session._action, 'T', 'r', 'why')", True),
        ("m.Finished(session._action, m.Encoded(b'\\x03'))", True),
    ],
)
def test_an_ending_that_was_not_asked_for_is_a_violation_and_no_value(
    message: str, task: bool, bench: Executing
) -> None:
    executed = bench().run(FORGE.replace("MESSAGE", message), NUMBER, task=task)
    assert (executed.kind, executed.value) == ("died", None)
    assert executed.death is not None and executed.death.cause == "violation"


FORGED = """
import agex_worker.terminal
from agex_worker.turn import Ended
agex_worker.terminal.Terminal.tend = lambda *_, **__: {ended}
"""


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        ("Ended('done', exit_code=256)", "Done does not answer what was asked"),
        ("Ended('done', exit_code=-1)", "Done does not answer what was asked"),
        ("Ended('finished')", "Finished while tending"),
        ("Ended('succeeded', value=None)", "Succeeded while tending"),
        ("Ended('gave_up', text='x')", "GaveUp while tending"),
        ("Ended('kept', text='x')", "Kept while tending"),
    ],
)
def test_an_action_on_the_workspace_ends_as_one_or_the_worker_is_not_ours(
    bench: Executing, ended: str, said: str
) -> None:
    owned = bench()
    owned.run(FORGED.format(ended=ended) + "1")
    executed = owned.executor.tend(TerminalAction("ls"), timeout_s=30.0)
    assert (executed.kind, executed.death) == ("died", Death("violation", said))
    assert owned.executor.tend(TerminalAction("echo again"), timeout_s=30.0).stdout == "again\n"


def test_what_a_worker_says_of_an_action_on_the_workspace_is_bounded_and_safe_to_look_at(bench: Executing) -> None:
    owned = bench()
    many = "Ended('done', text='\\x1b[2J' + 'x' * 100_000, added=('a\\nb',) * 5_000, modified=('c' * 5_000,))"
    owned.run(FORGED.format(ended=many) + "1")
    executed = owned.executor.tend(TerminalAction("ls"), timeout_s=30.0)
    assert executed.kind == "finished" and executed.text.startswith("\\x1b[2Jxxx") and len(executed.text) <= 40_000
    assert (executed.added, len(executed.modified[0])) == (("a\\nb",) * 200, 500)


def test_commands_of_the_terminal_are_started_by_no_script_even_of_an_owned_worker(bench: Executing) -> None:
    owned = bench()
    executed = owned.run(
        "import gc, agex_worker.session as s\n"
        "session = next(each for each in gc.get_objects() if isinstance(each, s.Session))\n"
        "session._call('a command', {}, {})"
    )
    assert (executed.kind, executed.death) == (
        "died",
        Death("violation", "a call of 'a command', which is not registered"),
    )
