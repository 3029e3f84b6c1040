"""The self-test of a locked worker: each promise is tried to be broken, before the first byte of a task is read.

A probe does no harm when it succeeds, and cleans up. Calls that the filter answers with death (ptrace, mount) cannot be
tried here. The supervisor does not believe the report; it is there to stop a worker whose layers do not hold.
"""

from __future__ import annotations

import errno
import mmap
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from agex_protocol.plan import LockdownPlan
from agex_worker.lockdown import kernel
from agex_worker.lockdown.errors import LayerFailed

REACHED = "REACHED"

_REFUSALS = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOENT})
_SCOPES_ABI = 6  # the first Landlock that refuses signals out of the domain

# AF_UNIX, AF_INET, AF_INET6 as streams and datagrams, AF_NETLINK raw.
_SOCKETS = ((1, 1), (1, 2), (2, 1), (2, 2), (10, 1), (10, 2), (16, 3))


@dataclass(frozen=True, slots=True)
class _Ground:
    """Where the probes are tried."""

    plan: LockdownPlan
    slot: str
    zygote_pid: int


@dataclass(frozen=True, slots=True)
class _Probe:
    promise: str
    held_by: tuple[str, ...]
    attempt: Callable[[_Ground], str]


def run(plan: LockdownPlan, *, slot: str, zygote_pid: int) -> tuple[tuple[str, str], ...]:
    """(promise, result) of every probe; none in `process` isolation, which promises none of this.

    A result is "refused: ..." or "REACHED...", or says why there was nothing to try. LayerFailed if a promise was
    broken that a layer of this plan should have held.
    """
    if plan.isolation != "kernel":
        return ()
    ground = _Ground(plan, slot, zygote_pid)
    layers = _layers(plan)
    results: list[tuple[str, str]] = []
    for probe in _PROBES:
        result = _result(partial(probe.attempt, ground))
        holders = [layer for layer in probe.held_by if layer in layers.get(probe.promise, layers["*"])]
        if result.startswith(REACHED) and holders:
            raise LayerFailed(holders[0], f"the self-test broke the promise {probe.promise!r}: {result}")
        results.append((probe.promise, result))
    return tuple(results)


def _layers(plan: LockdownPlan) -> dict[str, frozenset[str]]:
    """The layers that are on, for each promise where that differs from "*"."""
    seccomp = {"seccomp"} if plan.seccomp else set[str]()
    landlock = {"landlock"} if plan.landlock_abi else set[str]()
    signals = landlock if plan.landlock_abi >= _SCOPES_ABI else set[str]()
    return {"*": frozenset(seccomp | landlock), "signals": frozenset(seccomp | signals)}


def _result(attempt: Callable[[], str]) -> str:
    try:
        return attempt()
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, str(error.errno))
        # Any other error (EFAULT for a null path) comes from beyond the wall: the call was let through.
        return f"refused: {name}" if error.errno in _REFUSALS else f"{REACHED}: let through, then {name}"


def _worst(results: Sequence[str]) -> str:
    return next((result for result in results if result.startswith(REACHED)), results[0])


def _read_a_file(ground: _Ground) -> str:
    target = _outside(("/etc/passwd", "/proc/version", "/"), _roots(ground))
    if target is None:
        return "not tried: the policy lets everything be read"
    os.close(os.open(target, os.O_RDONLY | os.O_CLOEXEC))
    return f"{REACHED}: opened {target}"


def _write_a_file(ground: _Ground) -> str:
    # Beside the slot lie those of other workers, of the same user: no file mode protects them.
    directory = _outside((os.path.dirname(ground.slot), "/tmp", "/"), _roots(ground, read=False))
    if directory is None:
        return "not tried: the policy lets everything be written"
    path = os.path.join(directory, f".agex-probe-{os.getpid()}")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    os.close(descriptor)
    os.unlink(path)
    return f"{REACHED}: created a file in {directory}"


def _change_a_mode(ground: _Ground) -> str:
    before = os.stat(ground.slot)
    os.chmod(ground.slot, before.st_mode & 0o7777 ^ 0o007)
    if os.stat(ground.slot).st_mode == before.st_mode:
        return "refused: no effect"
    os.chmod(ground.slot, before.st_mode & 0o7777)
    return f"{REACHED}: changed the mode of {ground.slot}"


def _open_a_socket(ground: _Ground) -> str:
    return _worst([_result(partial(_open_socket_of, family, kind)) for family, kind in _SOCKETS])


def _open_socket_of(family: int, kind: int) -> str:
    os.close(kernel.syscall("socket", family, kind, 0))
    return f"{REACHED}: opened a socket of family {family}"


def _start_a_program(ground: _Ground) -> str:
    # A null path: what gets as far as looking at it says EFAULT, and nothing is ever started.
    return _worst([_result(_execute_nothing), _result(_execute_nothing_at)])


def _execute_nothing() -> str:
    kernel.syscall("execve", 0, 0, 0)
    return REACHED


def _execute_nothing_at() -> str:
    kernel.syscall("execveat", -1, 0, 0, 0, 0)
    return REACHED


def _start_a_process(ground: _Ground) -> str:
    pid = kernel.syscall("clone", signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return f"{REACHED}: started process {pid}"


def _signal_the_zygote(ground: _Ground) -> str:
    os.kill(ground.zygote_pid, 0)
    return f"{REACHED}: may signal process {ground.zygote_pid}"


def _look_into_the_zygote(ground: _Ground) -> str:
    os.close(os.open(f"/proc/{ground.zygote_pid}/mem", os.O_RDONLY | os.O_CLOEXEC))
    return f"{REACHED}: opened the memory of process {ground.zygote_pid}"


def _make_uncounted_memory(ground: _Ground) -> str:
    # Both lie outside RLIMIT_AS where they are not mapped.
    return _worst([_result(_make_a_memory_file), _result(_make_shared_memory)])


def _make_a_memory_file() -> str:
    os.close(os.memfd_create("agex-probe"))
    return f"{REACHED}: made a memory file"


def _make_shared_memory() -> str:
    mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_SHARED).close()
    return f"{REACHED}: made shared memory"


def _roots(ground: _Ground, *, read: bool = True) -> list[str]:
    granted = (*ground.plan.write, ground.slot, *(ground.plan.read if read else ()))
    return [os.path.realpath(path) for path in granted]


def _outside(candidates: Iterable[str], roots: list[str]) -> str | None:
    for candidate in candidates:
        real = os.path.realpath(candidate)
        if os.path.exists(real) and not any(os.path.commonpath((real, root)) == root for root in roots):
            return real
    return None


_PROBES = (
    _Probe("files.read", ("landlock",), _read_a_file),
    _Probe("files.write", ("landlock",), _write_a_file),
    _Probe("files.metadata", ("seccomp",), _change_a_mode),
    _Probe("network", ("seccomp",), _open_a_socket),
    _Probe("programs", ("seccomp",), _start_a_program),
    _Probe("processes", ("seccomp",), _start_a_process),
    _Probe("signals", ("seccomp", "landlock"), _signal_the_zygote),
    _Probe("introspection", ("landlock",), _look_into_the_zygote),
    _Probe("memory", ("seccomp",), _make_uncounted_memory),
)
