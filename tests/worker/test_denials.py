"""The worker's own record of refusals, and the hook that refuses with a reason before the kernel does without one."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from agex_protocol.plan import SandboxPlan
from agex_supervisor import denials as trusted
from agex_worker import denials
from agex_worker.denials import Record, Refusal, collected, limit_behind, note
from agex_worker.turn import execute
from tests.worker.sandbox_run import run

Hooked = Callable[..., list[str]]

# A process that only pretends to be confined: what is refused in it, the hook alone refuses.
HOOKED = """
import os, socket, subprocess, sqlite3, sys
from agex_protocol.plan import Limits, LockdownPlan
from agex_worker import audit, denials
place, granted, landlock, seccomp = sys.argv[1:5]
plan = LockdownPlan("custom", "kernel", Limits(), read=(granted, *{sys.prefix, sys.base_prefix, "/usr/lib"}),
                    write=("/dev/null",), landlock_abi=int(landlock), seccomp=seccomp.encode())
os.chdir(place)
audit.install(plan, place)
def tried(call):
    try:
        call()
    except Exception as error:
        print(f"{type(error).__name__} {error}")
    else:
        print("done")
"""


@pytest.fixture
def hooked(tmp_path: Path) -> Hooked:
    place, granted = tmp_path / "place", tmp_path / "granted"
    place.mkdir()
    granted.mkdir()
    (granted / "file").write_text("granted")
    (tmp_path / "secret").write_text("secret")

    def hooked(code: str, *, landlock: bool = True, seccomp: bool = True) -> list[str]:
        source = HOOKED + textwrap.dedent(code) + "\nfor each in denials.take(): print(*each)"
        done = subprocess.run(
            [sys.executable, "-c", source, place, granted, str(int(landlock)), "x" if seccomp else ""],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.replace(str(tmp_path), "TMP").splitlines()

    return hooked


# --- the record ---


def test_each_refusal_is_kept_once_in_order_and_taken_once() -> None:
    record = Record()
    for target in "abca":
        record.add(Refusal("sandbox", "import", target))
    assert [each.target for each in record.take()] == ["a", "b", "c"]
    assert record.take() == ()


def test_a_record_is_bounded_and_so_is_each_target() -> None:
    record = Record()

    def flood() -> None:
        for number in range(300):
            note("landlock", "read", f"{number}" + "x" * 10_000)

    collected(record, flood)
    taken = record.take()
    assert len(taken) == denials.MAX_REFUSALS
    assert {len(each.target) for each in taken} == {denials.MAX_TARGET_CHARS}


def test_a_target_that_is_no_text_can_be_sent_all_the_same() -> None:
    record = Record()
    collected(record, lambda: note("landlock", "read", os.fsdecode(b"/a\xff")))
    (refusal,) = record.take()
    assert refusal.target == "/a\\udcff"


def test_any_thread_may_note_and_nothing_is_lost_below_the_cap() -> None:
    denials.take()

    def ten_from(start: int) -> None:
        for number in range(start, start + 10):
            note("sandbox", "use", str(number))

    threads = [threading.Thread(target=ten_from, args=(start,)) for start in range(0, 80, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(each.target) for each in denials.take()) == list(range(80))


def test_both_sides_have_the_same_caps() -> None:
    assert (denials.MAX_REFUSALS, denials.MAX_TARGET_CHARS) == (trusted.MAX_DENIALS, trusted.MAX_TARGET_CHARS)


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        (MemoryError(), "memory"),
        (OSError(errno.EMFILE, "Too many open files"), "open_files"),
        (OSError(errno.EFBIG, "File too large"), "file_size"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk"),
        (RuntimeError("can't start new thread"), "threads"),
        (RuntimeError("something else"), ""),
        (OSError("without a number"), ""),
        (ValueError("memory"), ""),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_error_says_which_limit_is_behind_it(error: BaseException, limit: str) -> None:
    assert limit_behind(error) == limit


# --- the inner sandbox ---


@pytest.mark.parametrize(
    ("source", "refusal"),
    [
        ("import os", ("import", "os")),
        ("import json.tool", ("import", "json.tool")),
        ("from json import codecs", ("import", "json.codecs")),
        ("import json\njson.codecs", ("member", "json.codecs")),
        ("eval('1')", ("builtin", "eval")),
        ("vars(int)", ("builtin", "vars")),
        ("(1).__class__.__mro__", ("syntax", "the attribute __mro__")),
        ("getattr(1, '__subclasses__')", ("attribute", "__subclasses__")),
        ("(1)._private", ("attribute", "_private")),
        ("import json\njson.loads = 1", ("use", "loads")),
        ("open('/etc/passwd')", ("read", "/etc/passwd")),
        ("open('../x', 'w')", ("write", "../x")),
        ("open('link/x', 'rb')", ("read", "link/x")),
        ("type('A', (), {})", ("use", "type")),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_the_inner_sandbox_refuses_is_noted_with_its_name(
    source: str, refusal: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to("/etc")
    record = Record()

    def refused() -> None:
        with pytest.raises(Exception):  # noqa: B017  # of several kinds; what counts is the note
            run(source, "json", files=tmp_path)

    collected(record, refused)
    assert record.take() == (Refusal("sandbox", *refusal),)
    assert refusal[0] in trusted.FROM_WORKER["sandbox"]


@pytest.mark.parametrize(
    "source",
    [
        "hasattr((1), '__subclasses__')",
        "import json\njson.loads('1')",
        "open('x', 'w').close()",
        "from collections import abc",
    ],
)
def test_what_is_answered_is_not_noted(source: str, tmp_path: Path) -> None:
    record = Record()
    collected(record, lambda: run(source, "json", "collections", "collections.abc", files=tmp_path))
    assert record.take() == ()


def test_a_name_that_no_module_has_is_no_denial(tmp_path: Path) -> None:
    record = Record()

    def failed() -> None:
        with pytest.raises(ImportError):
            run("from json import nothing", "json", files=tmp_path)

    collected(record, failed)
    assert record.take() == ()


# --- the hook ---


@pytest.mark.parametrize(
    ("code", "told", "noted"),
    [
        (
            "open('/etc/passwd')",
            "PermissionError [Errno 13] read refused: policy 'custom' does not grant it; [filesystem] read would allow"
            " it: '/etc/passwd'",
            "landlock read /etc/passwd",
        ),
        (
            "open('../secret')",
            "PermissionError [Errno 13] read refused: policy 'custom' does not grant it; [filesystem] read would allow"
            " it: '../secret'",
            "landlock read TMP/secret",
        ),
        (
            "open(granted + '/new', 'w')",
            "PermissionError [Errno 13] write refused: policy 'custom' does not grant it; [filesystem] write would allow"
            " it: 'TMP/granted/new'",
            "landlock write TMP/granted/new",
        ),
        (
            "os.symlink('/etc/passwd', 'link') or open('link')",
            "PermissionError [Errno 13] read refused: policy 'custom' does not grant it; [filesystem] read would allow"
            " it: '/etc/passwd'",
            "landlock read /etc/passwd",
        ),
        (
            "os.symlink(granted + '/new', 'link') or open(place + '/link', 'w')",
            "PermissionError [Errno 13] write refused: policy 'custom' does not grant it; [filesystem] write would allow"
            " it: 'TMP/granted/new'",
            "landlock write TMP/granted/new",
        ),
        (
            "os.chmod(granted, 0)",
            "PermissionError [Errno 13] chmod refused: policy 'custom' does not grant it; nothing in a policy allows"
            " it: 'TMP/granted'",
            "seccomp chmod TMP/granted",
        ),
        (
            "os.rename(place + '/a', '/tmp/a')",
            "PermissionError [Errno 13] rename refused: policy 'custom' does not grant it; [filesystem] write would"
            " allow it: '/tmp/a'",
            "landlock rename /tmp/a",
        ),
        (
            "socket.create_connection(('api.example.com', 443))",
            "PermissionError [Errno 1] resolve refused: policy 'custom' does not grant it; [network] allow would:"
            " 'api.example.com:443'",
            "seccomp resolve api.example.com:443",
        ),
        (
            "socket.socket(socket.AF_INET6)",
            "PermissionError [Errno 1] socket refused: policy 'custom' does not grant it; [network] allow would",
            "seccomp socket ",
        ),
        (
            "socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)",
            "PermissionError [Errno 1] datagram-socket refused: sockets of this kind are not made in a worker",
            "seccomp datagram-socket ",
        ),
        (
            "subprocess.run(['ls', '-l'])",
            "PermissionError [Errno 1] exec refused: programs are not run in a worker; let a function of the host run"
            " it: 'ls'",
            "seccomp exec ls",
        ),
        (
            "os.system('id')",
            "PermissionError [Errno 1] exec refused: programs are not run in a worker; let a function of the host run"
            " it: 'id'",
            "seccomp exec id",
        ),
        (
            "os.fork()",
            "PermissionError [Errno 1] fork refused: a worker is one process and starts no other; use threads",
            "seccomp fork ",
        ),
        (
            "os.kill(1, 0)",
            "PermissionError [Errno 1] kill refused: a worker signals nobody but itself: '1'",
            "seccomp kill 1",
        ),
    ],
    ids=lambda value: value if value.endswith(")") else "-",
)
def test_a_refusal_names_the_policy_and_the_key_and_is_noted(code: str, told: str, noted: str, hooked: Hooked) -> None:
    assert hooked(f"tried(lambda: {code})") == [told, noted]


@pytest.mark.parametrize(
    "code",
    [
        "open(granted + '/file')",
        "open('new', 'w')",
        "open(place + '/new', 'w')",
        "open(place + '/../place/new', 'w')",
        "open('/dev/null', 'w')",
        "os.symlink(granted + '/file', 'link') or open('link')",
        "os.symlink('new', 'link') or open('link', 'w')",
        "os.listdir(place)",
        "sqlite3.connect(':memory:')",
        "socket.socketpair()",
        "os.kill(os.getpid(), 0)",
        "__import__('zoneinfo')",
        "socket.getaddrinfo(None, 80)",
    ],
)
def test_what_is_granted_is_left_to_the_kernel(code: str, hooked: Hooked) -> None:
    assert hooked(f"tried(lambda: {code})") == ["done"]


def test_a_path_that_a_descriptor_is_the_root_of_is_left_to_the_kernel(hooked: Hooked) -> None:
    code = """
    above = os.open(granted, os.O_RDONLY)
    tried(lambda: os.open("file", os.O_RDONLY, dir_fd=above))
    """
    assert hooked(code) == ["done"]


def test_a_search_for_modules_is_answered_as_ever_and_not_noted(hooked: Hooked) -> None:
    code = """
    sys.path.insert(0, "/etc")
    sys.path_importer_cache.clear()
    tried(lambda: __import__("there_is_no_such_module"))
    """
    assert hooked(code) == ["ModuleNotFoundError No module named 'there_is_no_such_module'"]


def test_without_a_layer_the_hook_refuses_nothing_in_its_name(hooked: Hooked) -> None:
    files = "tried(lambda: open('/etc/passwd').close())"
    process = "tried(lambda: subprocess.run(['true'], check=True))"
    assert hooked(files, landlock=False) == ["done"]
    assert hooked(process, seccomp=False, landlock=False) == ["done"]


def test_an_action_that_ends_for_want_of_memory_says_so() -> None:
    ended = execute(
        "raise MemoryError",
        SandboxPlan(mode="full"),
        {},
        {},
        task=False,
        filename="<test>",
        files=None,
        accept=lambda value: value,
    )
    assert (ended.kind, ended.limit) == ("raised", "memory")
