"""What a worker in namespaces of its own finds there, as root and as anybody; and a machine that does not allow them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agex_protocol import messages as m
from agex_protocol.plan import LockdownPlan, SandboxPlan
from agex_supervisor.errors import WorkerFailed
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.verify import user_of

Hire = Callable[..., Any]


def test_the_view_holds_what_is_granted_and_no_name_beside_it(hire: Hire, plan: LockdownPlan) -> None:
    worker = hire(replace(plan, landlock_abi=0, explain=False))
    top = set(worker.value("' '.join(__import__('os').listdir('/'))").split())
    granted = {path.split("/")[1] for path in (*plan.read, *plan.write)} | {"lib", "lib64", "sandbox"}
    assert top <= granted | {Path(sys.prefix).parts[1], Path(sys.base_prefix).parts[1]}
    # An interpreter below a private home has the directories on the way to it in the view, and nothing else of them.
    way = {str(parent) for prefix in (sys.prefix, sys.base_prefix) for parent in Path(prefix).parents}
    for path in {"/etc/passwd", "/proc/self", "/root", "/home", str(Path(__file__))} - way:
        assert worker.value(f"__import__('os').path.lexists({path!r})") is False, path


def test_it_is_the_first_of_its_processes_and_has_a_host_name_of_its_own(hire: Hire) -> None:
    found = hire().value("import os\nf'{os.getpid()} {os.getppid()} {os.uname().nodename}'")
    assert found == "1 0 sandbox"


def test_nothing_in_the_view_can_be_changed_but_its_own_files(hire: Hire, plan: LockdownPlan) -> None:
    """Without Landlock, so that the view alone refuses."""
    code = """
    import errno, os, sysconfig
    found = []
    for path in ('/x', '/sandbox', '/usr/lib/x', os.path.join(sysconfig.get_path('stdlib'), 'x')):
        try:
            os.mkdir(path)
            found.append('made')
        except OSError as error:
            found.append(errno.errorcode[error.errno])
    ' '.join(found)
    """
    worker = hire(replace(plan, landlock_abi=0, explain=False))
    assert worker.value(textwrap.dedent(code)) == "EROFS EEXIST EROFS EROFS"


def test_bytes_and_files_of_a_workspace_end_where_the_policy_says(hire: Hire, limited: Callable[..., Any]) -> None:
    worker = hire(limited(workspace_size_bytes=4 << 20, workspace_files=50))
    code = """
    import errno
    written = 0
    try:
        with open('large', 'wb', buffering=0) as file:
            while True:
                written += file.write(bytes(1 << 16))
    except OSError as error:
        reason = error.errno
    written if reason == errno.ENOSPC else -1
    """
    written = worker.value(textwrap.dedent(code))
    assert 3 << 20 < written <= 4 << 20
    assert worker.value("import os\nos.unlink('large')") is None
    code = """
    import errno
    reason = count = 0
    try:
        for count in range(1000):
            open(f'f{count}', 'x').close()
    except OSError as error:
        reason = error.errno
    count if reason == errno.ENOSPC else -1
    """
    count = worker.value(textwrap.dedent(code))
    assert 45 <= count <= 50


def test_what_is_unlinked_while_it_is_open_counts_as_well(hire: Hire, limited: Callable[..., Any]) -> None:
    worker = hire(limited(workspace_size_bytes=4 << 20))
    code = """
    import os
    kept, written = [], 0
    try:
        for number in range(100):
            file = open('x', 'xb', buffering=0)
            kept.append(file)
            os.unlink('x')
            written += file.write(bytes(1 << 20))
    except OSError as error:
        pass
    written
    """
    assert worker.value(textwrap.dedent(code)) <= 4 << 20


def test_a_workspace_comes_back_whole_and_goes_in_again(pool: Pool, hire_from: Hire) -> None:
    worker = hire_from(pool)
    code = """
    import os
    os.makedirs('a/b')
    open('a/b/text.txt', 'w').write('text')
    with open('sparse', 'wb') as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b'middle')
    os.symlink('/etc/passwd', 'way')
    os.close(os.open('closed', os.O_CREAT | os.O_WRONLY, 0))
    """
    assert worker.run(textwrap.dedent(code)).death is None
    pool.checkin(worker.place)
    home = worker.place.home
    assert (home / "a" / "b" / "text.txt").read_text() == "text"
    assert (home / "sparse").stat().st_size == 64 << 20 and (home / "sparse").stat().st_blocks * 512 < 1 << 20
    assert os.readlink(home / "way") == "/etc/passwd"
    assert {path.lstat().st_uid for path in home.rglob("*")} == {os.geteuid()}
    worker.place = pool.checkout(worker.kit, home)
    begin = m.Begin(SandboxPlan(mode="full"), pickle.dumps({}), (), worker.worker.slot.workspace)
    assert worker.worker.begin(begin) == ""
    code = """
    with open('sparse', 'rb') as file:
        file.seek(32 << 20)
        middle = file.read(6).decode()
    open('a/b/text.txt', 'a').write(' and more')
    middle + open('a/b/text.txt').read()
    """
    assert worker.value(textwrap.dedent(code)) == "middletext and more"


def test_a_workspace_that_is_larger_than_the_limit_is_refused_and_stays(
    pool: Pool, limited: Callable[..., Any]
) -> None:
    home = pool.new_workspace()
    (home / "large").write_bytes(bytes(2 << 20))
    with pytest.raises(WorkerFailed, match=r"limits\.workspace_size"):
        pool.checkout(Kit(limited(workspace_size_bytes=1 << 20)), home)
    assert (home / "large").stat().st_size == 2 << 20


def test_workers_of_root_have_users_of_their_own(hire: Hire) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give users away")
    first, second = hire(), hire()
    users = {user_of(each.worker.pid) for each in (first, second)}
    assert len(users) == 2 and min(users) >= 1_879_048_192
    assert first.worker.layers["user"].startswith("enforced: user id ")


def test_a_folder_of_the_callers_is_seen_under_its_own_name_and_written_through(
    pool: Pool, hire_from: Hire, plan: LockdownPlan, tmp_path: Path
) -> None:
    worker = hire_from(pool, Kit(plan, workspace=str(tmp_path)))
    assert worker.value("open('made.txt', 'w').write('x')\n__import__('os').getcwd()") == str(tmp_path)
    assert (tmp_path / "made.txt").read_text() == "x"


REFUSING = """
import pyseccomp, errno, os, sys
program = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
program.add_rule(pyseccomp.ERRNO(errno.EPERM), "unshare")
program.load()
import agex
with agex.Sandbox(policy=agex.Policy.load("full-python").extend(sys.argv[1])) as sandbox:
    outcome = sandbox.run("open('x', 'w').write('abc')", returns=int)
    print(outcome.value, outcome.lockdown.layers["namespaces"], outcome.lockdown.promises["files.read"])
