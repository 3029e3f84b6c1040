"""What lies outside of the workers and belongs to the host: everything that a payload may try to touch, and a look at it.

Nothing here asks the payload: a finding is a fact about a file, a socket or a process of the host.
"""

from __future__ import annotations

import os
import resource
import secrets
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import psutil

SHARED_MEMORY = Path("/dev/shm")
# Payloads name what they make outside so, with the id of their host: other hosts are at work at the same time.
MADE_BY_PAYLOADS = "ax"


class Ground:
    """`secret` and `key` must show up in no output. The rest is watched by `findings()`."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        self.key = key
        self.secret = f"SECRET-{secrets.token_hex(12)}"
        self.canary = folder / "canary"
        self._secret_file = folder / "secret"
        self._out_file = folder / "out"
        self._secret_file.write_text(self.secret)
        self._out_file.write_text("original")
        self._out_file.chmod(0o644)
        self._shm = SHARED_MEMORY / f"harness-{secrets.token_hex(6)}"
        self._shm.write_text("shared")
        self._open = self._secret_file.open()  # to be found in /proc/<host>/fd
        name = f"ax-{secrets.token_hex(6)}"
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self._unix = _listening(str(folder / "listener"))
        self._abstract = _listening(f"\0{name}")
        self._abstract_name = name
        for listener in (self._tcp, self._udp, self._unix, self._abstract):
            listener.setblocking(False)
        self._victim = subprocess.Popen(["sleep", "100000"])
        self._before = self._look()
        self._others = _marked()

    def told(self) -> dict[str, object]:
        """The parameters by the names that payloads use."""
        return {
            "CANARY": str(self.canary),
            "SECRET_FILE": str(self._secret_file),
            "OUT_FILE": str(self._out_file),
            "TCP_PORT": self._tcp.getsockname()[1],
            "UDP_PORT": self._udp.getsockname()[1],
            "UNIX_PATH": str(self.folder / "listener"),
            "ABS_NAME": self._abstract_name,
            "VICTIM_PID": self._victim.pid,
            "HOST_PID": os.getpid(),
            "SHM_NAME": self._shm.name,
        }

    def findings(self) -> list[str]:
        """What differs from how it was made; empty if nothing was touched. Listeners are emptied."""
        before, now = self._before, self._look()
        found = [
            f"{what} changed: {before.get(what)} -> {now.get(what)}"
            for what in {**before, **now}
            if before.get(what) != now.get(what)
        ]
        found += [f"{name} was reached" for name, ask in self._asked().items() if ask()]
        return found + [f"{path} was left" for path in self._left()]

    def close(self) -> None:
        for path in self._left():
            path.unlink()
        self._victim.kill()
        self._victim.wait()
        for each in (self._tcp, self._udp, self._unix, self._abstract, self._open):
            each.close()
        self._shm.unlink(missing_ok=True)

    def _look(self) -> dict[str, object]:
        return {
            **{f"file {path.name}": _file(path) for path in sorted(self.folder.iterdir())},
            "shared memory": _file(self._shm),
            **{f"the victim's {what}": value for what, value in _process(self._victim.pid).items()},
            **{f"the host's {what}": value for what, value in _process(os.getpid()).items()},
            "the host's directory": os.getcwd(),
            "the host's handlers": [str(signal.getsignal(number)) for number in signal.valid_signals()],
        }

    def _left(self) -> list[Path]:
        return sorted(_marked() - self._others)

    def _asked(self) -> dict[str, Callable[[], bool]]:
        return {
            "the TCP port": lambda: _accepted(self._tcp),
            "the UDP port": lambda: _received(self._udp),
            "the unix socket": lambda: _accepted(self._unix),
            "the abstract socket": lambda: _accepted(self._abstract),
        }


def own_state() -> tuple[int, int]:
    """How many descriptors and threads this process has."""
    return len(os.listdir("/proc/self/fd")), threading.active_count()


def _listening(name: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(name)
    listener.listen()
    return listener


def _accepted(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def _received(listener: socket.socket) -> bool:
    try:
        listener.recv(1)
    except BlockingIOError:
        return False
    return True


def _file(path: Path) -> object:
    """All that can be changed about a file; its change time stands for times, modes, links and attributes."""
    try:
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
    except FileNotFoundError:
        return None
    attributes = {name: os.getxattr(path, name) for name in os.listxattr(path, follow_symlinks=False)}
    return oct(status.st_mode), status.st_uid, status.st_gid, status.st_nlink, status.st_ctime_ns, content, attributes


def _process(pid: int) -> dict[str, object]:
    """Limits, priorities and whether it can run."""
    process = psutil.Process(pid)
    return {
        "life": process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD, psutil.STATUS_STOPPED),
        "limits": [resource.prlimit(pid, number) for number in range(16)],
        "scheduler": (os.sched_getscheduler(pid), os.getpriority(os.PRIO_PROCESS, pid), tuple(process.ionice())),
        "processors": sorted(os.sched_getaffinity(pid)),
        "oom_score_adj": Path(f"/proc/{pid}/oom_score_adj").read_text(),
    }


def _marked() -> set[Path]:
    folders = (SHARED_MEMORY, Path("/tmp"))
    names = f"{MADE_BY_PAYLOADS}*{os.getpid()}*"
    return {path for folder in folders for path in folder.glob(names)}
