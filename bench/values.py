"""What it costs to bring a small value across: encoding in the worker, decoding and validation here; beside pickle.

    python bench/values.py [ROUNDS]

Pickle validates nothing and runs what it is told to, so it is no limit but a measure that everybody knows. Everything here
is computing on one thread, so it is the processor's time that counts: other programs do not change it much.
"""

from __future__ import annotations

import pickle
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

from pydantic import BaseModel

from agex_protocol.encode import encode
from agex_supervisor.contract import Contract

BATCH = 200


class Order(BaseModel):
    number: int
    customer: str
    street: str
    city: str
    pieces: int
    price: float
    weight: float
    paid: bool
    note: str | None
    placed: date


@dataclass
class Point:
    x: float
    y: float
    name: str


ORDER = Order(
    number=17,
    customer="Ada",
    street="1 Long Lane",
    city="Kiel",
    pieces=3,
    price=4.5,
    weight=0.25,
    paid=True,
    note=None,
    placed=date(2025, 1, 31),
)
VALUES: dict[str, tuple[Any, Any]] = {
    "a model of 10 fields": (Order, ORDER),
    "a dataclass of 3 fields": (Point, Point(1.0, 2.0, "a")),
    "an int": (int, 17),
    "a dict of 10 floats": (dict[str, float], {f"key {number}": number / 7 for number in range(10)}),
    "a list of 100 floats": (list[float], [number / 7 for number in range(100)]),
    "10 models of 10 fields": (list[Order], [ORDER] * 10),
}


def crossing(annotation: Any, value: Any) -> tuple[Callable[[], object], Callable[[], object]]:
    """Encoding, and decoding with validation, each so many times."""
    contract = Contract.of(annotation, where="value")
    head, buffers = encode(value, contract.shape)
    views = [memoryview(buffer) for buffer in buffers]
    assert contract.decode(head, views) == value

    def encoding() -> None:
        for _ in range(BATCH):
            encode(value, contract.shape)

    def decoding() -> None:
        for _ in range(BATCH):
            contract.decode(head, views)

    return encoding, decoding


def pickling(value: Any) -> Callable[[], object]:
    def there_and_back() -> None:
        for _ in range(BATCH):
            pickle.loads(pickle.dumps(value, protocol=5))  # noqa: S301 -- our own bytes, for comparison

    return there_and_back


def main(rounds: int) -> None:
    print(f"{'median us of processor':32}{'pickle':>10}{'encode':>10}{'decode':>10}{'both':>10}")
    for name, (annotation, value) in VALUES.items():
        encoding, decoding = crossing(annotation, value)
        tasks = (pickling(value), encoding, decoding)
        seconds: list[list[float]] = [[], [], []]
        for _ in range(rounds):
            for task, taken in zip(tasks, seconds, strict=True):
                started = time.thread_time()
                task()
                taken.append((time.thread_time() - started) / BATCH)
        pickled, encoded, decoded = (statistics.median(taken) * 1e6 for taken in seconds)
        print(f"{name:32}{pickled:10.1f}{encoded:10.1f}{decoded:10.1f}{encoded + decoded:10.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
