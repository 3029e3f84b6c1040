"""Handle and Opaque as a program uses them: results of tasks and of a Sandbox, in every isolation."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import agex

# By its name: this module is imported by workers, too, where there are no policies.
FULL = "full-python"


class Line:
    """A fitted line; of no form on the wire."""

    slope: float

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def predict(self, x: float) -> float:
        return self.slope * x

    def steeper(self) -> Line:
        return Line(self.slope + 1)

    def fit(self, slope):  # type: ignore[no-untyped-def]
        self.slope = slope
        return self

    def broken(self) -> int:
        raise KeyError("no such thing")

    def wrong(self) -> int:
        return "text"  # type: ignore[return-value]

    @property
    def doubled(self) -> float:
        return self.slope * 2

    def __len__(self) -> int:
        return 7

    def __getitem__(self, key: str) -> str:
        return key * 2

    def __call__(self, x: int) -> list[int]:
        return [x]

    def __repr__(self) -> str:
        return f"Line({self.slope})"


@dataclass
class Report:
    """A record with an object in it."""

    score: float
    line: agex.Handle[Line]


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=8)
    yield pool
    pool.close()


@pytest.fixture(params=["none", "process", "kernel"])
def isolation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def agent(pool: agex.Pool, isolation: str, *script: str, policy: Any = "default") -> agex.Agent:
    return agex.Agent(isolation=isolation, llm=agex.llm.Scripted(list(script)), pool=pool, policy=policy)


# --- handles ---


def test_a_handle_behaves_the_same_in_every_isolation(pool: agex.Pool, isolation: str) -> None:
    ours = agent(pool, isolation, "task_success(Line(inputs.slope))")

    @ours.task
    def fit(slope: float) -> agex.Handle[Line]:
        """Fit."""
        raise NotImplementedError

    with fit(2.0) as line:
        assert isinstance(line, agex.Handle) and repr(line) == "<Handle of Line: Line(2.0)>"
        assert (line.predict(4.0), line.slope, line.doubled) == (8.0, 2.0, 4.0)
        assert (len(line), line["ab"], line(3), bool(line)) == (7, "abab", [3], True)
        assert isinstance(line.steeper(), agex.Handle) and line.steeper().predict(1.0) == 3.0
        assert line.fit(5.0).predict(1.0) == 5.0 and line.slope == 5.0
        with pytest.raises(agex.CodeError) as broken:
            line.broken()
        assert broken.value.error.type == "KeyError"
        with pytest.raises(agex.CodeError) as wrong:
            line.wrong()
        assert wrong.value.error.type == "ContractError"
        assert wrong.value.error.message == "result: a str ('text'), wanted int; use int(...)"
        for reach in (lambda: line.unknown, lambda: line._hidden):
            with pytest.raises(AttributeError):
                reach()
        for refused in (lambda: iter(line), lambda: 1 in line, lambda: pickle.dumps(line), lambda: copy.copy(line)):
            with pytest.raises(TypeError):
                refused()
        assert "predict" in dir(line) and "close" in dir(line)
    with pytest.raises(agex.HandleClosed):
        line.predict(1.0)
    assert repr(line) == "<closed Handle of Line: Line(2.0)>"


def test_handles_may_lie_in_lists_records_and_optionals(pool: agex.Pool, isolation: str) -> None:
    ours = agent(
        pool,
        isolation,
        "task_success({'a': [Line(1.0), Line(2.0)]})",
        "task_success({'score': 0.5, 'line': Line(3.0)})"
        if isolation == "none"
        else "task_success(Report(0.5, Line(3.0)))",
        "task_success(None)",
    )

    @ours.task
    def many() -> dict[str, list[agex.Handle[Line]]]:
        """Many."""
        raise NotImplementedError

    @ours.task
    def report() -> Report:
        """Report."""
        raise NotImplementedError

    @ours.task
    def maybe() -> agex.Handle[Line] | None:
        """Maybe."""
        raise NotImplementedError

    assert [each.slope for each in many()["a"]] == [1.0, 2.0]
    told = report()
    assert (told.score, told.line.slope) == (0.5, 3.0)
    assert maybe() is None


SCRIPT = """
import agex
from dataclasses import dataclass
from typing import Any

@dataclass
class Report:
    line: agex.Handle[Any]
    sealed: list[agex.Opaque[Any]]

