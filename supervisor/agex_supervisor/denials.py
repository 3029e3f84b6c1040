"""What was refused to code, told to the caller: which layer, what it was asked for, on what, and which policy key allows it.

Who knows of a refusal differs: the worker itself (what Python was about to do, what the inner sandbox refused), the
listener of the system-call filter, the relay of the network, the watch over the limits. What a worker tells is hostile:
its words come from the closed table here, anything else breaks the protocol, and its targets are only for reading.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from agex_protocol import messages as m
from agex_protocol.errors import ProtocolError
from agex_supervisor.display import display

MAX_DENIALS = 100
MAX_TARGET_CHARS = 500


@dataclass(frozen=True, slots=True)
class Denial:
    """One thing that a layer refused, as far as can be known: an unknown part is an empty string.

    key: the policy key that would allow it; empty where none does.
    """

    layer: str
    operation: str
    target: str
    key: str

    def __str__(self) -> str:
        what = self.operation or "something unknown"
        allowed = f"{self.key} would allow it" if self.key else "no policy key is known to allow it"
        return f"{self.layer} refused {what}{f' {self.target!r}' if self.target else ''} ({allowed})"


_FILES = {
    "read": "filesystem.read",
    "list": "filesystem.read",
    "write": "filesystem.write",
    "mkdir": "filesystem.write",
    "rename": "filesystem.write",
    "remove": "filesystem.write",
    "truncate": "filesystem.write",
    "symlink": "filesystem.write",
}

# What a worker may tell: layer, operation, and the policy key that would allow it.
FROM_WORKER: Mapping[str, Mapping[str, str]] = {
    "sandbox": {
        "import": "python.modules",
        "builtin": "python.builtins",
        "read": "filesystem.read",
        "write": "filesystem.write",
        # What the inner sandbox hides, nothing opens but ordinary Python without it.
        "attribute": "python.mode",
        "member": "python.mode",
        "syntax": "python.mode",
        "use": "python.mode",
    },
    # What C code was refused: a read or a write, nobody knows, and so not which key would allow it.
    "landlock": {**_FILES, "": ""},
    "namespaces": {
        **_FILES,
        "find": "filesystem.read",
        "workspace_size": "limits.workspace_size",
        "workspace_files": "limits.workspace_files",
    },
    "seccomp": {
        "resolve": "network.allow",
        "socket": "network.allow",
        "connect": "network.allow",
        **dict.fromkeys(("datagram-socket", "unix-socket", "raw-socket", "bind"), ""),
        **dict.fromkeys(("fork", "exec", "kill"), ""),
        **dict.fromkeys(("link", "chmod", "chown", "utime", "setxattr"), ""),
    },
    "rlimits": {
        "memory": "limits.memory",
        "threads": "limits.threads",
        "open_files": "limits.open_files",
        "file_size": "limits.file_size",
    },
}

# The system calls behind an operation that the worker may have told of in its own, more precise words.
_CALLS_OF: Mapping[str, str] = {
    **dict.fromkeys(("resolve", "socket", "datagram-socket", "unix-socket", "raw-socket"), "socket"),
    "connect": "connect",
    "bind": "bind listen",
    "fork": "fork vfork clone",
    "exec": "execve execveat fork vfork clone",
    "kill": "kill tkill tgkill pidfd_send_signal",
    "link": "link linkat",
    "chmod": "chmod fchmod fchmodat fchmodat2",
    "chown": "chown fchown lchown fchownat",
    "utime": "utime utimes utimensat futimesat",
    "setxattr": "setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr",
}

_INTERNET = ((socket.AF_INET,), (socket.AF_INET6,))
# A socket's type without SOCK_NONBLOCK and SOCK_CLOEXEC.
_SOCKET_KIND = 0xF

_LIMITS = "memory cpu_time wall_time threads open_files file_size workspace_size workspace_files".split()


def of_message(message: m.Denied, before: int) -> Denial:
    """What a worker told, the last of `before` + 1 in this action. ProtocolError for a forged word or a flood."""
    if before >= MAX_DENIALS:
        raise ProtocolError(f"more than {MAX_DENIALS} denials were told of one action")
    return of_words(message.layer, message.operation, message.target)


def of_words(layer: str, operation: str, target: str) -> Denial:
    """A refusal in the words of the table. ProtocolError for others."""
    key = FROM_WORKER.get(layer, {}).get(operation)
    if key is None:
        raise ProtocolError(f"a denial of {operation[:60]!r} by {layer[:60]!r}, of which the table knows nothing")
    return Denial(layer, operation, display(target, limit=MAX_TARGET_CHARS, one_line=True), key)


def of_syscall(name: str, arguments: Sequence[int] = (), *, allowed_by_group: bool = False) -> Denial:
    """What the filter's listener heard: a system call by its name, and whether a group of `syscalls.allow` opens it."""
    if allowed_by_group:
        return Denial("seccomp", name, "", "syscalls.allow")
    # A granted address is reached by TCP; sockets of other kinds no policy gives.
    tcp = name == "socket" and tuple(arguments[:1]) in _INTERNET and arguments[1] & _SOCKET_KIND == socket.SOCK_STREAM
    return Denial("seccomp", name, "", "network.allow" if tcp else "")


def of_address(target: str) -> Denial:
    """A "host:port" with which the broker would not connect a worker."""
    return Denial("network", "connect", display(target, limit=MAX_TARGET_CHARS, one_line=True), "network.allow")


def of_death(cause: str, detail: str, *, deadline_is_policy: bool) -> Denial | None:
    """What a death has to do with the policy: the limit that was passed; None where it was something else.

    deadline_is_policy: whether the action's deadline was that of `limits.wall_time`, and not an earlier one of the caller's.
    """
    if cause == "timeout":
        return Denial("limits", "wall_time", "", "limits.wall_time") if deadline_is_policy else None
    if cause != "limit":
        return None
    limit = detail.partition(":")[0].removeprefix("limits.")
    return Denial("limits", limit, "", f"limits.{limit}") if limit in _LIMITS else Denial("limits", "", "", "")


def merged(told: Iterable[Denial], calls: Iterable[Denial] = (), others: Iterable[Denial] = ()) -> list[Denial]:
    """All of them once, in this order, at most MAX_DENIALS.

    told: by the worker. calls: system calls of which the listener knows; one that the worker told of, too, is left out,
    because the worker knew its target.
    """
    known = list(told)
    explained = {call for each in known if each.layer == "seccomp" for call in _CALLS_OF[each.operation].split()}
    found = dict.fromkeys([*known, *(each for each in calls if each.operation not in explained), *others])
    return list(found)[:MAX_DENIALS]
