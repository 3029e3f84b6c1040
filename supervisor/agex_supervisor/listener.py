"""The supervisor's end of a worker's system-call filter: hears what is refused, refuses it, and keeps count.

The kernel holds the calling thread until it is answered, and answers itself (ENOSYS) once this end is closed. The number of
a call and its arguments are the kernel's word; what arguments point to is never looked at.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from agex_policies.bpf import syscall_names
from agex_policies.syscall_rules import Action
from agex_policies.syscall_table import STANDARD
from agex_policies.syscalls import option_for
from agex_protocol.errors import ProtocolError

# Answers at one go, after which the deadline is looked at again.
AT_ONCE = 32
# Answers in one action. Beyond, this end is closed: a worker must not keep the supervisor busy with refusing.
MOST_ASKED = 10_000
# Kept of an action: so many different calls, and of each so many with different arguments. All are counted.
MOST_CALLS = 64
MOST_FORMS = 4
# Arguments by which calls are told apart: further ones are mostly pointers.
ARGUMENTS_KEPT = 3

_KIND = "anon_inode:seccomp notify"
_RECEIVE = 0xC050_2100  # SECCOMP_IOCTL_NOTIF_RECV
_SEND = 0xC018_2101  # SECCOMP_IOCTL_NOTIF_SEND
_CONTINUE = 1  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
_SECCOMP = {"x86_64": 317, "aarch64": 277}  # the number of seccomp(2)
_GET_NOTIF_SIZES = 3

# struct seccomp_notif: id, pid, flags; then struct seccomp_data: number, architecture, instruction pointer, six arguments.
_NOTIFICATION = struct.Struct("=QII iIQ 6Q")
# struct seccomp_notif_resp: id, value, error, flags.
_RESPONSE = struct.Struct("=QqiI")


@dataclass(frozen=True, slots=True)
class SyscallDenial:
    """System calls of one kind in one action: their name, the first arguments as numbers, how many there were.

    group: the optional group by which a policy would allow them; "" if none. allowed: let through, as learn mode does.
    """

    name: str
    arguments: tuple[int, ...]
    count: int
    group: str = ""
    allowed: bool = False


class Listener:
    """Owns the descriptor. Raises ProtocolError where that is none of a filter.

    own_pid: the worker's process id as it sees itself. learn: let through what an optional group of a policy would allow.
    """

    def __init__(self, descriptor: int, *, own_pid: int, learn: bool = False) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}") != _KIND:
            raise ProtocolError("the descriptor that came is no listener of a system-call filter")
        self._descriptor = descriptor
        self._learn = learn
        self._own_pid = own_pid
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)
        self._asked = 0
        self._heard: dict[tuple[str, str], dict[tuple[int, ...], int]] = {}

    @property
    def descriptor(self) -> int:
        """To wait on; -1 once it is closed."""
        return self._descriptor

    def serve(self, kill: Callable[[str], None]) -> None:
        """Answer what is asked now, AT_ONCE calls at most. `kill` is told of a call that is answered with death."""
        for _ in range(AT_ONCE):
            asked = self._receive()
            if asked is None:
                return
            self._asked += 1
            self._answer(*asked, kill)
            if self._asked >= MOST_ASKED:
                self.close()

    def take(self) -> tuple[SyscallDenial, ...]:
        """What was asked since the last time; starts over."""
        heard, self._heard, self._asked = self._heard, {}, 0
        return tuple(
            SyscallDenial(name, arguments, count, group, self._learn and bool(group))
            for (name, group), forms in heard.items()
            for arguments, count in forms.items()
        )

    def close(self) -> None:
        """Let go: the kernel answers whoever is waiting, and every later call, with ENOSYS."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _receive(self) -> tuple[int, str, tuple[int, ...]] | None:
        # The kernel waits in this ioctl where nobody asks, so it is made only where poll has just seen somebody.
        if self._descriptor < 0 or not any(event & select.POLLIN for _, event in self._poll.poll(0)):
            return None
        notification = bytearray(_sizes()[0])
        try:
            fcntl.ioctl(self._descriptor, _RECEIVE, notification)
        except OSError as error:
            # ENOENT: a signal took the caller out of its call.
            if error.errno not in (errno.ENOENT, errno.EINTR):
                raise
            return None
        identity, _, _, number, _, _, *arguments = _NOTIFICATION.unpack_from(notification)
        return identity, syscall_names().get(number, f"call {number}"), tuple(arguments)

    def _answer(self, identity: int, name: str, arguments: tuple[int, ...], kill: Callable[[str], None]) -> None:
        group = option_for(name, arguments, self._own_pid)
        self._note(name, group, arguments[:ARGUMENTS_KEPT])
        if name in _deadly():
            kill(name)
            return
        response = (identity, 0, 0, _CONTINUE) if self._learn and group else (identity, 0, -errno.EPERM, 0)
        # ENOENT: it is not waiting any more.
        with contextlib.suppress(FileNotFoundError):
            fcntl.ioctl(self._descriptor, _SEND, _RESPONSE.pack(*response).ljust(_sizes()[1], b"\0"))

    def _note(self, name: str, group: str, arguments: tuple[int, ...]) -> None:
        key = (name, group)
        if key not in self._heard and len(self._heard) >= MOST_CALLS:
            key, arguments = ("others", ""), ()
        forms = self._heard.setdefault(key, {})
        if arguments not in forms and len(forms) >= MOST_FORMS:
            arguments = next(reversed(forms))
        forms[arguments] = forms.get(arguments, 0) + 1


@cache
def _deadly() -> frozenset[str]:
    return frozenset(
        name for group in STANDARD for rule in group.rules if rule.action is Action.KILL for name in rule.names
    )


@cache
def _sizes() -> tuple[int, int]:
    """How many bytes the kernel writes for a notification and reads for a response: ours, or more if it is newer."""
    sizes = (ctypes.c_uint16 * 3)()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(ctypes.c_long(_SECCOMP[os.uname().machine]), ctypes.c_long(_GET_NOTIF_SIZES), ctypes.c_long(0), sizes)
    # Where the question is refused, they stay 0.
    return max(_NOTIFICATION.size, sizes[0]), max(_RESPONSE.size, sizes[1])
