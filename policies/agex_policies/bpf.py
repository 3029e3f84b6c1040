"""The system-call filter as bytes: what syscalls.py says, compiled by libseccomp for the machine this runs on.

Compiled here, on the trusted side, because loading pyseccomp takes 0.1 s and starts a program. Whoever installs the bytes
replaces SECCOMP_PID_PLACEHOLDER in them by the worker's own process id.
"""

from __future__ import annotations

import errno
import tempfile
from functools import cache
from typing import Any

from agex_policies.errors import IsolationUnavailable
from agex_policies.syscalls import ALL_64, GROUPS, YOUNGER_THAN_LIBSECCOMP, Action, Argument, Errno, Group

# What libseccomp answers for a name that it has never heard of. Lower numbers are names that this architecture lacks.
_NEVER_HEARD_OF = -1


@cache
def compile_filter(groups: tuple[Group, ...] = GROUPS) -> bytes:
    """The BPF program, eight bytes an instruction. IsolationUnavailable where libseccomp is missing or too old for it."""
    return _exported(groups, "export_bpf")


@cache
def explain_filter(groups: tuple[Group, ...] = GROUPS) -> str:
    """The same program as text, one line a decision, in libseccomp's pseudo code."""
    return _exported(groups, "export_pfc").decode()


def _exported(groups: tuple[Group, ...], method: str) -> bytes:
    seccomp = _pyseccomp()
    program = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    # Calls by the i386 and x32 numbers, which mean something else than these rules.
    program.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.KILL_PROCESS)
    # 2: a binary tree, not a row of two hundred comparisons.
    program.set_attr(seccomp.Attr.CTL_OPTIMIZE, 2)
    for group in groups:
        for rule in group.rules:
            for name in rule.names:
                number = _number(seccomp, name)
                if number is not None:
                    arguments = [_comparison(seccomp, argument) for argument in rule.arguments]
                    program.add_rule_exactly(_verdict(seccomp, rule.action), number, *arguments)
    with tempfile.TemporaryFile() as file:
        getattr(program, method)(file)
        file.seek(0)
        return file.read()


def _pyseccomp() -> Any:
    try:
        import pyseccomp  # late: it takes 0.1 s and runs ldconfig
    except (ImportError, RuntimeError, OSError) as error:
        raise IsolationUnavailable(
            "programs", ("seccomp",), f"install libseccomp 2.5 or later and pyseccomp ({error})"
        ) from error
    return pyseccomp


def _number(seccomp: Any, name: str) -> int | None:
    """The call's number here; None where it cannot be called, or is refused because this libseccomp is too old for it."""
    number: int = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
    if number >= 0:
        return number
    if number == _NEVER_HEARD_OF and name not in YOUNGER_THAN_LIBSECCOMP:
        raise IsolationUnavailable(
            "programs", ("seccomp",), f"this libseccomp does not know the system call {name!r}: install 2.5 or later"
        )
    return None


def _verdict(seccomp: Any, action: Action | Errno) -> int:
    if isinstance(action, Errno):
        return int(seccomp.ERRNO(action.number))
    return int(seccomp.ALLOW if action is Action.ALLOW else seccomp.KILL_PROCESS)


def _comparison(seccomp: Any, argument: Argument) -> Any:
    if argument.mask == ALL_64:
        return seccomp.Arg(argument.index, seccomp.EQ, argument.value)
    return seccomp.Arg(argument.index, seccomp.MASKED_EQ, argument.mask, argument.value)
