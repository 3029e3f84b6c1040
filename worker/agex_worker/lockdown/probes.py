"""The self-test of a locked worker: each promise is tried to be broken, before the first byte of a task is read.

A probe does no harm when it succeeds, and cleans up. Calls that the filter answers with death (ptrace, mount) cannot be
tried here, nor can what the supervisor holds (the channel, a cgroup, what a watch counts). The supervisor does not believe
the report; it is there to stop a worker whose layers do not hold.
"""

from __future__ import annotations

import errno
import mmap
import os
import resource
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from agex_protocol.plan import LockdownPlan
from agex_worker.lockdown import kernel
from agex_worker.lockdown.errors import LayerFailed

REACHED = "REACHED"

_REFUSALS = frozenset({errno.EPERM, errno.EACCES, errno.ENOSYS, errno.ENOENT, errno.EROFS})
_SCOPES_ABI = 6  # the first Landlock that refuses signals out of the domain

# AF_UNIX, AF_INET, AF_INET6 as streams and datagrams, AF_NETLINK raw.
_SOCKETS = ((1, 1), (1, 2), (2, 1), (2, 2), (10, 1), (10, 2), (16, 3))


# A process number that no worker in a process namespace of its own has: there it is the first, and the only one.
_NOBODY = 2


@dataclass(frozen=True, slots=True)
class Targets:
    """What lies outside of every worker's grants, or None where all is granted: a file, and a directory to write to.

    on: the layers that are, by the names that the probes call them.
    """

    file: str | None
    directory: str | None
    on: frozenset[str]


@dataclass(slots=True)
class _Ground:
    """Where the probes are tried. zygote_pid is 0 where the zygote is in another process namespace."""

    plan: LockdownPlan
    slot: str
    zygote_pid: int
    targets: Targets

    @property
    def namespaced(self) -> bool:
        return self.plan.namespaces != "off"

    @property
    def somebody(self) -> int:
        """A process that is not this one, as far as there can be one."""
        return self.zygote_pid or _NOBODY


@dataclass(frozen=True, slots=True)
class _Probe:
    """`promise` has an aspect behind a slash where one promise takes more than one probe. `refusals`: errors beyond the
    usual ones by which this wall refuses."""

    promise: str
    held_by: tuple[str, ...]
    attempt: Callable[[_Ground], str]
    refusals: frozenset[int] = frozenset()


def targets(plan: LockdownPlan, beside: str) -> Targets:
    """Choose them, in the zygote: that takes many looks at files. `beside` is the directory in which the slots lie."""
    if plan.seccomp:
        _calls()
    # Beside a slot lie those of other workers, of the same user: no file mode protects them.
    file = _outside(_FILES, plan, (*plan.read, *plan.write))
    return Targets(file, _outside((beside, "/tmp", "/"), plan, plan.write), _layers(plan))


def run(
    plan: LockdownPlan, *, slot: str, zygote_pid: int, chosen: Targets | None = None
) -> tuple[tuple[str, str], ...]:
    """(promise, result) of every probe; none in `process` isolation, which promises none of this.

    A result is "refused: ..." or "REACHED...", or says why there was nothing to try. LayerFailed if a promise was
    broken that a layer of this plan should have held.
    """
    if plan.isolation != "kernel":
        return ()
    ground = _Ground(plan, slot, zygote_pid, chosen or targets(plan, os.path.dirname(slot)))
    layers = ground.targets.on
    results: list[tuple[str, str]] = []
    for probe in _PROBES:
        result = _result(probe.attempt, ground, refusals=probe.refusals)
        if result.startswith(REACHED):
            _check_that_nothing_held(probe, layers, result)
        results.append((probe.promise, result))
    return tuple(results)


def _check_that_nothing_held(probe: _Probe, layers: frozenset[str], result: str) -> None:
    holders = [layer for layer in probe.held_by if layer in layers]
    if holders:
        layer = holders[0].partition(" ")[0]
        raise LayerFailed(layer, f"the self-test broke the promise {probe.promise!r}: {result}")


