"""Sandbox: what a caller sees of code that ends well, badly, late, or not by itself."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import agex

NATIVE = agex.Policy.load("full-python")
SMALL = NATIVE.extend({"limits": {"memory": "256MiB", "output": "4KiB", "workspace_size": "8MiB"}})


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=4)
    yield pool
    pool.close()


@pytest.fixture
def restricted(pool: agex.Pool) -> Iterator[agex.Sandbox]:
    with agex.Sandbox(pool=pool) as sandbox:
        yield sandbox


@pytest.fixture
def native(pool: agex.Pool) -> Iterator[agex.Sandbox]:
    with agex.Sandbox(policy=NATIVE, pool=pool) as sandbox:
        yield sandbox


def works(sandbox: agex.Sandbox) -> bool:
    return bool(sandbox.run("20 + 22", returns=int).unwrap() == 42)


# --- values and output ---


def test_the_last_expression_is_the_value_and_what_was_printed_is_kept(restricted: agex.Sandbox) -> None:
    outcome = restricted.run("n = len(word)\nprint('counted', n)\nn * 2", {"word": "kernel"}, returns=int)

    assert (outcome.status, outcome.value, outcome.stdout, outcome.stderr) == ("ok", 12, "counted 6\n", "")
    assert outcome.error is None and outcome.denials == []
    assert outcome.unwrap() == 12
    assert outcome.usage.wall_s > 0 and outcome.usage.peak_rss_bytes > 1 << 20


def test_code_without_a_last_expression_gives_none(restricted: agex.Sandbox) -> None:
    assert restricted.run("x = 1").unwrap() is None
    assert restricted.run("").unwrap() is None


def test_each_run_starts_with_fresh_names_and_finds_the_files_of_the_last(restricted: agex.Sandbox) -> None:
    restricted.run("left = 1\nwith open('note.txt', 'w') as note:\n    note.write('kept')").unwrap()

    outcome = restricted.run("left")
    assert (outcome.status, outcome.error and outcome.error.type) == ("error", "NameError")
    assert restricted.run("open('note.txt').read()", returns=str).unwrap() == "kept"


class Point(BaseModel):
    x: int
    y: float


@dataclasses.dataclass
class Size:
    width: int
    height: int


def test_values_are_validated_as_the_declared_type(restricted: agex.Sandbox) -> None:
    assert restricted.run("{'x': 1, 'y': 2}", returns=Point).unwrap() == Point(x=1, y=2.0)
    assert restricted.run("{'width': 1, 'height': 2}", returns=Size).unwrap() == Size(1, 2)
    halves = restricted.run("[1, 2.5]", returns=list[float]).unwrap()
    assert halves == [1.0, 2.5] and [type(half) for half in halves] == [float, float]


@pytest.mark.parametrize(
    ("code", "returns"), [("'3'", int), ("1", bool), ("[1]", tuple[int, ...]), ("[1, 'b']", list[int])]
)
def test_a_value_that_misses_its_type_is_an_error_and_the_sandbox_goes_on(
    restricted: agex.Sandbox, code: str, returns: Any
) -> None:
    outcome = restricted.run(code, returns=returns)

    assert (outcome.status, outcome.value) == ("error", None)
    assert outcome.error is not None and outcome.error.type == "ContractError"
    assert works(restricted)


def test_without_a_declared_type_plain_data_crosses_and_the_rest_stays_behind(native: agex.Sandbox) -> None:
    assert native.run("{'a': [1, 2.5, None, 'x'], 'b': (True, b'y')}").unwrap() == {
        "a": [1, 2.5, None, "x"],
        "b": (True, b"y"),
    }

    unsent = native.run("class Odd:\n    def __repr__(self): return '<odd>'\nOdd()").unwrap()
    assert isinstance(unsent, agex.Unsent)
    assert (unsent.type, unsent.repr) == ("Odd", "<odd>")
    assert unsent.reason


def test_a_function_comes_back_as_unsent_and_never_as_code(restricted: agex.Sandbox) -> None:
    unsent = restricted.run("def f(): return 1\nf").unwrap()

    assert isinstance(unsent, agex.Unsent) and unsent.type == "function"


def test_a_module_that_is_the_last_value_is_told_as_one() -> None:
    with agex.Sandbox(isolation="process", modules=["math"]) as sandbox:
        unsent = sandbox.run("import math\nmath").value
    assert unsent == agex.Unsent(
        "module", "<module 'math'>", "result: a module, which has no form on the wire unless it is declared"
    )


def test_a_declared_type_without_a_codec_is_refused_before_anything_runs(restricted: agex.Sandbox) -> None:
    class Custom:
        pass

    with pytest.raises(agex.ContractError, match="Custom"):
        restricted.run("1", returns=Custom)


def test_frames_and_arrays_cross_both_ways(pool: agex.Pool) -> None:
    import numpy as np
    import pandas as pd

    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", None]})
    with agex.Sandbox(modules=["numpy", pd], pool=pool) as sandbox:
        doubled = sandbox.run("df.assign(a=df['a'] * 2)", {"df": frame}, returns=pd.DataFrame).unwrap()
        array = sandbox.run("import numpy as np\nnp.arange(6).reshape(2, 3) * n", {"n": 2}, returns=np.ndarray).unwrap()

    pd.testing.assert_frame_equal(doubled, frame.assign(a=frame["a"] * 2))
    np.testing.assert_array_equal(array, np.arange(6).reshape(2, 3) * 2)
    array[0, 0] = 7
    doubled.loc[0, "a"] = 7


# --- errors of the code ---


def test_an_error_of_the_code_is_told_by_its_own_lines(restricted: agex.Sandbox) -> None:
    outcome = restricted.run("print('before')\ndef inner():\n    return 1 / 0\ninner()")

    assert (outcome.status, outcome.value, outcome.stdout) == ("error", None, "before\n")
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message) == ("ZeroDivisionError", "division by zero")
    assert "line 3, in inner\n    return 1 / 0" in outcome.error.traceback
    with pytest.raises(agex.CodeError) as caught:
        outcome.unwrap()
    assert caught.value.outcome is outcome
    assert works(restricted)


def test_a_syntax_error_names_its_line(restricted: agex.Sandbox) -> None:
    outcome = restricted.run("x = 1\ny = = 2")

    assert outcome.status == "error"
    assert outcome.error is not None and outcome.error.type == "SyntaxError"
    assert "line 2" in outcome.error.traceback


def test_restricted_code_cannot_import_what_is_not_registered(restricted: agex.Sandbox) -> None:
    outcome = restricted.run("import subprocess")

    assert outcome.status == "error"
    assert outcome.error is not None and "subprocess" in outcome.error.message


@pytest.mark.parametrize(("code", "status"), [("raise SystemExit(0)", "ok"), ("raise SystemExit(3)", "error")])
def test_system_exit_is_success_only_with_zero(native: agex.Sandbox, code: str, status: str) -> None:
    assert native.run(code).status == status


def test_an_exception_that_cannot_be_shown_is_still_reported(native: agex.Sandbox) -> None:
    code = "class Mute(Exception):\n    def __str__(self): raise RuntimeError('no')\nraise Mute"

    outcome = native.run(code)

    assert (outcome.status, outcome.error and outcome.error.type) == ("error", "Mute")
    assert works(native)


# --- ends that come from outside ---


def test_a_run_that_takes_too_long_is_ended_and_what_it_printed_is_kept(restricted: agex.Sandbox) -> None:
    outcome = restricted.run("print('begun')\nwhile True:\n    pass", timeout_s=0.5)

    assert (outcome.status, outcome.stdout) == ("timeout", "begun\n")
    assert outcome.error is not None and outcome.error.type == "timeout"
    assert works(restricted)


def test_a_c_call_that_never_returns_is_ended_too(native: agex.Sandbox) -> None:
    assert native.run("import time\ntime.sleep(3600)", timeout_s=0.3).status == "timeout"
    assert works(native)


@pytest.mark.parametrize(
    "code",
    [
        "import os\nprint('going', flush=True)\nos._exit(0)",
        "import ctypes\nprint('going', flush=True)\nctypes.CDLL(None).abort()",
        "import ctypes\nprint('going', flush=True)\nctypes.string_at(0)",
    ],
    ids=["exit", "signal", "crash"],
)
def test_a_worker_that_dies_is_killed_with_its_output_kept(native: agex.Sandbox, code: str) -> None:
    outcome = native.run(code)

    assert (outcome.status, outcome.value, outcome.stdout) == ("killed", None, "going\n")
    assert outcome.error is not None and outcome.error.type in ("exit", "signal")
    assert works(native)


def test_memory_beyond_the_limit_is_an_error_of_the_code(pool: agex.Pool) -> None:
    with agex.Sandbox(policy=SMALL, pool=pool) as sandbox:
        outcome = sandbox.run("x = bytearray(1 << 30)")

        assert (outcome.status, outcome.error and outcome.error.type) == ("error", "MemoryError")
        assert works(sandbox)


def test_a_workspace_that_is_full_is_an_error_of_the_code(pool: agex.Pool) -> None:
    with agex.Sandbox(policy=SMALL, pool=pool) as sandbox:
        outcome = sandbox.run(
            "for n in range(64):\n    with open(f'f{n}', 'wb') as f:\n        f.write(bytes(1 << 20))"
        )

        assert outcome.error is not None and outcome.error.message.startswith("[Errno 28] No space left on device")
        assert "limits.workspace_size" in [denial.key for denial in outcome.denials]
        assert works(sandbox)


def test_without_namespaces_a_workspace_beyond_its_limit_ends_the_worker(pool: agex.Pool) -> None:
    policy = SMALL.extend('widen = ["isolation.namespaces"]\n[isolation]\nnamespaces = "off"')
    code = "for n in range(64):\n    with open(f'f{n}', 'wb') as f:\n        f.write(bytes(1 << 20))\nwhile True: pass"
    with agex.Sandbox(policy=policy, pool=pool) as sandbox:
        outcome = sandbox.run(code)

        assert (outcome.status, outcome.error and outcome.error.type) == ("killed", "limit")
        assert outcome.error is not None and "workspace_size" in outcome.error.message


def test_output_is_bounded_and_never_blocks_the_code(pool: agex.Pool) -> None:
    with agex.Sandbox(policy=SMALL, pool=pool) as sandbox:
        outcome = sandbox.run("for _ in range(10_000):\n    print('0123456789' * 10)\n'done'", returns=str)

        assert (outcome.status, outcome.value) == ("ok", "done")
        assert 1000 < len(outcome.stdout) < 8192


def test_what_c_code_writes_to_the_descriptors_is_kept(native: agex.Sandbox) -> None:
    outcome = native.run("import os\nos.write(1, b'to one\\n')\nos.write(2, b'to two\\n')\nNone")

    assert (outcome.stdout, outcome.stderr) == ("to one\n", "to two\n")


def test_code_that_closes_its_standard_streams_does_not_silence_the_next_run(native: agex.Sandbox) -> None:
    native.run("import sys\nsys.stdout.close()\nsys.stderr = None")

    assert native.run("print('heard')").stdout == "heard\n"


GARBAGE = """
import os, socket
for fd in range(3, 64):
    try:
        socket_like = os.fstat(fd)
    except OSError:
        continue
    os.write(fd, {data})
