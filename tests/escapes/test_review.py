"""What a review of the boundary found, each tried again: who else is there, whose user a worker is, what is left behind."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import agex
from agex_policies.compile import compile_plan
from agex_protocol import messages as m
from agex_protocol import zygote_messages as zm
from agex_protocol.buffers import enclose
from agex_protocol.plan import LockdownPlan, NetworkGrant, SandboxPlan
from agex_supervisor import transfer
from agex_supervisor.broker import Broker
from agex_supervisor.contract import Contract
from agex_supervisor.outbound import dump, dump_bindings
from agex_supervisor.place import Place
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.turn import OnDial, Turn, no_network
from agex_supervisor.user_ids import USERS
from agex_supervisor.verify import user_of
from agex_supervisor.watch import stopped

HANG_S = 30.0

# Each asks the kernel about a process by its number, past the calls that are held to the caller's own.
QUESTIONS = {
    "clock": "ask_once('clock_gettime', ctypes.c_int(~pid << 3 | 2), answer)",
    "futexes": "ask_once('syscall', ctypes.c_long(NUMBER), pid, answer, answer)",
}
ASKING = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
answer = ctypes.create_string_buffer(16)
NUMBER = {"x86_64": 274, "aarch64": 100}[os.uname().machine]
def ask_once(name, *arguments):
    ctypes.set_errno(0)
    return getattr(libc, name)(*arguments), ctypes.get_errno()
def told_of(pid):
    return QUESTION
# No machine has given that number to a process.
REACHED if told_of(supervisor) != told_of((1 << 22) - 1) else "as if nobody were there"
"""

# Asks for connections by the hundred and reads none of the answers.
DEAF = """
import os, stat, struct, sys, time, msgpack
def is_socket(number):
    try:
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    except OSError:
        return False
channel = next(number for number in range(3, 64) if is_socket(number))
frame = sys._getframe()
while "run" not in frame.f_locals:
    frame = frame.f_back
data = b""
for number in range(1, 441):
    host, at = ("nowhere", 1) if number <= 400 else ("127.0.0.1", port)
    packed = msgpack.packb(("Dial", frame.f_locals["run"].action, number, host, at))
    data += struct.pack("<I", len(packed)) + packed
while data:
    data = data[os.write(channel, data):]
while True:
    time.sleep(1)
"""

SETTING = """
import os
for number in range(3):
    os.set_blocking(number, False)
"""
FLAGS = """
import os
[not os.get_blocking(number) for number in range(3)]
"""

DEEP = """
import os, resource, tempfile
from agex_protocol.plan import Limits
from agex_supervisor.transfer import copy_tree
from agex_supervisor.watch import Watch
with tempfile.TemporaryDirectory() as top:
    os.makedirs(top + "/from" + "/d" * 60)
    open(top + "/from" + "/d" * 60 + "/file", "w").close()
    open(top + "/from/d/later", "w").close()
    os.mkdir(top + "/to")
    source, target = (os.open(top + name, os.O_RDONLY) for name in ("/from", "/to"))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (target + 8, hard))
    copy_tree(source, target)
    if os.path.exists(top + "/to" + "/d" * 60 + "/file") and os.path.exists(top + "/to/d/later"):
        print("copied")
    resource.setrlimit(resource.RLIMIT_NOFILE, (target + 66, hard))
    if "limits.workspace_files: 62" in str(Watch(os.getpid(), Limits(workspace_files=61), [target]).breach()):
        print("measured")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
"""

# A timer that wakes the whole process by SIGCONT, whoever stopped it.
WAKING = """
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGCONT, lambda *_: None)
event = (ctypes.c_int * 16)(0, 0, signal.SIGCONT, 0)
timer, soon = ctypes.c_void_p(), (ctypes.c_long * 4)(0, 0, 0, 50_000_000)
made = libc.timer_create(1, event, ctypes.byref(timer))
"set" if made == 0 and libc.timer_settime(timer, 0, soon, None) == 0 else "refused"
"""


