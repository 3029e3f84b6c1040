"""Medians of repeated runs, interleaved so that a noisy moment hits everything alike; and the table they are shown in."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

Measured = dict[str, list[float]]


def interleaved(rounds: int, tasks: dict[str, Callable[[], object]]) -> Measured:
    """Seconds of each task, once a round, after one round that is not counted."""
    for task in tasks.values():
        task()
    seconds: Measured = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            started = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def show(title: str, measured: Measured, limit: str) -> None:
    """A line each: median, best, and the ratio of the medians to that of `limit`."""
    base = statistics.median(measured[limit])
    print(f"\n{title}\n{'':44}{'median ms':>10}{'best ms':>10}{'x limit':>9}")
    for name, values in measured.items():
        median = statistics.median(values)
        print(f"{name:44}{median * 1e3:10.3f}{min(values) * 1e3:10.3f}{median / base:9.1f}")
