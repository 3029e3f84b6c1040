"""The compiled filter, put on a real process: what it refuses is reached without it, and what libraries need still works."""

from __future__ import annotations

import errno
import platform
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from agex_policies.bpf import compile_filter, compile_seal, explain_filter
from agex_policies.errors import IsolationUnavailable
from agex_policies.syscall_rules import Group, Rule
from agex_policies.syscall_table import STANDARD
from agex_protocol.plan import SECCOMP_PID_PLACEHOLDER

SNAPSHOT = Path(__file__).parent / "filter.x86_64.txt"

pytestmark = pytest.mark.skipif(
    platform.system() != "Linux" or platform.machine() != "x86_64", reason="call numbers here are those of x86_64 Linux"
)

# Takes the filter from stdin (nothing: no filter), and gives the code `call`, which says what became of a system call.
PRELUDE = f"""
import ctypes, errno, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def call(number, *arguments):
    ctypes.set_errno(0)
    pointers = [ctypes.c_void_p(a) if isinstance(a, int) else a for a in arguments]
    if libc.syscall(ctypes.c_long(number), *pointers) >= 0:
        return "reached"
    return errno.errorcode[ctypes.get_errno()]

class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]

bpf = bytearray(sys.stdin.buffer.read())
for at in range(4, len(bpf), 8):
    if struct.unpack_from("=I", bpf, at)[0] == {SECCOMP_PID_PLACEHOLDER}:
        struct.pack_into("=I", bpf, at, os.getpid())
if bpf:
    instructions = ctypes.create_string_buffer(bytes(bpf), len(bpf))
    program = Program(len(bpf) // 8, ctypes.addressof(instructions))
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.syscall(317, 1, 0, ctypes.byref(program)) == 0
"""


# The seal on top, once the filter that tells is there.
SEAL = """
seal = bytes.fromhex({!r})
instructions = ctypes.create_string_buffer(seal, len(seal))
program = Program(len(seal) // 8, ctypes.addressof(instructions))
assert libc.syscall(317, 1, 0, ctypes.byref(program)) == 0
"""