@pytest.mark.parametrize("question", sorted(QUESTIONS))
def test_no_call_tells_which_other_processes_there_are(jailed: Callable[..., Any], question: str) -> None:
    assert jailed(ASKING.replace("QUESTION", QUESTIONS[question])).value == "as if nobody were there"


@pytest.mark.parametrize("question", sorted(QUESTIONS))
def test_without_the_filter_it_tells(unjailed: Callable[..., Any], question: str) -> None:
    assert unjailed(ASKING.replace("QUESTION", QUESTIONS[question]), "seccomp", "landlock").value == "REACHED"


def test_a_worker_that_reads_no_answers_costs_the_supervisor_no_descriptors(pool: Pool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        plan = replace(_plan(), network=(NetworkGrant("127.0.0.1", port, "any"),))
        broker = Broker(plan.network)
        with _held(pool, plan):
            pass
        before = _sockets()
        with _held(pool, plan) as place:
            _run(place, f"port = {port}{DEAF}", broker.dial)
        broker.close()
        assert _sockets() <= before, "ends that were meant for the worker are still open"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives workers users of their own")
def test_no_worker_has_the_user_of_its_zygote_or_of_another(pool: Pool) -> None:
    with _held(pool, _plan()) as lasting:
        users = {user_of(lasting.worker.pid), user_of(lasting.worker.zygote.pid)}
        assert len(users) == 2
        for _ in range(zm.UIDS + 1):
            with _held(pool, _plan()) as place:
                assert user_of(place.worker.pid) not in users


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives workers users of their own")
def test_workers_of_two_policies_have_different_users(pool: Pool) -> None:
    with _held(pool, _plan()) as one, _held(pool, replace(_plan(), policy="another")) as two:
        assert one.worker.zygote is not two.worker.zygote
        assert user_of(one.worker.pid) != user_of(two.worker.pid)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives workers users of their own")
def test_the_user_of_a_worker_that_ended_with_its_zygote_is_free_again() -> None:
    pool = Pool(spares=0)
    with _held(pool, _plan()) as place:
        user = user_of(place.worker.pid) - place.worker.zygote.uids
        assert user in USERS
        place.worker.zygote.close()
        assert user not in USERS
    pool.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files in another's name")
def test_an_interrupt_while_a_workspace_is_lent_leaves_the_thread_its_own_user(tmp_path: Path) -> None:
    """On a thread for each interrupt, which takes with it what it was left as."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").touch()
    owners: dict[int, int] = {}

    def lend(moment: int) -> None:
        target = tmp_path / str(moment)
        target.mkdir()
        os.chown(target, 12345, 12345)
        with contextlib.suppress(KeyboardInterrupt), _interrupted(moment):
            ends = os.open(source, os.O_RDONLY), os.open(target, os.O_RDONLY)
            transfer.copy_tree(*ends, owner=(12345, 12345))
        with open("/proc/thread-self/status") as status:
            users = next(line.split()[1:] for line in status if line.startswith("Uid:"))
        owners[moment] = int(users[-1])  # that by which files are made and opened

    for moment in range(60):
        thread = threading.Thread(target=lend, args=(moment,))
        thread.start()
        thread.join()
    assert owners == dict.fromkeys(range(60), 0)


def test_a_workspace_comes_home_where_no_thread_can_be_started() -> None:
    pool = Pool(max_workers=1, spares=0)
    place = pool.checkout(Kit(_plan()), pool.new_workspace())
    _begin(place)
    _run(place, "for n in range(300): open(f'f{n}', 'x').close()")
    before = threading.stack_size(1 << 46)  # more than there is
    try:
        with contextlib.suppress(RuntimeError):
            pool.checkin(place)
    finally:
        threading.stack_size(before)
    came: list[Place] = []
    next_one = threading.Thread(target=lambda: came.append(pool.checkout(Kit(_plan()), place.home)), daemon=True)
    next_one.start()
    next_one.join(HANG_S)
    assert came, "whoever needs the workspace next waits for ever"
    pool.checkin(came[0])
    pool.close()


def test_a_deep_workspace_is_copied_and_measured_with_few_descriptors() -> None:
    """Or a few of them at once would leave the supervisor none for its other sessions."""
    done = subprocess.run([sys.executable, "-c", DEEP], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("copied\nmeasured\n", "")


def test_a_workspace_that_is_moved_while_it_is_copied_leads_nowhere_else(tmp_path: Path) -> None:
    """Nobody can do that while it is copied; if somebody could, the way up would lead to what lies around it."""
    for name in ("a/b", "elsewhere", "copy"):
        tmp_path.joinpath(name).mkdir(parents=True)
    tmp_path.joinpath("elsewhere/secret").touch()

    class Moving(float):
        def __lt__(self, now: object) -> bool:
            if tmp_path.joinpath("copy/b").exists() and tmp_path.joinpath("a/b").exists():
                tmp_path.joinpath("a/b").rename(tmp_path / "elsewhere/b")
            return False

    source, target = (os.open(tmp_path / name, os.O_RDONLY) for name in ("a", "copy"))
    try:
        with pytest.raises(OSError, match="Stale"):
            transfer.copy_tree(source, target, until=Moving("inf"))
    finally:
        os.close(source)
        os.close(target)
    assert [each.name for each in tmp_path.joinpath("copy").rglob("*")] == ["b"]


def test_no_policy_lets_a_worker_wake_itself_between_actions(pool: Pool) -> None:
    policy = agex.Policy.load("full-python").extend('widen = ["syscalls.allow"]\n[syscalls]\nallow = ["timers"]')
    with _held(pool, replace(compile_plan(policy, "kernel"), explain=False)) as place:
        _run(place, WAKING)
        until = time.monotonic() + 0.5
        while time.monotonic() < until:
            assert stopped(place.worker.pid)


def test_no_flag_of_a_descriptor_is_handed_on_to_the_next_worker(pool: Pool) -> None:
    with agex.Sandbox(policy="full-python", pool=pool) as sandbox:
        assert sandbox.run(SETTING + FLAGS).value == [True, True, True]
        assert sandbox.run(FLAGS).value == [False, False, False]


def _plan() -> LockdownPlan:
    return replace(compile_plan(agex.Policy.load("full-python"), "kernel"), explain=False)


@contextlib.contextmanager
def _held(pool: Pool, plan: LockdownPlan) -> Generator[Place]:
    place = pool.checkout(Kit(plan), pool.new_workspace())
    try:
        _begin(place)
        yield place
    finally:
        pool.checkin(place)


def _begin(place: Place) -> None:
    begin = m.Begin(SandboxPlan(mode="full"), dump_bindings({}), (), place.worker.slot.workspace)
    assert place.worker.begin(begin) == ""


def _run(place: Place, code: str, on_dial: OnDial = no_network) -> Turn:
    action, shape = secrets.token_bytes(16), Contract.of(object, where="result").shape.to_bytes()
    first, encoded = enclose(action, *dump({}))
    run = m.Run(action, code, encoded, shape, True)
    return place.worker.run(run, first, timeout_s=5, on_call=lambda call, values: (), on_dial=on_dial)


def _sockets() -> int:
    return sum(os.readlink(link).startswith("socket:") for link in _links())


def _links() -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        if os.path.lexists(f"/proc/self/fd/{name}"):
            yield f"/proc/self/fd/{name}"


@contextlib.contextmanager
def _interrupted(moment: int) -> Generator[None]:
    """KeyboardInterrupt at this line, as counted, of what transfer.py runs on this thread."""
    lines = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != transfer.__file__:
            return None
        lines += event == "line"
        if lines == moment and event == "line":
            raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)
