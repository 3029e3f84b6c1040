"""Looks at a locked worker from outside: what the kernel says of every thread, not what the worker reports."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from agex_protocol.messages import SLOT
from agex_protocol.plan import LockdownPlan
from agex_supervisor.promises import unavailable

# stdin, stdout, stderr and the channel.
DESCRIPTORS = 4


def verify(pid: int, plan: LockdownPlan, *, told: bool = False) -> list[str]:
    """The layers that were seen to be in force; IsolationUnavailable names one that is not.

    told: the supervisor holds the listener of the worker's filter, so that a seal has to lie over that.

    The process id must be held by a pidfd that is checked afterwards, so that these are its files and no other's.
    """
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        statuses = [_status(f"/proc/{pid}/task/{thread}/status") for thread in threads]
        descriptors = os.stat(f"/proc/{pid}/fd").st_size
    except OSError as error:
        raise unavailable(
            "seccomp", f"/proc/{pid} cannot be read to verify it ({error.strerror}); is /proc mounted with hidepid?"
        ) from error
    seen: list[str] = []
    if len(statuses) != 1:
        raise unavailable("descriptors", f"the worker has {len(statuses)} threads where it must have one")
    for layer, key, wanted in _expected(plan, told):
        for status in statuses:
            if status.get(key) != wanted:
                raise unavailable(
                    layer, f"seen from outside, {key} is {status.get(key)!r} where {wanted!r} was applied"
                )
        if layer not in seen:
            seen.append(layer)
    # Kernels before 6.2 give no count here; the worker's own check before READY stands alone then.
    if descriptors:
        if descriptors != DESCRIPTORS:
            raise unavailable(
                "descriptors", f"the worker holds {descriptors} descriptors where it must hold {DESCRIPTORS}"
            )
        seen.append("descriptors")
    seen += _limits(pid, plan)
    if plan.namespaces != "off":
        seen += _namespaces(pid, plan, statuses[0])
    return seen


def user_of(pid: int) -> int:
    """The user id of a process, as this one counts. It must be held by a pidfd."""
    return int(_status(f"/proc/{pid}/status")["Uid"].split()[0])


def known_from_outside(pid: int, without_namespaces: str) -> dict[str, str]:
    """The layers of which the supervisor knows best how they stand. without_namespaces: why there are none, or ""."""
    known = {"namespaces": f"unavailable: {without_namespaces}"} if without_namespaces else {}
    return known | {"user": user_layer(pid)}


def user_layer(pid: int) -> str:
    """How a process stands to be a user of its own. It must be held by a pidfd."""
    uid = user_of(pid)
    if uid != os.geteuid():
        return f"enforced: user id {uid}, of no one else"
    if uid:
        return "off: that of the supervisor"
    return "unavailable: root without privileges; it takes namespaces, and a policy without writable folders"


def _limits(pid: int, plan: LockdownPlan) -> list[str]:
    """That the limits are those of the plan, or lower where the supervisor's own are; address space is only bounded."""
    limits = plan.limits
    most = {
        "Max open files": limits.open_files,
        "Max file size": limits.file_size_bytes,
        "Max core file size": 0,
        "Max locked memory": 0,
        "Max cpu time": 2 * limits.cpu_time_s + 2,
        "Max address space": float("inf"),
    }
    for name, value in _hard_limits(pid).items():
        if name in most and (value is None or value > most[name]):
            raise unavailable("rlimits", f"seen from outside, {name!r} is {value} where {most[name]} was applied")
    return ["rlimits"]


def _hard_limits(pid: int) -> dict[str, int | None]:
    """{name: hard limit, None for none}. The columns of the kernel's table have fixed widths: names contain spaces."""
    found: dict[str, int | None] = {}
    with open(f"/proc/{pid}/limits", encoding="utf-8", errors="replace") as lines:
        next(lines)
        for line in lines:
            hard = line[47:68].split()[0]
            found[line[:26].strip()] = None if hard == "unlimited" else int(hard)
    return found


@dataclass(frozen=True, slots=True)
class _Mount:
    point: str
    writable: bool
    kind: str


def _namespaces(pid: int, plan: LockdownPlan, status: Mapping[str, str]) -> list[str]:
    """That it is the first process of a process namespace within its zygote's, that the view is all it has of files, and
    that there is nothing in its network."""
    numbers = status.get("NSpid", "").split()
    own = len(_status("/proc/self/status").get("NSpid", "").split())
    if len(numbers) != own + 2 or numbers[-1] != "1":
        raise unavailable(
            "namespaces", f"seen from outside, its process ids are {numbers}: it has no namespace of its own"
        )
    mounts = _mounts(pid)
    writable = {SLOT, *plan.write}
    stray = [mount.point for mount in mounts if mount.writable and mount.point not in writable]
    kinds = {mount.point: mount.kind for mount in mounts}
    if stray or kinds.get("/") != "tmpfs" or kinds.get(SLOT) != "tmpfs":
        raise unavailable(
            "namespaces", f"seen from outside, it has a file system that is not its view's: {stray or kinds}"
        )
    with open(f"/proc/{pid}/net/dev", encoding="utf-8", errors="replace") as lines:
        devices = [line.partition(":")[0].strip() for line in lines if ":" in line]
    if devices not in ([], ["lo"]):
        raise unavailable("namespaces", f"seen from outside, it has the network devices {devices}")
    return ["namespaces"]


def _mounts(pid: int) -> list[_Mount]:
    found: list[_Mount] = []
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.split()
            kind = fields[fields.index("-") + 1]
            # Spaces and the like are written as octal escapes.
            point = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
            found.append(_Mount(point, "rw" in fields[5].split(","), kind))
    return found


def _expected(plan: LockdownPlan, told: bool) -> list[tuple[str, str, str]]:
    expected = [("no_new_privs", "NoNewPrivs", "1")]
    if plan.isolation == "kernel":
        expected += [("capabilities", key, "0" * 16) for key in ("CapEff", "CapPrm", "CapInh", "CapAmb")]
        if plan.seccomp:
            filters = int(_status("/proc/self/status").get("Seccomp_filters", "0")) + (2 if told else 1)
            expected += [("seccomp", "Seccomp", "2"), ("seccomp", "Seccomp_filters", str(filters))]
    return expected


def _status(path: str) -> Mapping[str, str]:
    with open(path, encoding="utf-8", errors="replace") as lines:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