if __name__ == "__main__":
    code = "class Line: slope = 2.0\\ntask_success(Report(Line(), [Line()]))"
    for isolation in ("process", "kernel"):
        agent = agex.Agent(isolation=isolation, llm=agex.llm.Scripted([code]))

        @agent.task
        def report() -> Report:
            'Report.'

        told = report()
        print(isolation, told.line.slope, told.sealed[0].type)
"""


def test_a_class_of_the_running_script_may_have_handles_in_its_fields(tmp_path: Path) -> None:
    # Its annotations are objects, which go along with it to workers that have no supervisor's code.
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("process 2.0 Line\nkernel 2.0 Line\n", "")


def test_an_object_of_another_class_is_told_to_the_agent_who_tries_again(pool: agex.Pool, isolation: str) -> None:
    ours = agent(pool, isolation, "task_success('no line')", "task_success(Line(1.0))")

    @ours.task
    def fit() -> agex.Handle[Line]:
        """Fit."""
        raise NotImplementedError

    outcome = fit.run()
    assert outcome.status == "success" and outcome.value.slope == 1.0
    told = next(event for event in outcome.events if isinstance(event, agex.OutputEvent))
    assert told.error == "ContractError"


def test_a_callable_result_is_called_where_it_was_made(pool: agex.Pool, isolation: str) -> None:
    ours = agent(pool, isolation, "factor = inputs.factor\ntask_success(lambda x: x * factor)")

    @ours.task
    def scale(factor: int) -> Callable[[int], int]:
        """Scale."""
        raise NotImplementedError

    scaled = scale(3)
    assert scaled(14) == 42
    if isolation == "none":
        assert not isinstance(scaled, agex.Handle)
        return
    assert isinstance(scaled, agex.Handle)
    with pytest.raises(agex.ContractError) as caught:
        scaled("14")  # type: ignore[arg-type]
    assert str(caught.value) == "argument 1: the value: Input should be a valid integer (got str '14')"
    scaled.close()


def test_an_object_goes_into_other_tasks_through_its_handle(pool: agex.Pool, isolation: str) -> None:
    ours = agent(pool, isolation, "task_success(Line(2.0))", *["task_success(inputs.line.predict(10.0))"] * 2)

    @ours.task
    def fit() -> agex.Handle[Line]:
        """Fit."""
        raise NotImplementedError

    @ours.task
    def apply(line: agex.Handle[Line]) -> float:
        """Apply."""
        raise NotImplementedError

    @ours.task
    def use(line: Line) -> float:
        """Use."""
        raise NotImplementedError

    line = fit()
    assert apply(line) == 20.0
    assert use(line) == 20.0  # type: ignore[arg-type]
    with pytest.raises(agex.ContractError):
        apply(3)  # type: ignore[arg-type]
    line.close()


def test_the_model_is_told_of_the_object_and_not_of_what_stands_for_it(pool: agex.Pool) -> None:
    model = agex.llm.Scripted(["task_success(Line(1.0))"])
    ours = agex.Agent(isolation="kernel", llm=model, pool=pool)

    @ours.task
    def fit() -> agex.Handle[Line]:
        """Fit."""
        raise NotImplementedError

    fit().close()
    assert "Finish with task_success(value), where value is of type: Line" in str(model.requests[0])
    assert "Handle" not in str(model.requests[0])


def test_a_sandbox_uses_the_objects_of_its_earlier_runs_until_it_is_closed(pool: agex.Pool) -> None:
    with agex.Sandbox(pool=pool) as sandbox:
        items = sandbox.run("[3, 1, 2]", returns=agex.Handle[list[int]]).unwrap()
        items.sort()
        assert (len(items), items[0], items.index(3)) == (3, 1, 2)
        assert sandbox.run("given.append(9)\nlen(given)", {"given": items}, returns=int).unwrap() == 4
        assert items.pop() == 9
    with pytest.raises(agex.HandleClosed) as caught:
        items.sort()
    assert caught.value.cause == "closed"


def test_in_full_python_each_run_keeps_a_worker_of_its_own_for_its_handles(pool: agex.Pool) -> None:
    code = "import os\nopen('note.txt', 'a').write('x')\nclass Box:\n    pid = os.getpid()\n    text = open('note.txt').read()\nBox()"
    with agex.Sandbox(policy=FULL, pool=pool) as sandbox:
        first = sandbox.run(code, returns=agex.Handle[Any]).unwrap()
        second = sandbox.run(code, returns=agex.Handle[Any]).unwrap()
        assert (first.text, second.text) == ("x", "xx")
        assert pool.stats().kept == 2
        assert sandbox.run("given.text", {"given": second}, returns=str).unwrap() == "xx"
        first.close()
        assert pool.stats().kept == 1
    with pytest.raises(agex.HandleClosed):
        second.text  # noqa: B018
    assert pool.stats().kept == 0


def test_a_run_that_ends_the_sandboxs_worker_takes_its_handles_along(pool: agex.Pool) -> None:
    with agex.Sandbox(pool=pool) as sandbox:
        items = sandbox.run("[1]", returns=agex.Handle[list[int]]).unwrap()
        assert sandbox.run("while True: pass", timeout_s=0.3).status == "timeout"
        with pytest.raises(agex.HandleClosed) as caught:
            items.sort()
        assert caught.value.cause == "timeout"
        with pytest.raises(agex.HandleClosed):
            sandbox.run("given", {"given": items})
        assert sandbox.run("1", returns=int).unwrap() == 1


@pytest.mark.parametrize("isolation", ["none", "kernel"])
def test_an_object_that_a_host_function_was_given_is_used_after_the_call(pool: agex.Pool, isolation: str) -> None:
    taken: list[Any] = []

    def take(line: agex.Handle[Line], callbacks: list[agex.Handle[Callable[[int], int]]] = []) -> str:  # noqa: B006
        taken.extend([line, *callbacks])
        return repr(line)

    functions = {"take": take, "give": lambda: {"line": taken[0]}, "give_last": lambda: taken.pop()}
    with agex.Sandbox(isolation, "default", [Line.__module__], functions, pool=pool) as sandbox:
        code = f"from {Line.__module__} import Line\nline = Line(2.0)\n"
        assert sandbox.run(code + "take(line, [lambda x: x + 1])").unwrap() == "<Handle of Line: Line(2.0)>"
        line, callback = taken
        assert (line.predict(2.0), line.steeper().slope, callback(41)) == (4.0, 3.0, 42)
        # In its own worker it is the very object again, also where it was given by its last handle.
        assert sandbox.run(code + "take(line)\ngive_last() is line").unwrap() is True
        assert sandbox.run("give()['line'].predict(3.0)").unwrap() == 6.0
        for argument in ("3", "line, [3]"):
            refused = sandbox.run(f"{code}take({argument})").error
            assert refused is not None and refused.type == "TypeError" and "an int (3), wanted" in refused.message
        assert sandbox.run(f"{code}for n in range(2500): take(line); give_last()\nn").unwrap() == 2499
        assert len(taken) == 2
    if isolation == "kernel":
        with pytest.raises(agex.HandleClosed, match="its session is over"):
            line.predict(2.0)
    assert pool.stats().kept == 0


def test_what_a_host_function_was_given_keeps_the_worker_of_its_task_until_it_is_closed(pool: agex.Pool) -> None:
    taken: list[agex.Handle[Line]] = []

    def take(line: agex.Handle[Line]) -> None:
        taken.append(line)

    ours = agent(
        pool, "kernel", "take(Line(3.0))\ntask_success(1)", "take(Line(4.0))\ntask_fail('no')", "task_success(2)"
    )
    ours.fn(take)

    @ours.task
    def fit(like: agex.Opaque[Line] | None = None) -> int:
        """Fit."""
        raise NotImplementedError

    assert (fit(), fit.run().status) == (1, "failed")
    assert pool.stats().kept == 2
    assert [line.predict(2.0) for line in taken] == [6.0, 8.0]  # type: ignore[attr-defined]
    for line in taken:
        line.close()
    assert fit() == 2
    assert pool.stats().kept == 0


@pytest.mark.parametrize("isolation", ["none", "kernel"])
def test_a_sub_agent_takes_objects_of_its_callers_worker(pool: agex.Pool, isolation: str) -> None:
    script = "task_success(sum(line.predict(2.0) for line in [inputs.line, *inputs.others]))"
    below = agent(pool, isolation, script)

    @below.task
    def judge(line: agex.Handle[Line], others: list[agex.Handle[Line]]) -> float:
        """Judge."""
        raise NotImplementedError

    above = agent(pool, isolation, "task_success(judge(Line(1.0), [Line(2.0)]))")
    above.fn(judge)

    @above.task
    def ask(like: agex.Opaque[Line] | None = None) -> float:
        """Ask."""
        raise NotImplementedError

    assert ask() == 6.0
    assert pool.stats().kept == 0


# --- sealed bytes ---


def test_an_opaque_is_equal_by_its_digest_stored_and_opened_in_another_worker(pool: agex.Pool) -> None:
    ours = agent(pool, "kernel", "task_success(Line(3.0))", "task_success(inputs.line.predict(2.0))")

    @ours.task
    def fit() -> agex.Opaque[Line]:
        """Fit."""
        raise NotImplementedError

    @ours.task
    def use(line: agex.Opaque[Line]) -> float:
        """Use."""
        raise NotImplementedError

    line = fit()
    assert (line.type, line.repr, len(line.sha256)) == ("Line", "Line(3.0)", 64)
    stored = pickle.loads(pickle.dumps(line))
    assert stored == line and hash(stored) == hash(line) and stored is not line
    assert agex.Opaque(line.data, line.sha256, line.type, line.repr) == line
    assert use(stored) == 6.0


def test_an_opaque_that_was_changed_is_refused() -> None:
    with pytest.raises(ValueError, match="they were changed"):
        agex.Opaque(b"data", "0" * 64, "T", "r")
    with pytest.raises(AttributeError):
        agex.Opaque(b"data").data = b""  # type: ignore[misc]


def test_what_an_opaque_says_of_its_object_is_harmless() -> None:
    opaque = agex.Opaque(b"data", type="T\x1b[2J\n", repr="\u202e<b>")
    assert (opaque.type, opaque.repr) == ("T\\x1b[2J\\n", "\\u202e<b>")
    assert repr(opaque) == "<Opaque T\\x1b[2J\\n of 4 bytes, sha256 3a6eb0790f39: \\u202e<b>>"


def test_nothing_of_an_opaque_runs_here_and_all_of_it_in_the_worker(pool: agex.Pool, tmp_path: Any) -> None:
    code = (
        "class Evil:\n    def __reduce__(self):\n        import os\n"
        f"        return (os.system, ('touch {tmp_path}/owned',))\nEvil()"
    )
    with agex.Sandbox(policy=FULL, pool=pool) as sandbox:
        evil = sandbox.run(code, returns=agex.Opaque[Any]).unwrap()
        assert isinstance(evil, agex.Opaque) and b"posix" in evil.data
        outcome = sandbox.run("1", {"given": evil})
        assert outcome.status in ("error", "killed")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_stay_behind_or_be_sealed_is_told_to_the_code_alike_in_every_isolation(
    pool: agex.Pool, isolation: str
) -> None:
    unsealable = "a generator cannot be sealed: TypeError: cannot pickle 'generator' object"
    with agex.Sandbox(isolation, pool=pool) as sandbox:

        def told(code: str, returns: Any) -> tuple[str, str]:
            error = sandbox.run(code, returns=returns).error
            assert error is not None
            return error.type, error.message

        assert told("(each for each in [])", agex.Opaque[Any]) == ("ContractError", f"result: {unsealable}")
        assert told("[1, (each for each in [])]", list[agex.Opaque[Any]]) == (
            "ContractError",
            f"result[1]: {unsealable}",
        )
        assert told("(object(), 'x')", tuple[agex.Handle[Any], int]) == (
            "ContractError",
            "result[1]: a str ('x'), wanted int; use int(...)",
        )
        assert told("'x'", agex.Handle[Line]) == ("ContractError", "result: a str ('x'), wanted Line")


def test_an_opaque_is_made_in_this_process_where_there_is_no_worker_and_never_opened_there(pool: agex.Pool) -> None:
    with agex.Sandbox(isolation="none", pool=pool) as sandbox:
        opaque = sandbox.run("{'a': 1}", returns=agex.Opaque[dict[str, int]]).unwrap()
        assert opaque.type == "dict" and opaque.repr == "{'a': 1}"
        with pytest.raises(agex.ContractError, match="an Opaque is opened in workers only"):
            sandbox.run("given", {"given": [opaque]})
    with agex.Sandbox(pool=pool) as sandbox:
        assert sandbox.run("given", {"given": opaque}, returns=dict[str, int]).unwrap() == {"a": 1}


def test_a_host_function_gets_sealed_bytes_and_gives_them_back_as_the_object(pool: agex.Pool) -> None:
    stored: list[agex.Opaque[Any]] = []

    def store(thing: agex.Opaque[Any]) -> int:
        stored.append(thing)
        return len(stored)

    def load() -> Any:
        return stored[0]

    with agex.Sandbox(functions={"store": store, "load": load}, pool=pool) as sandbox:
        code = "class Thing:\n    size = 4\nstore(Thing())\nload().size"
        assert sandbox.run(code, returns=int).unwrap() == 4
    assert stored[0].type == "Thing"


def test_a_policy_without_opaque_refuses_it_before_anything_runs(pool: agex.Pool) -> None:
    model = agex.llm.Scripted([])
    ours = agex.Agent(isolation="kernel", policy="strict", llm=model, pool=pool)

    @ours.task
    def fit() -> agex.Opaque[Line]:
        """Fit."""
        raise NotImplementedError

    with pytest.raises(agex.PolicyError, match="results.opaque"):
        fit()
    assert model.requests == []
    narrow = agex.Policy.load(FULL).extend({"results": {"opaque": False}})
    with agex.Sandbox(policy=narrow, pool=pool) as first, agex.Sandbox(policy=narrow, pool=pool) as second:
        with pytest.raises(agex.PolicyError, match="results.opaque"):
            first.run("1", returns=agex.Opaque[int])
        box = first.run("[1]", returns=agex.Handle[list[int]]).unwrap()
        with pytest.raises(agex.ContractError, match="the policy seals no objects"):
            second.run("given", {"given": box})


def test_a_class_without_a_form_names_the_choices_when_the_task_is_decorated(pool: agex.Pool) -> None:
    ours = agent(pool, "kernel")
    with pytest.raises(agex.ContractError) as caught:

        @ours.task
        def fit() -> Line:
            """Fit."""
            raise NotImplementedError

    for choice in ("-> agex.Handle[Line]", "-> agex.Opaque[Line]", 'trust="unpickle"', 'isolation="none"'):
        assert f"`{choice}`" in str(caught.value)


# --- trust ---


TRUSTING = {"widen": ["results.trust_unpickle"], "results": {"trust_unpickle": True}}


def test_an_agent_that_is_trusted_with_this_process_gives_the_object_itself(pool: agex.Pool) -> None:
    policy = agex.Policy.load("default").extend(TRUSTING)
    ours = agent(pool, "kernel", "task_success([3])", "task_success([Line(2.0)])", policy=policy)

    @ours.task(trust="unpickle")
    def fit() -> list[Line]:
        """Fit."""
        raise NotImplementedError

    outcome = fit.run()
    (line,) = outcome.value
    assert type(line) is Line and line.predict(2.0) == 4.0
    errors = [event.error for event in outcome.events if isinstance(event, agex.OutputEvent)]
    assert errors == ["ContractError"]


def test_a_pickle_that_is_not_of_the_declared_class_is_refused_after_it_was_opened(pool: agex.Pool) -> None:
    policy = agex.Policy.load(FULL).extend(TRUSTING)
    lie = "class Line(Line):\n    def __reduce__(self): return (int, (3,))\ntask_success(Line(1.0))"
    ours = agent(pool, "kernel", lie, "task_fail('enough')", policy=policy)

    @ours.task(trust="unpickle")
    def fit() -> Line:
        """Fit."""
        raise NotImplementedError

    outcome = fit.run()
    assert (outcome.status, outcome.message) == ("failed", "enough")
    told = next(event for event in outcome.events if isinstance(event, agex.OutputEvent))
    assert "Input should be an instance of Line" in told.text


@pytest.mark.parametrize("isolation", ["none", "process", "kernel"])
def test_trust_is_refused_when_the_task_is_decorated_unless_the_policy_has_it(pool: agex.Pool, isolation: str) -> None:
    ours = agent(pool, isolation)
    with pytest.raises(agex.PolicyError) as caught:

        @ours.task(trust="unpickle")
        def fit() -> Line:
            """Fit."""
            raise NotImplementedError

    assert "results.trust_unpickle" in str(caught.value)
    with pytest.raises(ValueError, match="trust='blindly'"):

        @ours.task(trust="blindly")  # type: ignore[arg-type]
        def other() -> int:
            """Other."""
            raise NotImplementedError
