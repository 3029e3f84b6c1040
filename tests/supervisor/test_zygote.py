"""What a preloaded module can do to the process that workers come from, and what is said of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agex_protocol.errors import ProtocolError
from agex_protocol.plan import LockdownPlan
from agex_supervisor import zygote as zygote_module
from agex_supervisor.errors import PreloadFailed, WorkerFailed
from agex_supervisor.wire import wait_readable
from agex_supervisor.zygote import Zygote

Boot = Callable[..., Zygote]


@pytest.fixture
def boot(
    plan: LockdownPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_descriptors: Callable[[], set[str]]
) -> Iterator[Boot]:
    """Boot a zygote that preloads a module of this source. Afterwards no descriptor may be left."""
    before = open_descriptors()
    booted: list[Zygote] = []
    (tmp_path / "slots").mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def boot(source: str, plan: LockdownPlan = plan) -> Zygote:
        (tmp_path / "registered_module.py").write_text(source)
        zygote = Zygote(plan, ("registered_module",), tmp_path / "slots")
        booted.append(zygote)
        return zygote

    yield boot
    for zygote in booted:
        zygote.close()
    assert open_descriptors() <= before


def test_a_zygote_boots_confined_and_forks(boot: Boot, tmp_path: Path) -> None:
    zygote = boot("value = 1")
    assert dict(zygote.booted.layers).keys() == {"namespaces", "no_new_privs", "dumpable"}
    born = zygote.fork(1, tmp_path)
    for descriptor in (born.stdout, born.stderr, born.files):
        os.close(descriptor)
    born.channel.close()
    signal.pidfd_send_signal(born.pidfd, signal.SIGKILL)
    assert wait_readable(born.pidfd, time.monotonic() + 60)
    assert os.WTERMSIG(zygote.reap(1).status) == signal.SIGKILL
    os.close(born.pidfd)


def test_a_zygote_has_an_environment_of_the_plan_only(boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGEX_TEST_KEY", "sk-secret")
    zygote = boot("")
    if os.geteuid() == 0:  # it is closed to everybody else, the supervisor included
        with open(f"/proc/{zygote.pid}/environ", "rb") as environ:
            assert b"AGEX_TEST_KEY" not in environ.read()
    with open(f"/proc/{zygote.pid}/cmdline", "rb") as cmdline:
        assert b"sk-secret" not in cmdline.read()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("raise RuntimeError('not today')", "RuntimeError: not today"),
        ("import there_is_no_such_module", "ModuleNotFoundError: No module named 'there_is_no_such_module'"),
        ("open('/etc/passwd')", "FileNotFoundError: [Errno 2] No such file or directory: '/etc/passwd'"),
        ("def broken(:", "SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise ValueError('\\x1b[2J')", "ValueError: \\x1b[2J"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_module_that_cannot_be_imported_is_named_with_its_error_and_remedies(
    source: str, expected: str, boot: Boot
) -> None:
    with pytest.raises(PreloadFailed) as caught:
        boot(source)
    assert caught.value.module == "registered_module"
    assert str(caught.value).startswith("module 'registered_module' cannot be imported in a worker: ")
    assert expected in str(caught.value) and "[filesystem] read opens them" in str(caught.value)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
            "importing it left 2 threads running; a fork would lose all but one of them",
        ),
        ("import os\nkept = os.open('/dev/null', os.O_RDONLY)", "the preloaded modules left descriptors"),
        ("import mmap\nshared = mmap.mmap(-1, 4096)", "the preloaded modules share writable memory"),
    ],
    ids=["a thread", "a descriptor", "shared memory"],
)
def test_what_workers_would_share_is_refused_by_name(source: str, expected: str, boot: Boot) -> None:
    with pytest.raises(PreloadFailed) as caught:
        boot(source)
    assert str(caught.value).startswith("workers cannot be forked: ") and expected in str(caught.value)


def test_a_module_may_print_as_much_as_it_likes(boot: Boot) -> None:
    zygote = boot("print('x' * 2_000_000, flush=True)")
    assert zygote.alive
    assert zygote.noise.startswith(b"xxx") and len(zygote.noise) <= 4096


def test_a_process_that_ends_while_it_boots_is_told_with_its_last_words(boot: Boot) -> None:
    with pytest.raises(WorkerFailed) as caught:
        boot("import os, sys\nprint('last words', file=sys.stderr, flush=True)\nos._exit(9)")
    assert str(caught.value) == "the zygote ended (exit status 9). last words"
    assert caught.value.reason == "zygote"


def test_a_module_that_never_finishes_is_given_up_with_what_it_said(
    boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zygote_module, "BOOT_TIMEOUT_S", 1.0)
    with pytest.raises(WorkerFailed) as caught:
        boot("import time\nprint('waiting', flush=True)\ntime.sleep(1000)")
    assert str(caught.value) == "the zygote did not answer in time; it is ended. waiting"


@pytest.mark.parametrize(
    "flood",
    [
        "while True: channel.send(zm.FindModule('json'))",
        "while True: os.write(channel.descriptor, b'\\0' * 4)",
        "os.write(channel.descriptor, b'\\xff' * 4)\nwhile True: pass",
        "channel.send(zm.Forked(1, 1))\nwhile True: pass",
    ],
    ids=["requests", "empty frames", "4 GiB", "out of turn"],
)
def test_a_module_that_speaks_on_the_zygotes_channel_ends_the_boot(
    flood: str, boot: Boot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zygote_module, "BOOT_TIMEOUT_S", 1.0)
    monkeypatch.setattr(zygote_module, "FORK_TIMEOUT_S", 1.0)
    find = "import gc, os\nfrom agex_worker.channel import Channel\nfrom agex_protocol import zygote_messages as zm\n"
    find += "channel = next(each for each in gc.get_objects() if isinstance(each, Channel))\n"
    with pytest.raises((WorkerFailed, ProtocolError)):
        boot(find + flood)


def test_a_zygote_that_stopped_is_ended_when_it_does_not_answer(
    boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zygote = boot("")
    monkeypatch.setattr(zygote_module, "FORK_TIMEOUT_S", 0.3)
    os.kill(zygote.pid, signal.SIGSTOP)
    with pytest.raises(WorkerFailed):
        zygote.fork(1, tmp_path)
    assert not zygote.alive


def fork(zygote: Zygote) -> object:
    return zygote.fork(1, Path("/"))


def reap(zygote: Zygote) -> object:
    return zygote.reap(1)


@pytest.mark.parametrize("use", [fork, reap])
def test_a_zygote_that_is_gone_says_so(use: Callable[[Zygote], object], boot: Boot) -> None:
    zygote = boot("")
    os.kill(zygote.pid, signal.SIGKILL)
    with pytest.raises(WorkerFailed) as caught:
        use(zygote)
    assert str(caught.value) == "the zygote ended (exit status -9)."
    assert not zygote.alive
