"""What a call of a host function costs a worker, beside one byte there and back between two processes.

    python bench/host_calls.py [ROUNDS]

The limit: a bare socketpair between this process and a plain Python that answers a byte with a byte. First each pair lies where
the kernel puts it; then both sides of every pair are pinned alike: each on a processor of its own, and all on one. The calls
are made in batches by the worker itself, so that the cost of a run is none of theirs.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
from timing import show

import agex

BATCH = 1000
ECHO = """
import os
while os.read(0, 1): os.write(1, b'.')
"""
CODE = f"for number in range({BATCH}): call(number)"


class Shop:
    def __init__(self) -> None:
        self.number = 1

    def same(self, number: int) -> int:
        return number

    def itself(self) -> Shop:
        return Shop()


def echo() -> tuple[Callable[[], None], int]:
    ours, theirs = socket.socketpair()
    child = subprocess.Popen([sys.executable, "-I", "-c", ECHO], stdin=theirs, stdout=theirs)
    theirs.close()

    def ask() -> None:
        ours.send(b".")
        ours.recv(1)

    return ask, child.pid


def same(number: int) -> int:
    return number


def pin(processors: set[int], own: set[int]) -> None:
    """This process on `own`, all that it has started on `processors`."""
    for thread in psutil.Process().threads():
        os.sched_setaffinity(thread.id, own)
    for child in psutil.Process().children(recursive=True):
        os.sched_setaffinity(child.pid, processors)


def measured(rounds: int, tasks: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of one call, by turns in batches."""
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for task in tasks.values():
        task()
    for _ in range(rounds):
        for name, task in tasks.items():
            started = time.perf_counter()
            task()
            seconds[name].append((time.perf_counter() - started) / BATCH)
    return seconds


def main(rounds: int) -> None:
    ask, _ = echo()
    shop = Shop()
    pool = agex.Pool(spares=0)

    def limit() -> None:
        for _ in range(BATCH):
            ask()

    def direct() -> None:
        for number in range(BATCH):
            same(number)

    modules = [agex.Module(shop, name="shop", include=["same", "number", "itself"])]
    with agex.Sandbox(pool=pool, modules=modules, functions={"same": same}) as sandbox:

        def batch(code: str) -> Callable[[], object]:
            whole = f"for number in range({BATCH}): {code}"
            return lambda: sandbox.run(whole).unwrap()

        tasks = {
            "byte over a socketpair": limit,
            "the function itself": direct,
            "same(int)": batch("same(number)"),
            "a run without calls (counted once a batch)": batch("pass"),
            "shop.same(int), a live object": batch("shop.same(number)"),
            "shop.number, an attribute": batch("shop.number"),
            "shop.itself(), a new handle": batch("shop.itself()"),
        }
        sandbox.run("1")
        processors = sorted(os.sched_getaffinity(0))
        for title, own, others in (
            ("where the kernel puts it", set(processors), set(processors)),
            ("each side on its own", {processors[0]}, {processors[-1]}),
            ("all on one processor", {processors[0]}, {processors[0]}),
        ):
            pin(others, own)
            show(f"one call, {title}", measured(rounds, tasks), "byte over a socketpair")
    pool.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
    os._exit(0)  # the echo ends with its socket
