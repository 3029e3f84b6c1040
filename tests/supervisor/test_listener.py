"""What the kernel tells of refused calls, without the worker's help; and that telling opens nothing."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agex_policies.bpf import compile_filter
from agex_policies.errors import IsolationUnavailable
from agex_policies.syscall_options import ESSENTIAL
from agex_policies.syscall_table import STANDARD
from agex_policies.syscalls import resolve
from agex_protocol import messages as m
from agex_protocol.errors import ProtocolError
from agex_protocol.plan import LockdownPlan
from agex_supervisor import listener
from agex_supervisor.death import Death
from agex_supervisor.host_calls import answer
from agex_supervisor.listener import Listener, SyscallDenial
from agex_supervisor.pool import Pool

Hire = Callable[..., Any]

# call(name, *arguments) gives what errno says, or "reached"; nothing of Python stands before the kernel.
LIBC = """
import ctypes, errno, os
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def call(name, *arguments):
    ctypes.set_errno(0)
    if getattr(libc, name)(*arguments) != -1:
        return "reached"
    return errno.errorcode[ctypes.get_errno()]
"""


@pytest.fixture
def untold(plan: LockdownPlan) -> LockdownPlan:
    return replace(plan, seccomp_told=b"", seal=b"")


def test_a_refused_call_is_refused_and_recorded_though_the_worker_says_nothing(hire: Hire) -> None:
    worker = hire()
    turn = worker.run(LIBC + "print(call('socket', 2, 1, 0), call('socket', 2, 1, 0), call('setpriority', 0, 0, 5))")
    assert turn.stdout == "EPERM EPERM EPERM\n"
    assert turn.syscalls == (
        SyscallDenial("socket", (2, 1, 0), 2),
        SyscallDenial("setpriority", (0, 0, 5), 1, "priorities"),
    )
    assert worker.run("1").syscalls == ()


def test_arguments_are_told_as_the_kernel_has_them(hire: Hire) -> None:
    turn = hire().run(
        LIBC + "libc.syscall(ctypes.c_long(41), ctypes.c_long(-1), ctypes.c_long(1 << 40), ctypes.c_long(0))"
    )
    assert turn.syscalls == (SyscallDenial("socket", (2**64 - 1, 1 << 40, 0), 1),)


def test_numbers_that_no_call_has_are_told_as_numbers(hire: Hire) -> None:
    turn = hire().run(LIBC + "libc.syscall(ctypes.c_long(3999), ctypes.c_long(1), ctypes.c_long(2), ctypes.c_long(3))")
    assert turn.syscalls == (SyscallDenial("call 3999", (1, 2, 3), 1),)


def test_the_probes_of_the_self_test_are_not_told_of_an_action(hire: Hire) -> None:
    worker = hire()
    assert worker.worker.layers["listener"] == "enforced"
    assert worker.worker.probes["memory"] == "refused: EPERM"
    assert worker.run("1").syscalls == ()


@pytest.mark.parametrize("name", ["ptrace", "unshare", "process_vm_readv", "setns"])
def test_a_deadly_call_ends_the_worker_and_is_named(name: str, hire: Hire) -> None:
    worker = hire()
    turn = worker.run(LIBC + f"print('before', flush=True); call('{name}', 0, 0, 0, 0, 0, 0); print('after')")
    assert turn.death == Death(
        "signal", f"seccomp: it called {name}, which no policy allows and no library calls by accident"
    )
    assert [each.name for each in turn.syscalls] == [name]
    assert (turn.ending, turn.stdout) == (None, "before\n")
    assert not worker.worker.alive


def test_the_first_cause_of_death_is_kept_where_a_deadly_call_comes_second(hire: Hire) -> None:
    worker = hire()
    worker.worker.kill("limit", "first")
    assert worker.run(LIBC + "call('ptrace', 0, 0, 0, 0)").death == Death("limit", "first")


def test_a_seal_that_seals_nothing_leaves_no_worker(hire: Hire, plan: LockdownPlan) -> None:
    allow_all = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF_0000)
    with pytest.raises(IsolationUnavailable) as caught:
        hire(replace(plan, seal=allow_all))
    assert "the kernel took the seal, but seccomp(2) still answers" in str(caught.value)


def test_a_worker_has_not_kept_its_listener(hire: Hire) -> None:
    code = (
        "import os\ndef is_open(number):\n    try: os.fstat(number)\n    except OSError: return False\n    return True\n"
        "sum(map(is_open, range(256)))"
    )
    assert hire().value(code) == 4


def test_the_supervisor_lets_go_of_a_listener_with_its_worker(
    plan: LockdownPlan, hire_from: Callable[..., Any], pool: Pool, open_descriptors: Callable[[], set[str]]
) -> None:
    def listeners() -> int:
        return sum("seccomp notify" in each for each in open_descriptors())

    before = listeners()
    worker = hire_from(pool).worker
    assert listeners() == before + 1
    worker.close()
    assert listeners() == before


def test_a_descriptor_of_another_kind_is_no_listener() -> None:
    with open("/dev/null", "rb") as file, pytest.raises(ProtocolError) as caught:
        Listener(file.fileno(), own_pid=1)
    assert str(caught.value) == "the descriptor that came is no listener of a system-call filter"


def test_where_a_listener_is_above_already_the_plain_filter_goes_up_and_says_so(tmp_path: Path) -> None:
    """As in a container whose manager listens; in a process of its own, which is under a filter afterwards."""
    code = """
