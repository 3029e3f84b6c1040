"""What this machine offers to lock a worker down with. Looking changes nothing and starts no program."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Self

# The same number on every architecture.
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_CREATE_RULESET_VERSION = 1


@dataclass(frozen=True, slots=True)
class Machine:
    """One look at the machine. `landlock_abi` is 0 where the kernel has no Landlock, or forbids to ask for it."""

    system: str  # "Linux", "Darwin", ...
    arch: str  # as uname says: "x86_64", "aarch64"
    kernel: str  # release
    uid: int
    landlock_abi: int
    landlock_package: bool
    seccomp: bool  # the kernel takes filters
    libseccomp: bool  # the library and its binding that compile them
    yama: int | None  # ptrace_scope; None without Yama

    @classmethod
    def detect(cls) -> Self:
        """The machine as it is; AGEX_TEST_LANDLOCK_ABI can make its Landlock seem older, never newer."""
        linux = platform.system() == "Linux"
        return cls(
            system=platform.system(),
            arch=platform.machine(),
            kernel=platform.release(),
            uid=os.getuid() if hasattr(os, "getuid") else -1,
            landlock_abi=_lowered(_landlock_abi()) if linux else 0,
            landlock_package=importlib.util.find_spec("landlock") is not None,
            seccomp=linux and _has_seccomp(),
            libseccomp=linux and importlib.util.find_spec("pyseccomp") is not None and _has_library("libseccomp.so.2"),
            yama=_yama() if linux else None,
        )


def _landlock_abi() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    arguments = (_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_CREATE_RULESET_VERSION)
    version: int = libc.syscall(*arguments)
    # The landlock package takes a stale errno for a failure of its next call.
    ctypes.set_errno(0)
    return max(version, 0)


def _lowered(abi: int) -> int:
    cap = os.environ.get("AGEX_TEST_LANDLOCK_ABI", "")
    return min(abi, int(cap)) if cap.isdecimal() else abi


def _has_seccomp() -> bool:
    actions = Path("/proc/sys/kernel/seccomp/actions_avail")
    try:
        return {"errno", "allow", "kill_process"} <= set(actions.read_text().split())
    except OSError:
        return False


def _has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _yama() -> int | None:
    try:
        return int(Path("/proc/sys/kernel/yama/ptrace_scope").read_text())
    except (OSError, ValueError):
        return None
