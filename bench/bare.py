"""The kernel calls of a worker's lockdown, made one after another with nothing around them: the limit of lockdown.py.

The same calls in the same order as lock_down() and the self-test make them, each read-back and each probe among them; that was
read off strace. What can be known before the fork is known: numbers, structures, paths, rights, opened roots. No answer
is looked at that does not have to be.
"""

from __future__ import annotations

import array
import ctypes
import mmap
import os
import resource
import signal
import socket
import struct
import traceback
from contextlib import suppress
from pathlib import Path

from agex_protocol.messages import SLOT, WORK
from agex_protocol.plan import SECCOMP_PID_PLACEHOLDER, LockdownPlan
from agex_worker.lockdown import landlock, probes, rlimits

ARM = os.uname().machine == "aarch64"
CAPGET, CAPSET, SECCOMP, UNSHARE, SETNS = (90, 91, 277, 97, 268) if ARM else (125, 126, 317, 272, 308)
PPOLL, SOCKET, EXECVE, EXECVEAT, CLONE = (73, 198, 221, 281, 220) if ARM else (271, 41, 59, 322, 56)
MOVE_MOUNT, FSOPEN, FSCONFIG, FSMOUNT, CLOSE_RANGE = 429, 430, 431, 432, 436
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446

NEWNS, NEWPID = 0x0002_0000, 0x2000_0000
NEW_LISTENER, GET_NOTIF_SIZES = 8, 3
PDEATHSIG, GET_PDEATHSIG, GET_DUMPABLE, DUMPABLE, GET_SECCOMP = 1, 2, 3, 4, 21
CAPBSET_READ, CAPBSET_DROP, SECUREBITS, NO_NEW_PRIVS, GET_NO_NEW_PRIVS, CAP_AMBIENT = 23, 24, 28, 38, 39, 47
ALL_SECUREBITS, AMBIENT_CLEAR_ALL = 0xE3, 4
CAPABILITIES = 1 + int(Path("/proc/sys/kernel/cap_last_cap").read_text())
# What Landlock lets one grant on a file that is no directory: execute, write, read, truncate, ioctl of a device.
ON_A_FILE = 0b111 | 1 << 14 | 1 << 15
POLLED = 1024