@dataclass(frozen=True, slots=True)
class _Calls:
    sockets: tuple[tuple[int, kernel.Call], ...]  # each with its family
    execve: kernel.Call
    execveat: kernel.Call
    clone: kernel.Call


@cache
def _calls() -> _Calls:
    """Made in the zygote, if targets() are."""
    return _Calls(
        tuple((family, kernel.prepared("socket", family, kind, 0)) for family, kind in _SOCKETS),
        kernel.prepared("execve", 0, 0, 0),
        kernel.prepared("execveat", -1, 0, 0, 0, 0),
        kernel.prepared("clone", signal.SIGCHLD, 0, 0, 0, 0),
    )


def _layers(plan: LockdownPlan) -> frozenset[str]:
    on = {
        "rlimits": True,
        "namespaces": plan.namespaces != "off",
        "landlock": plan.landlock_abi > 0,
        "landlock scopes": plan.landlock_abi >= _SCOPES_ABI,
        "seccomp": bool(plan.seccomp),
    }
    return frozenset(layer for layer, is_on in on.items() if is_on)


def _result(attempt: Callable[..., str], *given: object, refusals: frozenset[int] = frozenset()) -> str:
    try:
        return attempt(*given)
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, str(error.errno))
        # Any other error (EFAULT for a null path) comes from beyond the wall: the call was let through.
        refused = error.errno in _REFUSALS or error.errno in refusals
        return f"refused: {name}" if refused else f"{REACHED}: let through, then {name}"


def _worst(results: Sequence[str]) -> str:
    for result in results:
        if result.startswith(REACHED):
            return result
    return results[0]


def _read_a_file(ground: _Ground) -> str:
    target = ground.targets.file
    if target is None:
        return "not tried: the policy lets everything be read"
    os.close(os.open(target, os.O_RDONLY | os.O_CLOEXEC))
    return f"{REACHED}: opened {target}"


def _look_at_a_file(ground: _Ground) -> str:
    target = ground.targets.file
    if target is None:
        return "not tried: the policy lets everything be read"
    os.stat(target)
    return f"{REACHED}: stat answers for {target}"


def _write_a_file(ground: _Ground) -> str:
    directory = ground.targets.directory
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
    return _worst([_result(_open_socket_of, family, call) for family, call in _calls().sockets])


def _open_socket_of(family: int, call: kernel.Call) -> str:
    os.close(kernel.made(call, "socket"))
    return f"{REACHED}: opened a socket of family {family}"


def _start_a_program(ground: _Ground) -> str:
    # A null path: what gets as far as looking at it says EFAULT, and nothing is ever started.
    return _worst([_result(_execute_nothing), _result(_execute_nothing_at)])


def _execute_nothing() -> str:
    kernel.made(_calls().execve, "execve")
    return REACHED


def _execute_nothing_at() -> str:
    kernel.made(_calls().execveat, "execveat")
    return REACHED


def _start_a_process(ground: _Ground) -> str:
    pid = kernel.made(_calls().clone, "clone")
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return f"{REACHED}: started process {pid}"


def _reach_a_process(ground: _Ground) -> str:
    # Any other process is like the zygote: the other workers have its user, and nothing else would stand between.
    return _worst(
        [_result(_signal, ground.somebody, refusals=_ABSENT), _result(_hold, ground.somebody, refusals=_ABSENT)]
    )


def _signal(pid: int) -> str:
    os.kill(pid, 0)
    return f"{REACHED}: may signal process {pid}"


def _hold(pid: int) -> str:
    # That one may hold a descriptor of it is no harm by itself: what counts is what can be done by it.
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, 0)
    finally:
        os.close(descriptor)
    return f"{REACHED}: may signal process {pid} by a descriptor"


def _look_into_a_process(ground: _Ground) -> str:
    target = f"/proc/{ground.somebody}/mem"
    os.close(os.open(target, os.O_RDONLY | os.O_CLOEXEC))
    return f"{REACHED}: opened {target}"