def outcome(code: str, folder: Path, *, filtered: bool, told: bool = False) -> str | int:
    """What the code printed, or minus the signal that ended it."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", PRELUDE + code],
        input=compile_filter(told=told) if filtered else b"",
        capture_output=True,
        cwd=folder,
        check=False,
    )
    if done.returncode < 0:
        return done.returncode
    assert done.stderr == b""
    return done.stdout.decode().strip()


def tried(python: str) -> str:
    return (
        f"try:\n    {python}\n    print('reached')\nexcept OSError as error:\n    print(errno.errorcode[error.errno])\n"
    )


NOT_SUPPORTED = errno.errorcode[errno.EOPNOTSUPP]  # the number has two names

# name: (code, what it gives under the filter). Without the filter each gives something else, and does no harm.
REFUSED: dict[str, tuple[str, str | int]] = {
    "fork": (tried("os.fork() or os._exit(0)"), "EPERM"),
    "vfork": (tried("os.posix_spawn('/bin/true', ['true'], {})"), "EPERM"),
    "clone of a process": ("r = call(56, 17, 0, 0, 0, 0)\nprint(r)", "EPERM"),
    "clone3": ("print(call(435, 0, 0))", "ENOSYS"),
    "exec": (tried("os.execv('/bin/echo', ['echo', 'reached'])"), "EPERM"),
    "socket": ("import socket\n" + tried("socket.socket(2, 1)"), "EPERM"),
    "socket, with high bits": ("print(call(41, 0x1_0000_0002, 1, 0))", "EPERM"),
    "datagram pair": ("import socket\n" + tried("socket.socketpair(1, 2)"), "EPERM"),
    "sending a descriptor": (
        "import socket\na, b = socket.socketpair()\n" + tried("socket.send_fds(a, [b'x'], [0])"),
        "EPERM",
    ),
    "out-of-band byte": (
        "import socket\na, b = socket.socketpair()\n" + tried("a.send(b'x', socket.MSG_OOB)"),
        "EPERM",
    ),
    "the peer's process id": (
        "import socket\na, b = socket.socketpair()\n" + tried("a.getsockopt(1, socket.SO_PEERCRED, 12)"),
        "EPERM",
    ),
    "signal to the parent": (tried("os.kill(os.getppid(), 0)"), "EPERM"),
    "signal to all": (tried("os.kill(0, 0)"), "EPERM"),
    # It would take back the stop by which the supervisor holds a worker still.
    "continuing itself": (tried("os.kill(os.getpid(), 18)"), "EPERM"),
    "continuing itself by a thread": ("print(call(234, os.getpid(), os.getpid(), 18))", "EPERM"),
    "continuing itself with high bits": ("print(call(62, os.getpid(), 18 | 1 << 32))", "EPERM"),
    "a signal by tkill": ("print(call(200, os.getpid(), 0))", "EPERM"),
    "SIGIO to the parent": (
        "import fcntl\n" + tried("fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, os.getppid())"),
        "EPERM",
    ),
    "fcntl with high bits": ("print(call(72, 0, 0x1_0000_0008, os.getpid()))", "EPERM"),
    "the parent's limits": (
        "import resource\n" + tried("resource.prlimit(os.getppid(), resource.RLIMIT_CPU)"),
        "EPERM",
    ),
    "own limits": ("print(call(302, 0, 4, struct.pack('QQ', 0, 0), 0))", "EPERM"),
    "the parent's processors": (tried("os.sched_getaffinity(os.getppid())"), "EPERM"),
    "whether a process exists": (tried("os.getpgid(os.getppid())"), "EPERM"),
    "dumpable": ("print(call(157, 4, 1, 0, 0, 0))", "EPERM"),
    "memory writable and executable": (
        "import mmap\n" + tried("mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE, prot=7)"),
        "EPERM",
    ),
    "shared memory without a file": ("import mmap\n" + tried("mmap.mmap(-1, 4096, flags=mmap.MAP_SHARED)"), "EPERM"),
    "shared memory, with the bits of MAP_SHARED_VALIDATE": ("print(call(9, 0, 4096, 3, 0x23, -1, 0))", "EPERM"),
    "shared memory, with high bits": ("print(call(9, 0, 4096, 3, 0x1_0000_0021, -1, 0))", "EPERM"),
    "a hole in a mapped file": (
        "import mmap\nf = open('f', 'w+b')\nf.truncate(4096)\nm = mmap.mmap(f.fileno(), 4096)\n"
        + tried("m.madvise(mmap.MADV_REMOVE)"),
        "EPERM",
    ),
    "a hole in a file": (
        "f = open('f', 'wb')\nf.truncate(8192)\nprint(call(285, f.fileno(), 3, 0, 4096))",
        NOT_SUPPORTED,
    ),
    "a big file in no time": ("print(call(285, open('f', 'wb').fileno(), 0, 0, 1 << 20))", NOT_SUPPORTED),
    "a file without a name": (tried("os.open('.', os.O_TMPFILE | os.O_RDWR)"), NOT_SUPPORTED),
    "a file without a name, by the older call": (
        "print(call(2, b'.', os.O_TMPFILE | os.O_RDWR, 0o600))",
        NOT_SUPPORTED,
    ),
    "writes that wait for the disk": (tried("os.open('f', os.O_WRONLY | os.O_CREAT | os.O_SYNC)"), "EPERM"),
    "writes that wait for the data": (tried("os.open('f', os.O_WRONLY | os.O_CREAT | os.O_DSYNC)"), "EPERM"),
    "a program that would run as its owner": (tried("os.open('f', os.O_WRONLY | os.O_CREAT, 0o4755)"), "EPERM"),
    "a program that would run as its group, by the older call": ("print(call(2, b'f', 0x41, 0o2755))", "EPERM"),
    "writes past the cache": (tried("os.open('f', os.O_WRONLY | os.O_CREAT | os.O_DIRECT)"), "EPERM"),
    "writes past the cache, turned on later": (
        "import fcntl\nf = open('f', 'wb')\n" + tried("fcntl.fcntl(f, fcntl.F_SETFL, os.O_DIRECT)"),
        "EPERM",
    ),
    "pages of a file in memory": ("print(call(27, 0, 0, 0))", "EPERM"),
    "memfd": (tried("os.memfd_create('x')"), "EPERM"),
    "hard link": ("open('f', 'w')\n" + tried("os.link('f', 'g')"), "EPERM"),
    "FIFO": (tried("os.mkfifo('f')"), "EPERM"),
    "mode": ("open('f', 'w')\n" + tried("os.chmod('f', 0o777)"), "EPERM"),
    "mode by fchmodat2": ("open('f', 'w')\nprint(call(452, -100, b'f', 0o777, 0))", "ENOSYS"),
    "owner": ("open('f', 'w')\n" + tried("os.chown('f', os.getuid(), os.getgid())"), "EPERM"),
    "times": ("open('f', 'w')\n" + tried("os.utime('f', (0, 0))"), "EPERM"),
    "folder by path": (tried("os.chdir('/')"), "EPERM"),
    "folder by a descriptor that opened nothing": (tried("os.open('/', os.O_PATH)"), "EPERM"),
    "watching files": ("print(call(294, 0))", "EPERM"),
    "splice": ("r, w = os.pipe()\nprint(call(275, r, 0, w, 0, 0, 0))", "EPERM"),
    "tee": ("r, w = os.pipe()\nprint(call(276, r, w, 0, 0))", "EPERM"),
    "io_uring": ("print(call(425, 1, ctypes.create_string_buffer(120)))", "ENOSYS"),
    "message queue": ("print(call(240, b'/agex', 0, 0, 0))", "EPERM"),
    "semaphores": ("print(call(66, 0, 0, 0))", "EPERM"),
    "pages of others": ("print(call(279, 0, 0, 0, 0, 0, 0))", "EPERM"),
    "futex_waitv": ("print(call(449, 0, 0, 0, 0, 0))", "EPERM"),
    "cachestat": ("print(call(451, 0, 0, 0, 0))", "EPERM"),
    "Landlock of its own": ("print(call(444, 0, 0, 1))", "EPERM"),
    "a filter of its own": ("print(call(317, 2, 0, struct.pack('I', 0x50000)))", "EPERM"),
    "ptrace": ("print(call(101, 16, 0, 0, 0))", -signal.SIGSYS),
    "reading another's memory": ("print(call(310, os.getpid(), 0, 0, 0, 0, 0))", -signal.SIGSYS),
    "unshare": ("print(call(272, 0))", -signal.SIGSYS),
    "keyring": ("print(call(250, 0, -3, 0, 0, 0))", -signal.SIGSYS),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_attack_is_stopped_by_the_filter_and_by_nothing_before_it(name: str, tmp_path: Path) -> None:
    code, refusal = REFUSED[name]
    assert outcome(code, tmp_path, filtered=True) == refusal
    for left in tmp_path.iterdir():
        left.unlink()
    unfiltered = outcome(code, tmp_path, filtered=False)
    if unfiltered in ("EPERM", "ENOSYS"):
        pytest.skip("this machine refuses it even without the filter")
    assert unfiltered not in (refusal, "")


NATIVE = """
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
place = libc.mmap(None, 4096, 3, 0x22, -1, 0)
ctypes.memmove(place, CODE, len(CODE))
assert libc.mprotect(place, 4096, 5) == 0
print(ctypes.CFUNCTYPE(ctypes.c_int)(place)() == os.getpid())
"""

# mov eax, number; then `int 0x80` or `syscall`; ret: getpid by the number of each of the three kinds of calls.
GETPID = {
    "i386": bytes.fromhex("b814000000cd80c3"),
    "x32": bytes.fromhex("b8270000400f05c3"),
    "x86_64": bytes.fromhex("b8270000000f05c3"),
}


@pytest.mark.parametrize("kind", ["i386", "x32"])
def test_calls_by_foreign_numbers_end_the_process(kind: str, tmp_path: Path) -> None:
    code = f"CODE = {GETPID[kind]!r}\n{NATIVE}"
    assert outcome(code, tmp_path, filtered=True) == -signal.SIGSYS
    # Kernels without x32 refuse it themselves; what matters is that only the filter kills.
    assert outcome(code, tmp_path, filtered=False) != -signal.SIGSYS


@pytest.mark.parametrize("kind", ["i386", "x32"])
def test_the_filter_that_tells_ends_it_for_them_too(kind: str, tmp_path: Path) -> None:
    code = f"CODE = {GETPID[kind]!r}\n{NATIVE}"
    assert outcome(code, tmp_path, filtered=True, told=True) == -signal.SIGSYS


@pytest.mark.parametrize(
    "name", ["fork", "exec", "socket", "signal to the parent", "memfd", "mode", "ptrace", "unshare"]
)
def test_where_nobody_listens_what_would_be_told_is_refused(name: str, tmp_path: Path) -> None:
    assert outcome(REFUSED[name][0], tmp_path, filtered=True, told=True) == "ENOSYS"


@pytest.mark.parametrize("name", ["sending a descriptor", "a filter of its own"])
def test_the_seal_shuts_what_handing_the_listener_over_takes(name: str, tmp_path: Path) -> None:
    code = REFUSED[name][0]
    assert outcome(SEAL.format(compile_seal().hex()) + code, tmp_path, filtered=True, told=True) == "EPERM"
    assert outcome(code, tmp_path, filtered=True, told=True) == outcome(code, tmp_path, filtered=False) == "reached"


def test_the_probe_of_foreign_numbers_can_tell(tmp_path: Path) -> None:
    assert outcome(f"CODE = {GETPID['x86_64']!r}\n{NATIVE}", tmp_path, filtered=True) == "True"


WORKING = {
    "files": """
