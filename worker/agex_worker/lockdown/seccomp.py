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
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def patch(bpf: bytes, pid: int) -> bytes:
    """The filter with `pid` where the placeholder stood, so that a worker may signal itself and nobody else.

    Only whole immediates count. LayerFailed when the bytes are no program or hold no placeholder.
    """
    _check(bpf)
    patched, own, at = bytearray(bpf), _IMMEDIATE.pack(pid), -1
    while (at := bpf.find(_PLACEHOLDER, at + 1)) >= 0:
        if at % _INSTRUCTION.size == _IMMEDIATE_AT:
            patched[at : at + _IMMEDIATE.size] = own
    fitted = bytes(patched)
    if fitted == bpf:
        raise LayerFailed("seccomp", "the filter has no place for the worker's process id; compile the policy again")
    return fitted


def apply(bpf: bytes) -> str:
    """Install the filter for all threads of this process, and verify that it answers."""
    unsynced = _install(bpf, _FLAG_TSYNC)
    if unsynced:
        raise LayerFailed("seccomp", f"thread {unsynced} could not be put under the filter")
    mode = _mode()
    if mode != _MODE_FILTER:
        raise LayerFailed("seccomp", f"the kernel took the filter, but the mode is {mode}, not {_MODE_FILTER}")
    return f"enforced: {len(bpf) // _INSTRUCTION.size} instructions"


def apply_told(plan: LockdownPlan, hand_over: Callable[[int], None]) -> tuple[str, str]:
    """Install the filter that tells, give its listener to `hand_over` and shut what that took: states of filter, listener.

    For a process of one thread. Where the kernel gives no listener, the plan's other filter goes up instead.
    """
    told = patch(plan.seccomp_told, os.getpid())
    _check(plan.seal)
    try:
        listener = _install(told, _FLAG_NEW_LISTENER)
    except OSError as error:
        if error.errno not in _NO_LISTENER:
            raise
        return apply(patch(plan.seccomp, os.getpid())), f"unavailable: {_why_none(error)}"
    try:
        hand_over(listener)
    finally:
        os.close(listener)
    _install(plan.seal, 0)
    if not _sealed():
        raise LayerFailed("seccomp", "the kernel took the seal, but seccomp(2) still answers")
    # The mode is not asked for: it would be told. The supervisor counts the filters from outside.
    return f"enforced: {len(told) // _INSTRUCTION.size} instructions and a seal", "enforced"


def _check(bpf: bytes) -> None:
    if not bpf or len(bpf) % _INSTRUCTION.size or len(bpf) > _MOST_INSTRUCTIONS * _INSTRUCTION.size:
        raise LayerFailed("seccomp", f"{len(bpf)} bytes are no BPF program; compile the policy again")


def _install(bpf: bytes, flags: int) -> int:
    program = _Program(len(bpf) // _INSTRUCTION.size, bpf)
    return kernel.syscall("seccomp", _SET_MODE_FILTER, flags, ctypes.addressof(program))


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


def _mode() -> int:
    try:
        return kernel.prctl(_PR_GET_SECCOMP)
    except OSError as error:
        # The kernel itself never refuses this question: a refusal comes from a filter.
        if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            raise
        return _MODE_FILTER
