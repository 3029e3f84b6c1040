"""seccomp: which system calls there are. The filter was compiled from the policy; here it is fitted and installed.

Installed last: after it, no other layer could be put up.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from agex_protocol.plan import SECCOMP_PID_PLACEHOLDER
from agex_worker.lockdown import kernel
from agex_worker.lockdown.errors import LayerFailed

_PR_GET_SECCOMP = 21
_SET_MODE_FILTER = 1
_FLAG_TSYNC = 1  # every thread, or none
_MODE_FILTER = 2

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, immediate
_MOST_INSTRUCTIONS = 4096  # BPF_MAXINSNS


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def patch(bpf: bytes, pid: int) -> bytes:
    """The filter with `pid` where the placeholder stood, so that a worker may signal itself and nobody else.

    Only whole immediates count. LayerFailed when the bytes are no program or hold no placeholder.
    """
    if not bpf or len(bpf) % _INSTRUCTION.size or len(bpf) > _MOST_INSTRUCTIONS * _INSTRUCTION.size:
        raise LayerFailed("seccomp", f"{len(bpf)} bytes are no BPF program; compile the policy again")
    patched, found = bytearray(), 0
    for code, if_true, if_false, immediate in _INSTRUCTION.iter_unpack(bpf):
        if immediate == SECCOMP_PID_PLACEHOLDER:
            immediate, found = pid, found + 1
        patched += _INSTRUCTION.pack(code, if_true, if_false, immediate)
    if not found:
        raise LayerFailed("seccomp", "the filter has no place for the worker's process id; compile the policy again")
    return bytes(patched)


def apply(bpf: bytes) -> str:
    """Install the filter for all threads of this process, and verify that it answers."""
    instructions = ctypes.create_string_buffer(bpf, len(bpf))
    program = _Program(len(bpf) // _INSTRUCTION.size, ctypes.addressof(instructions))
    unsynced = kernel.syscall("seccomp", _SET_MODE_FILTER, _FLAG_TSYNC, ctypes.addressof(program))
    if unsynced:
        raise LayerFailed("seccomp", f"thread {unsynced} could not be put under the filter")
    mode = _mode()
    if mode != _MODE_FILTER:
        raise LayerFailed("seccomp", f"the kernel took the filter, but the mode is {mode}, not {_MODE_FILTER}")
    return f"enforced: {program.length} instructions"


def _mode() -> int:
    try:
        return kernel.prctl(_PR_GET_SECCOMP)
    except OSError as error:
        # The kernel itself never refuses this question: a refusal comes from a filter.
        if error.errno not in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            raise
        return _MODE_FILTER
