"""seccomp: which system calls there are. The filter was compiled from the policy; here it is fitted and installed.

Installed last: after it, no other layer could be put up. Where the kernel gives a listener, what the filter refuses is told
to the supervisor, which refuses it; else the filter does so itself. Without a supervisor that listens, the kernel answers.
"""

from __future__ import annotations

import array
import ctypes
import errno
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass

from agex_protocol.plan import SECCOMP_PID_PLACEHOLDER, LockdownPlan
from agex_worker.lockdown import kernel
from agex_worker.lockdown.errors import LayerFailed

_PR_GET_SECCOMP = 21
_SET_MODE_FILTER = 1
_GET_NOTIF_SIZES = 3
_FLAG_TSYNC = 1  # every thread, or none
_FLAG_NEW_LISTENER = 8  # not together with TSYNC
_MODE_FILTER = 2

# What the kernel says where it gives none: another filter above has one (EBUSY), or it is too old (before 5.0).
_NO_LISTENER = (errno.EBUSY, errno.EINVAL)

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, immediate
_IMMEDIATE = struct.Struct("=I")
_IMMEDIATE_AT = 4
_PLACEHOLDER = _IMMEDIATE.pack(SECCOMP_PID_PLACEHOLDER)
_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


class Filter:
    """A filter and the call that installs it, made once in the zygote: what is left to a worker is to write its number in.

    own_pid: whether it has places for that, so that a worker may signal itself and nobody else. LayerFailed when the bytes
    are no program, or have no place that is a whole immediate.
    """

    def __init__(self, bpf: bytes, *, own_pid: bool = True) -> None:
        _check(bpf)
        self.count = len(bpf) // _INSTRUCTION.size
        self.instructions = ctypes.create_string_buffer(bpf, len(bpf))
        self._places = _places(bpf) if own_pid else ()
        if own_pid and not self._places:
            raise LayerFailed(
                "seccomp", "the filter has no place for the worker's process id; compile the policy again"
            )
        self._program = _Program(self.count, ctypes.addressof(self.instructions))
        self._flags = ctypes.c_long()
        self._ask = kernel.prepared("prctl", _PR_GET_SECCOMP, 0, 0, 0, 0)
        self._call = kernel.prepared("seccomp", _SET_MODE_FILTER, self._flags, ctypes.addressof(self._program))

    def fit(self, pid: int) -> None:
        """Write the worker's process id into it."""
        for place in self._places:
            _IMMEDIATE.pack_into(self.instructions, place, pid)

    def install(self, flags: int) -> int:
        self._flags.value = flags
        return kernel.made(self._call, "seccomp")

    def mode(self) -> int:
        """The mode in which this process is."""
        mode = self._ask()
        # The kernel itself never refuses this question: a refusal comes from a filter.
        if mode < 0 and ctypes.get_errno() in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            return _MODE_FILTER
        if mode < 0:
            raise kernel.refusal("prctl")
        return mode


@dataclass(frozen=True, slots=True)
class Filters:
    """A plan's: `silent` refuses by itself; `told` and `seal` are its other form, or None."""

    silent: Filter
    told: Filter | None
    seal: Filter | None


def prepare(plan: LockdownPlan) -> Filters | None:
    """Make what apply() and apply_told() need; None for a plan without a filter. For before the fork."""
    if not plan.seccomp:
        return None
    told = Filter(plan.seccomp_told) if plan.seccomp_told else None
    seal = Filter(plan.seal, own_pid=False) if plan.seccomp_told else None
    return Filters(Filter(plan.seccomp), told, seal)


def apply(chosen: Filter) -> str:
    """Install the filter for all threads of this process, and verify that it answers."""
    chosen.fit(os.getpid())
    unsynced = chosen.install(_FLAG_TSYNC)
    if unsynced:
        raise LayerFailed("seccomp", f"thread {unsynced} could not be put under the filter")
    mode = chosen.mode()
    if mode != _MODE_FILTER:
        raise LayerFailed("seccomp", f"the kernel took the filter, but the mode is {mode}, not {_MODE_FILTER}")
    return f"enforced: {chosen.count} instructions"


def apply_told(filters: Filters, told: Filter, seal: Filter, hand_over: Callable[[int], None]) -> tuple[str, str]:
    """Install the filter that tells, give its listener to `hand_over` and shut what that took: states of filter, listener.

    For a process of one thread. Where the kernel gives no listener, the filter that is silent goes up instead.
    """
    told.fit(os.getpid())
    try:
        listener = told.install(_FLAG_NEW_LISTENER)
    except OSError as error:
        if error.errno not in _NO_LISTENER:
            raise
        return apply(filters.silent), f"unavailable: {_why_none(error)}"
    try:
        hand_over(listener)
    finally:
        os.close(listener)
    seal.install(0)
    if not _sealed():
        raise LayerFailed("seccomp", "the kernel took the seal, but seccomp(2) still answers")
    # The mode is not asked for: it would be told. The supervisor counts the filters from outside.
    return f"enforced: {told.count} instructions and a seal", "enforced"


def _places(bpf: bytes) -> tuple[int, ...]:
    """Where the worker's number goes: only whole immediates count."""
    found: list[int] = []
    at = -1
    while (at := bpf.find(_PLACEHOLDER, at + 1)) >= 0:
        if at % _INSTRUCTION.size == _IMMEDIATE_AT:
            found.append(at)
    return tuple(found)


def _check(bpf: bytes) -> None:
    if not bpf or len(bpf) % _INSTRUCTION.size or len(bpf) > _MOST_INSTRUCTIONS * _INSTRUCTION.size:
        raise LayerFailed("seccomp", f"{len(bpf)} bytes are no BPF program; compile the policy again")


def _why_none(error: OSError) -> str:
    if error.errno == errno.EBUSY:
        return "a filter above this process has a listener already, and the kernel takes one; refusals are not told"
    return "this kernel (before 5.0) knows no listeners; refusals are not told"


def _sealed() -> bool:
    sizes = array.array("H", (0, 0, 0))
    try:
        kernel.syscall("seccomp", _GET_NOTIF_SIZES, 0, sizes.buffer_info()[0])
    except PermissionError:
        return True
    return False
