"""The whole matrix: `python -m tests.attacks [--user root|nobody|self] [--level L1|L2] [--processes N]`, as a table.

Ends with 1 where anything escaped, was partial, or harmed the supervisor.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.attacks.cell import Cell, every_cell
from tests.attacks.host import run_cell
from tests.attacks.trial import Verdict
from tests.nobody import NoSuchUser

ROW = "{:52} {:>8} {:>9} {:>7} {:>7} {:>6} {:>6}  {}"
OUTCOMES = ("contained", "partial", "escaped", "fault", "unheld")
# What an answer may take beyond its deadline, as it is promised; on a machine that has nothing else to do.
PROMISED_OVERRUN_S = 0.5


def main(cells: list[Cell], processes: int) -> int:
    print(ROW.format("cell", "payloads", *OUTCOMES, "slowest answer beyond its deadline"), flush=True)
    every: list[Verdict] = []
    for cell in cells:
        ids = [payload.id for payload in cell.payloads()]
        try:
            verdicts = _in_parallel(cell, ids, processes)
        except NoSuchUser as error:
            print(f"{cell!s:52} left out: {error}", flush=True)
            continue
        _print_row(cell, verdicts)
        every += verdicts
    _print_overruns(every)
    return int(any(verdict.outcome in ("partial", "escaped", "fault") for verdict in every))


def _in_parallel(cell: Cell, ids: list[str], processes: int) -> list[Verdict]:
    # Every n-th, so that slow neighbours are spread.
    shares = [ids[start::processes] for start in range(processes)]
    with ThreadPoolExecutor(processes) as executor:
        return [verdict for part in executor.map(partial(run_cell, cell), shares) for verdict in part]


def _print_row(cell: Cell, verdicts: list[Verdict]) -> None:
    counts = Counter(verdict.outcome for verdict in verdicts)
    slowest = max(verdicts, key=lambda verdict: verdict.overrun_s)
    told = f"{slowest.overrun_s:.3f} s ({slowest.payload})"
    print(ROW.format(str(cell), len(verdicts), *(counts[outcome] for outcome in OUTCOMES), told), flush=True)
    for verdict in verdicts:
        if verdict.outcome != "contained":
            print(f"    {verdict.outcome}: {verdict.payload}: {'; '.join(verdict.findings)[:300]}", flush=True)


def _print_overruns(verdicts: list[Verdict]) -> None:
    late = sorted(verdict.overrun_s for verdict in verdicts if verdict.overrun_s > 0)
    if not late:
        return
    beyond = sum(overrun > PROMISED_OVERRUN_S for overrun in late)
    print(
        f"answers after their deadline: {len(late)}, median {statistics.median(late):.3f} s,"
        f" 95 % {late[int(0.95 * (len(late) - 1))]:.3f} s, most {late[-1]:.3f} s;"
        f" {beyond} beyond the promised {PROMISED_OVERRUN_S} s"
    )


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description="Run every payload against agex.")
    parser.add_argument("--user", choices=("root", "nobody", "self"), help="only this user's cells")
    parser.add_argument("--level", choices=("L1", "L2"), help="only these payloads")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), help="hosts at once")
    return parser.parse_args()


if __name__ == "__main__":
    asked = _parsed()
    chosen = [cell for cell in every_cell() if asked.user in (None, cell.user) and asked.level in (None, cell.level)]
    raise SystemExit(main(chosen, asked.processes))
