"""Landlock: which files may be opened, no TCP, no signal or abstract socket out of the domain.

It rules what is opened from now on, by this thread and those it starts. It says nothing about modes, owners, times or
stat, nor about sockets other than TCP: those are seccomp's.

The package `landlock` names the file rights and knows the kernel's ABI. Its ruleset ends at files, and it would make every
call anew in every worker, so the calls are made here.
"""

from __future__ import annotations

import ctypes
import os
import stat
from dataclasses import dataclass
from types import ModuleType

from agex_protocol.plan import LockdownPlan
from agex_worker.lockdown import kernel
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
    writable: int  # what a rule gives that makes a path writable


def prepare() -> int:
    """Import what apply() needs, and give the kernel's ABI; 0 where it has no Landlock. For before the fork."""
    ctypes.set_errno(0)
    try:
        abi: int = _plumbing().landlock_abi_version()
    except OSError:
        return 0
    return abi


def ruleset(plan: LockdownPlan, *write_roots: str) -> Ruleset:
    """The plan as a ruleset, at the highest ABI that both the plan and this kernel allow.

    `write_roots` are writable with all that is beneath them, like the plan's own write paths.
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
    writes = (Rule(path, writable, must_exist=True) for path in (*plan.write, *write_roots))
    return Ruleset(
        abi,
        files,
        _TCP_BIND_AND_CONNECT if abi >= 4 else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if abi >= 6 else 0,
        (*reads, *writes),
        writable,
    )


class Domain:
    """A ruleset with its paths opened and its calls prepared: what a zygote makes once, so that a worker just makes the calls.

    A ruleset of the kernel is shared by all who inherit it, and each worker has a place of its own in it: so each makes one.
    """

    def __init__(self, chosen: Ruleset) -> None:
        self._chosen = chosen
        # An older kernel refuses fields that it does not know, even when they are zero.
        size = 24 if chosen.abi >= 6 else 16 if chosen.abi >= 4 else 8
        self._attributes = _Attributes(chosen.files, chosen.tcp, chosen.scopes)
        self._create = kernel.prepared("landlock_create_ruleset", ctypes.addressof(self._attributes), size, 0)
        self._ruleset = ctypes.c_long()
        self._restrict = kernel.prepared("landlock_restrict_self", self._ruleset, 0)
        self._own = _Beneath(chosen.writable, -1)
        self._beneath = _opened(chosen.rules)
        # Those of the opened paths, which must be open in who enters, and closed after that.
        self.descriptors = frozenset(each.descriptor for each in self._beneath)
        self._add = [
            kernel.prepared("landlock_add_rule", self._ruleset, _RULE_PATH_BENEATH, ctypes.addressof(each), 0)
            for each in (*self._beneath, self._own)
        ]

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)

    def enter(self, write_root: str) -> str:
        """Put the calling thread under the ruleset, for good. It must have no_new_privs. `write_root` is writable, too."""
        try:
            own = self._own.descriptor = os.open(write_root, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise _missing(write_root) from error
        descriptor = self._ruleset.value = kernel.made(self._create, "landlock_create_ruleset")
        for add in self._add:
            kernel.made(add, "landlock_add_rule")
        kernel.made(self._restrict, "landlock_restrict_self")
        os.close(descriptor)
        os.close(own)
        return f"enforced: ABI {self._chosen.abi}, {len(self._add)} paths"


class _Attributes(ctypes.Structure):
    """struct landlock_ruleset_attr as of ABI 6."""

    _fields_ = [("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    """struct landlock_path_beneath_attr, but for padding at its end, which the kernel does not read."""

    _fields_ = [("access", ctypes.c_uint64), ("descriptor", ctypes.c_int32)]


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


def _opened(rules: tuple[Rule, ...]) -> list[_Beneath]:
    opened: list[_Beneath] = []
    try:
        for rule in rules:
            try:
                beneath = _Beneath(rule.access, os.open(rule.path, os.O_PATH | os.O_CLOEXEC))
            except FileNotFoundError as error:
                if not rule.must_exist:
                    continue  # what is not there grants nothing
                raise _missing(rule.path) from error
            opened.append(beneath)
            if not stat.S_ISDIR(os.fstat(beneath.descriptor).st_mode):
                beneath.access &= _file_rights()  # a right of directories on a file is EINVAL
    except BaseException:
        for each in opened:
            os.close(each.descriptor)
        raise
    return opened


def _missing(path: str) -> LayerFailed:
    return LayerFailed(
        "landlock", f"{path} is to be writable and does not exist; create it or take it out of the policy"
    )


def _file_rights() -> int:
    fs = _plumbing().FSAccess
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
