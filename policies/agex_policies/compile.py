"""From a Policy, which a person wrote, to plans of plain data, which a worker applies without knowing what a policy is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from agex_policies.bpf import compile_filter, compile_seal
from agex_policies.certificates import certificate_paths
from agex_policies.errors import IsolationUnavailable, PolicyError
from agex_policies.grants import parse_grant
from agex_policies.machine import Machine
from agex_policies.narrowing import module_allowed
from agex_policies.python_paths import collapsed, imported_from, interpreter_paths
from agex_policies.quantities import size_bytes, time_s
from agex_policies.schema import Policy, refuse_sources_in, values
from agex_policies.shipped import filter_on
from agex_policies.syscall_rules import Group
from agex_policies.syscalls import resolve
from agex_protocol.plan import Isolation, Limits, LockdownPlan, ModuleGrant, SandboxPlan, Wanted

# Before ABI 3 (Linux 6.2) Landlock lets files outside be truncated.
LEAST_LANDLOCK_ABI = 3

# Why each: a zygote forks only with one thread, so libraries must start none; less memory is reserved; text is UTF-8.
FIXED_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
}

# Programs write to it to be rid of something.
_ALWAYS_WRITABLE = ("/dev/null",)

# By these a worker would reach everything, or devices; by what lies below the others, processes and the kernel's own switches.
_NEVER_GRANTED = ("/", "/dev")
_NOTHING_BELOW = ("/proc", "/sys")

# Devices that lead to nothing of the machine's.
_HARMLESS_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

# Keys that only the kernel's walls hold, then those that also need a process of the worker's own.
_HELD_BY_KERNEL = (
    "filesystem.read",
    "filesystem.write",
    "filesystem.hide_host",
    "network.allow",
    "syscalls.allow",
    "syscalls.deny",
    "isolation.namespaces",
    "isolation.cgroup",
)
_HELD_BY_PROCESS = (
    "limits.memory",
    "limits.cpu_time",
    "limits.threads",
    "limits.open_files",
    "limits.file_size",
    "limits.workspace_size",
    "limits.workspace_files",
    "results.max_size",
    "host_calls.errors",
    "host_calls.max_rate",
    "host_calls.max_bytes",
    "env.pass",
)

# With these values the key asks for nothing, so nothing of it is missing where it cannot be held.
_ASKING_NOTHING: dict[str, tuple[object, ...]] = {
    "filesystem.hide_host": (False,),
    "isolation.namespaces": ("off", "auto"),
    "isolation.cgroup": ("off", "auto"),
    "host_calls.errors": ("message",),
    "host_calls.max_rate": (None,),
    "host_calls.max_bytes": (None,),
}


@dataclass(frozen=True, slots=True)
class Paths:
    """Real paths that a worker may reach beside its workspace, none within another; directories with all beneath them."""

    read: tuple[str, ...]
    write: tuple[str, ...]  # to be read, too


def compile_plan(
    policy: Policy, isolation: Literal["process", "kernel"], machine: Machine | None = None
) -> LockdownPlan:
    """The lockdown of this policy on this machine, with the values that variables of `[env] pass` have now.

    PolicyError where the policy cannot be used so, IsolationUnavailable where the machine cannot hold it.
    """
    unenforced(policy, isolation)
    if isolation == "process":
        return LockdownPlan(
            policy=policy.name,
            isolation="process",
            limits=limits_of(policy),
            # Not a wall here: it tells installed modules from the application's own, as it does in `kernel`.
            read=collapsed(interpreter_paths()),
            environment=_environment(policy),
        )
    machine = machine or Machine.detect()
    namespaces = _wanted(machine, "namespaces", _namespaces(policy))
    _require_layers(machine, namespaces)
    return _layered(policy, machine, namespaces, _wanted(machine, "cgroup", policy.isolation.cgroup))


def compile_trial(policy: Policy, machine: Machine) -> LockdownPlan:
    """The layers that a Linux machine has, also where they do not hold every promise: for trying them, never for a task."""
    namespaces: Wanted = "off" if machine.no_namespaces or _namespaces(policy) == "off" else "auto"
    cgroup: Wanted = "off" if machine.no_cgroup or policy.isolation.cgroup == "off" else "auto"
    return _layered(policy, machine, namespaces, cgroup)


def _layered(policy: Policy, machine: Machine, namespaces: Wanted, cgroup: Wanted) -> LockdownPlan:
    paths = paths_of(policy)
    groups = _syscall_groups(policy)
    filtered = machine.seccomp and not machine.seatbelt
    told = machine.seccomp and machine.libseccomp and machine.listener  # without the library nobody could name them
    return LockdownPlan(
        policy=policy.name,
        isolation="kernel",
        limits=limits_of(policy),
        read=paths.read,
        write=paths.write,
        landlock_abi=machine.landlock_abi if machine.landlock_package else 0,
        seccomp=filter_on(machine, groups) if filtered else b"",
        seccomp_told=compile_filter(groups, told=True) if told else b"",
        seal=compile_seal() if told else b"",
        namespaces=namespaces,
        cgroup=cgroup,
        network=tuple(parse_grant(grant.model_dump()) for grant in policy.network.allow),
        environment=_environment(policy),
    )


def paths_of(policy: Policy) -> Paths:
    """What this policy lets a worker read and write on this machine. PolicyError where that cannot be granted."""
    python = interpreter_paths()
    read = _granted(policy, "filesystem.read", policy.filesystem.read)
    write = _granted(policy, "filesystem.write", policy.filesystem.write)
    _refuse_own_code(policy, write)
    for path in write:
        refuse_sources_in(policy, Path(path), "what [filesystem] write grants:")
    trusted = certificate_paths() if policy.network.allow else ()
    return Paths(collapsed([*python, *read, *trusted]), collapsed([*_ALWAYS_WRITABLE, *write]))


def compile_sandbox(policy: Policy, modules: Iterable[ModuleGrant] = ()) -> SandboxPlan:
    """What the inner sandbox lets code name: these registered modules, if `[python] modules` allows each of them."""
    granted = tuple(modules)
    for module in granted:
        if not module_allowed(module.name, policy.python.modules):
            allowed = ", ".join(policy.python.modules) or "none"
            message = f"module {module.name!r} may not be registered; allowed: {allowed}"
            raise _error(policy, "python.modules", message, "name it there, or do not register it")
    return SandboxPlan(mode=policy.python.mode, modules=granted, builtins=policy.python.builtins)


def limits_of(policy: Policy) -> Limits:
    """The policy's limits, in bytes and seconds."""
    limits = policy.limits
    return Limits(
        memory_bytes=size_bytes(limits.memory),
        cpu_time_s=time_s(limits.cpu_time),
        wall_time_s=time_s(limits.wall_time),
        threads=limits.threads,
        open_files=limits.open_files,
        file_size_bytes=size_bytes(limits.file_size),
        workspace_size_bytes=size_bytes(limits.workspace_size),
        workspace_files=limits.workspace_files,
        output_bytes=size_bytes(limits.output),
        result_bytes=size_bytes(policy.results.max_size),
    )