while True:
    pass
"""


@pytest.mark.parametrize(
    "data",
    [
        "b'not a frame' * 100",
        "b'\\xff\\xff\\xff\\xff' + b'x' * 64",
        "b'\\x00\\x00\\x00\\x00' * 4",
        "b'\\x04\\x00\\x00\\x00\\xc1\\xc1\\xc1\\xc1'",
    ],
    ids=["text", "four gigabytes", "empty frames", "no msgpack"],
)
def test_bytes_that_break_the_protocol_are_a_violation(native: agex.Sandbox, data: str) -> None:
    outcome = native.run(GARBAGE.format(data=data), timeout_s=5)

    assert (outcome.status, outcome.error and outcome.error.type) == ("violation", "violation")
    assert works(native)


def test_half_a_frame_does_not_move_the_deadline(native: agex.Sandbox) -> None:
    outcome = native.run(GARBAGE.format(data="b'\\x00\\x10\\x00\\x00' + b'half'"), timeout_s=0.5)

    assert outcome.status in ("timeout", "violation")
    assert works(native)


def test_a_channel_that_is_closed_by_the_code_is_a_violation(native: agex.Sandbox) -> None:
    outcome = native.run("import os\nos.closerange(3, 64)\nwhile True:\n    pass", timeout_s=5)

    assert outcome.status == "violation"
    assert works(native)


def test_cancel_ends_the_run_from_another_thread(pool: agex.Pool) -> None:
    begun = threading.Event()
    with agex.Sandbox(functions={"begin": begun.set}, pool=pool) as sandbox:

        def cancel() -> None:
            begun.wait()
            sandbox.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        outcome = sandbox.run("print('begun')\nbegin()\nwhile True:\n    pass")
        thread.join()

        assert (outcome.status, outcome.stdout) == ("cancelled", "begun\n")
        assert works(sandbox)


def test_cancel_without_a_run_does_nothing(restricted: agex.Sandbox) -> None:
    restricted.cancel()
    assert works(restricted)
    restricted.cancel()
    assert works(restricted)


def test_arun_gives_the_same_and_runs_beside_others(pool: agex.Pool) -> None:
    async def both() -> list[agex.SandboxOutcome]:
        with agex.Sandbox(pool=pool) as one, agex.Sandbox(pool=pool) as two:
            return list(await asyncio.gather(one.arun("1 + 1", returns=int), two.arun("2 + 2", returns=int)))

    assert [outcome.value for outcome in asyncio.run(both())] == [2, 4]


def test_cancelling_an_awaited_run_ends_it_and_lets_the_cancellation_pass(pool: agex.Pool) -> None:
    async def scenario() -> bool:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def begin() -> None:
            loop.call_soon_threadsafe(begun.set)

        with agex.Sandbox(functions={"begin": begin}, pool=pool) as sandbox:
            running = asyncio.ensure_future(sandbox.arun("begin()\nwhile True:\n    pass"))
            await begun.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            return works(sandbox)

    assert asyncio.run(scenario())


# --- host functions ---


def test_functions_run_in_this_process_with_validated_arguments(pool: agex.Pool) -> None:
    seen: list[object] = []

    def price(product: str, count: int = 1, *, rate: float = 1.0) -> float:
        seen.append((product, count, rate))
        return 2.5 * count * rate

    with agex.Sandbox(functions={"price": price}, pool=pool) as sandbox:
        assert sandbox.run("price('lamp', 2, rate=2)", returns=float).unwrap() == 10.0
        outcome = sandbox.run("price('lamp', 'many')")

    assert seen == [("lamp", 2, 2.0)] and type(seen[0][2]) is float  # type: ignore[index]
    assert (outcome.status, outcome.error and outcome.error.type) == ("error", "TypeError")


def test_what_a_function_raises_crosses_without_its_traceback(pool: agex.Pool) -> None:
    def fail() -> None:
        raise LookupError("nothing here")

    with agex.Sandbox(functions={"fail": fail}, pool=pool) as sandbox:
        outcome = sandbox.run("fail()")
        caught = sandbox.run("try:\n    fail()\nexcept LookupError as error:\n    text = str(error)\ntext").unwrap()

    assert (outcome.error and outcome.error.type, outcome.error and outcome.error.message) == (
        "LookupError",
        "nothing here",
    )
    assert outcome.error is not None and "raise LookupError" not in outcome.error.traceback
    assert caught == "nothing here"


def test_time_spent_in_functions_does_not_count_against_the_deadline(pool: agex.Pool) -> None:
    waited = threading.Event()

    def slow() -> int:
        waited.wait(2.0)
        return 1

    with agex.Sandbox(functions={"slow": slow}, pool=pool) as sandbox:
        assert sandbox.run("slow()", returns=int, timeout_s=1.5).unwrap() == 1


def test_a_sandbox_may_not_be_entered_again_from_its_own_function(pool: agex.Pool) -> None:
    def again() -> str:
        with pytest.raises(RuntimeError, match="another Sandbox"):
            sandbox.run("1")
        return "refused"

    with agex.Sandbox(functions={"again": again}, pool=pool) as sandbox:
        assert sandbox.run("again()", returns=str).unwrap() == "refused"
        assert works(sandbox)


# --- what the caller did ---


def test_inputs_that_cannot_be_sent_are_named(restricted: agex.Sandbox) -> None:
    with pytest.raises(agex.ContractError, match="'lock'"):
        restricted.run("1", {"fine": 1, "lock": threading.Lock()})
    with pytest.raises(agex.ContractError, match="'numbers'"):
        restricted.run("1", {"numbers": (n for n in range(3))})
    with pytest.raises(agex.ContractError, match="not a name"):
        restricted.run("1", {"not a name": 1})
    with pytest.raises(agex.ContractError, match="timeout_s"):
        restricted.run("1", timeout_s=0)
    with pytest.raises(agex.ContractError, match="code"):
        restricted.run(b"1")  # type: ignore[arg-type]
    assert works(restricted)


def test_an_unknown_isolation_is_a_value_error_and_an_unknown_policy_a_policy_error() -> None:
    with pytest.raises(ValueError, match="kernal"):
        agex.Sandbox(isolation="kernal")
    with pytest.raises(agex.PolicyError, match="nosuch"):
        agex.Sandbox(policy="nosuch")


def test_a_closed_sandbox_runs_nothing(pool: agex.Pool) -> None:
    sandbox = agex.Sandbox(pool=pool)
    assert works(sandbox)
    sandbox.close()
    sandbox.close()

    with pytest.raises(agex.ConfigurationError, match="closed"):
        sandbox.run("1")


def test_a_full_pool_says_so_and_serves_again_when_a_worker_is_free() -> None:
    pool = agex.Pool(max_workers=1, spares=0, wait_s=0.05)
    with agex.Sandbox(pool=pool) as one, agex.Sandbox(pool=pool) as two:
        assert works(one)
        with pytest.raises(agex.PoolExhausted, match="max_workers"):
            two.run("1")
        one.close()
        assert works(two)
    pool.close()


# --- the workspace ---


def test_a_workspace_of_the_callers_own_is_worked_in_and_stays(pool: agex.Pool, tmp_path: Path) -> None:
    tmp_path.joinpath("in.txt").write_text("given")
    with agex.Sandbox(workspace=tmp_path, pool=pool) as sandbox:
        sandbox.run(
            "text = open('in.txt').read()\nwith open('out.txt', 'w') as out:\n    out.write(text.upper())"
        ).unwrap()

    assert tmp_path.joinpath("out.txt").read_text() == "GIVEN"


def test_two_sandboxes_do_not_see_each_others_files(pool: agex.Pool, tmp_path: Path) -> None:
    own = agex.Sandbox(policy=NATIVE, pool=pool, workspace=tmp_path)
    with own as one, agex.Sandbox(policy=NATIVE, pool=pool) as two:
        place = one.run("import os\nopen('mine', 'w').write('secret')\nos.path.abspath('mine')", returns=str).unwrap()
        assert Path(place).read_text() == "secret"

        assert two.run("import os\nos.listdir('.')", returns=list[str]).unwrap() == []
        outcome = two.run("open(place).read()", {"place": place})
        assert (outcome.status, outcome.error and outcome.error.type) == ("error", "PermissionError")


@pytest.mark.parametrize("place", ["/", str(Path.home()), "/nonexistent-directory"])
def test_a_workspace_that_is_none_is_refused(place: str) -> None:
    with pytest.raises(agex.ConfigurationError, match="workspace"):
        agex.Sandbox(workspace=place)


def test_a_workspace_from_which_this_process_imports_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or agent code could leave a module there, and the next import of that name would run it here."""
    mine = tmp_path / "mine"
    mine.mkdir()
    monkeypatch.syspath_prepend(str(mine))
    for place in (mine, tmp_path, sys.prefix, Path(agex.__file__).parent):
        with pytest.raises(agex.ConfigurationError, match="imports from"):
            agex.Sandbox(workspace=place)


