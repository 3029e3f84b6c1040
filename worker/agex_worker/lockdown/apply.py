"""The order in which the layers go up, and why. Each is verified; one that fails raises LayerFailed and ends the worker.

The zygote takes what never needs widening before it imports anything registered; each forked worker takes the rest
before it reads a byte of a task. A worker's Landlock domain lies within its zygote's: it opens what both allow.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from agex_protocol.messages import SLOT
from agex_protocol.plan import LockdownPlan
from agex_worker.lockdown import (
    capabilities,
    descriptors,
    kernel,
    landlock,
    namespaces,
    parent,
    probes,
    rlimits,
    seatbelt,
    seccomp,
)
from agex_worker.lockdown.errors import LayerFailed
from agex_worker.lockdown.view import build, view

Layers = tuple[tuple[str, str], ...]
State = TypeVar("State")
Given = ParamSpec("Given")

OFF = "off"

_PR_SET_NO_NEW_PRIVS = 38
_PR_GET_NO_NEW_PRIVS = 39
_STDIO = frozenset({0, 1, 2})


@dataclass(frozen=True, slots=True)
class Preparation:
    """What all workers of a zygote need alike: made once there, where it costs no worker time nor pages of its own.

    `domain` has descriptors open, which each worker inherits and closes.
    """

    domain: landlock.Domain | None
    filters: seccomp.Filters | None
    targets: probes.Targets


def prepare(plan: LockdownPlan, slots: str) -> Preparation:
    """Make it, in the zygote: in its namespaces and before it is confined. LayerFailed where a layer cannot be had.

    slots: where the workers' slots lie, unless they have namespaces.
    """
    _tried("descriptors", descriptors.prepare)
    if plan.isolation == "kernel":
        _tried("capabilities", capabilities.prepare)
    if plan.namespaces != "off":
        _tried("namespaces", namespaces.prepare)
    beside = slots if plan.namespaces == "off" else os.path.dirname(SLOT)
    filters = seccomp.prepare(plan) if plan.isolation == "kernel" else None
    return Preparation(_domain(plan), filters, probes.targets(plan, beside))


def isolate_zygote(plan: LockdownPlan, uids: int, aliases: Iterable[str]) -> Layers:
    """Move the zygote into namespaces, if the plan wants them: it is another process afterwards. Raises LayerFailed.

    uids: the first of the user ids that root has for workers, or 0. aliases: further names of what the plan lets be read.
    """
    if _wants_landlock(plan):
        landlock.prepare()  # in the view its package may be out of reach
    if plan.namespaces == "off":
        return (("namespaces", OFF),)
    chosen = view(plan, aliases)
    return (_layer("namespaces", namespaces.enter, lambda: build(chosen), uids),)


def confine_zygote(plan: LockdownPlan, slots: str) -> Layers:
    """Confine the zygote, before it imports registered modules: one that reads a key would hand it to every worker.

    `slots` holds the workers' slots, and the plan's write paths stay writable, only because a worker cannot be given
    what its zygote has lost. Gives (layer, state) pairs; raises LayerFailed.

    In namespaces the view is what confines it: under Landlock nobody can mount, so no worker could be given its files.
    """
    layers = [_layer("no_new_privs", _no_new_privileges)]
    if plan.namespaces == "off":
        domain = _domain(plan)
        layers.append(_landlock(domain, slots))
        if domain:
            domain.close()
    else:
        layers.append(_layer("dumpable", parent.hide))
    return tuple(layers)


def lock_down(
    plan: LockdownPlan,
    prepared: Preparation,
    *,
    slot: str,
    zygote_pid: int,
    keep: AbstractSet[int],
    limits: Mapping[int, int] | None = None,
    files: int = -1,
    uid: int | None = None,
    hand_over: Callable[[int], None] | None = None,
) -> Layers:
    """Lock the forked worker down; `keep` are its descriptors beside stdio. Gives (layer, state) pairs.

    `limits` is what rlimits.limits() gave for the address space that the zygote had at the fork; without it this process
    looks for itself, which a confined zygote's child cannot. With namespaces, `files` is the file system that becomes the
    slot, and `uid` the user to become. `hand_over` is given the listener of the system-call filter; without it nothing is
    told. Raises LayerFailed: then the process must end.
    """
    if limits is None:
        # Measured first: what the process had mapped when it began.
        limits = rlimits.limits(plan.limits, rlimits.own_mapped_bytes(), own_user=uid is not None)
    kept = keep | _STDIO
    # Inherited for a layer to come, and closed when that is up.
    spent = prepared.domain.descriptors if prepared.domain else frozenset[int]()
    if files >= 0:
        spent |= {files}
    layers: list[tuple[str, str]] = []

    # Descriptors first: no later step may leave one behind, and none is needed by a later step.
    layers.append(_layer("descriptors", _only_descriptors, kept | spent))
    # Early, so that a worker whose zygote dies half-way does not stay.
    layers.append(_layer("parent", parent.die_with, zygote_pid))
    # While there is still the privilege to set them.
    layers.append(_layer("rlimits", rlimits.apply, limits))

    if plan.isolation == "process":
        layers += [("capabilities", OFF), ("dumpable", OFF)]
        layers.append(_layer("no_new_privs", _no_new_privileges))
        return (*layers, ("landlock", OFF), ("seccomp", OFF), ("listener", OFF))

    if sys.platform == "darwin":
        # One layer in place of all that follow, and last: a process is put under one profile only.
        return (*layers, _layer("seatbelt", lambda: seatbelt.apply(seatbelt.profile(plan, slot))))

    if files >= 0:
        layers.append(_layer("namespaces", namespaces.enter_worker, files, uid))
    else:
        layers.append(("namespaces", OFF))

    if plan.drop_capabilities:
        layers.append(_layer("capabilities", capabilities.drop))
        # The kernel withdraws the request at some changes of credentials: asked again after the last, whatever it was.
        _layer("parent", parent.die_with, zygote_pid)
    else:
        layers.append(("capabilities", OFF))
    # After the last change of credentials, which would reset it.
    layers.append(_layer("dumpable", parent.hide))
    # Landlock and seccomp are open to a process without privileges only under this.
    layers.append(_layer("no_new_privs", _no_new_privileges))
    layers.append(_landlock(prepared.domain, slot))
    if spent:
        layers[0] = _layer("descriptors", _only_descriptors, kept, spent)
    # Last: the filter refuses the calls that every layer above is made of.
    layers += _seccomp(prepared.filters, hand_over)
    return tuple(layers)


def _only_descriptors(keep: AbstractSet[int], spent: AbstractSet[int] = frozenset()) -> str:
    descriptors.close_others(keep)
    return descriptors.assert_only(keep, spent)


def _no_new_privileges() -> str:
    if sys.platform != "linux":
        return "unavailable: no_new_privs is of Linux"
    kernel.prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if kernel.prctl(_PR_GET_NO_NEW_PRIVS) != 1:
        raise LayerFailed("no_new_privs", "it was set and does not read back")
    return "enforced"


def _wants_landlock(plan: LockdownPlan) -> bool:
    return plan.isolation == "kernel" and plan.landlock_abi > 0


def _domain(plan: LockdownPlan) -> landlock.Domain | None:
    if not _wants_landlock(plan):
        return None
    return _tried("landlock", lambda: landlock.Domain(landlock.ruleset(plan)))


def _landlock(domain: landlock.Domain | None, write_root: str) -> tuple[str, str]:
    if domain is None:
        return ("landlock", OFF)
    return _layer("landlock", domain.enter, write_root)


def _seccomp(filters: seccomp.Filters | None, hand_over: Callable[[int], None] | None) -> Layers:
    if filters is None:
        return (("seccomp", OFF), ("listener", OFF))
    if filters.told is None or filters.seal is None or hand_over is None:
        return (_layer("seccomp", seccomp.apply, filters.silent), ("listener", OFF))
    state, listener = _tried("seccomp", seccomp.apply_told, filters, filters.told, filters.seal, hand_over)
    return (("seccomp", state), ("listener", listener))


def _layer(name: str, put_up: Callable[Given, str], *given: Given.args, **named: Given.kwargs) -> tuple[str, str]:
    # With what it is given, and no closure: each piece of code that runs costs a worker a page of its own.
    return (name, _tried(name, put_up, *given, **named))


def _tried(name: str, put_up: Callable[Given, State], *given: Given.args, **named: Given.kwargs) -> State:
    try:
        return put_up(*given, **named)
    except (OSError, ValueError) as error:
        raise LayerFailed(name, f"could not be put up: {error}") from error
