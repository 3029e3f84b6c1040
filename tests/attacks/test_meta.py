"""The harness is not blind: each of these payloads gets out once the layers that stop it are off, and no other way.

Any one of its layers stops a payload alone, with the rest of them off; with all of them off it escapes. Layers that it does
not name stand in every run. (Dropped capabilities cannot be left out: no worker that has any gets past the supervisor's
look from outside; tests/worker/lockdown shows that wall by itself.)
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.attacks.cell import Cell, User
from tests.attacks.host import run_cell
from tests.attacks.trial import Verdict
from tests.nobody import NoSuchUser

USERS: tuple[User, ...] = ("root", "nobody") if os.geteuid() == 0 else ("self",)

# layers -> payloads that each of them stops
STOPPED_BY: dict[tuple[str, ...], tuple[str, ...]] = {
    ("landlock", "namespaces"): ("L2-003-fs-symlink-secret", "L2-006-fs-rename-out", "L2-008-fs-truncate"),
    ("seccomp", "namespaces"): ("L2-010-fs-fchmodat2", "L2-044-prlimit-host", "L2-063-net-unix-path"),
    ("landlock", "seccomp", "namespaces"): ("L2-036-kill-victim", "L2-056-net-inet-tcp", "L2-064-net-unix-abstract"),
    ("seccomp",): ("L2-032-unshare-newuser", "L2-080-sys-io-uring-setup", "L2-118-sys-seccomp-listener"),
    ("limits",): ("L2-152-res-threads", "L2-153-res-fds"),
    ("namespaces",): ("AX-own-101-sibling-proc", "AX-own-235-stat-oracle"),
}


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("layers", STOPPED_BY, ids=" or ".join)
def test_payloads_get_out_when_their_layers_are_off_and_are_held_by_each_of_them(
    layers: tuple[str, ...], user: User
) -> None:
    # A view of its own would stop more than the layers in question, so it is there only where it is one of them.
    whole = Cell("L2", "kernel", user, "auto" if "namespaces" in layers else "off")
    without = _run(replace(whole, off=layers), STOPPED_BY[layers])

    got_out = "unheld" if layers == ("namespaces",) else "escaped"
    assert {each.payload: each.outcome for each in without} == dict.fromkeys(STOPPED_BY[layers], got_out), without
    for kept in layers:
        alone = _run(replace(whole, off=tuple(layer for layer in layers if layer != kept)), STOPPED_BY[layers])
        stands = kept in alone[0].layers or kept == "limits"
        if stands:  # else it is a layer that this machine does not have
            assert [each for each in alone if each.outcome != "contained"] == [], kept


def test_what_outlives_a_worker_is_found() -> None:
    cell = Cell("L2", "kernel", USERS[-1], "off", ("seccomp",))

    [verdict] = _run(cell, ["L2-029-fork-clone-raw"])

    assert verdict.outcome == "fault", verdict
    assert verdict.findings[0].startswith("processes were left"), verdict


def _run(cell: Cell, payloads: Sequence[str]) -> list[Verdict]:
    try:
        return run_cell(cell, payloads)
    except NoSuchUser as error:
        pytest.skip(str(error))