def unenforced(policy: Policy, isolation: Isolation) -> tuple[str, ...]:
    """The keys that mean nothing with this isolation, for the lockdown's report.

    PolicyError where the policy forbids this isolation, or itself names such a key without `[isolation] accept`.
    """
    policy.check_ceiling()
    order = ("none", "process", "kernel")
    required = policy.isolation.require
    if order.index(isolation) < order.index(required):
        message = f"isolation={isolation!r} is weaker than {required!r}"
        raise _error(policy, "isolation.require", message, f"use isolation={required!r}")
    if isolation == "none" and policy.python.mode == "full":
        message = "mode 'full' has no inner sandbox, and isolation='none' has nothing else"
        raise _error(policy, "python.mode", message, "use isolation='kernel', or 'process' where the code is trusted")
    held_elsewhere = {"kernel": (), "process": _HELD_BY_KERNEL, "none": _HELD_BY_KERNEL + _HELD_BY_PROCESS}[isolation]
    now = values(policy)
    not_held = tuple(key for key in held_elsewhere if now[key] not in _ASKING_NOTHING.get(key, ()))
    asked_for = [key for key in not_held if key in policy.origin.named]
    if asked_for and isolation not in policy.isolation.accept:
        raise _error(
            policy,
            asked_for[0],
            f"isolation={isolation!r} cannot hold {', '.join(asked_for)}",
            f'use isolation="kernel", or write `accept = ["{isolation}"]` under [isolation] to run without',
        )
    return not_held


def _namespaces(policy: Policy) -> Wanted:
    return "required" if policy.filesystem.hide_host else policy.isolation.namespaces


def _wanted(machine: Machine, layer: Literal["namespaces", "cgroup"], wanted: Wanted) -> Wanted:
    """What the policy wants of a layer that not every machine has, as far as looking tells that it is not there."""
    why = machine.no_namespaces if layer == "namespaces" else machine.no_cgroup
    if why and wanted == "required":
        promise = "files.metadata" if layer == "namespaces" else "memory"
        remedy = f'{why}; see `agex doctor`, or write {layer} = "auto" under [isolation]'
        raise IsolationUnavailable(promise, (layer,), remedy)
    return "off" if why else wanted


