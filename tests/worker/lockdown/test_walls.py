"""Each attack is refused by the locked worker, by every layer alone that should hold it, and succeeds without them."""

from __future__ import annotations

import errno
import os
import platform
import select
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest

from agex_protocol.plan import LockdownPlan

REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS}
REACHED = "reached"
DEADLINE_S = 60.0


def read_a_file(world: Any) -> object:
    with open(f"{world.outside}/secret.txt") as file:
        return "reached" if file.read() == "secret" else "empty"


def list_a_directory(world: Any) -> object:
    import os

    return "reached" if os.listdir(world.outside) else "empty"


def read_the_slots_of_others(world: Any) -> object:
    import os

    return "reached" if os.listdir(os.path.dirname(world.slot)) else "empty"


def write_a_file(world: Any) -> object:
    with open(f"{world.outside}/secret.txt", "a"):
        return "reached"


def create_a_file_beside_the_slot(world: Any) -> object:
    import os

    with open(f"{os.path.dirname(world.slot)}/new", "x"):
        return "reached"


def truncate_a_file(world: Any) -> object:
    import os

    os.truncate(f"{world.outside}/secret.txt", 0)
    return "reached"


def remove_a_file(world: Any) -> object:
    import os

    os.unlink(f"{world.outside}/secret.txt")
    return "reached"


def look_into_the_zygote(world: Any) -> object:
    with open(f"/proc/{world.zygote_pid}/environ", "rb"):
        return "reached"


def change_a_mode(world: Any) -> object:
    import os

    os.chmod(f"{world.outside}/secret.txt", 0o777)
    return "reached"


def change_a_time(world: Any) -> object:
    import os

    os.utime(f"{world.outside}/secret.txt", (0, 0))
    return "reached"


def link_a_file(world: Any) -> object:
    import os

    open("file", "x").close()
    os.link("file", "other")
    return "reached"


def make_a_fifo(world: Any) -> object:
    import os

    os.mkfifo("fifo")
    return "reached"


def connect_by_tcp(world: Any) -> object:
    import socket

    with socket.create_connection(("127.0.0.1", world.tcp_port)):
        return "reached"


def send_by_udp(world: Any) -> object:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.sendto(b"x", ("127.0.0.1", world.tcp_port))
        return "reached"


def connect_to_an_abstract_socket(world: Any) -> object:
    import socket

    with socket.socket(socket.AF_UNIX) as unix:
        unix.connect(world.abstract)
        return "reached"


def signal_the_zygote(world: Any) -> object:
    import os

    os.kill(world.zygote_pid, 0)
    return "reached"


def have_the_kernel_signal_the_zygote(world: Any) -> object:
    import fcntl
    import os

    reading, _ = os.pipe()
    fcntl.fcntl(reading, 8, world.zygote_pid)  # F_SETOWN
    return "reached"


def start_a_process(world: Any) -> object:
    import os

    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "reached"


def make_uncounted_memory(world: Any) -> object:
    import os

    os.memfd_create("x")
    return "reached"


def make_shared_memory(world: Any) -> object:
    import mmap

    mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_SHARED)
    return "reached"


def change_a_limit(world: Any) -> object:
    import resource

    resource.prlimit(0, resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE))
    return "reached"


def become_dumpable(world: Any) -> object:
    from agex_worker.lockdown import kernel

    kernel.prctl(4, 1)
    return "reached"


def watch_a_directory(world: Any) -> object:
    import ctypes
    import os

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.inotify_init1(0) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return "reached"


@dataclass(frozen=True)
class Wall:
    attack: Callable[[Any], object]
    layers: tuple[str, ...]


WALLS = (
    Wall(read_a_file, ("landlock",)),
    Wall(list_a_directory, ("landlock",)),
    Wall(read_the_slots_of_others, ("landlock",)),
    Wall(write_a_file, ("landlock",)),
    Wall(create_a_file_beside_the_slot, ("landlock",)),
    Wall(truncate_a_file, ("landlock",)),
    Wall(remove_a_file, ("landlock",)),
    Wall(look_into_the_zygote, ("landlock",)),
    Wall(change_a_mode, ("seccomp",)),
    Wall(change_a_time, ("seccomp",)),
    Wall(link_a_file, ("seccomp",)),
    Wall(make_a_fifo, ("landlock", "seccomp")),
    Wall(connect_by_tcp, ("landlock", "seccomp")),
    Wall(send_by_udp, ("seccomp",)),
    Wall(connect_to_an_abstract_socket, ("landlock", "seccomp")),
    Wall(signal_the_zygote, ("landlock", "seccomp")),
    Wall(have_the_kernel_signal_the_zygote, ("seccomp",)),
    Wall(start_a_process, ("seccomp",)),
    Wall(make_uncounted_memory, ("seccomp",)),
    Wall(make_shared_memory, ("seccomp",)),
    Wall(change_a_limit, ("seccomp",)),
    Wall(become_dumpable, ("seccomp",)),
    Wall(watch_a_directory, ("seccomp",)),
)

