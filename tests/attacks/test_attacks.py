"""Every payload once, without privileges and with namespaces where they can be had; and a sample of the other cells.

`make attacks` runs all cells in full. Where the tests run as root, the hosts are children that became nobody.
"""

from __future__ import annotations

import os
import random
from dataclasses import replace

import pytest

from tests.attacks.cell import Cell, User, every_cell
from tests.attacks.host import run_cell
from tests.attacks.payload import BOMBS, read_all
from tests.attacks.trial import Verdict
from tests.nobody import NoSuchUser

UNPRIVILEGED: User = "nobody" if os.geteuid() == 0 else "self"
SHARES = 2
SEED = 20_260_101
SAMPLE = 0.1

ONCE = (
    Cell("L2", "kernel", UNPRIVILEGED),
    Cell("L1", "kernel", UNPRIVILEGED),
    Cell("L1", "none", UNPRIVILEGED),
)


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("cell", ONCE, ids=["native code", "inner sandbox in kernel", "inner sandbox in none"])
def test_every_payload_is_contained(cell: Cell, share: int) -> None:
    ids = [payload.id for payload in cell.payloads()][share::SHARES]

    assert _not_contained(_run(cell, ids)) == []


@pytest.mark.parametrize("cell", [cell for cell in every_cell() if cell not in ONCE], ids=str)
def test_a_sample_of_every_other_cell_is_contained(cell: Cell) -> None:
    ids = [payload.id for payload in cell.payloads()]
    sample = random.Random(f"{SEED} {cell}").sample(ids, round(len(ids) * SAMPLE))
    print(f"seed {SEED}: {', '.join(sample)}")

    assert _not_contained(_run(cell, sample)) == []


def test_a_payload_that_no_layer_stops_is_seen_by_what_it_did() -> None:
    cell = Cell("L2", "process", UNPRIVILEGED)
    seen = {
        "L2-006-fs-rename-out": "escaped",
        "L2-021-fs-devshm": "escaped",
        "L2-036-kill-victim": "escaped",
        "L2-044-prlimit-host": "escaped",
        "L2-056-net-inet-tcp": "escaped",
        "L2-064-net-unix-abstract": "escaped",
        "L2-003-fs-symlink-secret": "escaped",
        "L2-191-x-module-state": "contained",
    }

    verdicts = _run(cell, list(seen))

    assert {verdict.payload: verdict.outcome for verdict in verdicts} == seen, verdicts


def test_the_bombs_that_none_cannot_end_are_named_and_are_run_in_kernel() -> None:
    inside = {payload.id for payload in Cell("L1", "none", UNPRIVILEGED).payloads()}
    every = {payload.id for payload in read_all().values() if payload.level == "L1"}

    assert every - inside == BOMBS
    assert {payload.id for payload in Cell("L1", "kernel", UNPRIVILEGED).payloads()} == every


def test_a_layer_that_a_payload_needs_excuses_it_only_where_that_layer_is_absent() -> None:
    oracle = "AX-own-235-stat-oracle"
    without = Cell("L2", "kernel", UNPRIVILEGED, "off")

    [verdict] = _run(without, [oracle])

    assert verdict.outcome == "unheld", verdict
    assert _not_contained([replace(verdict, outcome="escaped")]) != []


def _run(cell: Cell, ids: list[str]) -> list[Verdict]:
    try:
        return run_cell(cell, ids)
    except NoSuchUser as error:
        pytest.skip(str(error))


def _not_contained(verdicts: list[Verdict]) -> list[str]:
    return [
        f"{verdict.outcome}: {verdict.payload}: {'; '.join(verdict.findings)}"
        for verdict in verdicts
        if verdict.outcome not in ("contained", "unheld")
    ]
