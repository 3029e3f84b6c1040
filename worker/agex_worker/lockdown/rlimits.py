"""Resource limits: what one process may use, soft and hard alike so that it cannot raise them again.

They are counted per process and do not see shared memory; a cgroup, where there is one, is the stronger fence.
"""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Mapping

from agex_protocol.plan import Limits
from agex_worker.lockdown.errors import LayerFailed

_PROC = "/proc"
_STATM = "self/statm"
_PENDING_SIGNALS = 256


def open_statm(proc: int) -> int:
    """A descriptor on this process's own memory figures; `proc` is one of /proc, opened before a layer shut it away."""
    return os.open(_STATM, os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)


def mapped_bytes(statm: int) -> int:
    """The address space of the process that opened `statm`, in bytes, at this moment."""
    pages = int(os.pread(statm, 128, 0).split()[0])
    return pages * resource.getpagesize()


def own_mapped_bytes() -> int:
    """The address space of this process, in bytes. LayerFailed where /proc is out of reach."""
    if sys.platform != "linux":
        return 0
    try:
        proc = os.open(_PROC, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            statm = open_statm(proc)
        finally:
            os.close(proc)
    except OSError as error:
        raise LayerFailed(
            "rlimits",
            f"cannot read {_PROC}/{_STATM} ({error.strerror}), so the memory limit has no base; open_statm() before "
            "the zygote is confined and pass the limits to lock_down()",
        ) from error
    try:
        return mapped_bytes(statm)
    finally:
        os.close(statm)


def limits(plan: Limits, mapped: int, *, own_user: bool = False) -> dict[int, int]:
    """Resource -> most of it, for a process whose address space is `mapped` bytes before any work.

    RLIMIT_NPROC only for a worker with a user of its own: it counts all processes of a user, so workers of one user would
    starve each other, and it does not bind root. RLIMIT_STACK is left alone: new threads size their stacks by it.
    """
    chosen = {
        resource.RLIMIT_CORE: 0,
        # A backstop. The supervisor's watch is there before it, and knows why; the kernel counts ticks and kills.
        resource.RLIMIT_CPU: math.ceil(plan.cpu_time_s * 1.5) + 1,
        resource.RLIMIT_FSIZE: plan.file_size_bytes,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_NOFILE: plan.open_files,
    }
    if sys.platform == "linux":
        chosen |= {
            # Below any cgroup limit, this one gives the code a MemoryError that it can handle.
            resource.RLIMIT_AS: mapped + plan.memory_bytes,
            resource.RLIMIT_MSGQUEUE: 0,
            resource.RLIMIT_NICE: 0,
            resource.RLIMIT_RTPRIO: 0,
            # Counted per user like NPROC, but a process runs into its own limit only when it queues more itself.
            resource.RLIMIT_SIGPENDING: _PENDING_SIGNALS,
        }
        if own_user:
            chosen[resource.RLIMIT_NPROC] = plan.threads
    return chosen


def apply(chosen: Mapping[int, int]) -> str:
    """Set every limit, soft and hard, never above the hard limit in force, and read it back."""
    for which, value in chosen.items():
        _, hard = resource.getrlimit(which)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(which, (most, most))
        if resource.getrlimit(which) != (most, most):
            raise LayerFailed("rlimits", f"resource {which} was set to {most} and reads {resource.getrlimit(which)}")
    return f"enforced: {len(chosen)} limits"
