"""Arenas in real workers: what hostile code can do with one that it was given, and whose bytes it ever sees."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import inspect
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agex_protocol.budget import Caps
from agex_protocol.placing import MIN_BYTES
from agex_protocol.plan import LockdownPlan, SandboxPlan
from agex_supervisor import arena as arena_module
from agex_supervisor import arena_stock, arenas, huge_pages
from agex_supervisor.arena import Arena, Tenant
from agex_supervisor.arena_stock import IDLE_S, ArenaStock
from agex_supervisor.contract import Contract
from agex_supervisor.death import Death
from agex_supervisor.equipment import Equipment
from agex_supervisor.execution import Executed, WorkerExecutor
from agex_supervisor.host_calls import HostCalls, hosted
from agex_supervisor.huge_pages import HUGE_PAGES, HugePages
from agex_supervisor.outbound import dump_bindings
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.session import Session
from tests.nobody import need_nobody

ANYTHING = Contract.of(Any, where="the value")
ARRAY = Contract.of(np.ndarray, where="the value")
BYTES = 1 << 20
SECRET = b"a secret of one tenant's "

# Hostile code talks to the supervisor in the worker's own words: `room(size)` is memory that the supervisor made room for.
OWNED = """
def find_session():
    frame = sys._getframe()
    while "run" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["self"]

session = find_session()

def room(size):
    return session._room(action, size)

def arenas():
    "All descriptors of memory files: the mapping of an arena keeps one."
    for number in range(3, 64):
        try:
            if stat.S_ISREG(os.fstat(number).st_mode):
                yield number
        except OSError:
            pass

def outcome(call, *arguments):
    try:
        return str(call(*arguments))
    except OSError as error:
        return error.strerror