import pathlib, shutil, tempfile
pathlib.Path("d/e").mkdir(parents=True)
pathlib.Path("d/e/f").write_text("text")
pathlib.Path("d/e/f").touch()
shutil.copyfile("d/e/f", "g")
os.rename("g", "h"); os.symlink("h", "s"); os.truncate("h", 1); os.listdir("."); os.path.realpath("s")
with tempfile.TemporaryDirectory(dir=".") as t, open(t + "/x", "wb") as f:
    f.write(b"x" * 9999); f.flush(); os.fsync(f.fileno())
os.fchdir(os.open("d", os.O_RDONLY)); assert os.listdir(".") == ["e"]
""",
    "threads": """
import concurrent.futures, threading
with concurrent.futures.ThreadPoolExecutor(4) as pool: assert sum(pool.map(len, ["a"] * 100)) == 100
timer = threading.Timer(0, lambda: None); timer.start(); timer.join()
""",
    "asyncio": """
import asyncio
async def main(): await asyncio.sleep(0); return await asyncio.to_thread(sum, [1, 2])
assert asyncio.run(main()) == 3
""",
    "sqlite": """
import sqlite3
with sqlite3.connect("t.db") as c:
    assert c.execute("pragma journal_mode=wal").fetchone() == ("wal",)
    c.execute("create table t(a)"); c.execute("insert into t values (1)")
