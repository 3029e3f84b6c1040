"""A promise that cannot be held is refused before anything runs, by the supervisor and by the zygote itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import agex
import agex_worker
from agex.namespace_trial import try_namespaces
from agex_policies.compile import compile_plan
from agex_policies.machine import Machine
from agex_policies.schema import Policy
from agex_supervisor.equipment import Equipment
from agex_supervisor.pool import Kit
from agex_supervisor.session import Session

with_namespaces = pytest.mark.skipif(
    bool(Machine.detect().no_namespaces or try_namespaces()), reason="this user cannot make namespaces"
)

RUN = """
import sys
{before}
import agex
sandbox = agex.Sandbox(isolation="kernel", policy={policy!r})
try:
    with sandbox:
        sandbox.run("open('ran', 'w')")
        {after}
except agex.IsolationUnavailable as error:
    print(f"refused: {{error}}")
"""


def run(before: str = "", *, after: str = "", policy: str = "default", **environment: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", RUN.format(before=before, after=after, policy=policy)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_it_runs_where_nothing_is_missing() -> None:
    assert run() == ""


@pytest.mark.parametrize(("abi", "promise"), [("0", "files.read"), ("2", "files.write")])
def test_a_kernel_that_is_too_old_is_refused_with_promise_layer_and_remedy(abi: str, promise: str) -> None:
    told = run(AGEX_TEST_LANDLOCK_ABI=abi, AGEX_TEST_WITHOUT="namespaces")

    assert told.startswith("refused: ")
    assert promise in told and "Landlock" in told and "6.2" in told


def test_an_older_kernel_that_still_holds_every_promise_runs() -> None:
    assert run(AGEX_TEST_LANDLOCK_ABI="3", AGEX_TEST_WITHOUT="namespaces") == ""


def test_a_binding_that_is_not_installed_is_refused_with_the_remedy_where_nothing_stands_in_for_it() -> None:
    missing = "sys.modules['landlock'] = None"
    told = run(missing, AGEX_TEST_WITHOUT="namespaces")

    assert told.startswith("refused: ")
    assert "files.read" in told and "landlock" in told and "install" in told


def test_without_the_compiler_of_filters_the_one_that_comes_with_agex_is_used() -> None:
    assert run("sys.modules['pyseccomp'] = None") == ""


def test_a_zygote_without_the_binding_refuses_by_itself(tmp_path: Path) -> None:
    # The supervisor has the package; what the zygote finds first, beside its own code, is no package at all.
    home = Path(agex_worker.__path__[0])
    shutil.copytree(home, tmp_path / "agex_worker", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "landlock").mkdir()
    (tmp_path / "landlock" / "__init__.py").write_text("raise ImportError('no landlock here')\n")
    told = run(f"import landlock\nsys.path.insert(0, {str(tmp_path)!r})")

    assert told.startswith("refused: ")
    assert "landlock" in told.lower() and "files.read" in told


@pytest.mark.parametrize("off", ["landlock", "seccomp", "capabilities"])
def test_a_session_never_begins_in_a_worker_that_lacks_a_layer_which_nothing_stands_in_for(off: str) -> None:
    pool = agex.Pool(max_workers=1, spares=0)
    plan = replace(compile_plan(Policy.load("default"), "kernel"), namespaces="off")
    match off:
        case "landlock":
            plan = replace(plan, landlock_abi=0)
        case "seccomp":
            plan = replace(plan, seccomp=b"", seccomp_told=b"", seal=b"")
        case _:
            plan = replace(plan, drop_capabilities=False)
    session = Session(pool, Kit(plan), Equipment(), pool.new_workspace())
    try:
        with pytest.raises(agex.IsolationUnavailable, match=off):
            session.start()
        assert pool.stats().busy == 0
    finally:
        session.close()
        pool.close()


@with_namespaces
def test_where_namespaces_are_required_they_are_a_second_wall_and_no_substitute() -> None:
    strict = run(AGEX_TEST_LANDLOCK_ABI="2", policy="strict")

    assert run(AGEX_TEST_LANDLOCK_ABI="2") == run(policy="strict") == ""
    assert strict.startswith("refused: ")
    assert "files.write" in strict and "only namespaces holds it, of two walls" in strict and "6.2" in strict


@with_namespaces
@pytest.mark.parametrize(
    ("abi", "held"), [("0", ["namespaces"]), ("2", ["namespaces"]), ("3", ["landlock", "namespaces"])]
)
def test_a_session_reports_every_wall_that_this_machine_has(abi: str, held: list[str]) -> None:
    told = run(AGEX_TEST_LANDLOCK_ABI=abi, after="print(sandbox.run('1').lockdown.promises['files.write'])")

    assert told == f"{held}\n"


def test_with_all_taken_away_that_can_be_the_oldest_machine_of_all_still_holds_every_promise() -> None:
    without = "namespaces,cgroup,listener,libseccomp"
    told = run(
        AGEX_TEST_LANDLOCK_ABI="3",
        AGEX_TEST_WITHOUT=without,
        after="print(all(sandbox.run('1').lockdown.promises.values()))",
    )

    assert told == "True\n"
