"""The filter that comes with agex, for machines without libseccomp: compiled beforehand, once for each architecture.

    python -m agex_policies.shipped     compiles it anew after a change of the rules; it takes libseccomp

A program is found by the digest of the rules it was made of, so one of other rules is never taken for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from agex_policies.bpf import ARCHITECTURES, compile_filter, standard_filters
from agex_policies.errors import IsolationUnavailable
from agex_policies.machine import Machine
from agex_policies.syscall_rules import Group

FOLDER = Path(__file__).parent / "filters"
# Another version of the library may write the same rules in another order.
MADE_WITH = FOLDER / "made-with.txt"


def filter_on(machine: Machine, groups: tuple[Group, ...]) -> bytes:
    """The program for these rules: compiled where libseccomp is, else the one that comes with agex.

    IsolationUnavailable where there is neither.
    """
    return compile_filter(groups) if machine.libseccomp else shipped_filter(groups, machine.arch)


def shipped_filter(groups: tuple[Group, ...], arch: str) -> bytes:
    """The program that comes with agex for exactly these rules. IsolationUnavailable where there is none."""
    try:
        return _file(groups, arch).read_bytes()
    except FileNotFoundError:
        raise IsolationUnavailable(
            "programs",
            ("seccomp",),
            "install libseccomp 2.5 or later and pyseccomp: the filter that comes with agex is for the standard system"
            f" calls on {' and '.join(ARCHITECTURES)} only",
        ) from None


def write_all() -> Iterable[Path]:
    """Compile every standard filter for every architecture, and remove those of other rules. Gives what was written."""
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.bpf"):
        stale.unlink()
    MADE_WITH.write_text(f"libseccomp {Machine.detect().libseccomp_version}\n")
    for arch in ARCHITECTURES:
        for groups in standard_filters():
            file = _file(groups, arch)
            file.write_bytes(compile_filter(groups, arch))
            yield file


def _file(groups: tuple[Group, ...], arch: str) -> Path:
    rules = [(rule.names, rule.action, rule.arguments) for group in groups for rule in group.rules]
    digest = hashlib.sha256(repr(rules).encode()).hexdigest()
    return FOLDER / f"{arch}-{digest[:16]}.bpf"


if __name__ == "__main__":
    for written in write_all():
        print(written)