with sqlite3.connect("t.db") as second:
    second.execute("insert into t values (2)"); second.commit()
    assert second.execute("pragma wal_checkpoint(truncate)").fetchone() == (0, 0, 0)
assert second.execute("select a from t").fetchall() == [(1,), (2,)]
""",
    "a sqlite transaction that was broken off": """
import shutil, sqlite3
first = sqlite3.connect("t.db"); first.execute("create table t(a)")
first.executemany("insert into t values (?)", [("x" * 3000,)] * 50); first.commit()
first.execute("pragma cache_size=1"); first.execute("begin exclusive"); first.execute("update t set a=replace(a, 'x', 'y')")
for end in ("", "-journal"): shutil.copyfile("t.db" + end, "u.db" + end)
assert b"y" * 2000 in open("u.db", "rb").read()
second = sqlite3.connect("u.db"); assert second.execute("select distinct a from t").fetchall() == [("x" * 3000,)]
""",
    "room for a file, temporary files": """
import tempfile
with open("r", "wb") as f: os.posix_fallocate(f.fileno(), 0, 10_000); assert os.fstat(f.fileno()).st_size == 10_000
with tempfile.TemporaryFile(dir=".") as f: f.write(b"x"); f.flush(); os.fdatasync(f.fileno()); os.sync()
""",
    "signals to itself": """
