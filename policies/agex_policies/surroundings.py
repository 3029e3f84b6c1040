"""What stands around this process and bears on its workers: a container, limits, switches of the kernel.

Nothing here decides anything. It is what `agex doctor` needs to say why something does not work, and what to change.
"""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from agex_policies.machine import apparmor_profile, number_in

# Capabilities that a container engine takes away and that something here would use.
_CAPABILITIES = {
    "CAP_CHOWN": 0,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SETPCAP": 8,
    "CAP_SYS_ADMIN": 21,
}

_ENGINES = ("docker", "kubepods", "libpod", "containerd", "lxc", "garden")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """One look around. None, or an empty text, is what could not be learned or does not exist here."""

    container: str  # what tells that this is one: "/.dockerenv", a group's path, ...
    seccomp_mode: int | None  # of this process: 2 where somebody put a filter on us
    no_new_privs: bool | None
    missing_capabilities: tuple[str, ...]  # of those that root here would use; empty for other users
    lsm: tuple[str, ...]
    apparmor: str
    hidepid: str
    open_files: int | None  # soft limits; None is no limit
    processes: int | None
    address_space_bytes: int | None
    overcommit: int | None
    shm_bytes: int | None

    @classmethod
    def look(cls) -> Self:
        """As it is now, for this process."""
        status = dict(_pairs("/proc/self/status"))
        return cls(
            container=_container(),
            seccomp_mode=_integer(status.get("Seccomp")),
            no_new_privs=status["NoNewPrivs"] == "1" if "NoNewPrivs" in status else None,
            missing_capabilities=_missing(status.get("CapEff", "")) if os.geteuid() == 0 else (),
            lsm=tuple(name for name in _text("/sys/kernel/security/lsm").strip().split(",") if name),
            apparmor=apparmor_profile(),
            hidepid=_hidepid(),
            open_files=_soft(resource.RLIMIT_NOFILE),
            processes=_soft(resource.RLIMIT_NPROC),
            address_space_bytes=_soft(resource.RLIMIT_AS),
            overcommit=number_in("/proc/sys/vm/overcommit_memory"),
            shm_bytes=_size("/dev/shm"),
        )


def _container() -> str:
    for marker in ("/.dockerenv", "/run/.containerenv"):
        if os.path.exists(marker):
            return marker
    for variable in ("KUBERNETES_SERVICE_HOST", "container"):
        if os.environ.get(variable):
            return f"${variable}"
    for line in _text("/proc/self/cgroup").splitlines():
        path = line.rpartition(":")[2]
        if any(engine in path for engine in _ENGINES):
            return path
    return ""


def _missing(effective: str) -> tuple[str, ...]:
    if not effective:
        return ()
    held = int(effective, 16)
    return tuple(name for name, bit in _CAPABILITIES.items() if not held >> bit & 1)


def _hidepid() -> str:
    for line in _text("/proc/self/mounts").splitlines():
        fields = line.split()
        if fields[1:3] == ["/proc", "proc"]:
            found = re.search(r"hidepid=(\w+)", fields[3])
            return found[1] if found else ""
    return ""


def _soft(limit: int) -> int | None:
    soft, _ = resource.getrlimit(limit)
    return None if soft == resource.RLIM_INFINITY else soft


def _size(mount: str) -> int | None:
    try:
        found = os.statvfs(mount)
    except OSError:
        return None
    return found.f_frsize * found.f_blocks


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _pairs(path: str) -> Iterator[tuple[str, str]]:
    for line in _text(path).splitlines():
        key, _, value = line.partition(":")
        yield key, value.strip()


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
