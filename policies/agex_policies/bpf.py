"""The system-call filter as bytes: the groups of calls, compiled by libseccomp for this machine or another one.

Compiled here, on the trusted side, because loading pyseccomp takes 0.1 s and starts a program. Whoever installs the bytes
replaces SECCOMP_PID_PLACEHOLDER in them by the worker's own process id.
"""

from __future__ import annotations

import contextlib
import errno
import platform
import tempfile
from collections.abc import Mapping
from functools import cache
from typing import Any

from agex_policies.errors import IsolationUnavailable
from agex_policies.syscall_rules import ALL_64, O_DIRECT, Action, Argument, Errno, Group, allow
from agex_policies.syscall_table import STANDARD

# Younger than libseccomp 2.5.0. Where the library does not know one, its rule is left out and the call refused with EPERM.
YOUNGER_THAN_LIBSECCOMP = frozenset(
    {"faccessat2", "close_range", "epoll_pwait2", "mount_setattr", "fchmodat2", "set_mempolicy_home_node"}
)

# What libseccomp answers for a name that it has never heard of. Lower numbers are names that this architecture lacks.
_NEVER_HEARD_OF = -1


# Architecture, as uname says -> its bit for O_DIRECT.
ARCHITECTURES = {"x86_64": 0x4000, "aarch64": 0x1_0000}


# How many numbers of system calls are given names: all that libseccomp knows lie below.
_NUMBERS = 1024

# What a worker needs, under the filter that tells, to give the listener away; the seal shuts it.
_HANDOVER = Group("handover", "Sending the listener, and installing the seal.", (allow("sendmsg seccomp"),))


@cache
def compile_filter(
    groups: tuple[Group, ...] = STANDARD, arch: str = platform.machine(), *, told: bool = False
) -> bytes:
    """The BPF program, eight bytes an instruction. IsolationUnavailable where libseccomp is missing or too old for it.

    arch: one of ARCHITECTURES, by default the one that this runs on. told: what it would refuse or answer with death is told
    to a listener instead, which has to do so.
    """
    return _exported(_program(groups, arch, told), "export_bpf")


@cache
def compile_seal() -> bytes:
    """The program that lies over a filter that tells, and takes from it what handing the listener over took."""
    arch, seccomp = platform.machine(), _pyseccomp()
    program = _empty(seccomp, seccomp.ALLOW, arch)
    for name in sorted(_HANDOVER.calls):
        program.add_rule_exactly(seccomp.ERRNO(errno.EPERM), _number(seccomp, name, arch))
    return _exported(program, "export_bpf")


@cache
def explain_filter(groups: tuple[Group, ...] = STANDARD, arch: str = platform.machine(), *, told: bool = False) -> str:
    """The same program as text, one line a decision, in libseccomp's pseudo code."""
    return _exported(_program(groups, arch, told), "export_pfc").decode()


@cache
def syscall_names() -> Mapping[int, str]:
    """The name of every system call of this architecture, by its number."""
    seccomp = _pyseccomp()
    names: dict[int, str] = {}
    for number in range(_NUMBERS):
        with contextlib.suppress(ValueError):  # no such call
            names[number] = seccomp.resolve_syscall(seccomp.Arch.NATIVE, number).decode()
    return names


def standard_filters() -> tuple[tuple[Group, ...], ...]:
    """Every set of rules that a policy without system calls of its own is compiled to."""
    return (STANDARD,)


def _program(groups: tuple[Group, ...], arch: str, told: bool) -> Any:
    seccomp = _pyseccomp()
    default = int(seccomp.NOTIFY if told else seccomp.ERRNO(errno.EPERM))
    program = _empty(seccomp, default, arch)
    for group in (*groups, _HANDOVER) if told else groups:
        for rule in group.rules:
            verdict = default if told and rule.action is Action.KILL else _verdict(seccomp, rule.action)
            for name in rule.names:
                number = _number(seccomp, name, arch)
                # libseccomp takes a rule that says what the default says for a mistake.
                if number is not None and verdict != default:
                    arguments = [_comparison(seccomp, argument, arch) for argument in rule.arguments]
                    program.add_rule_exactly(verdict, number, *arguments)
    return program


def _empty(seccomp: Any, default: int, arch: str) -> Any:
    if arch not in ARCHITECTURES:
        raise IsolationUnavailable("programs", ("seccomp",), f"the filter is not made for {arch}")
    program = seccomp.SyscallFilter(default)
    if arch != platform.machine():
        program.add_arch(_token(seccomp, arch))
        program.remove_arch(seccomp.Arch.NATIVE)
    # Calls by the i386 and x32 numbers, which mean something else than these rules.
    program.set_attr(seccomp.Attr.ACT_BADARCH, seccomp.KILL_PROCESS)
    # 2: a binary tree, not a row of two hundred comparisons.
    program.set_attr(seccomp.Attr.CTL_OPTIMIZE, 2)
    return program


def _exported(program: Any, method: str) -> bytes:
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


def _token(seccomp: Any, arch: str) -> int:
    return int(getattr(seccomp.Arch, arch.upper()))


def _number(seccomp: Any, name: str, arch: str) -> int | None:
    """The call's number, as rules take it: the one of the machine that this runs on, which need not be that of `arch`.

    None where `arch` cannot make the call, or where it is refused because this libseccomp is too old for it.
    """
    number: int = seccomp.resolve_syscall(_token(seccomp, arch), name)
    if number >= 0:
        return int(seccomp.resolve_syscall(seccomp.Arch.NATIVE, name))
    if number == _NEVER_HEARD_OF and name not in YOUNGER_THAN_LIBSECCOMP:
        raise IsolationUnavailable(
            "programs", ("seccomp",), f"this libseccomp does not know the system call {name!r}: install 2.5 or later"
        )
    return None


def _verdict(seccomp: Any, action: Action | Errno) -> int:
    if isinstance(action, Errno):
        return int(seccomp.ERRNO(action.number))
    return int(seccomp.ALLOW if action is Action.ALLOW else seccomp.KILL_PROCESS)


def _comparison(seccomp: Any, argument: Argument, arch: str) -> Any:
    if argument.mask == ALL_64:
        return seccomp.Arg(argument.index, seccomp.EQ, argument.value)
    return seccomp.Arg(argument.index, seccomp.MASKED_EQ, mask_on(arch, argument), argument.value)


def mask_on(arch: str, argument: Argument) -> int:
    """The argument's mask with the bit of this architecture where O_DIRECT stands for it."""
    return argument.mask & ~O_DIRECT | (ARCHITECTURES[arch] if argument.mask & O_DIRECT else 0)
