"""The order in which the layers go up, and why. Each is verified; one that fails raises LayerFailed and ends the worker.

The zygote takes what never needs widening before it imports anything registered; each forked worker takes the rest
before it reads a byte of a task. A worker's Landlock domain lies within its zygote's: it opens what both allow.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from agex_protocol.plan import LockdownPlan
from agex_worker.lockdown import capabilities, descriptors, kernel, landlock, parent, rlimits, seccomp
from agex_worker.lockdown.errors import LayerFailed

Layers = tuple[tuple[str, str], ...]

OFF = "off"

_PR_SET_NO_NEW_PRIVS = 38
_PR_GET_NO_NEW_PRIVS = 39
_STDIO = frozenset({0, 1, 2})


def prepare(plan: LockdownPlan) -> None:
    """Import what the layers need, in the zygote: once a worker is locked, an import may be refused."""
    if plan.isolation == "kernel" and plan.landlock_abi:
        landlock.prepare()


def confine_zygote(plan: LockdownPlan, slots: str) -> Layers:
    """Confine the zygote, before it imports registered modules: one that reads a key would hand it to every worker.

    `slots` holds the workers' slots, and the plan's write paths stay writable, only because a worker cannot be given
    what its zygote has lost. Gives (layer, state) pairs; raises LayerFailed.
    """
    prepare(plan)
    layers = [_layer("no_new_privs", _no_new_privileges)]
    layers.append(_landlock(plan, slots))
    return tuple(layers)


def lock_down(
    plan: LockdownPlan, *, slot: str, zygote_pid: int, keep: AbstractSet[int], mapped_bytes: int | None = None
) -> Layers:
    """Lock the forked worker down; `keep` are its descriptors beside stdio. Gives (layer, state) pairs.

    `mapped_bytes` is the address space that the zygote had at the fork (rlimits.mapped_bytes); without it this process
    looks for itself, which a confined zygote's child cannot. Raises LayerFailed: then the process must end.
    """
    # Measured first: what the process had mapped when it began.
    mapped = rlimits.own_mapped_bytes() if mapped_bytes is None else mapped_bytes
    kept = keep | _STDIO
    layers: list[tuple[str, str]] = []

    # Descriptors first: no later step may leave one behind, and none is needed by a later step.
    layers.append(_layer("descriptors", lambda: _only_descriptors(kept)))
    # Early, so that a worker whose zygote dies half-way does not stay.
    layers.append(_layer("parent", lambda: parent.die_with(zygote_pid)))
    # While there is still the privilege to set them.
    layers.append(_layer("rlimits", lambda: rlimits.apply(rlimits.limits(plan.limits, mapped))))

    if plan.isolation == "process":
        layers += [("capabilities", OFF), ("dumpable", OFF)]
        layers.append(_layer("no_new_privs", _no_new_privileges))
        return (*layers, ("landlock", OFF), ("seccomp", OFF))

    if plan.drop_capabilities:
        layers.append(_layer("capabilities", capabilities.drop))
        # The kernel withdraws the request at some changes of credentials: asked again after the last, whatever it was.
        _layer("parent", lambda: parent.die_with(zygote_pid))
    else:
        layers.append(("capabilities", OFF))
    # After the last change of credentials, which would reset it.
    layers.append(_layer("dumpable", parent.hide))
    # Landlock and seccomp are open to a process without privileges only under this.
    layers.append(_layer("no_new_privs", _no_new_privileges))
    layers.append(_landlock(plan, slot))
    # Last: the filter refuses the calls that every layer above is made of.
    layers.append(_seccomp(plan))
    return tuple(layers)


def _only_descriptors(keep: AbstractSet[int]) -> str:
    descriptors.close_others(keep)
    return descriptors.assert_only(keep)


def _no_new_privileges() -> str:
    if sys.platform != "linux":
        return "unavailable: no_new_privs is of Linux"
    kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if kernel.prctl(_PR_GET_NO_NEW_PRIVS) != 1:
        raise LayerFailed("no_new_privs", "it was set and does not read back")
    return "enforced"


def _landlock(plan: LockdownPlan, write_root: str) -> tuple[str, str]:
    if plan.isolation == "process" or not plan.landlock_abi:
        return ("landlock", OFF)
    return _layer("landlock", lambda: landlock.apply(landlock.ruleset(plan, write_root)))


def _seccomp(plan: LockdownPlan) -> tuple[str, str]:
    if not plan.seccomp:
        return ("seccomp", OFF)
    return _layer("seccomp", lambda: seccomp.apply(seccomp.patch(plan.seccomp, os.getpid())))


def _layer(name: str, put_up: Callable[[], str]) -> tuple[str, str]:
    try:
        return (name, put_up())
    except (OSError, ValueError) as error:
        raise LayerFailed(name, f"could not be put up: {error}") from error
