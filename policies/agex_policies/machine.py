"""What this machine offers to lock a worker down with. Looking changes nothing and starts no program.

What looking cannot tell, whether a call is really let through, is tried in a worker, and by `agex doctor`.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self, get_args

from agex_policies.errors import PolicyError

# Layers that a test can take away from a machine that has them.
Lowerable = Literal["namespaces", "cgroup", "listener", "libseccomp"]

# The same number on every architecture.
_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_CREATE_RULESET_VERSION = 1

_LIBSECCOMP = "libseccomp.so.2"
_TAKEN_AWAY = "AGEX_TEST_WITHOUT takes it away"


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
    libseccomp_version: str = ""
    listener: bool = False  # a filter may hand calls to a listener
    no_namespaces: str = ""  # why no user namespace can be made; empty where nothing that can be seen forbids it
    no_cgroup: str = ""  # the same of groups; whether one of ours can be made is for the supervisor to find out
    seatbelt: bool = False  # this is macOS, and somebody asked for what was never tried there
    without: tuple[Lowerable, ...] = ()  # what AGEX_TEST_WITHOUT takes away

    @classmethod
    def detect(cls) -> Self:
        """The machine as it is. For tests AGEX_TEST_LANDLOCK_ABI makes its Landlock seem older, and AGEX_TEST_WITHOUT
        takes layers away; neither ever adds anything. PolicyError where one of them cannot be understood.
        """
        system = platform.system()
        linux = system == "Linux"
        without = _taken_away()
        actions = _seccomp_actions() if linux else frozenset[str]()
        version = _libseccomp_version() if linux and "libseccomp" not in without else ""
        return cls(
            system=system,
            arch=platform.machine(),
            kernel=platform.release(),
            uid=os.getuid() if hasattr(os, "getuid") else -1,
            landlock_abi=_lowered(_landlock_abi()) if linux else 0,
            landlock_package=importlib.util.find_spec("landlock") is not None,
            seccomp=actions >= {"errno", "allow", "kill_process"},
            libseccomp=bool(version) and importlib.util.find_spec("pyseccomp") is not None,
            yama=number_in("/proc/sys/kernel/yama/ptrace_scope"),
            libseccomp_version=version,
            listener="user_notif" in actions and "listener" not in without,
            no_namespaces=_what_forbids_namespaces(without) if linux else f"{system} has none",
            no_cgroup=_what_forbids_groups(without) if linux else f"{system} has none",
            seatbelt=system == "Darwin" and os.environ.get("AGEX_EXPERIMENTAL_SEATBELT") == "1",
            without=without,
        )


def number_in(path: str) -> int | None:
    """What a file of /proc/sys holds; None where it is absent, closed to us or holds something else."""
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return None


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
    if cap and not cap.isdecimal():
        raise PolicyError(f"AGEX_TEST_LANDLOCK_ABI={cap!r} is not a number", remedy="give a Landlock ABI, or unset it")
    return min(abi, int(cap)) if cap else abi


def _taken_away() -> tuple[Lowerable, ...]:
    named = [name for name in os.environ.get("AGEX_TEST_WITHOUT", "").split(",") if name]
    known: tuple[Lowerable, ...] = get_args(Lowerable)
    for name in named:
        if name not in known:
            raise PolicyError(
                f"AGEX_TEST_WITHOUT names {name!r}", remedy=f"it takes {', '.join(known)}, with commas between"
            )
    return tuple(each for each in known if each in named)


def _seccomp_actions() -> frozenset[str]:
    try:
        return frozenset(Path("/proc/sys/kernel/seccomp/actions_avail").read_text().split())
    except OSError:
        return frozenset()


class _Version(ctypes.Structure):
    _fields_ = [("major", ctypes.c_uint), ("minor", ctypes.c_uint), ("micro", ctypes.c_uint)]


def _libseccomp_version() -> str:
    try:
        library = ctypes.CDLL(_LIBSECCOMP)
    except OSError:
        return ""
    library.seccomp_version.restype = ctypes.POINTER(_Version)
    found = library.seccomp_version().contents
    return f"{found.major}.{found.minor}.{found.micro}"


def _what_forbids_namespaces(without: Iterable[str]) -> str:
    if "namespaces" in without:
        return _TAKEN_AWAY
    if not os.path.exists("/proc/self/ns/user"):
        return "the kernel is built without CONFIG_USER_NS"
    if number_in("/proc/sys/user/max_user_namespaces") == 0:
        return "user.max_user_namespaces is 0"
    if os.getuid() == 0:
        return ""
    # A switch of Debian's kernels, and one of Ubuntu's: there a namespace is made, and nothing may be done in it.
    if number_in("/proc/sys/kernel/unprivileged_userns_clone") == 0:
        return "kernel.unprivileged_userns_clone is 0"
    if number_in("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1 and apparmor_profile() == "unconfined":
        return "kernel.apparmor_restrict_unprivileged_userns is 1, and no AppArmor profile lets this program"
    return ""


def _what_forbids_groups(without: Iterable[str]) -> str:
    if "cgroup" in without:
        return _TAKEN_AWAY
    return "" if os.path.isdir("/sys/fs/cgroup") else "there is no /sys/fs/cgroup"


def apparmor_profile() -> str:
    """The AppArmor profile of this process; "unconfined" without one, and empty where there is no AppArmor."""
    try:
        return Path("/proc/self/attr/apparmor/current").read_text().strip("\0\n").partition(" (")[0]
    except OSError:
        return ""
