"""The look from outside: it sees a locked worker as locked, and anything less as the layer that is missing."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from agex_policies.errors import IsolationUnavailable
from agex_protocol.plan import Limits, LockdownPlan
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.verify import verify

KERNEL = LockdownPlan("test", "kernel", Limits(), seccomp=b"filter")
PROCESS = LockdownPlan("test", "process", Limits())


@pytest.fixture
def ordinary() -> Iterator[subprocess.Popen[bytes]]:
    """A process that nobody locked."""
    code = "import sys; sys.stdout.write('x'); sys.stdout.flush(); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        yield process


def test_a_worker_of_ours_is_seen_to_be_locked(plan: LockdownPlan, pool: Pool, hire_from: Callable[..., Any]) -> None:
    worker = hire_from(pool).worker
    assert verify(worker.pid, plan, told=True) == [
        "no_new_privs",
        "capabilities",
        "seccomp",
        "descriptors",
        "rlimits",
        "namespaces",
    ]


def test_a_worker_without_its_filter_is_found_out(
    plan: LockdownPlan, pool: Pool, hire_from: Callable[..., Any]
) -> None:
    worker = hire_from(pool, Kit(replace(plan, seccomp=b""))).worker
    with pytest.raises(IsolationUnavailable) as caught:
        verify(worker.pid, plan)
    assert "seccomp: seen from outside, Seccomp is '0' where '2' was applied" in str(caught.value)


def test_a_seal_that_is_missing_is_found_out(plan: LockdownPlan, pool: Pool, hire_from: Callable[..., Any]) -> None:
    worker = hire_from(pool, Kit(replace(plan, seccomp_told=b""))).worker
    with pytest.raises(IsolationUnavailable) as caught:
        verify(worker.pid, plan, told=True)
    assert re.search(r"seccomp: seen from outside, Seccomp_filters is '\d+' where '\d+' was applied", str(caught.value))


def test_a_worker_with_a_thread_that_nobody_locked_is_found_out(
    plan: LockdownPlan, pool: Pool, hire_from: Callable[..., Any]
) -> None:
    worker = hire_from(pool)
    worker.run("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()")
    with pytest.raises(IsolationUnavailable) as caught:
        verify(worker.worker.pid, plan, told=True)
    assert "the worker has 2 threads where it must have one" in str(caught.value)


def test_a_worker_with_a_descriptor_too_many_is_found_out(
    plan: LockdownPlan, pool: Pool, hire_from: Callable[..., Any]
) -> None:
    worker = hire_from(pool)
    worker.run("import os; os.open('file', os.O_CREAT)")
    with pytest.raises(IsolationUnavailable) as caught:
        verify(worker.worker.pid, plan, told=True)
    assert "the worker holds 5 descriptors where it must hold 4" in str(caught.value)


@pytest.mark.parametrize("plan", [KERNEL, PROCESS], ids=["kernel", "process"])
def test_an_ordinary_process_lacks_the_first_layer(plan: LockdownPlan, ordinary: subprocess.Popen[bytes]) -> None:
    with pytest.raises(IsolationUnavailable) as caught:
        verify(ordinary.pid, plan)
    assert "no_new_privs: seen from outside, NoNewPrivs is '0' where '1' was applied" in str(caught.value)


def test_a_process_that_is_gone_cannot_be_verified() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    with pytest.raises(IsolationUnavailable) as caught:
        verify(gone.pid, KERNEL)
    assert f"/proc/{gone.pid} cannot be read to verify it" in str(caught.value)