"""


def refused(changes: str) -> subprocess.CompletedProcess[str]:
    """A supervisor on a machine that lets nobody make namespaces, as many containers do."""
    return subprocess.run([sys.executable, "-c", REFUSING, changes], capture_output=True, text=True, check=False)


def test_where_no_namespaces_can_be_made_the_other_layers_hold_and_the_report_says_so() -> None:
    done = refused("")
    assert done.stdout == (
        "3 unavailable: they cannot be made here: Operation not permitted: unshare ['landlock']\n"
    ), done.stderr


def test_where_they_are_required_and_cannot_be_made_nothing_runs() -> None:
    done = refused('[isolation]\nnamespaces = "required"')
    assert done.returncode == 1 and done.stdout == ""
    assert "IsolationUnavailable" in done.stderr and "unshare" in done.stderr and "max_user_namespaces" in done.stderr


def test_an_interpreter_below_a_private_home_works_for_workers_with_other_users(tmp_path: Path) -> None:
    """The view is made with root's privileges; afterwards nobody has to pass the closed directory above."""
    if os.geteuid() != 0:
        pytest.skip("takes a folder that only root may enter")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    installed = private / "lib"
    (installed / "package").mkdir(parents=True)
    (installed / "package" / "__init__.py").write_text("VALUE = 7\n")
    code = f"""
    import sys
    sys.path.insert(0, {str(installed)!r})
    import agex
    policy = agex.Policy.load("full-python").extend({{"filesystem": {{"read": [{str(installed)!r}]}}, "widen": ["filesystem.read"]}})
    with agex.Sandbox(policy=policy) as sandbox:
        outcome = sandbox.run("import os, package\\n[package.VALUE, os.getuid() != 0]")
        print(outcome.value, outcome.error)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.stdout == "[7, True] None\n", done.stderr
