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
from agex_protocol import zygote_messages as zm
from agex_worker import kernel_files, stdio
from agex_worker.channel import Channel
from agex_worker.life import Origin, live
from agex_worker.lockdown import namespaces, rlimits
from agex_worker.lockdown.apply import Layers, confine_zygote, isolate_zygote, prepare
from agex_worker.lockdown.errors import LayerFailed
from agex_worker.own_modules import OwnModules

EXIT_REFUSED = 70


def main(control: int, supervisor_pid: int) -> NoReturn:
    """Boot on the control socket, then serve forks until the supervisor goes away."""
    supervisor = os.pidfd_open(supervisor_pid)
    if os.getppid() != supervisor_pid:
        os._exit(EXIT_REFUSED)  # the supervisor ended while we started, and the number may be another's by now
    channel = Channel(control)
    # Before a layer takes it away. Looked up through it, "self" is the process that looks.
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        boot: zm.Boot = channel.receive(zm.ToZygote)
        layers, forge = _boot(channel, boot, proc)
    except Unbootable as error:
        channel.send(zm.BootFailed(error.what, error.name, str(error)))
        os._exit(EXIT_REFUSED)
    except EOFError:
        os._exit(0)
    # With it the supervisor ends this very process; the one that it has started may be another.
    self_fd = os.pidfd_open(os.getpid())
    channel.send(zm.Booted(m.PROTOCOL_VERSION, layers, len(sys.modules)), [self_fd])
    os.close(self_fd)
    _serve(forge, supervisor)


class Unbootable(Exception):
    """Something makes this process unfit to fork workers from."""

    def __init__(self, what: str, name: str, message: str) -> None:
        super().__init__(message)
        self.what = what
        self.name = name


def _boot(channel: Channel, boot: zm.Boot, proc: int) -> tuple[Layers, Forge]:
    if boot.version != m.PROTOCOL_VERSION:
        raise Unbootable("version", str(boot.version), f"this zygote speaks version {m.PROTOCOL_VERSION}")
    sys.path += boot.path
    try:
        layers = isolate_zygote(boot.plan, boot.uids, aliases=(*sys.path, sys.prefix, sys.base_prefix))
        # Opened before Landlock takes /proc away; what it says is made when it is read.
        maps = os.open("self/maps", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
        forge = Forge(channel, boot, proc)
        expected = _descriptors()
        layers += confine_zygote(boot.plan, boot.slots)
    except LayerFailed as error:
        raise Unbootable("layer", error.layer, str(error)) from error
    kernel_files.leave_out(boot.plan)
    own = OwnModules(lambda name: _ask(channel, name))
    sys.meta_path.insert(0, own)
    for name in boot.preload:
        _preload(name, proc)
    own.seal()
    _assert_descriptors(expected)
    _assert_private(maps)
    os.close(maps)
    stdio.restore()  # once here, so that no worker has to: they write to the same descriptors
    gc.collect()
    gc.freeze()  # so that a collection in a worker does not touch, and so copy, the pages they share
    return layers, forge


def _ask(channel: Channel, name: str) -> zm.ModuleFound:
    channel.send(zm.FindModule(name))
    found: zm.ModuleFound = channel.receive(zm.ToZygote)
    return found


def _preload(name: str, proc: int) -> None:
    try:
        importlib.import_module(name)
    except BaseException as error:
        trail = traceback.format_exception_only(error)
        raise Unbootable("preload", name, "".join(trail).strip()[-2000:]) from error
    # The link count of a directory that cannot be listed under Landlock still tells how many threads there are.
    threads = os.stat("self/task", dir_fd=proc).st_nlink - 2
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


class Forge:
    """Forks workers and reaps them, as the supervisor asks."""

    def __init__(self, channel: Channel, boot: zm.Boot, proc: int) -> None:
        self._channel = channel
        self._boot = boot
        self._preparation = prepare(boot.plan, boot.slots)
        self._children: dict[int, int] = {}
        self._statm = rlimits.open_statm(proc)
        self._nursery: namespaces.Nursery | None = None
        if boot.plan.namespaces != "off":
            self._nursery = namespaces.Nursery(os.open("self/ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc))

    @property
    def channel(self) -> Channel:
        return self._channel

    def fork(self, request: zm.Fork, descriptors: list[int]) -> None:
        """Fork a worker that lives on these descriptors, and send its pidfd; or say that there is no room for one."""
        try:
            pid, files = self._fork(request, descriptors)
        except OSError:
            # The workers there are must not fall with this one.
            self._channel.send(zm.Forked(request.serial, 0))
            return
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        pidfd = os.pidfd_open(pid)
        self._channel.send(zm.Forked(request.serial, pid), [pidfd, *files])
        for descriptor in (pidfd, *files):
            os.close(descriptor)
        self._children[request.serial] = pid

    def reap(self, serial: int) -> None:
        """Take the wait status of a dead worker, and send it."""
        _, status, used = os.wait4(self._children.pop(serial), 0)
        self._channel.send(zm.Reaped(serial, status, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024))

    def _fork(self, request: zm.Fork, descriptors: list[int]) -> tuple[int, list[int]]:
        boot, nursery = self._boot, self._nursery
        files: list[int] = []
        uid = request.uid if boot.uids else None
        limits = rlimits.limits(boot.plan.limits, rlimits.mapped_bytes(self._statm), own_user=uid is not None)
        try:
            if nursery is not None:
                owner = (uid, uid) if uid is not None else (os.geteuid(), os.getegid())
                files.append(nursery.new_files(boot.plan.limits, *owner))
                # 0 is how the first process of a process namespace sees a parent outside.
                origin = Origin(self._preparation, 0, limits, files[0], uid)
                pid = nursery.fork()
            else:
                origin = Origin(self._preparation, os.getpid(), limits)
                pid = os.fork()
        except OSError:
            for descriptor in files:
                os.close(descriptor)
            raise
        if pid == 0:
            live(boot.plan, request.slot, descriptors, origin)
        return pid, files


def _serve(forge: Forge, supervisor: int) -> NoReturn:
    channel = forge.channel
    poll = select.poll()
    poll.register(channel.descriptor, select.POLLIN)
    poll.register(supervisor, select.POLLIN)
    while True:
        if not channel.pending():
            ready = {descriptor for descriptor, _ in poll.poll()}
            if supervisor in ready:
                os._exit(0)  # workers follow by their parent-death signal
        try:
            request, descriptors = channel.receive_with_descriptors(zm.ToZygote)
        except EOFError:
            os._exit(0)
        match request:
            case zm.Fork():
                forge.fork(request, descriptors)
            case zm.Reap():
                forge.reap(request.serial)
            case _:
                os._exit(EXIT_REFUSED)


def bootstrap() -> NoReturn:
    """Entry of the exec'd process: its two arguments are the control descriptor and the supervisor's process id."""
    main(int(sys.argv[1]), int(sys.argv[2]))