"""


class Bench:
    """A session whose code is ordinary Python, hostile or not, and what is in its way."""

    def __init__(self, pool: Pool, plan: LockdownPlan, functions: dict[str, Callable[..., Any]]) -> None:
        hosts = [hosted(name, each, inspect.signature(each, eval_str=True), "") for name, each in functions.items()]
        calls = HostCalls(hosts, Caps())
        equipment = Equipment(SandboxPlan(mode="full"), dump_bindings({}), calls.declared)
        self.session = Session(pool, Kit(plan, ("numpy",)), equipment, pool.new_workspace())
        self.executor = WorkerExecutor(self.session, calls, Caps())

    def run(
        self, code: str, inputs: dict[str, Any] | None = None, returns: Contract = ANYTHING, *, task: bool = False
    ) -> Executed:
        return self.executor.execute(code, inputs or {}, returns, task=task, timeout_s=60.0)

    @contextlib.contextmanager
    def ahead(self) -> Iterator[None]:
        """As where the worker lives on after its run, which hostile code of a Sandbox in "full" mode does not."""
        full = self.session._equipment
        restricted = replace(full, sandbox=replace(full.sandbox, mode="restricted"))
        self.session.start()
        self.session._equipment = restricted
        yield
        self.session._equipment = full


Benches = Callable[..., Bench]
Limited = Callable[..., LockdownPlan]


@pytest.fixture(params=["kernel", "process"])
def either(request: pytest.FixtureRequest, plan: LockdownPlan) -> LockdownPlan:
    return plan if request.param == "kernel" else replace(plan, isolation="process", namespaces="off")


@pytest.fixture
def bench(shared: Pool, plan: LockdownPlan) -> Iterator[Benches]:
    benches: list[Bench] = []

    def bench(pool: Pool | None = None, plan: LockdownPlan = plan, **functions: Callable[..., Any]) -> Bench:
        benches.append(Bench(pool or shared, plan, functions))
        return benches[-1]

    yield bench
    for each in benches:
        each.executor.close()


@pytest.fixture
def owned(channel_code: str) -> str:
    return channel_code + OWNED


# --- there and back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [MIN_BYTES - 1, MIN_BYTES, MIN_BYTES + 1, 3 * BYTES + 7, 40 * BYTES])
def test_large_values_cross_both_ways_whole_in_either_isolation(
    size: int, either: LockdownPlan, bench: Benches
) -> None:
    values = np.arange(size, dtype=np.uint8)
    executed = bench(plan=either).run("values[::2] += 1; values", {"values": values}, ARRAY)
    expected = values.copy()
    expected[::2] += 1
    assert executed.kind == "finished" and (executed.value == expected).all() and executed.value.flags.writeable
    assert (values == np.arange(size, dtype=np.uint8)).all()


def test_many_buffers_of_all_sizes_cross_in_their_order(bench: Benches) -> None:
    arrays = [np.full(size % 5000, size, np.int32) for size in range(6000)]
    executed = bench().run("[each + 1 for each in arrays]", {"arrays": arrays})
    assert all(
        (got == sent + 1).all() and len(got) == len(sent) for got, sent in zip(executed.value, arrays, strict=True)
    )


def test_large_arguments_and_results_of_host_functions_cross_in_arenas(either: LockdownPlan, bench: Benches) -> None:
    heard: list[Any] = []

    def twice(first: np.ndarray[Any, Any], text: str, second: np.ndarray[Any, Any]) -> Any:
        heard.append((first.sum(), len(text), second.sum()))
        return first * 2

    code = "sum(int(twice(a, 'x' * 700_000, a + n).sum()) for n in range(5))"
    executed = bench(plan=either, twice=twice).run(code, {"a": np.ones(200_000)})
    assert (executed.kind, executed.value) == ("finished", 5 * 400_000)
    assert heard == [(200_000, 700_000, 200_000 * (n + 1)) for n in range(5)]


def test_an_action_sees_the_inputs_of_its_task_as_they_were_whatever_an_earlier_one_did_to_them(bench: Benches) -> None:
    each, inputs = bench(), {"a": np.arange(BYTES)}
    for _ in range(3):
        executed = each.run("inputs.a[:] += 1; print(inputs.a[:3], inputs.a.sum())", inputs, task=True)
        assert executed.stdout == f"[1 2 3] {np.arange(BYTES).sum() + BYTES}\n"
        inputs["a"][:] = 0  # what the caller does meanwhile is not told either


def test_a_library_that_keeps_an_input_keeps_what_it_was_given(bench: Benches) -> None:
    each = bench()
    code = (
        "import sys\nsys.kept = getattr(sys, 'kept', [])\nsys.kept.append(inputs.a)\n"
        "print([int(kept[-1]) for kept in sys.kept], os.getpid())"
    )
    told = [each.run("import os\n" + code, {"a": np.full(BYTES, run)}, task=True).stdout.split("]") for run in range(4)]
    assert [kept for kept, _ in told] == ["[0", "[0, 1", "[0, 1, 2", "[0, 1, 2, 3"]
    assert len({pid for _, pid in told}) == 1


def test_a_worker_that_kept_more_inputs_than_its_memory_is_replaced(bench: Benches, limited: Limited) -> None:
    each = bench(plan=limited(memory_bytes=64 << 20))
    code = "import sys\nsys.kept = getattr(sys, 'kept', [])\nsys.kept.append(inputs.a)\nprint(len(sys.kept))"
    told = [each.run(code, {"a": np.zeros(24 << 20, np.uint8)}, task=True).stdout for _ in range(4)]
    assert told == ["1\n", "2\n", "1\n", "2\n"]


def test_inputs_beyond_the_memory_of_a_worker_are_an_error_that_names_the_limit(
    bench: Benches, limited: Limited
) -> None:
    each = bench(plan=limited(memory_bytes=64 << 20))
    executed = each.run("a", {"a": np.zeros(100 << 20, np.uint8)})
    assert executed.error is not None and executed.error.type == "MemoryError"
    assert executed.error.message == (
        f"{100 << 20} bytes of values do not fit into this worker's memory; limits.memory of the policy is its bound"
    )
    assert each.run("len(a)", {"a": np.zeros(10 << 20, np.uint8)}).value == 10 << 20


def test_a_result_that_cannot_be_mapped_beside_it_is_sent_all_the_same(bench: Benches, limited: Limited) -> None:
    executed = bench(plan=limited(memory_bytes=64 << 20)).run("b'x' * (40 << 20)")
    assert (executed.kind, len(executed.value)) == ("finished", 40 << 20)


def test_a_value_for_which_no_descriptor_is_left_is_an_error_of_the_code_that_opened_so_many(bench: Benches) -> None:
    def ask() -> Any:
        return np.arange(BYTES)

    code = """
import os
held = []
try:
    while True: held.append(os.dup(1))
except OSError:
    pass
try:
    ask()
except OSError as error:
    told = error.strerror
