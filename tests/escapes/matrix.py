"""What a cell of the promise matrix is proven with: workers that have chosen mechanisms only, and payloads for each promise.

Bytes and counts are small, so that a payload that escapes does no harm.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from dataclasses import replace

import agex
from agex_policies.compile import compile_plan
from agex_protocol import messages as m
from agex_protocol.buffers import enclose
from agex_protocol.plan import Limits, LockdownPlan, SandboxPlan
from agex_supervisor.cgroup import OVERHEAD_BYTES, Groups
from agex_supervisor.contract import Contract
from agex_supervisor.outbound import dump, dump_bindings
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.promises import CELLS, CGROUP, FLOOR, NAMESPACES, RLIMITS, SECCOMP, WATCH, Cell, Mechanism
from agex_supervisor.watch import Watch
from agex_supervisor.worker import Worker
from tests.escapes import test_files, test_metadata, test_network, test_processes, test_programs
from tests.escapes.conftest import LIBC, Ended, World

MIB = 1 << 20
SMALL = Limits(
    memory_bytes=64 * MIB,
    cpu_time_s=0.3,  # the kernel's own limit is two seconds then
    threads=16,
    open_files=32,
    file_size_bytes=16 * MIB,
    workspace_size_bytes=4 * MIB,
    workspace_files=64,
)
LARGE = replace(SMALL, memory_bytes=1 << 40, cpu_time_s=1e6, file_size_bytes=1 << 40, open_files=256)
_NO_WATCH = replace(LARGE, threads=1 << 20, workspace_size_bytes=1 << 40, workspace_files=1 << 40)
_TOO_MUCH = 2 * (SMALL.memory_bytes + SMALL.workspace_size_bytes + OVERHEAD_BYTES)

_ATTACKS = {
    attack.name: attack.source
    for module in (test_files, test_metadata, test_network, test_processes)
    for attack in module.ATTACKS
}

# promise -> payloads: code that ends with REACHED where it escapes
PAYLOADS: dict[str, tuple[str, ...]] = {
    "files.read": (_ATTACKS["read a file of the same user"], _ATTACKS["list a directory"]),
    "files.write": (_ATTACKS["write a new file"], _ATTACKS["truncate a file"], _ATTACKS["truncate a file by libc"]),
    "files.metadata": (_ATTACKS["change a mode"], _ATTACKS["change a time"], _ATTACKS["go into a directory"]),
    "network": (
        _ATTACKS["connect by TCP"],
        _ATTACKS["send by UDP"],
        _ATTACKS["connect to a socket in the file system"],
        _ATTACKS["connect to an abstract socket"],
    ),
    "programs": (test_programs.BY_SUBPROCESS,),
    "processes": (_ATTACKS["fork"], _ATTACKS["fork by libc"]),
    "signals": (
        _ATTACKS["signal the supervisor"],
        _ATTACKS["signal the zygote"],
        _ATTACKS["signal the supervisor by a pidfd"],
        _ATTACKS["signal a thread of the supervisor"],
    ),
    "introspection": (
        _ATTACKS["read of the supervisor"],
        _ATTACKS["look at the limits of the supervisor"],
        _ATTACKS["look at the group of the supervisor"],
    ),
    "memory": (
        f"kept = b'x' * {_TOO_MUCH}\nREACHED",
        "import os\n"
        f"for _ in range({_TOO_MUCH // SMALL.file_size_bytes + 1}):\n"
        "    file = os.memfd_create('x')\n"
        f"    for _ in range({SMALL.file_size_bytes // MIB}): os.write(file, bytes({MIB}))\n"
        "REACHED",
    ),
    "cpu": ("import time\nwhile time.process_time() < 2.3: pass\nREACHED",),
    "disk": (
        _ATTACKS["write a new file"],
        f"open('large', 'wb').truncate({SMALL.file_size_bytes + 1})\nREACHED",
        f"for n in range({2 * SMALL.workspace_size_bytes // MIB}):\n    open(str(n), 'wb').write(bytes({MIB}))\nREACHED",
    ),
    "descriptors": (f"import os\nos.dup2(0, {SMALL.open_files})\nREACHED",),
}


def run_with(
    pool: Pool, world: World, code: str, on: Collection[Mechanism], look: Callable[[Worker], object] | None = None
) -> Ended:
    """How the code ends in a worker that of the mechanisms which can be left out has these only. `look` is given it then."""
    place = pool.checkout(Kit(plan_with(on)), pool.new_workspace())
    worker, groups = place.worker, None
    try:
        # No worker is without a watch, and none with limits other than its own: here it has.
        watch = Watch(worker.pid, SMALL if WATCH in on else _NO_WATCH, [worker.slot.place])
        worker._watch = watch  # pyright: ignore[reportPrivateUsage]  # nothing else may ever set it
        if CGROUP in on:
            groups = Groups(f"agex-test-{secrets.token_hex(4)}")
            worker.group = groups.new(1, SMALL)
            worker.group.join(worker.pid)
        begin(worker)
        ended = run_in(worker, world, code)
        if look is not None:
            look(worker)
        return ended
    finally:
        pool.checkin(place)
        if groups is not None:
            groups.close()


def begin(worker: Worker) -> None:
    assert worker.begin(m.Begin(SandboxPlan(mode="full"), dump_bindings({}), (), worker.slot.workspace)) == ""


def run_in(worker: Worker, world: World, code: str) -> Ended:
    """How the code ends in a worker that has begun."""
    contract = Contract.of(str, where="result")
    action = secrets.token_bytes(16)
    first, inputs = enclose(action, *dump(world.told()))
    asked = m.Run(action, code, inputs, contract.shape.to_bytes(), False)
    turn = worker.run(asked, first, timeout_s=60, on_call=lambda call, values: ())
    if turn.death is not None:
        return Ended("killed", None, turn.death.cause, turn.death.detail)
    if isinstance(turn.ending, m.Raised):
        return Ended("error", None, turn.ending.type, turn.ending.message)
    return Ended("ok", contract.decode(turn.head, turn.buffers), "", "")


def plan_with(on: Collection[Mechanism], write: tuple[str, ...] = ()) -> LockdownPlan:
    """write: paths granted beyond the policy's."""
    plan = replace(compile_plan(agex.Policy.load("full-python"), "kernel"), explain=False, cgroup="off")
    plan = replace(
        plan,
        write=(*plan.write, *write),
        limits=SMALL if RLIMITS in on else LARGE,
        landlock_abi=max((each.least for each in on), default=0),
        namespaces="required" if NAMESPACES in on else "off",
    )
    return plan if SECCOMP in on else replace(plan, seccomp=b"", seccomp_told=b"", seal=b"")


def exactly(promise: str, cell: Cell) -> frozenset[Mechanism]:
    """The cell, and what of the floor is in no cell of this promise."""
    in_cells = {each.layer for other in CELLS[promise] for each in other}
    return cell | {each for each in FLOOR if each.layer not in in_cells}


# The smallest program there is, which leaves with status 7; in a memory file, which is no file to Landlock.
EXECUTE_A_MEMORY_FILE = (
    LIBC
    + r"""
import struct
code = b'\xbf\x07\0\0\0\xb8\x3c\0\0\0\x0f\x05'
head = b'\x7fELF\2\1\1' + bytes(9) + struct.pack('<HHIQQQIHHHHHH', 2, 62, 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
load = struct.pack('<IIQQQQQQ', 1, 5, 0, 0x400000, 0x400000, 120 + len(code), 120 + len(code), 4096)
file = os.memfd_create('x')
os.write(file, head + load + code)
os.execve(file, ['x'], {})
"""
)
