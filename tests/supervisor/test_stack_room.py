"""How deep a value is nested does not change what its calls cost, at whatever depth the supervisor decodes it."""

from __future__ import annotations

import resource
from typing import Any

import msgpack

from agex_supervisor.contract import Contract
from agex_supervisor.stack_room import with_room

NODES = 4096


def nested() -> bytes:
    part: Any = None
    for _ in range(12):
        part = ["list", [part, part]]
    return bytes(msgpack.packb(part))


def faults_of(call: Any, depth: int) -> int:
    """Pages that the kernel had to give while it ran, so many calls deep: each piece of the stack that is mapped needs some."""
    if depth:
        return faults_of(call, depth - 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    call()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_the_stack_is_not_mapped_again_and_again_wherever_it_stands() -> None:
    contract, head = Contract.of(Any, where="here"), nested()
    assert len(head) > NODES
    contract.decode(head, [])
    worst = max(faults_of(lambda: contract.decode(head, []), depth) for depth in range(0, 130, 2))
    assert worst < NODES / 2


def test_what_is_called_gives_its_value_and_its_error() -> None:
    assert with_room(lambda: 5) == 5
    try:
        with_room(lambda: [][0])
    except IndexError as error:
        assert str(error) == "list index out of range"
    else:
        raise AssertionError("the error was lost")
