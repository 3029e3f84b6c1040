"""Large values through the public surface: whole both ways, the caller's own, and for as long as the caller keeps them."""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

import agex
from agex.llm import PythonAction, Reply, Scripted

ROWS = 200_000


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=4)
    yield pool
    pool.close()


@pytest.fixture(scope="module", params=["kernel", "process"])
def sandbox(request: pytest.FixtureRequest, pool: agex.Pool) -> Iterator[agex.Sandbox]:
    with agex.Sandbox(isolation=request.param, modules=["numpy", "pandas"], pool=pool) as sandbox:
        yield sandbox


def frame() -> pd.DataFrame:
    numbers = np.arange(ROWS)
    return pd.DataFrame(
        {
            "whole": numbers,
            "real": numbers / 7,
            "text": [f"№ {number % 1000}" for number in range(ROWS)],
            "gaps": pd.array(np.where(numbers % 3, numbers, None), dtype="Int64"),  # type: ignore[call-overload]
            "kind": pd.Categorical.from_codes(numbers % 3, ["a", "b", "c"]),
            "when": pd.date_range("2020-01-01", periods=ROWS, freq="s", tz="Europe/Berlin"),
            "yes": numbers % 2 == 0,
        },
        index=pd.Index(numbers[::-1].copy(), name="row"),
    )


def test_a_frame_of_every_sort_of_column_crosses_whole_and_is_the_callers_own(sandbox: agex.Sandbox) -> None:
    sent = frame()
    for run in range(3):
        outcome = sandbox.run("df", {"df": sent}, returns=pd.DataFrame)
        assert outcome.status == "ok", outcome.error
        pd.testing.assert_frame_equal(outcome.value, sent)
        outcome.value.loc[5, "real"] = -1.0
        outcome.value["whole"] += run
    pd.testing.assert_frame_equal(sent, frame())


def test_what_code_does_to_its_inputs_stays_in_the_worker(sandbox: agex.Sandbox) -> None:
    array = np.arange(ROWS)
    outcome = sandbox.run("array[:] = -1\narray", {"array": array}, returns=np.ndarray)
    assert (outcome.value == -1).all() and (array == np.arange(ROWS)).all()


