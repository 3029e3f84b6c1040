"""isolation="none": objects pass as themselves, the inner sandbox is the only fence, a run ends by an exception."""

from __future__ import annotations

import _thread
import threading
from typing import Any

import pandas as pd
import pytest

import agex
from agex.llm import Scripted


class Engine:
    """A class that no codec knows."""

    def __init__(self, power: int) -> None:
        self.power = power


def agent_of(*script: str, **choices: Any) -> agex.Agent:
    return agex.Agent(llm=Scripted(script), **choices)


# --- tasks ---


def test_the_object_that_goes_in_is_the_one_that_comes_back() -> None:
    agent = agent_of("task_success(inputs.df)")

    @agent.task
    def same(df: pd.DataFrame) -> pd.DataFrame:
        """Give it back."""
        raise NotImplementedError

    frame = pd.DataFrame({"a": [1]})
    assert same(frame) is frame


def test_an_instance_of_any_class_comes_back_itself() -> None:
    agent = agent_of("task_success(inputs.engine)", "task_success(Engine(7))")

    @agent.task
    def same(engine: Engine) -> Engine:
        """Give it back."""
        raise NotImplementedError

    engine = Engine(3)
    assert same(engine) is engine
    built = same(engine)
    assert type(built) is Engine and built.power == 7


def test_the_contract_holds_as_it_does_across_a_process() -> None:
    agent = agent_of("task_success(['3'])", "task_success([3])")

    @agent.task
    def numbers() -> list[float]:
        """Give numbers."""
        raise NotImplementedError

    value = numbers()
    assert value == [3.0] and type(value[0]) is float
    assert "ContractError" in str(agent.model.requests[1].messages[-1])  # type: ignore[attr-defined]
    with pytest.raises(agex.ContractError):
        agent.task(_length)(5)  # type: ignore[arg-type]


def _length(text: str) -> int:
    """Its length."""
    raise NotImplementedError


@pytest.mark.parametrize(
    ("declared", "wanted"),
    [
        (list[Engine], "list[Engine]"),
        (dict[str, Engine | None], "dict[str, Engine | None]"),
        (dict[str, Any], "dict[str, Any]"),
    ],
)
def test_the_code_is_told_the_classes_that_were_declared(declared: Any, wanted: str) -> None:
    with agex.Sandbox(isolation="none", policy="default") as sandbox:
        outcome = sandbox.run("3", returns=declared)
    assert outcome.error is not None and outcome.error.message == f"result: an int (3), wanted {wanted}"


def test_an_interrupt_from_the_keyboard_ends_the_task_and_is_no_error_of_the_code() -> None:
    begun = threading.Event()
    agent = agex.Agent(
        llm=Scripted(
            [
                "try:\n    raise KeyboardInterrupt\nexcept KeyboardInterrupt:\n    print('mine')\nraise KeyboardInterrupt",
                "begin()\ntry:\n    while True: pass\nexcept: pass",
                "task_success(4)",
            ]
        )
    )
    agent.fn(begun.set, name="begin")

    @agent.task
    def count() -> int:
        """Count."""
        raise NotImplementedError

    interrupter = threading.Thread(target=lambda: (begun.wait(), _thread.interrupt_main()))
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        count()
    interrupter.join()
    assert agent.running._calls == {}
    assert count() == 4


def test_host_functions_are_called_with_validated_arguments() -> None:
    agent = agent_of("half('4')", "task_success(half(4))")

    @agent.fn
    def half(number: float) -> float:
        """Half of it."""
        return number / 2

    @agent.task
    def do() -> float:
        """Do."""
        raise NotImplementedError

    assert do() == 2.0
    assert "TypeError" in str(agent.model.requests[1].messages[-1])  # type: ignore[attr-defined]


