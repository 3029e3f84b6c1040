"""The promise matrix, cell by cell: each holds its promise with exactly its members, and with any one of them gone it does not.

"Exactly": of the mechanisms that are in any cell of the promise, only those of this one; the rest of the floor stays.
Members that no worker can be without are shown by themselves, at the end: what they stop goes on where they are not used.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import platform
import select
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from agex_policies.machine import Machine
from agex_protocol.codec import unpack_message
from agex_protocol.errors import ProtocolError
from agex_protocol.messages import ToSupervisor
from agex_supervisor.cgroup import Groups
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.promises import CELLS, CGROUP, NAMESPACES, SECCOMP, Cell, Mechanism
from agex_supervisor.worker import Worker
from tests.escapes.conftest import LIBC, REACHED, Ended, World
from tests.escapes.matrix import EXECUTE_A_MEMORY_FILE, PAYLOADS, begin, exactly, plan_with, run_in, run_with

# Shown at the end of this file; a worker cannot be without them, or nothing that it does tells.
APART = {"parent", "slot", "typed channel", "descriptors"}
WALKED = [(promise, cell) for promise, cells in CELLS.items() if promise in PAYLOADS for cell in cells]
MACHINE = Machine.detect()
needs_namespaces = pytest.mark.skipif(bool(MACHINE.no_namespaces), reason=f"no namespaces: {MACHINE.no_namespaces}")
ALONE: Cell = frozenset({NAMESPACES})
REFUSALS = {"PermissionError", "FileNotFoundError", "ProcessLookupError", "MemoryError", "limit", "signal", "memory"}


def name(part: object) -> str:
    return "+".join(sorted(each.layer for each in part)) if isinstance(part, frozenset) else str(part)


@pytest.fixture(autouse=True)
def cell_that_this_machine_has(request: pytest.FixtureRequest) -> None:
    cell: Cell = request.getfixturevalue("cell") if "cell" in request.fixturenames else frozenset()
    least = max((each.least for each in cell), default=0)
    if least > MACHINE.landlock_abi:
        pytest.skip(f"needs Landlock ABI {least}, this kernel has {MACHINE.landlock_abi}")
    if NAMESPACES in cell and MACHINE.no_namespaces:
        pytest.skip(f"no namespaces: {MACHINE.no_namespaces}")
    if CGROUP in cell:
        groups = Groups("agex-test")
        groups.close()
        if groups.unavailable:
            pytest.skip(f"no control groups: {groups.unavailable}")


@pytest.mark.parametrize(("promise", "cell"), WALKED, ids=name)
def test_a_cell_holds_its_promise_and_no_part_of_it_does(promise: str, cell: Cell, pool: Pool, world: World) -> None:
    whole = exactly(promise, cell)
    ended = [_tried(pool, world, code, whole) for code in PAYLOADS[promise]]
    print(f"{promise} with {name(cell)}:", *ended, sep="\n  ")

    assert [each for each in ended if each.value == REACHED or not _is_refusal(each)] == []
    for gone in sorted(cell, key=str):
        if gone.layer in APART:
            continue
        without = [_tried(pool, world, code, whole - {gone}) for code in PAYLOADS[promise]]
        print(f"without {gone}:", *without, sep="\n  ")
        assert REACHED in [each.value for each in without], (promise, str(gone), without)


def test_every_cell_is_tried_and_every_promise_has_one() -> None:
    assert all(CELLS.values())
    assert CELLS.keys() - PAYLOADS.keys() == {"leftovers", "channel"}
    assert {each.layer for _, cell in WALKED for each in cell} | APART == {
        each.layer for cells in CELLS.values() for cell in cells for each in cell
    }


@pytest.mark.parametrize("promise", CELLS)
def test_no_cell_holds_more_than_it_must(promise: str) -> None:
    cells = [{each.layer for each in cell} for cell in CELLS[promise]]
    assert not any(one < other for one in cells for other in cells)


@pytest.mark.parametrize(("promise", "abi"), [("files.write", 2), ("signals", 5)])
def test_an_older_landlock_than_the_matrix_wants_lets_a_payload_out(
    promise: str, abi: int, pool: Pool, world: World
) -> None:
    on = exactly(promise, frozenset({Mechanism("landlock", abi)}))

    assert REACHED in [_tried(pool, world, code, on).value for code in PAYLOADS[promise]]


# --- layers that are in no cell of a promise although they stop most of its payloads ---


@needs_namespaces
def test_in_a_view_of_its_own_modes_of_what_is_granted_can_be_changed(pool: Pool, world: World) -> None:
    code = LIBC + "ask('chmod', f'{outside}/secret.txt'.encode(), 0o4777)\nREACHED"

    ended = _granted(pool, world, code, exactly("files.metadata", ALONE) - {SECCOMP})

    assert (ended.value, (world.outside / "secret.txt").stat().st_mode & 0o7777) == (REACHED, 0o4777), ended


@needs_namespaces
def test_in_a_network_of_its_own_a_socket_in_a_granted_folder_is_reached(pool: Pool, world: World) -> None:
    code = "import socket\nsocket.socket(socket.AF_UNIX).connect(unix_path)\nREACHED"

    ended = _granted(pool, world, code, exactly("network", ALONE) - {SECCOMP})

    assert (ended.value, world.untouched()) == (REACHED, False), ended


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the program is of x86_64")
def test_under_landlock_a_program_in_a_memory_file_is_started(pool: Pool, world: World) -> None:
    newest = frozenset({Mechanism("landlock", MACHINE.landlock_abi)})

    ended = run_with(pool, world, EXECUTE_A_MEMORY_FILE, exactly("programs", newest) - {SECCOMP})

    assert (ended.status, ended.error, ended.detail[-13:]) == ("killed", "exit", "exit status 7"), ended


@needs_namespaces
def test_a_worker_is_in_no_process_group_with_others(world: World) -> None:
    """A process group spans process namespaces: without one of its own, kill(0) would end all workers of its zygote."""
    pool = Pool(max_workers=2, spares=0)
    kit = Kit(plan_with(exactly("signals", ALONE) - {SECCOMP}))
    one, other = (pool.checkout(kit, pool.new_workspace()) for _ in range(2))
    beside = os.pidfd_open(other.worker.pid)
    try:
        begin(one.worker)
        reaches = _ends(beside, lambda: run_in(one.worker, world, "import os\nos.kill(0, 9)\nREACHED"))
    finally:
        _end(beside)
        for place in (one, other):
            pool.checkin(place)
        pool.close()

    assert not reaches


# --- leftovers: what stays is a matter of what is there after the worker's end ---


@pytest.mark.parametrize("cell", CELLS["leftovers"], ids=name)
def test_nothing_stays_after_the_zygote_and_without_a_member_of_the_cell_something_does(
    cell: Cell, pool: Pool, world: World
) -> None:
    whole = exactly("leftovers", cell)

    assert _stays(pool, world, whole) == (False, False)
    gone = SECCOMP if SECCOMP in cell else NAMESPACES
    assert _stays(pool, world, whole - {gone}) == (True, True)


@pytest.mark.parametrize("cell", CELLS["leftovers"], ids=name)
def test_what_a_worker_leaves_in_its_slot_is_there_for_the_next_run_in_it_and_for_no_other_worker(
    cell: Cell, pool: Pool, world: World
) -> None:
    leave = "import os\nleft = os.path.join(os.environ['HOME'], 'left')\n"
    leave += "found = os.path.exists(left)\nopen(left, 'w').close()\nREACHED if found else ''"
    kit, workspace = Kit(plan_with(exactly("leftovers", cell))), pool.new_workspace()
    found: list[object] = []
    for _ in range(2):
        place = pool.checkout(kit, workspace)
        try:
            begin(place.worker)
            found += [run_in(place.worker, world, leave).value for _ in range(2)]
        finally:
            pool.checkin(place)

    assert found == ["", REACHED, "", REACHED]


@pytest.mark.parametrize("asked", [True, False])
def test_only_what_asked_to_die_with_its_parent_does(asked: bool) -> None:
    program = (
        "import os, signal\nfrom agex_worker.lockdown import parent\nabove = os.getpid()\n"
        "if not os.fork():\n"
        f"    if {asked}: parent.die_with(above)\n"
        "    print(os.getpid(), flush=True)\n"
        "signal.pause()\n"
    )
    above = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert above.stdout is not None
    below = os.pidfd_open(int(above.stdout.readline()))
    try:
        assert _ends(below, above.kill) is asked
    finally:
        above.wait()
        above.stdout.close()
        _end(below)


# --- members of the floor and of the supervisor, by themselves ---


@pytest.mark.parametrize("used", [True, False])
def test_an_inherited_descriptor_is_of_use_only_where_it_is_not_closed(used: bool, world: World) -> None:
    with open(world.outside / "secret.txt") as secret:
        program = (
            "import os\nfrom agex_worker.lockdown import descriptors\n"
            f"if {used}: descriptors.close_others({{0, 1, 2}})\n"
            f"print(os.pread({secret.fileno()}, 6, 0))"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], pass_fds=(secret.fileno(),), capture_output=True, text=True, timeout=60
        )

    assert ("Bad file descriptor" in done.stderr, done.stdout) == ((True, "") if used else (False, "b'secret'\n"))


def test_bytes_that_would_run_code_when_unpickled_are_refused_by_the_typed_channel() -> None:
    hostile = pickle.dumps(_Hostile())

    with pytest.raises(ProtocolError):
        unpack_message(hostile, ToSupervisor)
    assert pickle.loads(hostile) == REACHED


class _Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return str, (REACHED,)


# --- how ---


def _tried(pool: Pool, world: World, code: str, on: frozenset[Mechanism]) -> Ended:
    secret = world.outside / "secret.txt"
    (world.outside / "new").unlink(missing_ok=True)
    secret.write_text("secret")
    secret.chmod(0o640)
    return run_with(pool, world, code, on)


def _granted(pool: Pool, world: World, code: str, on: frozenset[Mechanism]) -> Ended:
    """As run_with, where the files outside are granted for writing."""
    place = pool.checkout(Kit(plan_with(on, (str(world.outside),))), pool.new_workspace())
    try:
        begin(place.worker)
        return run_in(place.worker, world, code)
    finally:
        pool.checkin(place)


def _is_refusal(ended: Ended) -> bool:
    return ended.error in REFUSALS or (ended.error == "OSError" and ended.detail.startswith("[Errno "))


def _stays(pool: Pool, world: World, on: frozenset[Mechanism]) -> tuple[bool, bool]:
    """Whether the worker outlives its zygote, and whether shared memory outlives the worker."""
    key = 0x6A67_0000 + os.getpid() % 0x1_0000
    code = (
        f"{LIBC}for call in (('prctl', 1, 0, 0, 0, 0), ('shmget', KEY, 4096, 0o1600)):\n"
        "    try: ask(*call)\n"
        "    except PermissionError: pass\n"
        "REACHED"
    ).replace("KEY", str(key))
    alive: list[bool] = []

    def end_the_zygote(worker: Worker) -> None:
        pidfd = os.pidfd_open(worker.pid)
        try:
            alive.append(not _ends(pidfd, worker.zygote.close))
        finally:
            _end(pidfd)

    run_with(pool, world, code, on, look=end_the_zygote)
    return alive[0], _remove_shared_memory(key)


def _remove_shared_memory(key: int) -> bool:
    """Whether there was such a segment; there is none afterwards."""
    libc = ctypes.CDLL(None)
    segment: int = libc.shmget(key, 0, 0)
    return segment >= 0 and bool(libc.shmctl(segment, 0, None) == 0)


def _ends(pidfd: int, act: Callable[[], object]) -> bool:
    """Whether a process ends once this is done: a second is far more than it takes."""
    act()
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(1000))


def _end(pidfd: int) -> None:
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(pidfd)
