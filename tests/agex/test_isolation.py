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
from agex_policies.compile import compile_plan
from agex_policies.schema import Policy
from agex_supervisor.pool import Kit
from agex_supervisor.promises import CELLS, FLOOR, hold
from agex_supervisor.session import Equipment, Session

RUN = """
import sys
{before}
import agex
sandbox = agex.Sandbox(isolation="kernel")
try:
    with sandbox:
        sandbox.run("open('ran', 'w')")
except agex.IsolationUnavailable as error:
    print(f"refused: {{error}}")
"""


def run(before: str = "", **environment: str) -> str:
    finished = subprocess.run(
        [sys.executable, "-c", RUN.format(before=before)],
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
    told = run(AGEX_TEST_LANDLOCK_ABI=abi)

    assert told.startswith("refused: ")
    assert promise in told and "Landlock" in told and "6.2" in told


def test_an_older_kernel_that_still_holds_every_promise_runs() -> None:
    assert run(AGEX_TEST_LANDLOCK_ABI="3") == ""


@pytest.mark.parametrize(("package", "promise"), [("landlock", "files.read"), ("pyseccomp", "programs")])
def test_a_binding_that_is_not_installed_is_refused_with_the_remedy(package: str, promise: str) -> None:
    told = run(f"sys.modules[{package!r}] = None")

    assert told.startswith("refused: ")
    assert promise in told and package in told and "install" in told


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
def test_a_session_never_begins_in_a_worker_that_lacks_a_layer(off: str) -> None:
    pool = agex.Pool(max_workers=1, spares=0)
    plan = compile_plan(Policy.load("default"), "kernel")
    match off:
        case "landlock":
            plan = replace(plan, landlock_abi=0)
        case "seccomp":
            plan = replace(plan, seccomp=b"")
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


ALL_ON = {
    **{mechanism.layer: "enforced" for cells in CELLS.values() for cell in cells for mechanism in cell},
    **{mechanism.layer: "enforced" for mechanism in FLOOR},
    "landlock": "enforced: ABI 7, 3 paths",
}


def test_every_promise_is_held_when_every_layer_is_on() -> None:
    assert all(hold(ALL_ON).values())


@pytest.mark.parametrize("layer", sorted(ALL_ON))
def test_without_any_one_layer_a_promise_is_named_that_nothing_holds(layer: str) -> None:
    with pytest.raises(agex.IsolationUnavailable) as caught:
        hold({**ALL_ON, layer: "off"})

    assert layer in str(caught.value)