def _require_layers(machine: Machine, namespaces: Wanted) -> None:
    """What can be told before anything is started. Whether all that is left holds every promise is told by the worker."""
    if machine.seatbelt:
        return
    if machine.system != "Linux":
        remedy = (
            f"{machine.system} has no such layer that this version can use: run on Linux, or use isolation='process'"
        )
        if machine.system == "Darwin":
            remedy = (
                "the lockdown of macOS (Seatbelt) is experimental and was never run on a Mac: run on Linux, use"
                " isolation='process', or set AGEX_EXPERIMENTAL_SEATBELT=1 to try it on code that you trust"
            )
        raise IsolationUnavailable("files.read", ("Landlock on Linux",), remedy)
    if machine.arch not in ("x86_64", "aarch64"):
        remedy = f"the filter is not made for {machine.arch}: use x86_64 or aarch64"
        raise IsolationUnavailable("programs", ("seccomp",), remedy)
    if not machine.seccomp:
        remedy = "use a kernel built with CONFIG_SECCOMP_FILTER, with /proc mounted"
        raise IsolationUnavailable("programs", ("seccomp",), remedy)
    if namespaces != "off":
        return  # a view of its own hides from a worker what an older Landlock would leave open
    if machine.landlock_abi == 0:
        remedy = (
            "use Linux 6.2 or later with `landlock` among the lsm= of its command line; a container must not deny it"
        )
        raise _nothing_holds_files("files.read", "Landlock", remedy, machine)
    if machine.landlock_abi < LEAST_LANDLOCK_ABI:
        remedy = f"use Linux 6.2 or later: this kernel ({machine.kernel}) has ABI {machine.landlock_abi}"
        raise _nothing_holds_files("files.write", f"Landlock ABI {LEAST_LANDLOCK_ABI}", remedy, machine)
    if not machine.landlock_package:
        raise _nothing_holds_files("files.read", "Landlock", "install the Python package landlock", machine)


def _nothing_holds_files(promise: str, landlock: str, remedy: str, machine: Machine) -> IsolationUnavailable:
    """Landlock does not, and namespaces, which would as well, are not to be had or not wanted."""
    why = machine.no_namespaces or "the policy switches them off"
    return IsolationUnavailable(promise, (landlock, "namespaces"), f"{remedy}; or have namespaces: {why}")


def never_granted(real: str) -> bool:
    """Whether this real path is one that no policy can grant."""
    return real in _NEVER_GRANTED or any(PurePath(real).is_relative_to(top) for top in _NOTHING_BELOW)


def _granted(policy: Policy, key: str, paths: tuple[str, ...]) -> tuple[str, ...]:
    for path in paths:
        if not os.path.exists(path):
            raise _error(policy, key, f"there is no {path} on this machine", "make it, or take it out of the policy")
        if never_granted(os.path.realpath(path)):
            raise _error(policy, key, f"{path} holds far more than files, or none", "name directories of data")
        if not _is_data(path):
            raise _error(policy, key, f"{path} is a device, a socket or a pipe", "name files and directories of data")
    return paths


def _is_data(path: str) -> bool:
    """A file or a directory; of devices only those that lead nowhere."""
    mode = os.stat(path).st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or os.path.realpath(path) in _HARMLESS_DEVICES


def _refuse_own_code(policy: Policy, write: tuple[str, ...]) -> None:
    for path in collapsed(write):
        if place := imported_from(Path(path)):
            message = f"{path} cannot be writable: your own process runs what it imports from {place}"
            raise _error(policy, "filesystem.write", message, "name a directory that holds data only")


def _syscall_groups(policy: Policy) -> tuple[Group, ...]:
    try:
        return resolve(policy.syscalls.allow, policy.syscalls.deny)
    except ValueError as error:
        raise _error(policy, "syscalls", str(error)) from error


def _environment(policy: Policy) -> dict[str, str]:
    fixed = [name for name in policy.env.passed if name in FIXED_ENVIRONMENT]
    if fixed:
        message = f"{fixed[0]} has to be {FIXED_ENVIRONMENT[fixed[0]]!r} in a worker, so it cannot be passed"
        raise _error(policy, "env.pass", message, "take it out of the list")
    passed = {name: os.environ[name] for name in policy.env.passed if name in os.environ}
    return {**FIXED_ENVIRONMENT, **passed}


def _error(policy: Policy, key: str, message: str, remedy: str = "") -> PolicyError:
    return policy.set_by(key).error(message, key=key, remedy=remedy)