def test_the_report_says_that_nothing_is_held() -> None:
    agent = agent_of("task_success(1)")

    @agent.task
    def do() -> int:
        """Do."""
        raise NotImplementedError

    report = do.run().lockdown
    assert report.isolation == "none"
    assert {"files.read", "network", "programs", "memory"} <= set(report.unenforced)
    assert not any(report.promises.values())


# --- runs ---


@pytest.fixture
def sandbox() -> Any:
    with agex.Sandbox(isolation="none") as sandbox:
        yield sandbox


def test_a_run_gives_its_value_and_what_it_printed(sandbox: agex.Sandbox) -> None:
    outcome = sandbox.run("print('hello', 1, sep='-')\n[n * 2 for n in given]", {"given": [1, 2]}, returns=list[int])

    assert (outcome.status, outcome.value, outcome.stdout) == ("ok", [2, 4], "hello-1\n")


def test_an_error_is_told_with_the_lines_of_the_code(sandbox: agex.Sandbox) -> None:
    outcome = sandbox.run("x = 1\nx / 0")

    assert (outcome.status, outcome.error and outcome.error.type) == ("error", "ZeroDivisionError")
    assert outcome.error is not None and "line 2" in outcome.error.traceback and "x / 0" in outcome.error.traceback
    assert "agex" not in outcome.error.traceback.replace("agex_worker.", "")


def test_a_last_value_of_another_class_is_refused_and_not_left_behind(sandbox: agex.Sandbox) -> None:
    outcome = sandbox.run("3", returns=Engine)
    assert (outcome.status, outcome.value) == ("error", None)
    assert outcome.error is not None and outcome.error.type == "ContractError"
    assert outcome.error.message == "the value: Input should be an instance of Engine (got int 3)"


def test_an_input_that_contains_itself_is_looked_through_once(sandbox: agex.Sandbox) -> None:
    around: list[Any] = []
    around += [around, around]
    assert sandbox.run("[len(x), x[0] is x]", {"x": around}).value == [2, True]


def test_an_endless_loop_is_ended_by_an_exception_and_the_next_run_works(sandbox: agex.Sandbox) -> None:
    outcome = sandbox.run("print('begun')\nwhile True:\n    pass", timeout_s=0.3)

    assert (outcome.status, outcome.stdout) == ("timeout", "begun\n")
    assert sandbox.run("1 + 1", returns=int).unwrap() == 2


def test_code_that_catches_everything_is_ended_too(sandbox: agex.Sandbox) -> None:
    code = "while True:\n    try:\n        while True:\n            pass\n    except Exception:\n        pass"

    assert sandbox.run(code, timeout_s=0.3).status == "timeout"


def test_cancel_ends_the_run_from_another_thread() -> None:
    begun = threading.Event()
    with agex.Sandbox(isolation="none", functions={"begin": begun.set}) as sandbox:

        def cancel() -> None:
            begun.wait()
            sandbox.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        outcome = sandbox.run("begin()\nwhile True:\n    pass", timeout_s=20)
        thread.join()

    assert outcome.status == "cancelled"


@pytest.mark.parametrize(
    "code",
    [
        "import sys",
        "().__class__.__bases__[0].__subclasses__()",
        "eval('1')",
        "open('/etc/passwd')",
        "open('../../etc/passwd')",
        "getattr((), '__class__')",
        "'{0.__class__}'.format(())",
        "print.__globals__",
    ],
)
def test_the_inner_sandbox_is_the_fence(sandbox: agex.Sandbox, code: str) -> None:
    outcome = sandbox.run(code)

    assert (outcome.status, outcome.value) == ("error", None)


def test_ordinary_python_is_refused_where_nothing_holds_it() -> None:
    with pytest.raises(agex.PolicyError, match="full"):
        agex.Sandbox(isolation="none", policy="full-python")
    agent = agent_of("task_success(1)", policy="full-python")

    @agent.task
    def do() -> int:
        """Do."""
        raise NotImplementedError

    with pytest.raises(agex.PolicyError):
        do()