@pytest.mark.parametrize(
    "array",
    [
        np.asfortranarray(np.arange(600_000).reshape(3, -1)),
        np.arange(600_000)[::3],
        np.array("x" * 500_000),
        np.zeros((0, 5)),
        np.arange(300_000, dtype=">i8"),
        np.arange(300_000).astype(np.longdouble),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_of_any_form_come_back_the_same(array: Any, sandbox: agex.Sandbox) -> None:
    back = sandbox.run("array", {"array": array}, returns=np.ndarray).value
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.writeable and back.flags.aligned


def test_values_that_are_kept_are_not_touched_by_later_runs(sandbox: agex.Sandbox) -> None:
    kept = [
        sandbox.run(f"import numpy as np\nnp.full({ROWS * 4}, {run})", returns=np.ndarray).value for run in range(4)
    ]
    assert [set(array.tolist()) for array in kept] == [{0}, {1}, {2}, {3}]


def test_a_view_of_a_view_in_another_thread_keeps_its_memory(pool: agex.Pool) -> None:
    with agex.Sandbox(modules=["numpy"], pool=pool) as sandbox:
        value = sandbox.run(f"import numpy as np\nnp.arange({ROWS * 8})", returns=np.ndarray).value
        views = [value[1000:9000].reshape(80, 100)[3:]]
        del value
        seen: list[bool] = []

        def look() -> None:
            view = views.pop()
            for run in range(3):
                sandbox.run(f"import numpy as np\nnp.full({ROWS * 8}, {run})", returns=np.ndarray)
                gc.collect()
                seen.append(bool((view.ravel() == np.arange(1300, 9000)).all()))

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert seen == [True] * 3


def test_a_value_outlives_its_sandbox_and_its_pool_and_can_be_pickled() -> None:
    pool = agex.Pool(max_workers=1)
    values = []
    for policy in ("default", "full-python"):
        with agex.Sandbox(policy=policy, modules=["numpy"], pool=pool) as sandbox:
            values.append(sandbox.run(f"import numpy as np\nnp.arange({ROWS * 4})", returns=np.ndarray).value)
    pool.close()
    gc.collect()
    for value in values:
        assert (pickle.loads(pickle.dumps(value)) == np.arange(ROWS * 4)).all()
        value += 1


def test_a_child_that_is_forked_and_its_parent_do_not_see_each_others_changes(pool: agex.Pool) -> None:
    with agex.Sandbox(policy="full-python", pool=pool) as sandbox:
        value = sandbox.run(f"import numpy as np\nnp.zeros({ROWS * 4})", returns=np.ndarray).value
        ask, asked = os.pipe()
        tell, told = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                value[0] = 5
                os.write(told, b"changed")
                os.read(ask, 1)
                os.write(told, repr(value[:2].tolist()).encode())
            finally:
                os._exit(0)
        assert os.read(tell, 100) == b"changed"
        assert value[0] == 0
        value[1] = 7
        os.write(asked, b".")
        assert os.read(tell, 100) == b"[5.0, 0.0]"
        os.waitpid(child, 0)
        for descriptor in (ask, asked, tell, told):
            os.close(descriptor)


def test_the_last_value_of_a_task_is_lent_and_its_session_goes_on(pool: agex.Pool) -> None:
    turns = [
        PythonAction("inputs.df['whole'] = 0"),
        PythonAction("task_success('no frame')"),
        PythonAction("task_success(inputs.df.assign(whole=inputs.df['whole'] * 2))"),
    ]
    script = [Reply(actions=(turn,)) for turn in turns]
    agent = agex.Agent(llm=Scripted(script), isolation="kernel", pool=pool)
    agent.module(pd)

    @agent.task
    def double(df: pd.DataFrame) -> pd.DataFrame:
        """Double `whole`."""
        raise NotImplementedError

    sent = frame()
    back = double(sent)
    pd.testing.assert_frame_equal(back, sent.assign(whole=sent["whole"] * 2))
    back["whole"] += 1


def test_a_large_value_that_misses_its_contract_is_told_and_the_next_action_goes_on(pool: agex.Pool) -> None:
    turns = ["import numpy as np\ntask_success(np.arange(400_000))", "task_success(int(inputs.a.sum()))"]
    script = [Reply(actions=(PythonAction(turn),)) for turn in turns]
    agent = agex.Agent(llm=Scripted(script), isolation="kernel", pool=pool)
    agent.module(np)

    @agent.task
    def total(a: np.ndarray) -> int:  # type: ignore[type-arg]
        """The sum of `a`."""
        raise NotImplementedError

    assert total(np.ones(400_000)) == 400_000


def test_results_beyond_the_policy_are_refused_in_words_and_the_worker_goes_on(pool: agex.Pool) -> None:
    policy = agex.Policy.load("default").extend({"results": {"max_size": "2MiB"}})
    with agex.Sandbox(policy=policy, modules=["numpy"], pool=pool) as sandbox:
        outcome = sandbox.run("import numpy as np\nnp.zeros(300_000)", returns=np.ndarray)
        assert outcome.status == "error" and outcome.error is not None and outcome.error.type == "ContractError"
        assert sandbox.run("import numpy as np\nnp.zeros(200_000)", returns=np.ndarray).value.sum() == 0


def test_large_values_cross_without_numpy_in_the_supervisor() -> None:
    program = """
        import sys
        import agex
        with agex.Sandbox() as sandbox:
            assert sandbox.run("[text, text]", {"text": "x" * 9_000_000}).value == ["x" * 9_000_000] * 2
        assert "numpy" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)


def test_the_memory_of_values_is_used_again(pool: agex.Pool) -> None:
    with agex.Sandbox(modules=["numpy"], pool=pool) as sandbox:
        addresses = set()
        for _ in range(5):
            value = sandbox.run(f"import numpy as np\nnp.zeros({ROWS * 8})", returns=np.ndarray).value
            addresses.add(value.__array_interface__["data"][0])
            del value
    assert len(addresses) == 1


def test_two_hundred_runs_leave_no_descriptor(pool: agex.Pool) -> None:
    def count() -> int:
        gc.collect()
        links = (os.path.join("/proc/self/fd", number) for number in os.listdir("/proc/self/fd"))
        return sum("agex-arena" in os.readlink(link) for link in links if os.path.lexists(link))

    array = np.zeros(40_000)
    with agex.Sandbox(modules=["numpy"], pool=pool) as sandbox:
        for _ in range(4):
            sandbox.run("a", {"a": array}, returns=np.ndarray)
        before = count()
        for _ in range(200):
            assert sandbox.run("a", {"a": array}, returns=np.ndarray).status == "ok"
        assert count() <= before  # those of pools that are garbage go meanwhile
