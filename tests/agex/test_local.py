"""LocalExecutor: code of a guard-railed run on the caller's own thread, and how it is ended there."""

from __future__ import annotations

import contextlib
import gc
import sys
import threading
from collections.abc import Callable, Mapping
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from agex.interruption import Interrupted, Interruption
from agex.local import LocalExecutor
from agex_protocol.budget import Caps
from agex_protocol.plan import Limits, SandboxPlan
from agex_supervisor.contract import Contract
from agex_supervisor.execution import Executed
from agex_supervisor.host_calls import HostCalls, hosted


def executor(tmp_path: Path, functions: Mapping[str, Callable[..., Any]] | None = None, **limits: int) -> LocalExecutor:
    given = {
        name: hosted(name, function, signature(function, eval_str=True), "", local=True)
        for name, function in (functions or {}).items()
    }
    return LocalExecutor(SandboxPlan(), {}, HostCalls(given.values(), Caps()), tmp_path, Limits(**limits))


def run(
    executor: LocalExecutor, code: str, returns: Any = Any, *, task: bool = False, timeout_s: float = 20
) -> Executed:
    contract = Contract.of(returns, where="result", local=True)
    return executor.execute(code, {}, contract, task=task, timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("task_success(1)", "succeeded"),
        ("task_fail('no')", "gave_up"),
        ("task_clarify('what?')", "asked"),
        ("1 / 0", "raised"),
        ("x = 1", "finished"),
        ("task_success('text')", "raised"),
    ],
)
def test_each_way_to_end_a_task_has_its_kind(tmp_path: Path, code: str, kind: str) -> None:
    assert run(executor(tmp_path), code, int, task=True).kind == kind


def test_the_last_expression_is_checked_by_the_contract(tmp_path: Path) -> None:
    local = executor(tmp_path)

    assert run(local, "3", float).value == 3.0
    missed = run(local, "'x'", int)
    assert (missed.kind, missed.error and missed.error.type) == ("raised", "ContractError")


def test_files_lie_in_the_workspace(tmp_path: Path) -> None:
    assert run(executor(tmp_path), "with open('a.txt', 'w') as f:\n    f.write('x')").kind == "finished"
    assert (tmp_path / "a.txt").read_text() == "x"


def test_output_is_bounded(tmp_path: Path) -> None:
    executed = run(executor(tmp_path, output_bytes=1000), "for n in range(1000):\n    print('0123456789')")

    assert 500 < len(executed.stdout) < 3000


def test_functions_get_checked_arguments_and_their_errors_pass(tmp_path: Path) -> None:
    def half(number: float) -> float:
        return number / 2

    local = executor(tmp_path, {"half": half})

    assert run(local, "half(3)", float).value == 1.5
    wrong = run(local, "half('3')")
    assert wrong.error is not None and wrong.error.type == "TypeError"


def test_a_deadline_ends_the_code_and_leaves_the_thread_usable(tmp_path: Path) -> None:
    local = executor(tmp_path)

    for _ in range(3):
        executed = run(local, "while True:\n    pass", timeout_s=0.1)
        assert executed.kind == "died" and executed.death is not None and executed.death.cause == "timeout"
        assert run(local, "1 + 1", int).value == 2


def test_cancelling_an_idle_executor_does_nothing_to_the_next_run(tmp_path: Path) -> None:
    local = executor(tmp_path)
    local.cancel()

    assert run(local, "1", int).value == 1


def test_two_runs_on_two_threads_are_ended_each_by_its_own(tmp_path: Path) -> None:
    begun = threading.Event()
    endless, short = executor(tmp_path, {"begin": begun.set}), executor(tmp_path)
    ended: list[Executed] = []
    thread = threading.Thread(target=lambda: ended.append(run(endless, "begin()\nwhile True:\n    pass")))
    thread.start()
    begun.wait()

    assert run(short, "2", int).value == 2
    endless.cancel()
    thread.join()
    assert ended[0].death is not None and ended[0].death.cause == "cancelled"


def test_code_that_swallows_an_interruption_is_interrupted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    swallowed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: swallowed.append(told.exc_type))
    interruption = Interruption()

    class Swallows:
        def __del__(self) -> None:
            while True:
                pass

    def run() -> None:
        with contextlib.suppress(Interrupted), interruption.running(0.05):
            Swallows()
            while True:
                pass

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert (swallowed, interruption.cause) == ([Interrupted], "timeout")


def test_garbage_is_collected_again_after_a_run_that_was_ended_while_it_was_not() -> None:
    with Interruption().running(60):
        gc.disable()
    assert gc.isenabled()
    gc.disable()
    try:
        with Interruption().running(60):
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_code_is_ended_also_where_a_thread_could_not_be_started_before(tmp_path: Path) -> None:
    ended: list[Any] = []

    def run_after_failure() -> None:
        before = threading.stack_size(1 << 46)
        try:
            with pytest.raises(RuntimeError, match="can't start new thread"):
                threading.Thread(target=print).start()
        finally:
            threading.stack_size(before)
        ended.append(run(executor(tmp_path), "while True:\n    pass", timeout_s=0.1).death)

    thread = threading.Thread(target=run_after_failure)
    thread.start()
    thread.join()
    assert [death.cause for death in ended] == ["timeout"]
