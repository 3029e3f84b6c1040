"""Seatbelt, the lockdown of macOS: one profile in place of Landlock and seccomp. Experimental: it was never run on a Mac.

The profile is data (nested tuples) until the last moment, when it is written as text. No path is ever part of that text:
paths are handed over beside it as parameters, so a path with a quote or a parenthesis in it cannot become a rule.
A process can be put under one profile only, once, and for good.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Protocol, cast

from agex_protocol.plan import LockdownPlan
from agex_worker.lockdown.errors import LayerFailed


@dataclass(frozen=True, slots=True)
class Text:
    """A quoted string of a profile; a bare str is a symbol."""

    value: str


Form = str | Text | tuple["Form", ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """What is allowed, in order, and the paths that the rules name by parameter."""

    forms: tuple[Form, ...]
    parameters: tuple[tuple[str, str], ...]

    @property
    def text(self) -> str:
        """The profile as Seatbelt reads it, one rule a line."""
        return "".join(f"{_written(form)}\n" for form in self.forms)


class Library(Protocol):
    """The functions of libSystem that are used here; the first and the last are C's."""

    def sandbox_init_with_parameters(
        self,
        profile: bytes,
        flags: ctypes.c_uint64,
        parameters: ctypes.Array[ctypes.c_char_p],
        error: object,
    ) -> int: ...

    def sandbox_free_error(self, error: ctypes.c_char_p) -> None: ...

    def sandbox_check(self, pid: int, operation: bytes | None, kind: int) -> int: ...


# What the standard library, numpy and a thread's start ask the kernel about the machine.
_SYSCTLS = (
    "hw.activecpu",
    "hw.byteorder",
    "hw.cachelinesize",
    "hw.logicalcpu",
    "hw.machine",
    "hw.memsize",
    "hw.ncpu",
    "hw.pagesize",
    "hw.physicalcpu",
    "kern.argmax",
    "kern.hostname",
    "kern.maxfilesperproc",
    "kern.osproductversion",
    "kern.osrelease",
    "kern.ostype",
    "kern.osversion",
    "kern.usrstack64",
    "kern.version",
)
# One name a feature of the processor.
_SYSCTL_PREFIXES = ("hw.optional.",)

# What a worker may make in a directory: neither socket nor FIFO nor device.
_MAKEABLE = ("REGULAR-FILE", "DIRECTORY", "SYMLINK")

# Asked about after the fact, each without a target: were any target allowed, the answer would be "allowed".
_NEVER = (b"process-fork", b"network-outbound")

_SYMBOL = re.compile(r"[A-Za-z][A-Za-z0-9*-]*|[0-9]+")


def profile(plan: LockdownPlan, write_root: str) -> Profile:
    """The plan's paths as rules; everything else stays denied. `write_root` is writable like the plan's write paths.

    Rules are about what a path leads to, so each path is given with its links followed. LayerFailed for a path that no
    C string can hold.
    """
    reads = _named("READ", plan.read)
    writes = _named("WRITE", (*plan.write, write_root))
    passed = _named("ANCESTOR", _ancestors(path for _, path in (*reads, *writes)))
    forms: list[Form] = [
        ("version", "1"),
        ("deny", "default"),
        ("allow", "signal", ("target", "self")),
        ("allow", "process-info*", ("target", "self")),
        (
            "allow",
            "sysctl-read",
            ("sysctl-name", *(Text(name) for name in _SYSCTLS)),
            *(("sysctl-name-prefix", Text(prefix)) for prefix in _SYSCTL_PREFIXES),
        ),
        # A path is resolved by looking at each directory on its way.
        *(("allow", "file-read-metadata", ("literal", ("param", Text(name)))) for name, _ in passed),
        # Compiled modules are mapped as code, from where no worker can write.
        *(("allow", "file-read*", "file-map-executable", ("subpath", ("param", Text(name)))) for name, _ in reads),
    ]
    for name, _ in writes:
        forms += _writable(("param", Text(name)))
    return Profile(tuple(forms), (*passed, *reads, *writes))


def apply(chosen: Profile, library: Library | None = None) -> str:
    """Put this process under the profile, for good, and ask the kernel whether it is. LayerFailed if it is not."""
    libsystem = library or _libsystem()
    values = [os.fsencode(text) for pair in chosen.parameters for text in pair]
    # Name, value, name, value, and a null pointer that ends the list.
    parameters = (ctypes.c_char_p * (len(values) + 1))(*values, None)
    error = ctypes.c_char_p()
    failed = libsystem.sandbox_init_with_parameters(
        chosen.text.encode(), ctypes.c_uint64(0), parameters, ctypes.byref(error)
    )
    if failed:
        why = (error.value or b"no reason given").decode(errors="replace")
        libsystem.sandbox_free_error(error)
        raise LayerFailed("seatbelt", f"the kernel did not take the profile: {why}")
    pid = os.getpid()
    if libsystem.sandbox_check(pid, None, 0) != 1:
        raise LayerFailed("seatbelt", "the kernel took the profile, but says that this process is not under one")
    for operation in _NEVER:
        if libsystem.sandbox_check(pid, operation, 0) != 1:
            raise LayerFailed("seatbelt", f"under the profile {operation.decode()} is still allowed")
    return f"enforced: {len(chosen.forms)} rules, {len(chosen.parameters)} paths"


def _named(kind: str, paths: Iterable[str]) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for path in paths:
        if "\0" in path or not path.startswith("/"):
            raise LayerFailed("seatbelt", f"{path!r} cannot be granted: a path is absolute and has no null in it")
        found.append((f"{kind}_{len(found)}", os.path.realpath(path)))
    return tuple(found)


def _ancestors(paths: Iterable[str]) -> list[str]:
    return sorted({str(parent) for path in paths for parent in PurePath(path).parents})


def _writable(path: Form) -> tuple[Form, ...]:
    """Reading and writing beneath `path`. Modes, owners, times and attributes are other operations, and stay denied."""
    beneath: Form = ("subpath", path)
    # As a right of directories: the granted path itself can be neither made nor removed.
    within: Form = ("require-not", ("literal", path))
    makeable: Form = ("require-any", *(("vnode-type", kind) for kind in _MAKEABLE))
    return (
        ("allow", "file-read*", "file-write-data", beneath),
        ("allow", "file-write-create", ("require-all", beneath, within, makeable)),
        ("allow", "file-write-unlink", ("require-all", beneath, within)),
    )


def _written(form: Form) -> str:
    match form:
        case Text(value):
            escaped = value.replace("\\", "\\\\").replace('"', '\\"')
            if not escaped.isprintable():
                raise LayerFailed("seatbelt", f"{value!r} cannot stand in a profile: pass it as a parameter")
            return f'"{escaped}"'
        case str():
            if not _SYMBOL.fullmatch(form):
                raise LayerFailed("seatbelt", f"{form!r} is no symbol of a profile: quote it as Text")
            return form
        case _:
            return f"({' '.join(_written(each) for each in form)})"


def _libsystem() -> Library:
    if sys.platform != "darwin":
        raise LayerFailed("seatbelt", f"it is a layer of macOS, and this is {sys.platform}: use Landlock and seccomp")
    library = ctypes.CDLL("/usr/lib/libSystem.dylib")
    library.sandbox_init_with_parameters.restype = ctypes.c_int
    library.sandbox_free_error.restype = None
    library.sandbox_check.restype = ctypes.c_int
    return cast(Library, library)
