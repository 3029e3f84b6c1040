"""What the lockdown of one worker costs beside the same kernel calls made bare, in the same run.

    python bench/lockdown.py [ROUNDS]

All children are forked from one confined zygote, by turns. `fork`: a child that only answers; it is taken off the others.
`bare`: the limit, the calls of bare.py. `locked`: lock_down() and the self-test. `ready`: a worker's whole start, to READY.
Each is measured from before the fork to its first byte, as time on the clock, as its processor time, and as its page faults.
`told` has the filter that tells a supervisor what it refuses, as workers have it where the kernel can; the zygote answers it.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import json
import os
import select
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from itertools import product

from bare import Bare

from agex_protocol import messages as m
from agex_protocol import zygote_messages as zm
from agex_protocol.codec import pack_message, unpack_message
from agex_protocol.plan import LockdownPlan
from agex_worker import stdio
from agex_worker.life import Origin, live
from agex_worker.lockdown import namespaces, probes, rlimits
from agex_worker.lockdown.apply import Preparation, confine_zygote, isolate_zygote, lock_down, prepare

BAR = 1.5

# seccomp's ioctls on a listener, and the size of what the first of them writes.
RECEIVE, SEND, NOTIFICATION_BYTES = 0xC050_2100, 0xC018_2101, 80

Figures = tuple[float, float, int]  # milliseconds on the clock, milliseconds of processor, page faults


def main(rounds: int) -> None:
    # Not where a zygote would load them, too: it is forked, and its size is part of what is measured.
    from agex_policies.compile import compile_plan
    from agex_policies.schema import Policy
    from agex_supervisor.user_ids import user_ids

    telling = compile_plan(Policy.load("default"), "kernel")
    silent = replace(telling, seccomp_told=b"", seal=b"")
    for wanted, plan in product(("off", "required"), (silent, telling)):
        chosen = replace(plan, namespaces=wanted)
        with tempfile.TemporaryDirectory() as slots:
            zygote = subprocess.run(
                [sys.executable, __file__, "zygote", str(rounds)],
                input=pack_message(zm.Boot(m.PROTOCOL_VERSION, chosen, slots, (), (), user_ids(chosen))),
                stdout=subprocess.PIPE,
                check=True,
            )
        show(f"namespaces {wanted}{', told' if plan.seal else ''}", json.loads(zygote.stdout))


def show(title: str, kinds: list[list[Figures]]) -> None:
    """Print the medians of the four kinds, the last three without what the fork costs."""
    columns = "".join(f"{name:>8}" for name in ("fork", "bare", "locked", "ready"))
    print(f"{title:26}{columns}{'locked/bare':>13}   (bar: {BAR})")
    for at, what in enumerate(("ms on the clock", "ms of processor", "page faults")):
        fork, *others = (statistics.median(figures[at] for figures in kind) for kind in kinds)
        bare, locked, ready = (other - fork for other in others)
        print(f"{what:26}" + "".join(f"{each:8.2f}" for each in (fork, bare, locked, ready)) + f"{locked / bare:13.2f}")


def be_zygote(boot: zm.Boot, rounds: int) -> None:
    """Confine this process as a zygote is, and print the figures of every round."""
    plan = boot.plan
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    isolate_zygote(plan, boot.uids, (*sys.path, sys.prefix, sys.base_prefix))
    nursery = None
    if plan.namespaces != "off":
        nursery = namespaces.Nursery(os.open("self/ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc))
    statm = rlimits.open_statm(proc)
    prepared = prepare(plan, boot.slots)
    confine_zygote(plan, boot.slots)
    slot = os.path.join(boot.slots, "one")
    if nursery is None:
        os.mkdir(slot, 0o700)
    run = Run(prepared, plan, slot, rlimits.mapped_bytes(statm), nursery, 1 if boot.uids else None)
    stdio.restore()
    gc.collect()
    gc.freeze()
    kinds = (run.fork_alone, run.bare, run.locked, run.ready)
    for kind in kinds:
        kind()
    print(json.dumps(list(zip(*([kind() for kind in kinds] for _ in range(rounds)), strict=True))))


class Run:
    """One zygote's ways to fork a child; each gives the seconds until it is heard of."""

    def __init__(
        self,
        prepared: Preparation,
        plan: LockdownPlan,
        slot: str,
        mapped: int,
        nursery: namespaces.Nursery | None,
        uid: int | None,
    ) -> None:
        self._prepared = prepared
        self._plan = plan
        self._slot = slot
        self._mapped = mapped
        self._nursery = nursery
        self._uid = uid
        own_processes = -1 if nursery is None else nursery.own
        self._bare = Bare(plan, slot if nursery is None else m.SLOT, mapped, own_processes, uid)

    def fork_alone(self) -> Figures:
        def fork(channel: socket.socket, output: int) -> int:
            pid = os.fork()
            if pid == 0:
                channel.send(b".")
                os._exit(0)
            return pid

        return measured(fork)

    def bare(self) -> Figures:
        return measured(lambda channel, output: self._bare.fork(channel))

    def locked(self) -> Figures:
        def lock(channel: socket.socket, output: int, origin: Origin) -> None:
            slot = self._slot
            if origin.files < 0:
                os.chdir(slot)
            else:
                slot = m.SLOT
            lock_down(
                self._plan,
                origin.preparation,
                slot=slot,
                zygote_pid=origin.parent,
                keep={channel.fileno()},
                limits=origin.limits,
                files=origin.files,
                uid=origin.uid,
                hand_over=lambda listener: socket.send_fds(channel, [b"listener"], [listener]),
            )
            probes.run(self._plan, slot=slot, zygote_pid=origin.parent, chosen=origin.preparation.targets)
            channel.send(b".")

        return self._measured(lock)

    def ready(self) -> Figures:
        def start(channel: socket.socket, output: int, origin: Origin) -> None:
            live(self._plan, self._slot, [channel.detach(), output, os.dup(output)], origin)

        return self._measured(start)

    def _measured(self, be: Callable[[socket.socket, int, Origin], None]) -> Figures:
        """Of a child that is forked as the zygote forks a worker."""

        def fork(channel: socket.socket, output: int) -> int:
            files = -1
            limits = rlimits.limits(self._plan.limits, self._mapped, own_user=self._uid is not None)
            if self._nursery is None:
                origin = Origin(self._prepared, os.getpid(), limits)
                pid = os.fork()
            else:
                owner = (os.geteuid(), os.getegid()) if self._uid is None else (self._uid, self._uid)
                files = self._nursery.new_files(self._plan.limits, *owner)
                origin = Origin(self._prepared, 0, limits, files, self._uid)
                pid = self._nursery.fork()
            if pid == 0:
                try:
                    be(channel, output, origin)
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(0)
            if files >= 0:
                os.close(files)
            return pid

        return measured(fork)