def test_a_workspace_within_a_folder_of_modules_is_worked_in(
    pool: agex.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    place = tmp_path / "files"
    place.mkdir()
    with agex.Sandbox(workspace=place, pool=pool) as sandbox:
        assert sandbox.run("1 + 1").value == 2


# --- the report ---


def test_the_report_names_what_holds_each_promise_and_what_was_seen_from_outside(restricted: agex.Sandbox) -> None:
    report = restricted.run("1").lockdown

    assert (report.isolation, report.unenforced) == ("kernel", [])
    assert all(report.promises.values())
    assert {"capabilities", "no_new_privs", "seccomp"} <= set(report.verified)
    assert report.layers["landlock"].startswith("enforced") and report.layers["seccomp"].startswith("enforced")
    reached = {probe for probe, result in report.probes.items() if result.startswith("REACHED")}
    # What only a view of its own could hide.
    assert reached == (set() if report.layers["namespaces"].startswith("enforced") else {"files.metadata/stat"})


def test_process_isolation_lists_what_it_does_not_hold(pool: agex.Pool) -> None:
    with agex.Sandbox(isolation="process", pool=pool) as sandbox:
        outcome = sandbox.run("6 * 7", returns=int)

    assert (outcome.value, outcome.lockdown.isolation) == (42, "process")
    assert {"files.read", "network", "programs", "filesystem.read"} <= set(outcome.lockdown.unenforced)
    assert outcome.lockdown.layers["seccomp"] == "off"


def test_a_cancellation_while_the_worker_is_made_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = agex.Pool(spares=0)
    with agex.Sandbox(policy="default", pool=pool) as sandbox:
        checkout = pool.checkout

        def cancelled_meanwhile(*args: Any, **kwargs: Any) -> Any:
            sandbox.cancel()
            return checkout(*args, **kwargs)

        monkeypatch.setattr(pool, "checkout", cancelled_meanwhile)
        outcome = sandbox.run("1", returns=int)
        assert (outcome.status, outcome.error) == ("cancelled", agex.ErrorInfo("cancelled", "cancelled by the caller"))
        monkeypatch.undo()
        assert sandbox.run("1", returns=int).value == 1
    pool.close()


def test_a_cancellation_while_it_waits_for_a_worker_ends_the_run() -> None:
    pool = agex.Pool(max_workers=1, wait_s=600)
    with agex.Sandbox(pool=pool) as first, agex.Sandbox(pool=pool) as second:
        assert works(first)
        outcomes: list[Any] = []
        runner = threading.Thread(target=lambda: outcomes.append(second.run("1")))
        runner.start()
        while runner.is_alive():
            second.cancel()
            runner.join(0.05)
        assert [(outcome.status, outcome.error) for outcome in outcomes] == [
            ("cancelled", agex.ErrorInfo("cancelled", "cancelled by the caller"))
        ]
        first.close()
        assert works(second)
    pool.close()


def test_cancelling_an_awaited_run_that_waits_for_a_worker_lets_go_of_the_sandbox() -> None:
    pool = agex.Pool(max_workers=1, wait_s=600)

    async def scenario() -> None:
        running = asyncio.ensure_future(second.arun("1"))
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    with agex.Sandbox(pool=pool) as first, agex.Sandbox(pool=pool) as second:
        assert works(first)
        asyncio.run(scenario())
        first.close()
        assert works(second)
    pool.close()


def test_closing_a_sandbox_of_none_ends_what_it_waits_for() -> None:
    waiting = threading.Event()

    async def for_ever() -> None:
        waiting.set()
        await asyncio.Event().wait()

    sandbox = agex.Sandbox(isolation="none", functions={"for_ever": for_ever})
    outcomes: list[Any] = []
    runner = threading.Thread(target=lambda: outcomes.append(sandbox.run("for_ever()")))
    runner.start()
    assert waiting.wait(30)
    sandbox.close()
    runner.join(30)
    assert [outcome.status for outcome in outcomes] == ["cancelled"]


@pytest.mark.parametrize(("isolation", "status"), [("none", "ok"), ("kernel", "error")])
def test_a_traceback_names_the_run_and_a_value_that_ends_everything_ends_nothing(
    pool: agex.Pool, isolation: str, status: str
) -> None:
    with agex.Sandbox(isolation=isolation, pool=pool) as sandbox:
        assert sandbox.run("1").value == 1
        error = sandbox.run("1 / 0").error
        assert error is not None and 'File "<run 2>", line 1' in error.traceback
        code = "class H(list):\n    def __iter__(self): raise SystemExit(3)\nH([1])"
        assert sandbox.run(code, returns=list[int]).status == status
        assert sandbox.run("2").value == 2
