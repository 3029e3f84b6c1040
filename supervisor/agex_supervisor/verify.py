"""Looks at a locked worker from outside: what the kernel says of every thread, not what the worker reports."""

from __future__ import annotations

import os
from collections.abc import Mapping

from agex_protocol.plan import LockdownPlan
from agex_supervisor.promises import unavailable

# stdin, stdout, stderr and the channel.
DESCRIPTORS = 4


def verify(pid: int, plan: LockdownPlan) -> list[str]:
    """The layers that were seen to be in force; IsolationUnavailable names one that is not.

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
    for layer, key, wanted in _expected(plan):
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
    return seen


def _expected(plan: LockdownPlan) -> list[tuple[str, str, str]]:
    expected = [("no_new_privs", "NoNewPrivs", "1")]
    if plan.isolation == "kernel":
        expected += [("capabilities", key, "0" * 16) for key in ("CapEff", "CapPrm", "CapInh", "CapAmb")]
        if plan.seccomp:
            filters = int(_status("/proc/self/status").get("Seccomp_filters", "0")) + 1
            expected += [("seccomp", "Seccomp", "2"), ("seccomp", "Seccomp_filters", str(filters))]
    return expected


def _status(path: str) -> Mapping[str, str]:
    with open(path, encoding="utf-8", errors="replace") as lines:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
