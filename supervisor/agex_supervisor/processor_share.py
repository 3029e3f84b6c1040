"""A share of the processor: the workers of a pool together weigh half of their supervisor, however many threads they burn.

    GROUP OF THE SUPERVISOR     its threads, or beside us the leaf that holds them
      / agex-...                half of what those weigh: see `give_way`
        / SERIAL                all alike, each at most its policy's threads: see `bound`

No bound on the total, which is the watch's and RLIMIT_CPU's: what nobody else wants, workers may have. So no promise stands on
it, and a machine without it says so and refuses nothing.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from agex_supervisor.hierarchies import Hierarchy, number, put

# What a thread that is not niced weighs, a group and a session alike, in the units of version 2; version 1 counts to 1024.
_USUAL = 100
_SHARES = 1024
_MOST = {1: 262_144, 2: 10_000}
_LEAST = {1: 2, 2: 1}
_PERIOD_US = 100_000


def unfit() -> str:
    """Why this process's workers can have no share; "" if they can."""
    # Version 1 would not even let a real-time process into a group.
    ordinary = (os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE)
    if os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK in ordinary:
        return ""
    return "the supervisor runs with a real-time policy, which knows no weights"


def give_way(hierarchy: Hierarchy, group: Path) -> str:
    """Have a pool's group weigh half of its supervisor, and say so. OSError if the kernel refuses.

    Where threads of the supervisor compete with it one by one, half of one of them for each processor: else a supervisor that
    keeps many busy would leave next to nothing.
    """
    weight = _of_supervisor(hierarchy) / 2
    version = hierarchy.version
    path = group / ("cpu.shares" if version == 1 else "cpu.weight")
    set_to = min(_MOST[version], max(_LEAST[version], round(weight * _SHARES / _USUAL if version == 1 else weight)))
    try:
        put(path, str(set_to))
    except FileNotFoundError:
        return "no share of the processor: this kernel has no weights for groups (CONFIG_FAIR_GROUP_SCHED)"
    return f"cpu weight {round(set_to * _USUAL / _SHARES) if version == 1 else set_to}"


def bound(hierarchy: Hierarchy, group: Path, threads: int) -> str:
    """Let a worker have as many processors as it has threads, where the machine has more; in words, "" where it has not."""
    if threads >= _processors():
        return ""
    quota = threads * _PERIOD_US
    try:
        if hierarchy.version == 2:
            put(group / "cpu.max", f"{quota} {_PERIOD_US}")
        else:
            put(group / "cpu.cfs_period_us", str(_PERIOD_US))
            put(group / "cpu.cfs_quota_us", str(quota))
    except FileNotFoundError:
        return " without a bound (the kernel has none: CONFIG_CFS_BANDWIDTH)"
    except OSError as error:
        # Version 1 takes nothing above what a group further up has; that one binds then.
        if error.errno != errno.EINVAL or number(group / "cpu.cfs_quota_us") is not None or hierarchy.version == 2:
            raise
        return " within a tighter bound of the supervisor's own"
    return f" on at most {threads} processor{'s' if threads > 1 else ''}"


def _of_supervisor(hierarchy: Hierarchy) -> float:
    if hierarchy.leaf is not None:
        return number(hierarchy.leaf / "cpu.weight") or _USUAL
    if (session := _niceness_of_session(hierarchy)) is not None:
        return _weight(session)
    return _weight(os.getpriority(os.PRIO_PROCESS, 0)) * _processors()


def _weight(niceness: int) -> float:
    return float(_USUAL * 0.8**niceness)  # a step of niceness is a quarter more or less


def _niceness_of_session(hierarchy: Hierarchy) -> int | None:
    """That of this session as a whole, if the kernel weighs sessions: it does so in the root group alone (autogroup)."""
    root = hierarchy.directory / ("release_agent" if hierarchy.version == 1 else "cpu.weight")
    if root.exists() != (hierarchy.version == 1) or number(Path("/proc/sys/kernel/sched_autogroup_enabled")) != 1:
        return None
    try:
        words = Path("/proc/self/autogroup").read_text(encoding="ascii").split()
    except OSError:
        return None
    return int(words[2]) if len(words) == 3 else None


def _processors() -> int:
    """Those that workers may run on, too: they inherit it."""
    return len(os.sched_getaffinity(0))
