"""While the supervisor answers a worker for longer than a moment, nothing of that worker runs."""

from __future__ import annotations

import pickle
import secrets
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from agex_protocol import messages as m
from agex_protocol.shapes import ANY
from agex_supervisor import worker as worker_module
from agex_supervisor.death import Death
from agex_supervisor.host_calls import answer
from agex_supervisor.overseer import Overseer
from agex_supervisor.watch import stopped
from agex_supervisor.worker import Worker

Hire = Callable[..., Any]
HANG_S = 60.0
FUNCTION = (m.HostFunction("ask", "", ()),)

# A second thread that is never done, and the end of the action only when it has gone on after the answer.
BUSY = """
import os, threading
written = open("written", "wb", buffering=0)
def fill():
    while True:
        written.write(b"x")
threading.Thread(target=fill, daemon=True).start()
while not os.path.getsize("written"):
    pass
"""
GOES_ON = """
before = os.path.getsize("written")
while os.path.getsize("written") == before:
    pass
"""
DIAL = """
send("Dial", action, 1, "example.org", 443)
os.read(channel, 1000)
"""


def at_once(call: m.Call, values: list[Any]) -> Iterable[object]:
    return answer(call.action, call.call)


def wait_stopped(worker: Worker) -> None:
    until = time.monotonic() + HANG_S
    while not stopped(worker.pid):
        assert time.monotonic() < until, "it runs on while it is answered"


def stands_still(hired: Any) -> bool:
    wait_stopped(hired.worker)
    before = (hired.workspace / "written").stat().st_size
    time.sleep(0.1)
    return bool((hired.workspace / "written").stat().st_size == before)


def test_a_worker_whose_host_function_takes_long_stands_still_until_it_is_answered(hire: Hire) -> None:
    hired = hire(functions=FUNCTION)
    still: list[bool] = []

    def on_call(call: m.Call, values: list[Any]) -> Iterable[object]:
        still.append(stands_still(hired))
        yield from answer(call.action, call.call, "the answer")

    turn = hired.run(BUSY + "answered = ask()" + GOES_ON + "answered", on_call=on_call)
    assert (still, turn.head[1:], turn.death) == ([True], b"the answer", None)


def test_a_worker_that_is_being_connected_stands_still_until_it_is(hire: Hire, channel_code: str) -> None:
    hired = hire()
    still: list[bool] = []

    def on_dial(dial: m.Dial, deadline: float) -> tuple[m.Dialled, int]:
        still.append(stands_still(hired))
        return m.Dialled(dial.action, dial.call, refused=True), -1

    code = channel_code + BUSY + DIAL + GOES_ON
    run = m.Run(secrets.token_bytes(16), code, m.Encoded(pickle.dumps({})), ANY.to_bytes(), False)
    turn = hired.worker.run(run, (), timeout_s=HANG_S, on_call=at_once, on_dial=on_dial)
    assert (still, type(turn.ending), turn.death) == ([True], m.Finished, None)


def test_a_worker_that_stands_still_can_be_cancelled(hire: Hire) -> None:
    hired = hire(functions=FUNCTION)

    def on_call(call: m.Call, values: list[Any]) -> Iterable[object]:
        wait_stopped(hired.worker)
        hired.worker.cancel()
        hired.worker.await_death()
        yield from answer(call.action, call.call)

    turn = hired.run("ask()", on_call=on_call)
    assert turn.death == Death("cancelled", "cancelled by the caller")


def test_a_call_that_is_answered_at_once_stops_nothing(hire: Hire) -> None:
    """Of very many calls a busy machine may delay one, and not all."""
    code = """
    import signal
    continued = []
    signal.signal(signal.SIGCONT, lambda *_: continued.append(calls))
    for calls in range(100):
        ask()
    len(set(continued)) < 100
    """
    hired = hire(functions=FUNCTION)
    turn = hired.run(textwrap.dedent(code), on_call=at_once)
    assert turn.head == b"\xc3"


def test_where_no_thread_can_be_started_a_worker_stands_still_at_once(
    hire: Hire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "OVERSEER", Overseer())
    hired = hire(functions=FUNCTION)

    def on_call(call: m.Call, values: list[Any]) -> Iterable[object]:
        threading.stack_size(before)
        wait_stopped(hired.worker)
        yield from answer(call.action, call.call, "the answer")

    before = threading.stack_size(1 << 46)  # more than there is
    try:
        assert hired.run("ask()", on_call=on_call).head[1:] == b"the answer"
    finally:
        threading.stack_size(before)


def test_a_forked_child_has_an_overseer_of_its_own() -> None:
    """In a process of its own, for pytest has threads."""
    program = """
    import os, pickle, secrets, time, warnings
    from agex_policies.compile import compile_plan
    from agex_policies.schema import Policy
    from agex_protocol import messages as m
    from agex_protocol.plan import SandboxPlan
    from agex_protocol.shapes import ANY
    from agex_supervisor.host_calls import answer
    from agex_supervisor.pool import Kit, Pool
    from agex_supervisor.watch import stopped

    def call_for_long():
        pool = Pool(spares=0)
        place = pool.checkout(Kit(compile_plan(Policy.load("full-python"), "kernel")), pool.new_workspace())
        worker, functions = place.worker, (m.HostFunction("ask", "", ()),)
        worker.begin(m.Begin(SandboxPlan(mode="full"), pickle.dumps({}), functions, worker.slot.workspace))

        def on_call(call, values):
            until = time.monotonic() + 60
            while not stopped(worker.pid):
                assert time.monotonic() < until
            yield from answer(call.action, call.call)

        run = m.Run(secrets.token_bytes(16), "ask()", m.Encoded(pickle.dumps({})), ANY.to_bytes(), False)
        assert worker.run(run, (), timeout_s=60, on_call=on_call).death is None
        pool.checkin(place)
        pool.close()

    call_for_long()
    warnings.simplefilter("ignore", DeprecationWarning)  # the child uses no lock of the overseer's thread
    child = os.fork()
    if child == 0:
        try:
            call_for_long()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