for number in held: os.close(number)
[told, int(ask()[-1])]
"""
    executed = bench(ask=ask).run(code)
    told = "no descriptor was left for a large value; limits.open_files is the bound"
    assert executed.value == [told, BYTES - 1], executed


# --- what hostile code can do -----------------------------------------------------------------------------------------

REFUSED = "Operation not permitted"


@pytest.mark.parametrize("pages", ["small", "huge"])
def test_inputs_cannot_be_written_by_whoever_has_their_descriptor(
    pages: str, either: LockdownPlan, bench: Benches, owned: str
) -> None:
    code = """
import mmap
(number, *more) = arenas()
size = os.fstat(number).st_size
results = [
    outcome(lambda: mmap.mmap(number, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)),
    outcome(os.pwrite, number, b"x", 0),
    outcome(os.ftruncate, number, 0),
    outcome(os.ftruncate, number, 2 * size),
]
try:
    reopened = os.open(f"/proc/self/fd/{number}", os.O_RDWR)
    results.append(outcome(os.pwrite, reopened, b"x", 0))
except OSError:
    results.append("Operation not permitted")
whole = mmap.mmap(number, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
results.append(outcome(whole.madvise, 9))
results.append(bytes(a[:4]).hex())
print(*results, sep="\\n")
"""
    each = bench(plan=either)
    times = BYTES if pages == "small" else huge_pages.MIN_BYTES // 4
    executed = each.run(
        owned + code.replace("bytes(a[:4])", "bytes(inputs.a[:4])"),
        {"a": np.frombuffer(b"abcd" * times, np.uint8)},
        task=True,
    )
    *results, removed, seen = executed.stdout.splitlines()
    # Of a memory file the seals refuse; of a file with huge pages that it is not open for writing.
    unopened = ["Permission denied", "Bad file descriptor", "Invalid argument", "Invalid argument", REFUSED]
    assert results == (unopened if pages == "huge" and HUGE_PAGES.available else [REFUSED] * 5)
    assert seen == b"abcd".hex()
    assert removed in (REFUSED, "Permission denied")
    assert (
        each.run("print(bytes(inputs.a[-4:]))", {"a": np.frombuffer(b"efgh" * times, np.uint8)}, task=True).stdout
        == "b'efgh'\n"
    )


def test_the_size_of_an_arena_never_changes_and_nothing_of_it_is_taken_away(bench: Benches, owned: str) -> None:
    code = """
import ctypes, mmap
memory = room(1 << 20)
(number, *more) = arenas()
size = os.fstat(number).st_size
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    ctypes.set_errno(0)
    libc[name].restype = ctypes.c_long
    return os.strerror(ctypes.get_errno()) if libc[name](*arguments) == -1 else "done"

address = ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
print(
    outcome(os.ftruncate, number, 0),
    outcome(os.ftruncate, number, 2 * size),
    call("fallocate", number, 0, ctypes.c_long(0), ctypes.c_long(2 * size)),
    call("fallocate", number, 3, ctypes.c_long(0), ctypes.c_long(size)),
    call("madvise", address, ctypes.c_size_t(1 << 20), 9),
    call("fcntl", number, 1033, 0x8),
    call("syscall", 440, -1, 0, 0, 9, 0),
    sep="\\n",
)
print(os.fstat(number).st_size == size)
"""
    executed = bench().run(owned + code, task=True)
    assert executed.stdout.splitlines() == [
        REFUSED,
        REFUSED,
        "Operation not supported",
        "Operation not supported",
        REFUSED,
        REFUSED,
        REFUSED,
        "True",
    ]


FORGED = {
    "beyond the end": (
        "[[0, 8], [64, 1 << 40]]",
        "a buffer at 64 of 1099511627776 bytes has no place in an arena",
    ),
    "past the end": ("[[1 << 30, 8]]", "a buffer at 1073741824 of 8 bytes has no place in an arena"),
    "huge": (
        "[[1 << 63, 1 << 63]]",
        "a buffer at 9223372036854775808 of 9223372036854775808 bytes has no place in an arena",
    ),
    "before the start": ("[[-64, 8]]", "a buffer at -64 of 8 bytes has no place in an arena"),
    "negative": ("[[64, -8]]", "a buffer at 64 of -8 bytes has no place in an arena"),
    "not aligned": ("[[8, 8]]", "a buffer at 8 of 8 bytes has no place in an arena"),
    "overlapping": ("[[0, 65], [64, 8]]", "a buffer at 64 of 8 bytes has no place in an arena"),
    "falling": ("[[64, 8], [0, 8]]", "a buffer at 0 of 8 bytes has no place in an arena"),
    "very many": ("[[0, 0]] * 4097", "4097 buffers in an arena, at most 4096 can be"),
    "no number": ("[[0, True]]", "Finished.value: Encoded.placed: expected int, found bool"),
    "no pair": ("[[0]]", "Finished.value: Encoded.placed: expected an array of 2"),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_a_forged_place_ends_the_worker_and_nothing_else(forgery: str, bench: Benches, owned: str) -> None:
    places, expected = FORGED[forgery]
    each = bench()
    send = f"room(1 << 20); send('Finished', action, [b'\\xc0', 0, {places}])\nwhile True: pass"
    executed = each.run(owned + send)
    assert executed.death is not None and executed.death.cause == "violation"
    assert (
        executed.death.detail.rpartition(" of ")[0] == expected
        if "arena" in expected[-5:]
        else executed.death.detail == expected
    )
    assert each.run("1 + 1").value == 2


def test_overlapping_places_of_two_arguments_end_the_worker(bench: Benches, owned: str) -> None:
    def ask(a: bytes, b: bytes) -> None:
        raise AssertionError("it was called")

    send = "room(1 << 20); send('Call', action, 2, 'ask', [['a', [b'x', 0, [[0, 65]]]], ['b', [b'x', 0, [[64, 1]]]]])"
    executed = bench(ask=ask).run(owned + send + "\nwhile True: pass")
    assert executed.death is not None and executed.death.cause == "violation"
    assert executed.death.detail.rpartition(" of ")[0] == "a buffer at 64 of 1 bytes has no place in an arena"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("send('Finished', action, [b'x', 0, [[0, 8]]])", "buffers were placed where there is no arena"),
        ("send('Room', action, 1, 0)", "room for 0 bytes was asked for; a value has at most {most}"),
        ("send('Room', action, 1, -1)", "room for -1 bytes was asked for; a value has at most {most}"),
        ("send('Room', action, 1, 1 << 40)", "room for 1099511627776 bytes was asked for; a value has at most {most}"),
        ("send('Room', action, 2, 64)", "call 2 where 1 was due"),
        ("send('Room', b'x' * 16, 1, 64)", "Room for an action that is not under way"),
        ("send('Filled', action, 64)", "64 bytes of room were filled, of 0 that were asked for"),
        ("room(640); send('Filled', action, 641)", "641 bytes of room were filled, of 640 that were asked for"),
        ("room(640); send('Filled', action, 0)", "0 bytes of room were filled, of 640 that were asked for"),
        (
            "room(640); send('Filled', action, 64); send('Filled', action, 64)",
            "64 bytes of room were filled, of 640 that were asked for",
        ),
        ("send('Dropped', action, [])", "Dropped names no arena"),
        ("send('Dropped', action, [2])", "arena 2 was dropped, which the worker does not have"),
        ("send('Dropped', action, [1, 1])", "arena 1 was dropped, which the worker does not have"),
        ("send('Dropped', action, [-1])", "arena -1 was dropped, which the worker does not have"),
        ("send('Roomed', action, 1, 1, 64)", "a message of kind 'Roomed' has no place here"),
    ],
)
def test_a_word_about_arenas_that_is_out_of_turn_ends_the_worker(
    code: str, expected: str, plan: LockdownPlan, bench: Benches, owned: str
) -> None:
    each = bench()
    most = plan.limits.result_bytes + (64 << 10)
    executed = each.run(owned + code + "\nwhile True: pass", {"a": np.zeros(BYTES, np.uint8)})
    assert executed.death == Death("violation", expected.format(most=most))
    assert each.run("1 + 1").value == 2


def test_an_arena_of_an_earlier_action_is_none_of_this_one(bench: Benches, owned: str) -> None:
    each = bench()
    assert each.run(owned + "room(1 << 20)", task=True).kind == "finished"
    executed = each.run(owned + "send('Succeeded', action, [b'x', 0, [[0, 8]]])\nwhile True: pass", task=True)
    assert executed.death == Death("violation", "buffers were placed where there is no arena")


def test_asking_for_ever_more_room_gives_no_more_than_two_arenas(bench: Benches, owned: str) -> None:
    code = "sizes = {session._channel.descriptor: 0}\nfor power in range(20, 28):\n    room(1 << power)\n"
    code += "session._arenas._output = None\nprint(sum(os.fstat(n).st_size for n in arenas()) >> 20)"
    executed = bench().run(owned + code, task=True)
    assert executed.kind == "finished" and int(executed.stdout or 0) <= 384


def test_a_worker_that_lets_go_of_nothing_takes_few_descriptors_of_this_process(bench: Benches, owned: str) -> None:
    """It throws away the descriptors of the arenas that it is answered in, and never says so."""
    before, most = len(os.listdir("/proc/self/fd")), 0

    def large() -> bytes:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))
        return bytes(MIN_BYTES)

    code = """
import agex_protocol.messages as m
for call in range(1, 200):
    send("Call", action, call, "large", [])
    while type(session._channel.receive(m.ToWorker)).__name__ != "Answer":
        pass
    for descriptor in session._channel.take_descriptors():
        os.close(descriptor)
"""
    executed = bench(large=large).run(owned + code)
    assert executed.kind == "finished"
    # Besides these what a new worker takes.
    assert most - before <= 2 * arenas.MAX_GIVEN + 20


def test_what_a_worker_changes_while_it_is_looked_at_is_neither_let_through_nor_seen_later(
    bench: Benches, owned: str
) -> None:
    """A mask of 0 and 1 in the arena, which a thread fills with other bytes all the time."""
    masks: list[Any] = []

    def take(mask: np.ndarray[Any, np.dtype[np.bool_]]) -> None:
        masks.append((mask, mask.tobytes()))

    code = """
import threading
size = 1 << 20
memory = room(size + (1 << 18))

def scribble():
    good, bad = b"\\x01" * size, b"\\x02" * 4096
    while True:
        memory[:size] = good
        memory[size - 4096:size] = bad

def listen():
    while True:
        answer = session._channel.receive(m.ToWorker)
        if type(answer).__name__ == "Answer":
            return

import agex_protocol.messages as m
threading.Thread(target=scribble, daemon=True).start()
head = msgpack.packb(["|b1", [size], "C", 0])
for number in range(2, 100):
    send("Call", action, number, "take", [["mask", [head, 0, [[0, size]]]]])
    listen()
"""
    executed = bench(take=take).run(owned + code)
    # Every one that came through is what it was when it was checked; the first that was caught ended the worker.
    assert all(mask.tobytes() == then and set(then) <= {0, 1} for mask, then in masks)
    if executed.death is not None:
        assert executed.death.cause == "violation"
        assert "an array of bool has bytes other than 0 and 1" in executed.death.detail


def test_what_was_copied_ahead_belongs_to_one_value_only(bench: Benches, owned: str) -> None:
    """The same bytes as a mask and as numbers, of which the supervisor copied the first while they were written."""
    given: list[Any] = []

    def take(mask: np.ndarray[Any, Any]) -> None:
        given.append(mask)

    code = """
import agex_protocol.messages as m
size = 8 << 20
memory = room(size)
memory[:] = b"\\x01" * size
send("Filled", action, size // 2)
for call, dtype in enumerate(("|b1", "|u1", "|b1"), 2):
    send("Call", action, call, "take", [["mask", [msgpack.packb([dtype, [size // 2], "C", 0]), 0, [[0, size // 2]]]]])
    session._channel.receive(m.ToWorker)
send("Filled", action, size)
while True: pass
"""
    each = bench(take=take)
    with each.ahead():
        executed = each.run(owned + code)
    assert executed.death == Death("violation", f"{8 << 20} bytes of room were filled, of 0 that were asked for")
    first, second, third = given
    second[:] = 2
    assert set(first.tobytes()) == set(third.tobytes()) == {1}


def held_bytes(array: Any) -> int:
    """The memory that lasts as long as an array does."""
    under: Any = array
    while (below := under.obj if isinstance(under, memoryview) else getattr(under, "base", None)) is not None:
        under = below
    return memoryview(under).nbytes


SMALL_IN_LARGE = """
import agex_protocol.messages as m
size = 64 << 20
memory = room(size)
memory[:] = b"\\x01" * size
"""


def test_a_small_value_holds_no_large_memory_however_much_was_copied_ahead(bench: Benches, owned: str) -> None:
    given: list[Any] = []

    def take(mask: np.ndarray[Any, Any]) -> None:
        given.append(mask)

    code = f"""{SMALL_IN_LARGE}
send("Filled", action, size)
send("Call", action, 2, "take", [["mask", [msgpack.packb(["|b1", [4096], "C", 0]), 0, [[0, 4096]]]]])
session._channel.receive(m.ToWorker)
"""
    each = bench(take=take)
    with each.ahead():
        assert each.run(owned + code).kind == "finished"
    assert (set(given[0].tobytes()), held_bytes(given[0])) == ({1}, 4096)


def test_a_small_value_of_a_dead_worker_holds_no_large_arena(pool: Pool, bench: Benches, owned: str) -> None:
    code = f"""{SMALL_IN_LARGE}
send("Finished", action, [msgpack.packb(["|u1", [5 << 20], "C", 0]), 0, [[0, 5 << 20]]])
while True: pass
"""
    value = bench(pool).run(owned + code, returns=ARRAY).value
    assert (set(value.tobytes()), held_bytes(value)) == ({1}, 8 << 20)


def test_a_value_is_copied_to_no_memory_of_much_larger_ones() -> None:
    stock = ArenaStock()
    large = stock.private(64 << 20)
    del large
    gc.collect()
    small, fitting = stock.private(5 << 20), stock.private(60 << 20)
    assert (held_bytes(small), held_bytes(fitting), stock.idle_bytes()) == (8 << 20, 64 << 20, 0)
    stock.close()


# --- whose bytes are seen ---------------------------------------------------------------------------------------------

FILL = """
import mmap
memory = room(3 << 20)
for number in list(arenas()):
    print(os.fstat(number).st_ino)
    try:
        whole = mmap.mmap(number, os.fstat(number).st_size)
    except OSError:
        continue  # inputs: the secret is in them
    whole[:] = bytes(inputs.a[:24]).ljust(64) * (len(whole) // 64)
sys.stdout.flush()
ready()
"""
# What there is in all arenas that it was given: their inodes, and whether anything but zeros is in them.
SCAN = """
import mmap
room(3 << 20)
for number in list(arenas()):
    whole = mmap.mmap(number, os.fstat(number).st_size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    print(os.fstat(number).st_ino, len(whole) - whole[:].count(b"\\x00"))
"""


def scanned(executed: Executed) -> tuple[set[str], set[str]]:
    """The inodes, and how many bytes were no zeros."""
    lines = [line.split() for line in executed.stdout.splitlines()]
    return {inode for inode, _ in lines}, {count for _, count in lines}


@pytest.mark.parametrize("end", ["", "os.abort()", "while True: pass"])
def test_an_arena_of_another_session_holds_none_of_its_bytes(end: str, pool: Pool, bench: Benches, owned: str) -> None:
    ready = threading.Event()
    one, other = bench(pool, ready=ready.set), bench(pool)
    zeros = {"a": np.zeros(3 * BYTES, np.uint8)}
    secret = {"a": np.frombuffer(SECRET * (3 * BYTES // len(SECRET)), np.uint8)}
    told: list[Executed] = []
    thread = threading.Thread(target=lambda: told.append(one.run(owned + FILL + end, secret, task=True)))
    thread.start()
    assert ready.wait(60)
    meanwhile, others = scanned(other.run(owned + SCAN, zeros, task=True))
    if end.startswith("while"):
        one.executor.cancel()
    thread.join()
    one.executor.close()
    third = bench(pool)
    afterwards, more = scanned(third.run(owned + SCAN, zeros, task=True))
    filled = set(told[0].stdout.split())
    assert others == more == {"0"}
    # While its worker lived, both arenas were its own; afterwards they were used again.
    assert len(filled) == 2 and filled & (afterwards | meanwhile)
    assert end == "os.abort()" or not filled & meanwhile


def test_a_worker_that_says_that_it_dropped_its_inputs_never_sees_those_of_another_session(
    pool: Pool, bench: Benches, owned: str
) -> None:
    liar, other = bench(pool), bench(pool)
    code = owned + (
        "import mmap, sys\n(number, *more) = arenas()\nsys.kept = mmap.mmap(number, os.fstat(number).st_size, mmap.MAP_SHARED,"
        " mmap.PROT_READ)\n"
    )
    assert liar.run(code, {"a": np.zeros(BYTES, np.uint8)}, task=True).kind == "finished"
    assert other.run("len(a)", {"a": np.frombuffer(SECRET * 50_000, np.uint8)}).kind == "finished"
    seen = liar.run("import sys\nprint(sys.kept[:].count(b'secret'))", task=True)
    assert seen.stdout == "0\n"


def test_arenas_of_processes_that_can_leave_others_behind_are_never_given_to_another_session(
    pool: Pool, plan: LockdownPlan, bench: Benches
) -> None:
    loose = replace(plan, isolation="process", namespaces="off")
    each = bench(pool, loose)
    assert each.run("a", {"a": np.zeros(BYTES, np.uint8)}).kind == "finished"
    each.executor.close()
    assert pool.arenas.idle_bytes() == 0


# --- what stays -------------------------------------------------------------------------------------------------------


def test_a_value_of_a_dead_worker_is_the_callers_own_until_its_last_view_is_gone(pool: Pool, bench: Benches) -> None:
    one, other = bench(pool), bench(pool)
    value = one.run("import numpy as np\nnp.arange(1 << 20)", returns=ARRAY).value
    part = value[100:200][::2]
    del value
    for run in range(3):
        assert other.run(f"import numpy as np\nnp.full(1 << 20, {run})", returns=ARRAY).value[0] == run
    assert (part == np.arange(100, 200, 2)).all()
    part += 1
    assert (part == np.arange(101, 201, 2)).all()


def test_a_value_that_cannot_be_mapped_is_copied(bench: Benches, monkeypatch: pytest.MonkeyPatch) -> None:
    def lent(self: Arena, size: int) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Arena, "lent", lent)
    value = bench().run("import numpy as np\nnp.arange(1 << 20)", returns=ARRAY).value
    assert (value == np.arange(1 << 20)).all()


def test_memory_of_values_is_used_again_when_they_are_gone_and_not_before(pool: Pool, bench: Benches) -> None:
    each = bench(pool)
    values = [each.run(f"import numpy as np\nnp.full(1 << 20, {run})", returns=ARRAY).value for run in range(3)]
    assert [int(value[-1]) for value in values] == [0, 1, 2]
    gc.collect()
    before = pool.arenas.idle_bytes()
    values.clear()
    assert pool.arenas.idle_bytes() - before == 3 * (8 << 20)


def test_what_is_lent_when_a_process_is_forked_is_never_written_again() -> None:
    stock = ArenaStock()
    tenant = Tenant(confined=True)
    arena = stock.take(8 * BYTES, tenant, inward=False)
    assert arena is not None
    view = stock.lend(arena, 8 * BYTES)
    assert view is not None
    stock.release(arena)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    del view
    assert stock.take(8 * BYTES, tenant, inward=False) is not arena
    assert arena.descriptor == -1
    stock.close()


def test_only_so_much_is_lent_at_once_and_nothing_that_a_worker_could_still_change() -> None:
    stock, alive = ArenaStock(), threading.Event()
    size = 4 * BYTES
    lent: list[memoryview | None] = []
    for _ in range(arena_stock.MAX_LENT + 1):
        arena = stock.take(size, Tenant(confined=True), inward=False)
        assert arena is not None
        lent.append(stock.lend(arena, size))
        stock.release(arena)
    assert [view is None for view in lent] == [False] * arena_stock.MAX_LENT + [True]
    lent.clear()
    arena = stock.take(size, Tenant(confined=True), inward=False)
    assert arena is not None
    assert stock.lend(arena, size - 1) is None
    stock.claim(arena)
    stock.release(arena, alive)
    assert stock.lend(arena, size) is None
    alive.set()
    assert stock.lend(arena, size) is not None
    loose = stock.take(size, Tenant(confined=False), inward=False)
    assert loose is not None and loose is not arena and stock.lend(loose, size) is None
    stock.close()


def test_idle_arenas_are_freed_after_a_while_and_beyond_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = ArenaStock()
    tenant = Tenant(confined=True)
    made = [stock.take(BYTES, tenant, inward=True) for _ in range(3)]
    for arena in made:
        assert arena is not None
        arena.write(_filled(BYTES))
        stock.release(arena)
    assert stock.idle_bytes() == 3 * BYTES
    monkeypatch.setattr(arena_stock, "IDLE_BYTES", 2 * BYTES)
    assert stock.idle_bytes() == 2 * BYTES
    assert [arena.descriptor == -1 for arena in made if arena is not None] == [True, False, False]
    stock.free_idle(made[2].idle_since + IDLE_S)  # type: ignore[union-attr]
    assert stock.idle_bytes() == 0
    stock.close()


def test_an_arena_is_wiped_where_it_was_written_and_takes_no_memory_where_it_was_not() -> None:
    arena = Arena(64 * BYTES, inward=False)
    whole = mmap.mmap(arena.descriptor, arena.size)
    whole[5 * BYTES : 6 * BYTES] = b"x" * BYTES
    whole[-1:] = b"x"
    before = arena.resident_bytes
    arena.wipe()
    assert arena.resident_bytes == before <= BYTES + 2 * mmap.PAGESIZE
    assert whole[:].count(0) == arena.size
    whole.close()
    arena.close()


def test_arenas_are_sealed_and_hold_no_program() -> None:
    made = {inward: Arena(BYTES, inward=inward) for inward in (True, False)}
    seals = {inward: fcntl.fcntl(arena.descriptor, fcntl.F_GET_SEALS) for inward, arena in made.items()}
    sealed = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
    assert seals[False] & 0x1F == sealed
    assert seals[True] & 0x1F == sealed | 0x10


@pytest.fixture(params=["root", "nobody"])
def huge(request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """Runs a program that has an arena of huge pages, which it calls `arena`; gives what it prints."""
    user = need_nobody() if request.param == "nobody" else None
    arena = "from agex_supervisor.arena import Arena; arena = Arena(1 << 25, inward=True)"

    def run(program: str) -> str:
        whole = f"import errno, mmap, os, sys\n{arena}\nif not os.fstatvfs(arena.descriptor).f_flag & os.ST_NOEXEC: sys.exit(77)\n"
        done = subprocess.run(
            [sys.executable, "-c", whole + program], user=user, group=user, cwd="/", capture_output=True
        )
        if done.returncode == 77:
            pytest.skip("this machine lets nobody mount a file system of their own")
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode()

    yield run


def test_the_descriptor_of_an_arena_with_huge_pages_cannot_be_made_one_to_write_with(
    huge: Callable[[str], str],
) -> None:
    program = """
again = f"/proc/self/fd/{arena.descriptor}"
def refused(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
print(
    refused(os.open, again, os.O_RDWR),
    refused(os.truncate, again, 0),
    refused(os.fchmod, arena.descriptor, 0o777),
    refused(os.utime, arena.descriptor),
    refused(os.link, again, "/tmp/agex-arena"),
    refused(mmap.mmap, arena.descriptor, 1 << 25, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC),
    os.fstat(arena.descriptor).st_nlink,
)
"""
    assert huge(program) == "EROFS EROFS EROFS EROFS EXDEV EPERM 0\n"


def test_an_arena_with_huge_pages_is_wiped_where_it_was_written_and_takes_no_memory_elsewhere(
    huge: Callable[[str], str],
) -> None:
    program = """
from agex_protocol.placing import Parted
arena.write(Parted(b"", [b"x" * 5_000_000]))
seen = mmap.mmap(arena.descriptor, arena.size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
before = seen[:5_000_001].count(b"x")
arena.wipe()
resident = arena.resident_bytes
print(before, resident <= 6 << 20, seen[:].count(0) == arena.size)
"""
    assert huge(program) == "5000000 True True\n"


def test_where_there_are_no_huge_pages_an_arena_is_a_sealed_memory_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huge_pages.sys, "executable", "/bin/false")
    none = HugePages()
    assert none.file(huge_pages.MIN_BYTES) is None
    monkeypatch.setattr(arena_module, "HUGE_PAGES", none)
    arena = Arena(huge_pages.MIN_BYTES, inward=True)
    assert fcntl.fcntl(arena.descriptor, fcntl.F_GET_SEALS) & 0x10
    arena.close()


def test_no_descriptor_is_left_after_many_runs(
    shared: Pool, bench: Benches, open_descriptors: Callable[[], set[str]]
) -> None:
    def names() -> list[str]:
        gc.collect()
        return sorted(each.partition(" ")[2] for each in open_descriptors() if "agex-arena" in each)

    shared.arenas.free_idle(float("inf"))
    outside = len(names())  # of other pools in this process
    each = bench(ask=lambda: bytes(BYTES))
    code = "ask(); a = inputs.a[::2]; print(len(a))"
    for _ in range(3):
        each.run(code, {"a": np.zeros(BYTES, np.uint8)}, task=True)
    before = names()
    for _ in range(60):
        assert each.run(code, {"a": np.zeros(BYTES, np.uint8)}, task=True).kind == "finished"
    assert len(names()) <= len(before)
    each.executor.close()
    shared.arenas.free_idle(float("inf"))
    assert len(names()) <= outside


def _filled(size: int) -> Any:
    from agex_protocol.placing import Parted

    return Parted(b"", [b"x" * size])