libc = ctypes.CDLL(None, use_errno=True)
system_call, process_control = libc.syscall, libc.prctl  # looked up before the fork


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]

    @classmethod
    def of(cls, bpf: bytes) -> Program:
        buffer = ctypes.create_string_buffer(bpf, len(bpf))
        program = cls(len(bpf) // 8, ctypes.addressof(buffer))
        program.buffer = buffer
        return program


class Bare:
    """Prepared in the zygote; `fork(channel)` gives a child that is locked, writes a byte and ends."""

    def __init__(self, plan: LockdownPlan, slot: str, mapped: int, own_processes: int, uid: int | None) -> None:
        self._plan, self._slot, self._own_processes, self._uid = plan, slot, own_processes, uid
        self._namespaces = own_processes >= 0
        self._targets = probes.targets(plan, os.path.dirname(slot))
        self._rlimits = [*rlimits.limits(plan.limits, mapped, own_user=uid is not None).items()]
        chosen = landlock.ruleset(plan)
        self._ruleset = array.array("Q", (chosen.files, chosen.tcp, chosen.scopes))
        self._writable = struct.pack("=Q", chosen.writable)
        self._roots: list[int] = []
        self._rules: list[bytes] = []
        for rule in chosen.rules:
            if os.path.exists(rule.path):
                self._roots.append(os.open(rule.path, os.O_PATH | os.O_CLOEXEC))
                access = rule.access if os.path.isdir(rule.path) else rule.access & ON_A_FILE
                self._rules.append(struct.pack("=Qi", access, self._roots[-1]))
        chosen_filter = plan.seccomp_told or plan.seccomp
        self._own_pid = [
            at + 4
            for at in range(0, len(chosen_filter), 8)
            if struct.unpack_from("=I", chosen_filter, at + 4)[0] == SECCOMP_PID_PLACEHOLDER
        ]
        self._filter, self._seal = Program.of(chosen_filter), Program.of(plan.seal) if plan.seal else None
        self._capabilities = (array.array("I", (0x20080522, 0)), array.array("I", (0,) * 6))
        # Only root, or who is root in a user namespace of its own, may empty the bounding set.
        self._privileged = os.geteuid() == 0 or self._namespaces
        self._table, self._at_once = array.array("i", bytes(8 * POLLED)), array.array("q", (0, 0))
        self._table[::2] = array.array("i", range(POLLED))
        owner = str(uid if uid is not None else os.geteuid())
        self._files = {
            b"size": str(plan.limits.workspace_size_bytes).encode(),
            b"nr_inodes": str(plan.limits.workspace_files + 1).encode(),
            b"mode": b"0700",
            b"uid": owner.encode(),
            b"gid": owner.encode(),
        }
        self._owner = int(owner)

    def fork(self, channel: socket.socket) -> int:
        files, zygote = -1, os.getpid()
        if self._namespaces:
            files, zygote = self._new_files(), 2
            call(UNSHARE, NEWPID)
        pid = os.fork()
        if pid == 0:
            try:
                self._lock(channel, files)
                self._probe(zygote)
                channel.send(b".")
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(0)
        if self._namespaces:
            call(SETNS, self._own_processes, NEWPID)
            os.close(files)
        return pid

    def _new_files(self) -> int:
        context = call(FSOPEN, b"tmpfs", 1)
        for key, value in self._files.items():
            call(FSCONFIG, context, 1, key, value, 0)
        call(FSCONFIG, context, 6, 0, 0, 0)
        files = call(FSMOUNT, context, 1, 0b1110)
        os.close(context)
        os.mkdir(WORK, 0o700, dir_fd=files)
        os.chown(WORK, self._owner, self._owner, dir_fd=files)
        return files

    def _lock(self, channel: socket.socket, files: int) -> None:
        if not self._namespaces:
            os.chdir(self._slot)
        kept = channel.fileno()
        self._close_but({kept, files, *self._roots} - {-1})
        self._poll(POLLED)
        as_paths = {files, *self._roots} - {-1}
        for opened in as_paths:
            os.get_inheritable(opened)
        self._die_with_parent()
        for which, value in self._rlimits:
            resource.getrlimit(which)
            resource.setrlimit(which, (value, value))
            resource.getrlimit(which)
        if self._namespaces:
            self._enter(files)
        self._drop_capabilities()
        self._die_with_parent()
        prctl(DUMPABLE, 0)
        prctl(GET_DUMPABLE, 0)
        prctl(NO_NEW_PRIVS, 1)
        prctl(GET_NO_NEW_PRIVS, 0)
        self._landlock()
        self._close_but({kept})
        self._poll(self._plan.limits.open_files)
        for closed in as_paths:
            with suppress(OSError):
                os.get_inheritable(closed)
        self._seccomp(channel)

    def _close_but(self, keep: set[int]) -> None:
        lowest = 3
        for kept in sorted(keep):
            if lowest < kept:
                call(CLOSE_RANGE, lowest, kept - 1, 0)
            lowest = kept + 1
        call(CLOSE_RANGE, lowest, 0xFFFF_FFFF, 0)

    def _poll(self, count: int) -> None:
        resource.getrlimit(resource.RLIMIT_NOFILE)
        call(PPOLL, self._table.buffer_info()[0], count, self._at_once.buffer_info()[0], 0, 0)

    def _die_with_parent(self) -> None:
        os.umask(0o077)
        prctl(PDEATHSIG, signal.SIGKILL)
        prctl(GET_PDEATHSIG, self._at_once.buffer_info()[0])
        os.getppid()

    def _enter(self, files: int) -> None:
        os.setsid()
        call(UNSHARE, NEWNS)
        call(MOVE_MOUNT, files, b"", -100, SLOT.encode(), 4)
        os.close(files)
        os.chdir(SLOT)
        if self._uid is not None:
            self._empty_bounding_set()
            os.setgroups([])
            os.setresgid(self._uid, self._uid, self._uid)
            os.setresuid(self._uid, self._uid, self._uid)
            os.getresuid()
            os.getresgid()
            os.getgroups()

    def _drop_capabilities(self) -> None:
        header, words = (part.buffer_info()[0] for part in self._capabilities)
        if self._privileged and not (self._namespaces and self._uid is not None):
            self._empty_bounding_set()
        else:
            call(CAPGET, header, words)
        prctl(CAP_AMBIENT, AMBIENT_CLEAR_ALL)
        words_of_none = array.array("I", (0,) * 6)
        call(CAPSET, header, words_of_none.buffer_info()[0])
        call(CAPGET, header, words)
        self._bounding_set(CAPBSET_READ)

    def _empty_bounding_set(self) -> None:
        call(CAPGET, *(part.buffer_info()[0] for part in self._capabilities))
        prctl(SECUREBITS, ALL_SECUREBITS)
        self._bounding_set(CAPBSET_DROP)

    def _bounding_set(self, option: int) -> None:
        for capability in range(CAPABILITIES):
            process_control(option, capability, 0, 0, 0)

    def _landlock(self) -> None:
        own = os.open(self._slot, os.O_PATH | os.O_CLOEXEC)
        ruleset = call(LANDLOCK_CREATE, self._ruleset.buffer_info()[0], 24, 0)
        for rule in (*self._rules, self._writable + struct.pack("=i", own)):
            call(LANDLOCK_ADD, ruleset, 1, rule, 0)
        call(LANDLOCK_RESTRICT, ruleset, 0)
        os.close(ruleset)
        os.close(own)

    def _seccomp(self, channel: socket.socket) -> None:
        own = os.getpid()
        for place in self._own_pid:
            struct.pack_into("=I", self._filter.buffer, place, own)
        if self._seal is None:
            self._install(self._filter, 1)
            process_control(GET_SECCOMP, 0, 0, 0, 0)
            return
        listener = self._install(self._filter, NEW_LISTENER)
        socket.send_fds(channel, [b"listener"], [listener])
        os.close(listener)
        self._install(self._seal, 0)
        system_call(SECCOMP, GET_NOTIF_SIZES, 0, self._at_once.buffer_info()[0])

    def _install(self, program: Program, flags: int) -> int:
        return call(SECCOMP, 1, flags, ctypes.addressof(program))

    def _probe(self, zygote: int) -> None:
        """Each is refused, which is an exception where Python makes the call."""
        limits, slot = self._plan.limits, self._slot
        outside = os.path.join(self._targets.directory or "/", f".agex-bench-{os.getpid()}")
        with suppress(OSError):
            os.open(self._targets.file or "/", os.O_RDONLY | os.O_CLOEXEC)
        with suppress(OSError):
            os.open(outside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.stat(slot)
        with suppress(OSError):
            os.chmod(slot, 0o707)
        with suppress(OSError):
            os.stat(self._targets.file or "/")
        for family, kind in ((1, 1), (1, 2), (2, 1), (2, 2), (10, 1), (10, 2), (16, 3)):
            system_call(SOCKET, family, kind, 0)
        system_call(EXECVE, None, None, None)
        system_call(EXECVEAT, -1, None, None, None, 0)
        system_call(CLONE, ctypes.c_long(signal.SIGCHLD), None, None, None, None)
        with suppress(OSError):
            os.kill(zygote, 0)
        with suppress(OSError):
            os.pidfd_open(zygote)
        with suppress(OSError):
            os.open(f"/proc/{zygote}/mem", os.O_RDONLY | os.O_CLOEXEC)
        with suppress(OSError):
            os.memfd_create("agex-bench")
        with suppress(OSError):
            mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_SHARED)
        with suppress(OSError):
            mmap.mmap(-1, limits.memory_bytes + mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
        with suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_CPU, (soft + 1, hard + 1))
        large = os.path.join(slot, ".agex-bench")
        descriptor = os.open(large, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with suppress(OSError):
            os.ftruncate(descriptor, limits.file_size_bytes + 1)
        os.close(descriptor)
        os.unlink(large)
        with suppress(OSError):
            os.dup2(0, limits.open_files, inheritable=False)
        if not self._namespaces:
            with suppress(OSError):
                os.listdir(os.path.dirname(slot))


def call(number: int, *arguments: int | bytes) -> int:
    result: int = system_call(
        ctypes.c_long(number), *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)
    )
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result


def prctl(option: int, value: int) -> None:
    if process_control(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) < 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")