each_wall = pytest.mark.parametrize("wall", WALLS, ids=[wall.attack.__name__ for wall in WALLS])


def without(plan: LockdownPlan, *layers: str) -> LockdownPlan:
    """The plan with these of "landlock" and "seccomp" switched off, in the zygote as well.

    Capabilities stay: root without them may not look into a zygote that has them, which is a wall of its own.
    """
    plan = replace(plan, drop_capabilities=False)
    if "landlock" in layers:
        plan = replace(plan, landlock_abi=0)
    return replace(plan, seccomp=b"") if "seccomp" in layers else plan


@each_wall
def test_a_locked_worker_is_refused(
    wall: Wall, run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None
) -> None:
    outcome = run_locked_down(wall.attack, kernel_plan, user=user)

    assert outcome.value is None
    assert outcome.refused in REFUSED


@each_wall
@pytest.mark.parametrize("only", ["landlock", "seccomp"])
def test_one_layer_alone_refuses_what_it_should(
    wall: Wall, only: str, run_locked_down: Any, kernel_plan: LockdownPlan
) -> None:
    other = {"landlock": "seccomp", "seccomp": "landlock"}[only]
    # The zygote is left unconfined: the worker's own layer has to hold.
    outcome = run_locked_down(wall.attack, without(kernel_plan, other), confine=False)

    assert (outcome.refused in REFUSED, outcome.value) == ((True, None) if only in wall.layers else (False, REACHED))


@each_wall
def test_without_its_layers_the_attack_succeeds(
    wall: Wall, run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None
) -> None:
    outcome = run_locked_down(wall.attack, without(kernel_plan, *wall.layers), user=user)

    assert outcome.value == REACHED


def start_a_program(world: Any) -> object:
    import os

    os.execv("/bin/sh", ["sh", "-c", "exit 7"])


def test_a_program_is_started_only_without_both_layers(run_locked_down: Any, kernel_plan: LockdownPlan) -> None:
    assert run_locked_down(start_a_program, kernel_plan).refused == errno.EPERM
    assert run_locked_down(start_a_program, without(kernel_plan, "seccomp")).refused == errno.EACCES
    assert run_locked_down(start_a_program, without(kernel_plan, "landlock")).refused == errno.EPERM
    assert run_locked_down(start_a_program, without(kernel_plan, "landlock", "seccomp")).status == 7


def trace_oneself(world: Any) -> object:
    import ctypes

    return "reached" if ctypes.CDLL(None).ptrace(0, 0, 0, 0) == 0 else "refused"


def call_by_an_x32_number(world: Any) -> object:
    import ctypes

    ctypes.CDLL(None).syscall(0x40000000 | 39)
    return "reached"


def call_by_an_i386_number(world: Any) -> object:
    import ctypes
    import mmap

    # mov eax, 20 (getpid of i386); int 0x80; ret
    code = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    if ctypes.CDLL(None).mprotect(ctypes.c_void_p(address), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC):
        return "refused"
    ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    return "reached"


DEADLY = [
    trace_oneself,
    pytest.param(
        call_by_an_x32_number, marks=pytest.mark.skipif(platform.machine() != "x86_64", reason="is of x86_64")
    ),
    pytest.param(
        call_by_an_i386_number, marks=pytest.mark.skipif(platform.machine() != "x86_64", reason="is of x86_64")
    ),
]


@pytest.mark.parametrize("attack", DEADLY)
def test_a_call_that_nothing_makes_by_accident_kills(
    attack: Callable[[Any], object], run_locked_down: Any, kernel_plan: LockdownPlan, user: int | None
) -> None:
    assert run_locked_down(attack, kernel_plan, user=user).status == -signal.SIGSYS
    assert run_locked_down(attack, without(kernel_plan, "seccomp"), user=user).value == REACHED


def test_the_supervisor_can_kill_a_locked_worker(run_locked_down: Any, kernel_plan: LockdownPlan, ground: Any) -> None:
    def wait_for_ever(world: Any) -> object:
        import os
        import signal

        with open("fifo", "wb") as fifo:
            fifo.write(os.getpid().to_bytes(4, "little"))
        signal.pause()
        return None

    os.mkfifo(ground / "slots" / "one" / "fifo")
    fifo = os.open(ground / "slots" / "one" / "fifo", os.O_RDWR)
    with ThreadPoolExecutor() as pool:
        run = pool.submit(run_locked_down, wait_for_ever, kernel_plan)
        readable, _, _ = select.select([fifo], [], [], DEADLINE_S)
        assert readable == [fifo]
        os.kill(int.from_bytes(os.read(fifo, 4), "little"), signal.SIGKILL)
        os.close(fifo)

    assert run.result().status == -signal.SIGKILL
