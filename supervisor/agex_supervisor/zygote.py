"""One zygote: spawned by exec with an empty environment, booted over its control socket, asked for workers.

The zygote runs the registered modules' import code but never agent code. Its bytes are checked all the same.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agex_protocol import messages as m
from agex_protocol.codec import pack_message, unpack_message
from agex_protocol.errors import AgexError, ProtocolError
from agex_protocol.framing import FrameReader, frame
from agex_protocol.plan import LockdownPlan
from agex_protocol.turns import FROM_ZYGOTE
from agex_supervisor.display import display
from agex_supervisor.errors import PreloadFailed, WorkerFailed
from agex_supervisor.own_code import OwnCode
from agex_supervisor.promises import unavailable
from agex_supervisor.wire import wait_readable

BOOT_TIMEOUT_S = 60.0
FORK_TIMEOUT_S = 10.0
# No path of the caller's reaches this text: directories are passed as arguments.
BOOTSTRAP = "import sys; sys.path[:0] = sys.argv[3:]; from agex_worker.zygote import bootstrap; bootstrap()"


@dataclass(frozen=True, slots=True)
class Born:
    """A forked worker that has not said READY yet: its process, and our ends of its channel and output."""

    serial: int
    pid: int
    pidfd: int
    channel: socket.socket
    stdout: int
    stderr: int


class Zygote:
    """Boots in the constructor: IsolationUnavailable, PreloadFailed or WorkerFailed if it cannot be had."""

    def __init__(self, plan: LockdownPlan, preload: tuple[str, ...], slots: Path) -> None:
        self._lock = threading.RLock()
        self._reader = FrameReader()
        self._received: list[int] = []
        self._state = "booting"
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        errors, errors_write = os.pipe2(os.O_CLOEXEC)
        self._socket, self._errors = ours, errors
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
                    *_homes(),
                ],
                env=plan.environment,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=errors_write,
                stderr=errors_write,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # an interrupt typed at a terminal is not for it
            )
        finally:
            theirs.close()
            os.close(errors_write)
        self.pid = self._process.pid
        try:
            self.booted = self._boot(plan, preload, slots)
        except BaseException:
            self.close()
            raise

    def fork(self, serial: int, slot: Path) -> Born:
        """A new worker that will lock itself down and say READY on its channel."""
        channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        stdout, stdout_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        stderr, stderr_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        ends = [theirs.fileno(), stdout_write, stderr_write]
        for end in ends[1:]:
            os.set_blocking(end, True)  # ours stay non-blocking: the two ends of a pipe are two open files
        try:
            with self._lock:
                self._send(m.Fork(serial, str(slot)), ends)
                forked, descriptors = self._receive(time.monotonic() + FORK_TIMEOUT_S)
            if not isinstance(forked, m.Forked) or forked.serial != serial or len(descriptors) != 1:
                raise ProtocolError("the zygote did not answer with the worker that was asked for")
        except BaseException:
            channel.close()
            os.close(stdout)
            os.close(stderr)
            raise
        finally:
            theirs.close()
            os.close(stdout_write)
            os.close(stderr_write)
        return Born(serial, forked.pid, descriptors[0], channel, stdout, stderr)

    def reap(self, serial: int) -> m.Reaped:
        """Take the wait status of a worker whose pidfd says that it is dead."""
        with self._lock:
            self._send(m.Reap(serial))
            reaped, _ = self._receive(time.monotonic() + FORK_TIMEOUT_S)
        if not isinstance(reaped, m.Reaped) or reaped.serial != serial:
            raise ProtocolError("the zygote did not answer with the worker's end")
        return reaped

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """End it; its workers follow by their parent-death signal."""
        with self._lock:
            self._socket.close()
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            if self._errors >= 0:
                os.close(self._errors)
                self._errors = -1
            for descriptor in self._received:
                os.close(descriptor)
            self._received = []

    def _boot(self, plan: LockdownPlan, preload: tuple[str, ...], slots: Path) -> m.Booted:
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        own = OwnCode(plan.read)
        os.set_blocking(self._errors, False)
        self._send(m.Boot(m.PROTOCOL_VERSION, plan, str(slots), preload, _installed_paths(plan.read)))
        while True:
            message, _ = self._receive(deadline)
            match message:
                case m.FindModule(name):
                    self._send(own.find(name))
                case m.BootFailed():
                    raise self._failure(message, plan)
                case m.Booted():
                    self._state = "serving"
                    return message
                case _:
                    raise ProtocolError(f"{type(message).__name__} while the zygote boots")

    def _failure(self, failed: m.BootFailed, plan: LockdownPlan) -> AgexError:
        text = display(failed.message, limit=2000)
        match failed.what:
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
            self._drain_noise()
            if not wait_readable(self._socket.fileno(), min(deadline, time.monotonic() + 0.5)):
                if time.monotonic() >= deadline:
                    self.close()
                    raise WorkerFailed("zygote", "the zygote did not answer in time; it was killed")
                continue
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, 1 << 16, 4)
            except ConnectionError:
                data, descriptors = b"", []
            self._received += descriptors
            if not data:
                raise self._gone()
            self._reader.feed(data)
        message = unpack_message(payload, m.FromZygote)
        if type(message) not in FROM_ZYGOTE[self._state]:
            raise ProtocolError(f"{type(message).__name__} from a zygote that is {self._state}")
        taken, self._received = self._received, []
        return message, taken

    def _gone(self) -> WorkerFailed:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        self._drain_noise()
        tail = display(self.noise.decode(errors="replace")[-1500:], limit=1500)
        return WorkerFailed("zygote", f"the zygote ended (exit status {self._process.poll()}). {tail}".strip())

    def _drain_noise(self) -> None:
        # What preloaded modules print; kept for the error message, and so that the pipe never fills.
        with contextlib.suppress(OSError):
            while piece := os.read(self._errors, 1 << 16):
                self.noise = (self.noise + piece)[-4096:]


def _homes() -> list[str]:
    """The directories from which the zygote's own few imports come, where `-I` does not search them already."""
    homes: list[str] = []
    for name in ("agex_worker", "agex_protocol", "msgpack", "cloudpickle", "landlock"):
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.origin is not None:
            homes.append(str(Path(spec.origin).parent.parent))
    return list(dict.fromkeys(homes))


def _installed_paths(readable: tuple[str, ...]) -> tuple[str, ...]:
    """Entries of sys.path that hold installed packages and that the zygote may read."""
    standard = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib")}
    roots = [Path(path) for path in readable]
    found = [
        entry
        for entry in sys.path
        if entry and entry not in standard and any(Path(entry).resolve().is_relative_to(root) for root in roots)
    ]
    return tuple(dict.fromkeys(found))