def measured(fork: Callable[[socket.socket, int], int]) -> Figures:
    """Of a child, from before it is forked to its first byte. It is killed and reaped after that."""
    ours, theirs = socket.socketpair()
    output = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    started = time.perf_counter()
    pid = fork(theirs, output)
    theirs.close()
    heard = first_word(ours)
    clock_s = time.perf_counter() - started
    os.close(output)
    os.kill(pid, signal.SIGKILL)
    _, status, used = os.wait4(pid, 0)
    if not heard or b"Refused" in heard:
        raise RuntimeError(f"a child was not locked down: {heard!r}, wait status {status}")
    ours.close()
    return clock_s * 1e3, (used.ru_utime + used.ru_stime) * 1e3, used.ru_minflt


def first_word(channel: socket.socket) -> bytes:
    """What a child says after it has handed over its listener, if it has one: every call that this tells is refused."""
    heard, listeners, _, _ = socket.recv_fds(channel, 1 << 16, 1)
    if not listeners:
        return heard
    (listener,) = listeners
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    poll.register(listener, select.POLLIN)
    while channel.fileno() not in (ready := dict(poll.poll())):
        if not ready[listener] & select.POLLIN:
            break  # the child is dead
        asked = bytearray(NOTIFICATION_BYTES)
        fcntl.ioctl(listener, RECEIVE, asked)
        fcntl.ioctl(listener, SEND, struct.pack("=8sqiI", asked[:8], 0, -errno.EPERM, 0))
    os.close(listener)
    return channel.recv(1 << 16)


if __name__ == "__main__":
    if sys.argv[1:2] == ["zygote"]:
        be_zygote(unpack_message(sys.stdin.buffer.read(), zm.ToZygote), int(sys.argv[2]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
