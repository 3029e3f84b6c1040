"""Locked children to try things in; no test restricts the process of pytest."""

from __future__ import annotations

import base64
import inspect
import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agex_policies.bpf import compile_filter
from agex_protocol.plan import Limits, LockdownPlan
from agex_worker.lockdown import landlock
from tests.nobody import need_nobody

HARNESS = Path(__file__).with_name("locked_child.py")
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """What became of a function in a locked worker: exactly one of value, refused, failed is meaningful."""

    status: int  # exit code, or the negative number of the signal that ended it
    value: Any
    refused: int | None  # errno of an OSError
    failed: tuple[str, str] | None  # layer and message
    layers: dict[str, str]
    zygote_layers: dict[str, str]


Locked = Callable[..., Outcome]


@pytest.fixture(scope="session")
def kernel_plan() -> LockdownPlan:
    """Every layer on, as the machine's own filter and Landlock have it; Python and nothing else to read."""
    abi = landlock.prepare()
    if abi < 6:
        pytest.skip(f"needs Landlock ABI 6, this kernel has {abi}")
    libraries = ("/lib", "/lib64", "/usr/lib", "/usr/local/lib", "/etc/ld.so.cache", "/usr/share/zoneinfo")
    python = [os.path.realpath(path) for path in sys.path if path]
    read = (*libraries, os.path.join(sys.base_prefix, "lib"), sys.prefix, *python)
    return LockdownPlan(
        policy="test", isolation="kernel", limits=Limits(), read=read, landlock_abi=abi, seccomp=compile_filter()
    )


@pytest.fixture(params=["same user", "nobody"])
def user(request: pytest.FixtureRequest) -> int | None:
    """None for the user that runs the tests; the number of an unprivileged one where that user is root."""
    if request.param == "same user":
        return None
    return need_nobody()


@pytest.fixture
def ground() -> Iterator[Path]:
    """A directory with slots/one, outside/secret.txt; not tmp_path, whose parents are closed to other users."""
    root = Path(tempfile.mkdtemp(prefix="agex-test-"))
    (root / "slots" / "one").mkdir(parents=True)
    (root / "outside").mkdir()
    (root / "outside" / "secret.txt").write_text("secret")
    root.chmod(0o755)
    yield root
    shutil.rmtree(root)


@pytest.fixture
def run_locked_down(ground: Path) -> Locked:
    """Run a function, by its source, in a worker locked down by `plan`. It imports what it needs and takes a World."""

    def run(
        function: Callable[[Any], object],
        plan: LockdownPlan,
        *,
        user: int | None = None,
        confine: bool = True,
        orphan: bool = False,
        preload: Sequence[str] = (),
        missing: Sequence[str] = (),
        zygote_pid: int = 0,
    ) -> Outcome:
        if user is not None:
            for path in (ground, *ground.rglob("*")):
                os.chown(path, user, user)
        request = {
            "plan": base64.b64encode(pickle.dumps(plan)).decode(),
            "source": textwrap.dedent(inspect.getsource(function)),
            "name": function.__name__,
            "slot": str(ground / "slots" / "one"),
            "outside": str(ground / "outside"),
            "confine": confine,
            "orphan": orphan,
            "preload": list(preload),
            "missing": list(missing),
            "zygote_pid": zygote_pid,
        }
        return _outcome(_run(request, user), orphan)

    return run


def _run(request: dict[str, Any], user: int | None) -> subprocess.CompletedProcess[str]:
    environment = {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
    }
    return subprocess.run(
        [sys.executable, str(HARNESS)],
        input=json.dumps(request),
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        timeout=DEADLINE_S,
    )


def _outcome(finished: subprocess.CompletedProcess[str], orphan: bool) -> Outcome:
    if orphan:
        return Outcome(finished.returncode, finished.stdout, None, None, {}, {})
    assert finished.returncode == 0, finished.stderr
    answer = json.loads(finished.stdout)
    assert "crashed" not in answer, answer["crashed"]
    failed = answer.get("failed")
    return Outcome(
        answer.get("status", 0),
        answer.get("value"),
        answer.get("refused"),
        None if failed is None else (failed[0], failed[1]),
        dict(answer.get("layers", ())),
        dict(answer.get("zygote_layers", ())),
    )
