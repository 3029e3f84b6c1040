"""The zygote: confined before it imports anything registered, single-threaded, forks workers on request.

It never runs agent code and never reads a worker. It ends when the supervisor ends: it polls a pidfd of it, because a
parent-death signal would fire when the supervisor's spawning THREAD ends.
"""

from __future__ import annotations

import gc
import importlib
import os
import select
import sys
import traceback
from typing import NoReturn

from agex_protocol import messages as m
from agex_worker.channel import Channel
from agex_worker.life import live
from agex_worker.lockdown import rlimits
from agex_worker.lockdown.apply import confine_zygote
from agex_worker.lockdown.errors import LayerFailed
from agex_worker.own_modules import OwnModules

EXIT_REFUSED = 70


def main(control: int, supervisor_pid: int) -> NoReturn:
    """Boot on the control socket, then serve forks until the supervisor goes away."""
    supervisor = os.pidfd_open(supervisor_pid)
    if os.getppid() != supervisor_pid:
        os._exit(EXIT_REFUSED)  # the supervisor ended while we started, and the number may be another's by now
    channel = Channel(control)
    statm = rlimits.open_statm()
    try:
        boot: m.Boot = channel.receive(m.ToZygote)
        layers = _boot(channel, boot)
    except Unbootable as error:
        channel.send(m.BootFailed(error.what, error.name, str(error)))
        os._exit(EXIT_REFUSED)
    except EOFError:
        os._exit(0)
    channel.send(m.Booted(m.PROTOCOL_VERSION, layers, len(sys.modules)))
    _serve(channel, supervisor, statm, boot)


class Unbootable(Exception):
    """Something makes this process unfit to fork workers from."""

    def __init__(self, what: str, name: str, message: str) -> None:
        super().__init__(message)
        self.what = what
        self.name = name


def _boot(channel: Channel, boot: m.Boot) -> tuple[tuple[str, str], ...]:
    if boot.version != m.PROTOCOL_VERSION:
        raise Unbootable("version", str(boot.version), f"this zygote speaks version {m.PROTOCOL_VERSION}")
    # Opened before Landlock takes /proc away; what it says is made when it is read.
    maps = os.open("/proc/self/maps", os.O_RDONLY | os.O_CLOEXEC)
    expected = _descriptors()
    try:
        layers = confine_zygote(boot.plan, boot.slots)
    except LayerFailed as error:
        raise Unbootable("layer", error.layer, str(error)) from error
    sys.path += boot.path
    own = OwnModules(lambda name: _ask(channel, name))
    sys.meta_path.insert(0, own)
    for name in boot.preload:
        _preload(name)
    own.seal()
    _assert_descriptors(expected)
    _assert_private(maps)
    os.close(maps)
    gc.collect()
    gc.freeze()  # so that a collection in a worker does not touch, and so copy, the pages they share
    return layers


def _ask(channel: Channel, name: str) -> m.ModuleFound:
    channel.send(m.FindModule(name))
    found: m.ModuleFound = channel.receive(m.ToZygote)
    return found


def _preload(name: str) -> None:
    try:
        importlib.import_module(name)
    except BaseException as error:
        trail = traceback.format_exception_only(error)
        raise Unbootable("preload", name, "".join(trail).strip()[-2000:]) from error
    # The link count of a directory that cannot be listed under Landlock still tells how many threads there are.
    threads = os.stat("/proc/self/task").st_nlink - 2
    if threads != 1:
        raise Unbootable(
            "threads", name, f"importing it left {threads} threads running; a fork would lose all but one of them"
        )


def _descriptors() -> set[int]:
    limit = min(os.sysconf("SC_OPEN_MAX"), 4096)
    found: set[int] = set()
    for descriptor in range(limit):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        found.add(descriptor)
    return found


def _assert_descriptors(expected: set[int]) -> None:
    surplus = sorted(_descriptors() - expected)
    if surplus:
        raise Unbootable("descriptors", str(surplus), f"the preloaded modules left descriptors {surplus} open")


def _assert_private(maps: int) -> None:
    text = b""
    while piece := os.read(maps, 1 << 16):
        text += piece
    shared = [line for line in text.decode(errors="replace").splitlines() if line.split()[1:2] == ["rw-s"]]
    if shared:
        raise Unbootable(
            "shared-memory", shared[0].split()[-1], f"the preloaded modules share writable memory: {shared[0]}"
        )


def _serve(channel: Channel, supervisor: int, statm: int, boot: m.Boot) -> NoReturn:
    children: dict[int, int] = {}
    poll = select.poll()
    poll.register(channel.descriptor, select.POLLIN)
    poll.register(supervisor, select.POLLIN)
    while True:
        if not channel.pending():
            ready = {descriptor for descriptor, _ in poll.poll()}
            if supervisor in ready:
                os._exit(0)  # workers follow by their parent-death signal
        try:
            request, descriptors = channel.receive_with_descriptors(m.ToZygote)
        except EOFError:
            os._exit(0)
        match request:
            case m.Fork():
                children[request.serial] = _fork(channel, boot, request, descriptors, rlimits.mapped_bytes(statm))
            case m.Reap():
                _, status, used = os.wait4(children.pop(request.serial), 0)
                cpu_s = used.ru_utime + used.ru_stime
                channel.send(m.Reaped(request.serial, status, cpu_s, used.ru_maxrss * 1024))
            case _:
                os._exit(EXIT_REFUSED)


def _fork(channel: Channel, boot: m.Boot, request: m.Fork, descriptors: list[int], mapped_bytes: int) -> int:
    zygote = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        pid = -1  # no room for another process: the workers there are must not fall with this one
    if pid == 0:
        live(boot.plan, request.slot, descriptors, zygote, mapped_bytes)
    for descriptor in descriptors:
        os.close(descriptor)
    if pid < 0:
        channel.send(m.Forked(request.serial, 0))
        return 0
    pidfd = os.pidfd_open(pid)
    channel.send(m.Forked(request.serial, pid), [pidfd])
    os.close(pidfd)
    return pid


def bootstrap() -> NoReturn:
    """Entry of the exec'd process: its two arguments are the control descriptor and the supervisor's process id."""
    main(int(sys.argv[1]), int(sys.argv[2]))
