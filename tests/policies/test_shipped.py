"""The filter that comes with agex is what this version's rules compile to, for both architectures, and is never stale."""

from __future__ import annotations

import dataclasses
import errno
import platform
import struct
import sys

import pytest

from agex_policies import shipped
from agex_policies.bpf import ARCHITECTURES, compile_filter, standard_filters
from agex_policies.errors import IsolationUnavailable
from agex_policies.machine import Machine
from agex_policies.shipped import filter_on, shipped_filter
from agex_policies.syscall_rules import Action, Group, Rule
from agex_policies.syscall_table import STANDARD

HERE = Machine.detect()
with_library = pytest.mark.skipif(not HERE.libseccomp, reason="needs libseccomp to compile what is compared")

AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
READ = {"x86_64": 0, "aarch64": 63}
PTRACE = {"x86_64": 101, "aarch64": 117}
SOCKET = {"x86_64": 41, "aarch64": 198}
OPENAT = {"x86_64": 257, "aarch64": 56}
CLONE3 = 435
O_DIRECTORY = {"x86_64": 0x1_0000, "aarch64": 0x4000}

ALLOW = 0x7FFF_0000
KILL = 0x8000_0000
ERRNO = 0x0005_0000


def verdict(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """What the kernel would answer: the few instructions of classic BPF that libseccomp writes, carried out."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=IIQ6Q", number, arch, 0, *padded)
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, value = instructions[at]
        at += 1
        match code:
            case 0x20:  # load a word of the data
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x54:  # and
                accumulator &= value
            case 0x05:  # jump
                at += value
            case 0x15 | 0x25 | 0x35:  # jump if equal, greater, greater or equal
                holds = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}[code]
                at += if_true if holds else if_false
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"instruction {code:#x} is not one that is known here")


@with_library
def test_the_programs_are_those_of_the_rules_and_there_are_no_others() -> None:
    if shipped.MADE_WITH.read_text() != f"libseccomp {HERE.libseccomp_version}\n":
        pytest.skip("another libseccomp may write the same rules in another order")
    for arch in ARCHITECTURES:
        for groups in standard_filters():
            assert shipped_filter(groups, arch) == compile_filter(groups, arch)
    assert len(list(shipped.FOLDER.glob("*.bpf"))) == len(ARCHITECTURES) * len(standard_filters())


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_program_of_an_architecture_allows_refuses_and_kills_by_its_own_numbers(arch: str) -> None:
    program, own = shipped_filter(STANDARD, arch), AUDIT_ARCH[arch]
    assert verdict(program, own, READ[arch]) == ALLOW
    assert verdict(program, own, SOCKET[arch], 2, 1) == ERRNO | errno.EPERM
    assert verdict(program, own, PTRACE[arch]) == KILL
    assert verdict(program, own, CLONE3) == ERRNO | errno.ENOSYS
    assert verdict(program, own, 99_999) == ERRNO | errno.EPERM


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_calls_by_the_numbers_of_another_architecture_are_deadly(arch: str) -> None:
    program = shipped_filter(STANDARD, arch)
    for other in (*AUDIT_ARCH.values(), 0x4000_0003):  # and i386
        if other != AUDIT_ARCH[arch]:
            assert verdict(program, other, READ[arch]) == KILL


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_direct_writes_are_refused_by_the_bit_of_the_architecture_and_folders_can_be_opened(arch: str) -> None:
    program, own, openat = shipped_filter(STANDARD, arch), AUDIT_ARCH[arch], OPENAT[arch]
    assert verdict(program, own, openat, 0, 0, O_DIRECTORY[arch]) == ALLOW
    assert verdict(program, own, openat, 0, 0, ARCHITECTURES[arch]) == ERRNO | errno.EPERM


def test_without_the_library_rules_that_did_not_come_with_agex_are_refused() -> None:
    bare = dataclasses.replace(HERE, libseccomp=False)
    if bare.arch in ARCHITECTURES:
        assert filter_on(bare, STANDARD) == shipped_filter(STANDARD, bare.arch)
    changed = (*STANDARD, Group("more", "for this test", (Rule(("mlock",), Action.ALLOW),)))
    for groups, arch in ((changed, "x86_64"), (STANDARD[1:], "x86_64"), (STANDARD, "riscv64")):
        with pytest.raises(IsolationUnavailable) as caught:
            filter_on(dataclasses.replace(bare, arch=arch), groups)
        assert (caught.value.promise, caught.value.could_hold) == ("programs", ("seccomp",))
        assert "install libseccomp" in caught.value.remedy


@with_library
@pytest.mark.skipif(sys.platform != "linux" or platform.machine() not in ARCHITECTURES, reason="compiles for here")
def test_where_the_library_is_the_rules_are_compiled_here() -> None:
    changed = (*STANDARD, Group("more", "for this test", (Rule(("mlock",), Action.ALLOW),)))
    assert filter_on(HERE, changed) == compile_filter(changed) != compile_filter(STANDARD)
