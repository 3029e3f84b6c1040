"""Real pools and locked workers, driven without the loop; and code that speaks to the channel behind our worker's back."""

from __future__ import annotations

import os
import pickle
import secrets
import select
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import msgpack
import pytest

from agex_policies.compile import compile_plan
from agex_policies.schema import Policy
from agex_protocol import messages as m
from agex_protocol.buffers import enclose
from agex_protocol.plan import LockdownPlan, SandboxPlan
from agex_protocol.shapes import ANY
from agex_supervisor.place import Place
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.scratch import remove_tree
from agex_supervisor.turn import OnCall, Turn
from agex_supervisor.worker import Worker

# Only to find a hang: no test is about how long anything takes.
HANG_S = 60.0

TEMPORARY = tempfile.gettempdir()

# What hostile code has: the socket, the id of its action, and a way to write whatever it likes.
CHANNEL = """
import msgpack, os, stat, struct, sys

def find_channel():
    for number in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                return number
        except OSError:
            pass

def find_action():
    frame = sys._getframe()
    while "run" not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals["run"].action

channel, action = find_channel(), find_action()

def write(data):
    while data:
        data = data[os.write(channel, data):]

def frame(*parts):
    data = msgpack.packb(parts)
    return struct.pack("<I", len(data)) + data

def send(*parts):
    write(frame(*parts))
"""


def no_calls(call: m.Call, values: list[Any]) -> Iterable[object]:
    raise AssertionError(f"{call.name} was called")


@dataclass
class Hired:
    """A checked out worker whose session has begun."""

    place: Place
    kit: Kit

    @property
    def worker(self) -> Worker:
        return self.place.worker

    def run(
        self,
        code: str,
        inputs: Mapping[str, object] | None = None,
        *,
        buffers: Iterable[bytes] = (),
        timeout_s: float = HANG_S,
        on_call: OnCall = no_calls,
    ) -> Turn:
        """Run code as a script. `buffers` are sent before it and make a worker that reads them refuse the inputs."""
        action = secrets.token_bytes(16)
        surplus = (message for buffer in buffers for message in enclose(action, b"", [buffer])[0])
        run = m.Run(action, code, m.Encoded(pickle.dumps(dict(inputs or {}), protocol=5)), ANY.to_bytes(), False)
        return self.worker.run(run, surplus, timeout_s=timeout_s, on_call=on_call)

    @property
    def workspace(self) -> Path:
        """The workspace that it has now, as this process can reach it."""
        place = self.worker.slot.place
        return (place if isinstance(place, Path) else Path(f"/proc/self/fd/{place}")) / "work"

    def value(self, code: str, inputs: Mapping[str, object] | None = None) -> Any:
        """What a plain last expression gives: None, a bool, a number, a text or a list of them."""
        turn = self.run(code, inputs)
        assert isinstance(turn.ending, m.Finished), turn
        return msgpack.unpackb(turn.head)


Hire = Callable[..., Hired]


@pytest.fixture(scope="session")
def plan() -> LockdownPlan:
    """Real Python without the inner sandbox: all that hostile code may do in a locked worker."""
    return compile_plan(Policy.load("full-python"), "kernel")


@pytest.fixture
def limited(plan: LockdownPlan) -> Callable[..., LockdownPlan]:
    def limited(**limits: Any) -> LockdownPlan:
        return replace(plan, limits=replace(plan.limits, **limits))

    return limited


@pytest.fixture
def pool() -> Iterator[Pool]:
    """A pool of the test's own, without spares."""
    pool = Pool(spares=0)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Pool]:
    """One pool for all tests of a file that only need workers."""
    pool = Pool(max_workers=64, spares=0)
    yield pool
    pool.close()


@pytest.fixture
def hire_from(plan: LockdownPlan) -> Iterator[Callable[..., Hired]]:
    """Check workers out of a pool and begin their sessions; they are given back at the end."""
    hired: list[tuple[Pool, Hired]] = []

    def hire_from(pool: Pool, kit: Kit | None = None, functions: tuple[m.HostFunction, ...] = ()) -> Hired:
        kit = kit or Kit(plan)
        place = pool.checkout(kit, None if kit.workspace else pool.new_workspace())
        worker = Hired(place, kit)
        hired.append((pool, worker))
        work = place.worker.slot.workspace if place.lent else kit.workspace
        begin = m.Begin(SandboxPlan(mode="full"), pickle.dumps({}), functions, work)
        assert place.worker.begin(begin) == ""
        return worker

    yield hire_from
    for pool, worker in hired:
        pool.checkin(worker.place)


@pytest.fixture
def hire(shared: Pool, hire_from: Callable[..., Hired]) -> Hire:
    """A worker of the file's pool."""

    def hire(plan: LockdownPlan | None = None, **other: Any) -> Hired:
        return hire_from(shared, None if plan is None else Kit(plan), **other)

    return hire


def descriptors() -> set[str]:
    """What this process has open, as /proc names it, each with its number. Compare by <=: idle arenas of other pools go by themselves."""
    found: set[str] = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except OSError:
            continue  # the listing's own
    return found


@pytest.fixture
def open_descriptors() -> Callable[[], set[str]]:
    return descriptors


@pytest.fixture(scope="session")
def channel_code() -> str:
    """Puts `send(*parts)`, `write(bytes)`, `frame(*parts)`, `channel` and `action` at the hands of hostile code."""
    return CHANNEL


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as status:
            return status.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


@pytest.fixture
def wait_gone() -> Callable[[int], None]:
    """Wait until a process that is not our child has ended."""

    def wait_gone(pid: int) -> None:
        if is_gone(pid):
            return
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            assert poll.poll(HANG_S * 1000), f"process {pid} is still there"
        finally:
            os.close(pidfd)

    return wait_gone


@pytest.fixture
def unprivileged() -> Callable[[Callable[[Path], object]], object]:
    """Call something in a forked child without root's powers; gives its result, which must be msgpack's.

    It is given a directory of its own: other users cannot enter tmp_path.
    """

    def unprivileged(call: Callable[[Path], object]) -> object:
        ground = Path(tempfile.mkdtemp(prefix="agex-test-", dir=TEMPORARY))
        ground.chmod(0o777)
        read, write = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # xdist has threads; the child uses none of their locks
            child = os.fork()
        if child == 0:
            status = 1
            try:
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setgid(65534)
                    os.setuid(65534)
                os.write(write, cast(bytes, msgpack.packb(call(ground))))
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(write)
        with open(read, "rb") as result:
            data = result.read()
        ended = os.waitpid(child, 0)[1]
        remove_tree(ground)
        assert ended == 0
        return msgpack.unpackb(data)

    return unprivileged