import signal
signal.signal(signal.SIGUSR1, lambda *_: None); os.kill(os.getpid(), signal.SIGUSR1); signal.raise_signal(signal.SIGUSR1)
for number in signal.valid_signals() - {signal.SIGCONT, signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
    os.kill(os.getpid(), number)
signal.setitimer(signal.ITIMER_REAL, 60); signal.alarm(0)
""",
    "callbacks from C": "assert ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda x: x + 1)(41) == 42",
    "own limits and processors, read": """
import resource
resource.getrlimit(resource.RLIMIT_AS); resource.getrusage(resource.RUSAGE_SELF); os.cpu_count()
os.sched_getaffinity(0); os.getpgid(0)
""",
    "opening without a mode, below libc": """
open("f", "w").close()
assert call(2, b"f", os.O_RDONLY, 0o6777) == call(257, -100, b"f", os.O_RDONLY, 0o6777) == "reached"
""",
    "mapped files": """
import mmap
with open("m", "w+b") as f:
    f.truncate(8192)
    with mmap.mmap(f.fileno(), 8192) as m: m.madvise(mmap.MADV_WILLNEED); m[0] = 1; m.flush()
""",
    "numpy": """
import numpy as np
a = np.random.default_rng(0).normal(size=(300, 300))
np.linalg.svd(a); np.linalg.solve(a, a); np.fft.fft(a); a.tofile("a"); np.memmap("a", mode="r")
""",
    "pandas and pyarrow": """
import pandas as pd
df = pd.DataFrame({"a": range(1000), "s": ["x"] * 1000, "t": pd.date_range("2024", periods=1000, tz="Europe/Berlin")})
df.groupby("s").a.mean(); str(df); df.to_csv("x.csv"); pd.read_csv("x.csv"); df.to_parquet("x.parquet")
pd.read_parquet("x.parquet", memory_map=True)
""",
}


@pytest.mark.parametrize("name", WORKING)
def test_what_libraries_do_works_under_the_filter(name: str, tmp_path: Path) -> None:
    assert outcome(WORKING[name] + "\nprint('done')", tmp_path, filtered=True) == "done"


def test_the_compiled_filter_is_the_reviewed_one() -> None:
    """A change of the filter shows as a difference of this file; write it anew with explain_filter() and read it."""
    assert re.sub(r" \[priority: \d+\]", "", explain_filter()) == SNAPSHOT.read_text()


def test_the_filter_has_places_for_the_workers_process_id() -> None:
    bpf = compile_filter()
    assert len(bpf) % 8 == 0
    assert any(immediate == SECCOMP_PID_PLACEHOLDER for *_, immediate in struct.iter_unpack("=HBBI", bpf))


def test_an_unknown_call_is_an_error_and_never_left_out() -> None:
    typo = Group("typo", "a slip", (Rule(("opanat",), STANDARD[0].rules[0].action),))
    with pytest.raises(IsolationUnavailable) as caught:
        compile_filter((typo,))
    assert caught.value.remedy == "this libseccomp does not know the system call 'opanat': install 2.5 or later"


def test_no_call_is_in_two_groups() -> None:
    groups_of: dict[str, set[str]] = {}
    for group in STANDARD:
        for rule in group.rules:
            for name in rule.names:
                groups_of.setdefault(name, set()).add(group.name)
    assert {name: groups for name, groups in groups_of.items() if len(groups) > 1} == {}
    assert all(group.reason for group in STANDARD)


def test_a_lock_on_a_file_succeeds_and_is_not_held(tmp_path: Path) -> None:
    code = """
import fcntl
f = open("f", "wb")
fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
print(any(line.split()[4] == str(os.getpid()) for line in open("/proc/locks")))
"""
    assert outcome(code, tmp_path, filtered=True) == "False"
    assert outcome(code, tmp_path, filtered=False) == "True"


@pytest.mark.parametrize("call", ["os.fsync(99)", "os.fdatasync(99)", "os.posix_fadvise(99, 0, 0, 4)"])
def test_waiting_for_the_disk_never_reaches_the_kernel(call: str, tmp_path: Path) -> None:
    assert outcome(tried(call), tmp_path, filtered=True) == "reached"
    assert outcome(tried(call), tmp_path, filtered=False) == "EBADF"


def test_errors_of_probes_are_what_their_callers_expect(tmp_path: Path) -> None:
    """shutil takes "no attributes" for an answer, and the new way of copying for absent."""
    code = "open('f', 'w')\n" + tried("os.listxattr('f')")
    assert outcome(code, tmp_path, filtered=True) == NOT_SUPPORTED