def test_a_policy_of_ones_own_that_names_what_cannot_be_held_is_refused(tmp_path: Any) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[limits]\nmemory = "100MiB"\n')

    with pytest.raises(agex.PolicyError, match="limits.memory"):
        agex.Sandbox(isolation="none", policy=path)
    path.write_text('[limits]\nmemory = "100MiB"\n[isolation]\naccept = ["none"]\n')
    with agex.Sandbox(isolation="none", policy=path) as sandbox:
        assert "limits.memory" in sandbox.run("1").lockdown.unenforced


# --- what code makes of its own end ---

# A text whose every method ends the program, where it is asked in the application's own process.
HOSTILE = """
class Text(str):
    def __str__(self): return self
    def __format__(self, how): raise SystemExit("format")
    def __len__(self): raise SystemExit("len")
    def __getitem__(self, key): raise SystemExit("getitem")
    def __eq__(self, other): raise SystemExit("eq")
    def __hash__(self): raise SystemExit("hash")
class Told(Exception):
    def __str__(self): return Text("told")
class Numbered(OSError):
    errno = property(lambda self: Text("number"))
class Named(Exception): pass
Named.__name__ = Text("Named")
class Code(int):
    def __eq__(self, other): raise SystemExit("eq")
    __and__ = __bool__ = __eq__
class Shown:
    def __repr__(self): raise Told
"""


@pytest.mark.parametrize(
    ("end", "message"),
    [
        ("raise Told", "told"),
        ("raise ValueError(Text('told'))", "told"),
        ("raise RuntimeError(Text('told'))", "told"),
        ("raise Numbered('told')", "told"),
        ("raise Named('told')", "told"),
        ("raise SystemExit(Text('told'))", "told"),
        ("exit(Code(3))", "3"),
        ("exit(Code(0))", "0"),
    ],
)
def test_the_end_of_code_is_told_in_plain_texts_and_runs_none_of_its_methods_here(
    sandbox: agex.Sandbox, end: str, message: str
) -> None:
    error = sandbox.run(HOSTILE + end).error

    assert error is not None and error.message == message
    assert {type(error.type), type(error.message), type(error.traceback)} == {str}


@pytest.mark.parametrize("end", ["exit(3)", "raise SystemExit(3)", "raise GeneratorExit", "exit"])
def test_what_ends_code_in_a_function_that_it_gave_to_the_application_ends_the_code_alone(end: str) -> None:
    code = f"def given():\n    {end}\ncall(given)" if end != "exit" else "call(lambda: exit(3))"
    with agex.Sandbox(isolation="none", functions={"call": called}) as sandbox:
        assert sandbox.run(code).status == "error"
        assert sandbox.run("1").value == 1


def test_a_task_may_end_in_a_function_that_was_given_to_the_application() -> None:
    agent = agent_of("call(lambda: task_success(7))")
    agent.fn(called, name="call")

    @agent.task
    def do() -> int:
        """Do."""
        raise NotImplementedError

    assert do() == 7


def test_a_keyboard_interrupt_passes_through_functions_within_functions_as_itself() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with agex.Sandbox(isolation="none", functions={"call": called, "stop": interrupted}) as sandbox:
        with pytest.raises(KeyboardInterrupt):
            sandbox.run("call(lambda: stop())")


def test_an_operation_on_a_handle_in_which_code_ends_the_program_is_an_error_of_the_code() -> None:
    with agex.Sandbox(isolation="none") as sandbox:
        handle = sandbox.run(
            HOSTILE + "class Bad:\n    def leave(self): exit(3)\n    def tell(self): raise Told\nBad()",
            returns=agex.Handle[Any],
        ).unwrap()
        for name, told in (("leave", "SystemExit: 3"), ("tell", "Told: told")):
            with pytest.raises(agex.CodeError) as caught:
                getattr(handle, name)()
            assert str(caught.value) == told


def called(function: Any) -> Any:
    """Call it."""
    return function()