def _make_uncounted_memory(ground: _Ground) -> str:
    # Both lie outside RLIMIT_AS where they are not mapped.
    return _worst([_result(_make_a_memory_file), _result(_make_shared_memory)])


def _make_a_memory_file() -> str:
    os.close(os.memfd_create("agex-probe"))
    return f"{REACHED}: made a memory file"


def _make_shared_memory() -> str:
    mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_SHARED).close()
    return f"{REACHED}: made shared memory"


def _take_more_memory(ground: _Ground) -> str:
    size = ground.plan.limits.memory_bytes + mmap.PAGESIZE
    mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    return f"{REACHED}: mapped {size} bytes"


def _take_more_time(ground: _Ground) -> str:
    limits = resource.getrlimit(resource.RLIMIT_CPU)
    if resource.RLIM_INFINITY in limits:
        return f"{REACHED}: processor time has no limit"
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (limits[0] + 1, limits[1] + 1))
    except ValueError:  # how Python words EPERM here
        return "refused: EPERM"
    return f"{REACHED}: raised the limit of processor time"


def _make_a_large_file(ground: _Ground) -> str:
    path = os.path.join(ground.slot, ".agex-probe")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(descriptor, ground.plan.limits.file_size_bytes + 1)
    finally:
        os.close(descriptor)
        os.unlink(path)
    return f"{REACHED}: made a file larger than limits.file_size"


def _open_too_much(ground: _Ground) -> str:
    os.close(os.dup2(0, ground.plan.limits.open_files, inheritable=False))
    return f"{REACHED}: opened descriptor {ground.plan.limits.open_files}"


def _list_other_slots(ground: _Ground) -> str:
    if ground.namespaced:
        return "not tried: its files are on a file system that no other worker sees"
    beside = os.path.dirname(ground.slot)
    return f"{REACHED}: {len(os.listdir(beside))} slots are listed in {beside}"


def _outside(candidates: Iterable[str], plan: LockdownPlan, granted: Iterable[str]) -> str | None:
    """The first of these that is there and not granted; in a view of its own, where none should be, the first not granted."""
    roots = [os.path.realpath(path) for path in granted]
    real = [os.path.realpath(candidate) for candidate in candidates]
    beyond = [path for path in real if not any(os.path.commonpath((path, root)) == root for root in roots)]
    present = [path for path in beyond if os.access(path, os.F_OK)]
    return next(iter(present or (beyond if plan.namespaces != "off" else [])), None)


# Every machine has them, and no worker needs one.
_FILES = ("/etc/passwd", "/proc/version", "/etc/hostname")

# There is no such process: with a process namespace, no number means anybody.
_ABSENT = frozenset({errno.ESRCH})

_PROBES = (
    _Probe("files.read", ("landlock", "namespaces"), _read_a_file),
    _Probe("files.write", ("landlock", "namespaces"), _write_a_file),
    _Probe("files.metadata", ("seccomp",), _change_a_mode),
    _Probe("files.metadata/stat", ("namespaces",), _look_at_a_file),
    _Probe("network", ("seccomp",), _open_a_socket),
    _Probe("programs", ("seccomp",), _start_a_program),
    _Probe("processes", ("seccomp",), _start_a_process),
    _Probe("signals", ("seccomp", "landlock scopes", "namespaces"), _reach_a_process),
    _Probe("introspection", ("landlock", "namespaces"), _look_into_a_process),
    _Probe("memory", ("seccomp",), _make_uncounted_memory),
    _Probe("memory/size", ("rlimits",), _take_more_memory, frozenset({errno.ENOMEM})),
    _Probe("cpu", ("rlimits",), _take_more_time),
    _Probe("disk", ("rlimits",), _make_a_large_file, frozenset({errno.EFBIG})),
    _Probe("descriptors", ("rlimits",), _open_too_much, frozenset({errno.EBADF})),
    _Probe("leftovers", ("landlock", "namespaces"), _list_other_slots),
)