import ctypes, struct
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)
allow = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000), 8)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(allow)))
assert libc.syscall(317, 1, 8, program) > 0
import agex
with agex.Sandbox(policy="full-python") as sandbox:
    outcome = sandbox.run("import os\\ntry: os.fork()\\nexcept PermissionError: print('refused')")
    print(outcome.stdout, outcome.lockdown.layers["seccomp"], outcome.lockdown.layers["listener"], sep="")
""".replace("\\\\n", "\\n")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stderr == ""
    refused, layers = done.stdout.split("\n", 1)
    assert refused == "refused"
    assert layers.startswith("enforced: ")
    why = "unavailable: a filter above this process has a listener already, and the kernel takes one; refusals are not told"
    assert layers.endswith(why + "\n")


def test_without_a_listener_the_filter_refuses_by_itself(hire: Hire, untold: LockdownPlan) -> None:
    worker = hire(untold)
    turn = worker.run(LIBC + "print(call('socket', 2, 1, 0))")
    assert (turn.stdout, turn.syscalls, worker.worker.layers["listener"]) == ("EPERM\n", (), "off")


def test_a_supervisor_that_is_busy_answers_later(hire: Hire) -> None:
    asked = threading.Event()

    def busy(call: m.Call, values: list[Any]) -> Iterable[object]:
        asked.wait(0.2)
        yield from answer(call.action, call.call)

    code = (
        LIBC
        + "import threading\nheard = []\n"
        + "thread = threading.Thread(target=lambda: heard.append(call('socket', 2, 1, 0)))\n"
        + "thread.start()\nask()\nthread.join()\nprint(heard)"
    )
    turn = hire(functions=(m.HostFunction("ask", "", ()),)).run(code, on_call=busy)
    assert turn.stdout == "['EPERM']\n"


def test_a_thread_that_asks_on_and_on_disturbs_no_later_action(hire: Hire) -> None:
    worker = hire()
    loop = "def ask():\n    while True: call('chmod', b'.', 0)\n"
    assert worker.run(LIBC + loop + "import threading; threading.Thread(target=ask, daemon=True).start()").death is None
    for number in range(3):
        assert worker.value(f"{number} + 1") == number + 1


FLOODS = {
    "one thread": "flood()",
    "threads": "import threading\nfor _ in range(8): threading.Thread(target=flood, daemon=True).start()\nflood()",
    "threads and signals": (
        "import signal, threading\nsignal.signal(signal.SIGALRM, lambda *_: None)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)\n"
        "for _ in range(8): threading.Thread(target=flood, daemon=True).start()\nflood()"
    ),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_of_refused_calls_moves_no_deadline(flood: str, hire: Hire) -> None:
    loop = "def flood():\n    while True: call('chmod', b'.', 0)\n"
    turn = hire().run(LIBC + loop + FLOODS[flood], timeout_s=0.5)
    assert turn.death == Death("timeout", "the deadline of the action passed")
    assert {each.name for each in turn.syscalls} == {"chmod"}


def test_a_worker_that_asks_too_often_is_not_listened_to_any_more_and_stays_locked(hire: Hire) -> None:
    code = "count = 0\nwhile call('setpriority', 0, 0, 5) == 'EPERM': count += 1\nprint(count)"
    worker = hire()
    turn = worker.run(LIBC + code)
    assert turn.stdout == f"{listener.MOST_ASKED}\n"
    assert turn.syscalls == (SyscallDenial("setpriority", (0, 0, 5), listener.MOST_ASKED, "priorities"),)
    after = worker.run(LIBC + "print(call('fork'), call('ptrace', 0, 0, 0, 0), call('socket', 2, 1, 0))")
    assert after.stdout == "ENOSYS ENOSYS ENOSYS\n"


def test_many_different_calls_are_counted_and_few_are_kept(hire: Hire) -> None:
    code = "for number in range(4000, 4100): libc.syscall(ctypes.c_long(number), 0, 0, 0)\n"
    code += "for family in range(2, 100): call('socket', family, 1, 0)"
    turn = hire().run(LIBC + code)
    assert sum(each.count for each in turn.syscalls) == 198
    assert len(turn.syscalls) == listener.MOST_CALLS + 1
    assert turn.syscalls[-1] == SyscallDenial("others", (), 198 - listener.MOST_CALLS)
    again = hire().run(LIBC + "for family in range(2, 100): call('socket', family, 1, 0)")
    assert [(each.arguments[0], each.count) for each in again.syscalls] == [(2, 1), (3, 1), (4, 1), (5, 95)]


def test_learn_mode_lets_through_what_a_policy_could_allow_and_nothing_else(hire: Hire, plan: LockdownPlan) -> None:
    code = LIBC + "print(call('setpriority', 0, 0, 19), call('setpriority', 0, 4321, 19), call('socket', 2, 1, 0))"
    turn = hire(replace(plan, learn=True)).run(code)
    assert turn.stdout == "reached EPERM EPERM\n"
    assert [(each.name, each.allowed) for each in turn.syscalls] == [
        ("setpriority", True),
        ("setpriority", False),
        ("socket", False),
    ]


def test_learn_mode_knows_the_worker_by_its_own_number(hire: Hire, plan: LockdownPlan) -> None:
    turn = hire(replace(plan, learn=True)).run("import os; os.sched_setaffinity(os.getpid(), {0}); print('done')")
    assert turn.stdout == "done\n"
    assert [(each.name, each.allowed) for each in turn.syscalls] == [("sched_setaffinity", True)]


def test_learn_mode_ends_a_worker_for_a_deadly_call(hire: Hire, plan: LockdownPlan) -> None:
    turn = hire(replace(plan, learn=True)).run(LIBC + "call('ptrace', 0, 0, 0, 0)")
    assert turn.death is not None and turn.death.detail.startswith("seccomp: it called ptrace")


def test_learn_mode_refuses_what_the_policy_takes_away(hire: Hire, plan: LockdownPlan) -> None:
    denied = replace(plan, learn=True, seccomp_told=compile_filter(resolve([], ["priorities"]), told=True))
    assert hire(denied).run(LIBC + "print(call('setpriority', 0, 0, 5))").stdout == "EPERM\n"


def test_a_group_that_a_policy_opens_is_open(hire: Hire, plan: LockdownPlan) -> None:
    groups = resolve(["priorities"])
    opened = replace(plan, seccomp=compile_filter(groups), seccomp_told=compile_filter(groups, told=True))
    turn = hire(opened).run("import os; os.nice(3); print(os.getpriority(os.PRIO_PROCESS, 0))")
    lowered = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 3)  # these tests may run at a low priority themselves
    assert (turn.stdout, turn.syscalls) == (f"{lowered}\n", ())


def test_a_worker_starts_and_runs_with_the_essential_calls_alone(hire: Hire, plan: LockdownPlan) -> None:
    given = {name for group in STANDARD for rule in group.rules if rule.gives for name in rule.names}
    groups = resolve([], given - ESSENTIAL)
    assert {name for group in groups for rule in group.rules if rule.gives for name in rule.names} <= ESSENTIAL
    bare = replace(plan, seccomp=compile_filter(groups), seccomp_told=compile_filter(groups, told=True))
    assert hire(bare).value("import json\nopen('f', 'w').write('x')\nlen(json.dumps(open('f').read())) + 39") == 42
