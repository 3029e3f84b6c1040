"""One zygote: spawned by exec with an empty environment, booted over its control socket, asked for workers.

The zygote runs the registered modules' import code but never agent code. Its bytes are checked all the same.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agex_protocol import messages as m
from agex_protocol import zygote_messages as zm
from agex_protocol.codec import pack_message, unpack_message
from agex_protocol.errors import AgexError, ProtocolError
from agex_protocol.framing import FrameReader, frame
from agex_protocol.plan import LockdownPlan
from agex_protocol.turns import FROM_ZYGOTE
from agex_supervisor.display import display
from agex_supervisor.errors import PreloadFailed, WorkerFailed
from agex_supervisor.import_paths import installed_paths, own_homes
from agex_supervisor.own_code import OwnCode
from agex_supervisor.promises import unavailable
from agex_supervisor.user_ids import USERS
from agex_supervisor.wire import wait_readable

BOOT_TIMEOUT_S = 60.0
FORK_TIMEOUT_S = 10.0
# No path of the caller's reaches this text: directories are passed as arguments.
BOOTSTRAP = "import sys; sys.path[:0] = sys.argv[3:]; from agex_worker.zygote import bootstrap; bootstrap()"


@dataclass(frozen=True, slots=True)
class Born:
    """A forked worker that has not said READY yet: its process, and our ends of its channel and output.

    pid: as this process counts. files: a descriptor of the file system that holds its files, or -1 if that has none.
    """

    serial: int
    pid: int
    pidfd: int
    channel: socket.socket
    stdout: int
    stderr: int
    files: int = -1


def spawn(plan: LockdownPlan, preload: tuple[str, ...], slots: Path, uids: int = 0) -> Zygote:
    """A zygote, without namespaces where the plan leaves that open and this machine has none.

    uids: the first of UIDS user ids of this machine to which workers with namespaces are mapped; 0: they keep ours.
    IsolationUnavailable, PreloadFailed or WorkerFailed if it cannot be had.
    """
    try:
        return Zygote(plan, preload, slots, uids)
    except NoNamespaces as error:
        if plan.namespaces == "required":
            raise unavailable("namespaces", error.reason) from error
        zygote = Zygote(replace(plan, namespaces="off"), preload, slots)
        zygote.without_namespaces = error.reason
        return zygote


class NoNamespaces(WorkerFailed):
    """The machine does not let a zygote make namespaces."""

    def __init__(self, reason: str) -> None:
        super().__init__("namespaces", reason)
        self.reason = reason


class Zygote:
    """Boots in the constructor: IsolationUnavailable, PreloadFailed or WorkerFailed if it cannot be had, NoNamespaces where
    those of the plan cannot be made.

    plan: what it was booted with. uids: the first user id to which its workers are mapped, or 0. without_namespaces: why it
    has none although they were wanted.
    """

    def __init__(self, plan: LockdownPlan, preload: tuple[str, ...], slots: Path, uids: int = 0) -> None:
        self.plan = plan
        self.uids = uids
        self.without_namespaces = ""
        # Taken by a fork and given back when the worker is reaped: while it lives, nobody else is that user.
        self._users: dict[int, int] = {}
        self._lock = threading.RLock()
        self._reader = FrameReader()
        self._received: list[int] = []
        self._pidfd = -1
        self._state = "booting"
        self._workers = 0
        self._retired = False
        self._errors, errors_write = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._errors, False)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(FORK_TIMEOUT_S)  # for sending: what is received is polled for
        self._silent = False
        self.noise = b""
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-X",
                    "utf8",
                    "-c",
                    BOOTSTRAP,
                    str(theirs.fileno()),
                    str(os.getpid()),
                    *own_homes(),
                ],
                env=plan.environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=errors_write,
                stderr=errors_write,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # an interrupt typed at a terminal is not for it
            )
        except BaseException:
            self._socket.close()
            os.close(self._errors)
            raise
        finally:
            theirs.close()
            os.close(errors_write)
        self.pid = self._process.pid
        try:
            self.booted = self._boot(plan, preload, slots, uids)
        except BaseException:
            self.close()
            raise

    def fork(self, serial: int, slot: Path) -> Born:
        """A new worker that will lock itself down and say READY on its channel."""
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            channel, far_channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            ours.callback(channel.close)
            theirs.callback(far_channel.close)
            stdout, far_stdout = _pipe(ours, theirs)
            stderr, far_stderr = _pipe(ours, theirs)
            with self._lock:
                fork = zm.Fork(serial, str(slot), self._take_user(serial))
                with self._exchange():
                    self._send(fork, [far_channel.fileno(), far_stdout, far_stderr])
                    forked, descriptors = self._receive(time.monotonic() + FORK_TIMEOUT_S)
                    for descriptor in descriptors:
                        ours.callback(os.close, descriptor)
                    expected = (1 + (self.plan.namespaces != "off")) * bool(getattr(forked, "pid", 0))
                    if not isinstance(forked, zm.Forked) or forked.serial != serial or len(descriptors) != expected:
                        raise ProtocolError("the zygote did not answer with the worker that was asked for")
                    self._workers += bool(forked.pid)
            if not forked.pid:
                self._give_user_back(serial)
                raise WorkerFailed("fork", "no worker could be forked: too many processes, or too little memory")
            pid = _process_of(descriptors[0])
            ours.pop_all()
            return Born(serial, pid, descriptors[0], channel, stdout, stderr, *descriptors[1:])

    def reap(self, serial: int) -> zm.Reaped:
        """Take the wait status of a worker whose pidfd says that it is dead."""
        with self._lock:
            with self._exchange():
                self._send(zm.Reap(serial))
                reaped, descriptors = self._receive(time.monotonic() + FORK_TIMEOUT_S)
                self._received = descriptors  # there are none, or they are closed with the rest
                if not isinstance(reaped, zm.Reaped) or reaped.serial != serial or descriptors:
                    raise ProtocolError("the zygote did not answer with the worker's end")
            self._give_user_back(serial)
            self._workers -= 1
            if self._retired and not self._workers:
                self.close()
        return reaped

    def owner(self, serial: int) -> tuple[int, int] | None:
        """User and group id of a living worker, as this process counts; None where it has the zygote's."""
        user = self._users.get(serial)
        return None if user is None else (self.uids + user, self.uids + user)

    def retire(self) -> None:
        """Close it now if it has no workers, else when the last one is reaped."""
        with self._lock:
            self._retired = True
            if not self._workers:
                self.close()

    @property
    def alive(self) -> bool:
        """Whether it can still be asked for workers."""
        return self._pidfd >= 0 and not wait_readable(self._pidfd, 0) and self._process.poll() is None

    def close(self) -> None:
        """End it, and its workers with it: by their parent-death signal, or with their process namespace."""
        with self._lock:
            self._socket.close()
            if self._pidfd < 0:
                self._process.send_signal(signal.SIGKILL)
            else:
                # Not the porter that may stand above it: that one ends when all that is below has ended.
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self._process.wait()
            for serial in list(self._users):  # the kernel has ended them before it let go of their namespace
                self._give_user_back(serial)
            if self._pidfd >= 0:
                os.close(self._pidfd)
                self._pidfd = -1
            if self._errors >= 0:
                os.close(self._errors)
                self._errors = -1
            for descriptor in self._received:
                os.close(descriptor)
            self._received = []

    def _take_user(self, serial: int) -> int:
        if not self.uids:
            return 0
        user = USERS.take()
        if not user:
            raise WorkerFailed("fork", f"all {zm.UIDS - 1} user ids of workers are in use; let go of some")
        self._users[serial] = user
        return user

    def _give_user_back(self, serial: int) -> None:
        user = self._users.pop(serial, 0)
        if user:
            USERS.give_back(user)

    def _boot(self, plan: LockdownPlan, preload: tuple[str, ...], slots: Path, uids: int) -> zm.Booted:
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        own = OwnCode(plan.read)
        self._send(zm.Boot(m.PROTOCOL_VERSION, plan, str(slots), preload, installed_paths(plan.read), uids))
        while True:
            message, descriptors = self._receive(deadline)
            match message:
                case zm.FindModule(name):
                    self._send(_found(own, name))
                case zm.BootFailed():
                    raise self._failure(message, plan)
                case zm.Booted() if len(descriptors) == 1:
                    self._pidfd = descriptors[0]
                    self.pid = _process_of(self._pidfd)
                    self._state = "serving"
                    return message
                case _:
                    raise ProtocolError(f"{type(message).__name__} while the zygote boots")

    def _failure(self, failed: zm.BootFailed, plan: LockdownPlan) -> AgexError:
        text = display(failed.message, limit=2000)
        match failed.what:
            case "layer" if failed.name == "namespaces":
                return NoNamespaces(text.removeprefix("namespaces: "))
            case "layer":
                return unavailable(display(failed.name, limit=100, one_line=True), text)
            case "preload":
                return PreloadFailed(
                    failed.name,
                    f"module {display(failed.name, limit=200)!r} cannot be imported in a worker: {text}\n"
                    f"What it needs may be missing there: the environment is empty ([env] pass in policy {plan.policy!r} lets"
                    " variables through), files outside the Python installation are closed ([filesystem] read opens them),"
                    " and there is no network. Functions of it that must run in your process: agent.fn(...) or runs='host'.",
                )
            case _:
                return PreloadFailed(
                    failed.name, f"workers cannot be forked: {display(failed.name, limit=200)}: {text}"
                )

    @contextlib.contextmanager
    def _exchange(self) -> Generator[None]:
        """A question and its answer. One that is broken off leaves the two sides out of step: the zygote is ended."""
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _send(self, message: object, descriptors: list[int] | None = None) -> None:
        data = frame(pack_message(message))
        try:
            if descriptors:
                sent = socket.send_fds(self._socket, [data], descriptors)
                data = data[sent:]
            self._socket.sendall(data)
        except OSError as error:
            raise self._gone() from error

    def _receive(self, deadline: float) -> tuple[Any, list[int]]:
        while (payload := self._reader.next()) is None:
            if not self._wait(deadline):
                continue
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 16, 4)
            except ConnectionError:
                data, descriptors = b"", []
            self._received += descriptors
            if not data:
                raise self._gone()
            self._reader.feed(data)
        if time.monotonic() >= deadline:
            raise self._late()
        message = unpack_message(payload, zm.FromZygote)
        if type(message) not in FROM_ZYGOTE[self._state]:
            raise ProtocolError(f"{type(message).__name__} from a zygote that is {self._state}")
        taken, self._received = self._received, []
        return message, taken

    def _wait(self, deadline: float) -> bool:
        """Wait for the socket, draining what is printed meanwhile. True if there is something to receive."""
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise self._late()
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not self._silent:
            poll.register(self._errors, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(remaining * 1000)}
        if self._errors in ready:
            self._drain_noise()
        return self._socket.fileno() in ready

    def _late(self) -> WorkerFailed:
        return WorkerFailed("zygote", f"the zygote did not answer in time; it is ended. {self._tail()}".strip())

    def _gone(self) -> WorkerFailed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        self._drain_noise()
        return WorkerFailed("zygote", f"the zygote ended (exit status {self._process.poll()}). {self._tail()}".strip())

    def _tail(self) -> str:
        return display(self.noise.decode(errors="replace")[-1500:], limit=1500)

    def _drain_noise(self) -> None:
        # What preloaded modules print; kept for the error message, and so that the pipe never fills.
        with contextlib.suppress(OSError):
            while piece := os.read(self._errors, 1 << 16):
                self.noise = (self.noise + piece)[-4096:]
            self._silent = True


def _process_of(pidfd: int) -> int:
    """The process's id as this process counts: a zygote in a process namespace counts otherwise. WorkerFailed if it is dead."""
    with open(f"/proc/self/fdinfo/{pidfd}", "rb") as lines:
        pid = next((int(line.split()[1]) for line in lines if line.startswith(b"Pid:")), -1)
    if pid < 1:
        raise WorkerFailed("fork", "the worker died as soon as it was forked")
    return pid


def _pipe(ours: contextlib.ExitStack, theirs: contextlib.ExitStack) -> tuple[int, int]:
    """The end to read, which does not block, and the end to write, which does: they are two open files."""
    read, write = os.pipe2(os.O_CLOEXEC)
    ours.callback(os.close, read)
    theirs.callback(os.close, write)
    os.set_blocking(read, False)
    return read, write


def _found(own: OwnCode, name: str) -> zm.ModuleFound:
    try:
        return own.find(name)
    except (ImportError, OSError, SyntaxError, ValueError) as error:
        raise PreloadFailed(name, f"the source of module {name!r} cannot be handed to the workers: {error}") from error
