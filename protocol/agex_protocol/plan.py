"""LockdownPlan: what a policy compiles to, as plain data that a worker applies without parsing a policy.

Every size is in bytes, every time in seconds, every path absolute.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Isolation = Literal["none", "process", "kernel"]

# Whether a layer that not every machine offers is used: never, where it can be had, or else nothing runs.
Wanted = Literal["off", "auto", "required"]

# The process id that stands in a compiled seccomp filter where the worker's own belongs; patched in the child.
SECCOMP_PID_PLACEHOLDER = 0x7ABCDEF1


@dataclass(frozen=True, slots=True)
class Limits:
    """What a worker may use. Each says what it counts for: an action, or the worker's whole life."""

    memory_bytes: int = 1 << 30  # worker: address space beyond what the zygote had mapped at the fork
    cpu_time_s: float = 120.0  # worker: processor time, all threads together
    wall_time_s: float = 30.0  # action
    threads: int = 64  # worker
    open_files: int = 256  # worker
    file_size_bytes: int = 256 << 20  # worker: each file
    workspace_size_bytes: int = 512 << 20  # worker: all files of the workspace together
    workspace_files: int = 10_000  # worker
    output_bytes: int = 1 << 20  # action: stdout and stderr, each
    result_bytes: int = 256 << 20  # action: the encoded result


@dataclass(frozen=True, slots=True)
class ModuleGrant:
    """One registered module as agent code sees it.

    `include` and `exclude` are globs over dotted member names ("DataFrame.to_*"); exclude wins. `recursive` opens
    public submodules as well.
    """

    name: str
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class ClassGrant:
    """A class of the worker's that agent code does not have whole, known by where it was defined.

    `include` and `exclude` are globs over the names of its members; exclude wins.
    """

    module: str
    qualname: str
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    constructable: bool = True


@dataclass(frozen=True, slots=True)
class SandboxPlan:
    """What the inner sandbox lets agent code name. In `full` mode there is no inner sandbox."""

    mode: Literal["restricted", "full"] = "restricted"
    modules: tuple[ModuleGrant, ...] = ()
    builtins: tuple[str, ...] = ()  # names beyond the standard table that the policy allows
    classes: tuple[ClassGrant, ...] = ()  # those not listed are given whole
    read_only: tuple[str, ...] = ()  # folders at the top of the workspace in which code writes nothing


@dataclass(frozen=True, slots=True)
class NetworkGrant:
    """One address that a worker may be connected with, by a relay in the supervisor.

    host: a name in lower case, or an IP address in its shortest form. tls: "required" lets only a TLS connection pass
    whose ClientHello names `host`.
    """

    host: str
    port: int
    tls: Literal["required", "any"] = "required"


@dataclass(frozen=True, slots=True)
class LockdownPlan:
    """Everything a zygote and its workers need to lock themselves down.

    `landlock_abi` is the highest ABI to use and 0 switches the layer off; an empty `seccomp` does the same there.
    `seccomp_told` is the same filter, but what it refuses is told to the supervisor, which refuses it; `seal` goes on top
    of that one and takes away what was needed to hand over the listener. With `learn`, system calls that a policy could
    allow are told and let through. `explain` has the worker say why before the kernel refuses; it is no wall.
    """

    policy: str
    isolation: Literal["process", "kernel"]
    limits: Limits
    read: tuple[str, ...] = ()  # files, or directories with all that is beneath them
    write: tuple[str, ...] = ()  # as read; the workspace is not listed here
    landlock_abi: int = 0
    seccomp: bytes = b""  # compiled BPF for this machine, with SECCOMP_PID_PLACEHOLDER in it
    seccomp_told: bytes = b""
    seal: bytes = b""
    learn: bool = False
    explain: bool = True
    namespaces: Wanted = "off"
    cgroup: Wanted = "off"
    network: tuple[NetworkGrant, ...] = ()
    drop_capabilities: bool = True
    environment: dict[str, str] = field(default_factory=dict)
