"""Landlock: which files may be opened, no TCP, no signal or abstract socket out of the domain.

It rules what is opened from now on, by this thread and those it starts. It says nothing about modes, owners, times or
stat, nor about sockets other than TCP: those are seccomp's.

The package `landlock` makes the calls and names the file rights. Its ruleset ends at files; the fields for TCP and
scopes are added here. It reads errno without looking at the result, so errno is cleared before each call.
"""

from __future__ import annotations

import ctypes
import os
import stat
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from agex_protocol.plan import LockdownPlan
from agex_worker.lockdown.errors import LayerFailed

_RULE_PATH_BENEATH = 1
_TCP_BIND_AND_CONNECT = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


@dataclass(frozen=True, slots=True)
class Rule:
    """Rights at and beneath a path. A path that must exist is an error when it does not; another is passed over."""

    path: str
    access: int
    must_exist: bool


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All that a domain handles, hence refuses, and the rules that give some of it back. No rule gives TCP back."""

    abi: int
    files: int
    tcp: int
    scopes: int
    rules: tuple[Rule, ...]


def prepare() -> int:
    """Import what apply() needs, and give the kernel's ABI; 0 where it has no Landlock. For before the fork."""
    ctypes.set_errno(0)
    try:
        abi: int = _plumbing().landlock_abi_version()
    except OSError:
        return 0
    return abi


def ruleset(plan: LockdownPlan, write_root: str) -> Ruleset:
    """The plan as a ruleset, at the highest ABI that both the plan and this kernel allow.

    `write_root` is writable with all that is beneath it, like the plan's own write paths.
    """
    offered = prepare()
    abi = min(plan.landlock_abi, offered)
    if abi < 1:
        raise LayerFailed(
            "landlock",
            f"the kernel offers no Landlock (ABI {offered}); boot with lsm=landlock on Linux 5.13 or newer, "
            "or choose a policy whose other layers hold its promises",
        )
    files, readable, writable = _rights(abi)
    reads = (Rule(path, readable, must_exist=False) for path in plan.read)
    writes = (Rule(path, writable, must_exist=True) for path in (*plan.write, write_root))
    return Ruleset(
        abi,
        files,
        _TCP_BIND_AND_CONNECT if abi >= 4 else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if abi >= 6 else 0,
        (*reads, *writes),
    )


def apply(chosen: Ruleset) -> str:
    """Put the calling thread under the ruleset, for good. It must have no_new_privs."""
    plumbing = _plumbing()
    attributes = _Attributes(chosen.files, chosen.tcp, chosen.scopes)
    # An older kernel refuses fields that it does not know, even when they are zero.
    size = 24 if chosen.abi >= 6 else 16 if chosen.abi >= 4 else 8
    pointer = ctypes.cast(ctypes.pointer(attributes), ctypes.POINTER(plumbing.RulesetAttr))
    ctypes.set_errno(0)
    descriptor: int = plumbing.get_create_ruleset()(pointer, size, 0)
    try:
        rules = sum(_add(plumbing, descriptor, rule) for rule in chosen.rules)
        ctypes.set_errno(0)
        plumbing.get_restrict_self()(descriptor, 0)
    finally:
        os.close(descriptor)
    return f"enforced: ABI {chosen.abi}, {rules} paths"


class _Attributes(ctypes.Structure):
    """struct landlock_ruleset_attr as of ABI 6."""

    _fields_ = [("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


def _rights(abi: int) -> tuple[int, int, int]:
    """Everything this ABI can refuse; what a readable path gives; what a writable path gives.

    A writable path gives no execute, no socket, FIFO or device file, and no ioctl on a device.
    """
    fs = _plumbing().FSAccess
    readable = fs.READ_FILE | fs.READ_DIR
    writable = readable | fs.WRITE_FILE | fs.REMOVE_DIR | fs.REMOVE_FILE | fs.MAKE_DIR | fs.MAKE_REG | fs.MAKE_SYM
    handled = writable | fs.EXECUTE | fs.MAKE_CHAR | fs.MAKE_SOCK | fs.MAKE_FIFO | fs.MAKE_BLOCK
    if abi >= 2:
        writable, handled = writable | fs.REFER, handled | fs.REFER
    if abi >= 3:
        writable, handled = writable | fs.TRUNCATE, handled | fs.TRUNCATE
    if abi >= 5:
        handled |= fs.IOCTL_DEV
    return int(handled), int(readable), int(writable)


def _add(plumbing: Any, ruleset_descriptor: int, rule: Rule) -> int:
    """Add one rule; 1 if there was something to add, else 0."""
    try:
        descriptor = os.open(rule.path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError as error:
        if not rule.must_exist:
            return 0  # what is not there grants nothing
        raise LayerFailed(
            "landlock", f"{rule.path} is to be writable and does not exist; create it or take it out of the policy"
        ) from error
    try:
        access = rule.access
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            access &= int(_file_rights(plumbing.FSAccess))  # a right of directories on a file is EINVAL
        beneath = plumbing.PathBeneathAttr(access, descriptor)
        ctypes.set_errno(0)
        plumbing.get_add_rule()(ruleset_descriptor, _RULE_PATH_BENEATH, ctypes.byref(beneath), 0)
    finally:
        os.close(descriptor)
    return 1


def _file_rights(fs: Any) -> int:
    return int(fs.EXECUTE | fs.WRITE_FILE | fs.READ_FILE | fs.TRUNCATE | fs.IOCTL_DEV)


def _plumbing() -> ModuleType:
    try:
        from landlock import plumbing
    except ImportError as error:
        raise LayerFailed(
            "landlock",
            f"the package 'landlock' cannot be imported ({error}); install it with: pip install 'landlock>=1.0.0.dev5,<2'",
        ) from error
    return plumbing  # type: ignore[no-any-return]  # it ships no types
