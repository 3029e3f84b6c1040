"""What a caller is told of refusals: by a Sandbox in every isolation, by a task, and on the command line."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import agex
from agex.llm import Scripted
from agex.outcome import TaskOutcome
from agex_supervisor.events import OutputEvent

IMPORT = agex.Denial("sandbox", "import", "sys", "python.modules")
OPEN = agex.Denial("sandbox", "read", "/etc/passwd", "filesystem.read")
READ = agex.Denial("landlock", "read", "/etc/passwd", "filesystem.read")
RESOLVE = agex.Denial("seccomp", "resolve", "api.example.com:443", "network.allow")


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=4)
    yield pool
    pool.close()


@pytest.fixture
def native(pool: agex.Pool) -> Iterator[agex.Sandbox]:
    with agex.Sandbox(policy="full-python", pool=pool) as sandbox:
        yield sandbox


# --- a sandbox ---


@pytest.mark.parametrize("isolation", ["none", "process", "kernel"])
def test_every_isolation_tells_what_the_inner_sandbox_refused(isolation: str, pool: agex.Pool) -> None:
    with agex.Sandbox(isolation=isolation, modules=["json"], pool=pool) as sandbox:
        outcome = sandbox.run("import sys")
        assert (outcome.status, outcome.denials) == ("error", [IMPORT])
        assert outcome.error is not None and outcome.error.type == "ModuleNotFoundError"

        outcome = sandbox.run("open('/etc/passwd')")
        assert (outcome.status, outcome.denials) == ("error", [OPEN])
        assert outcome.error is not None and outcome.error.type == "PermissionError"


@pytest.mark.parametrize("isolation", ["none", "kernel"])
def test_what_was_refused_to_code_that_went_on_is_told_too_and_only_of_that_run(
    isolation: str, pool: agex.Pool
) -> None:
    with agex.Sandbox(isolation=isolation, pool=pool) as sandbox:
        outcome = sandbox.run("try:\n    import sys\nexcept ImportError:\n    pass\n1", returns=int)
        assert (outcome.status, outcome.value, outcome.denials) == ("ok", 1, [IMPORT])
        assert sandbox.run("2", returns=int).denials == []


def test_ordinary_python_gets_permission_errors_and_the_caller_what_would_allow_it(native: agex.Sandbox) -> None:
    code = """
import os, socket, subprocess
def told(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
[
    told(lambda: open("/etc/passwd")),
    told(lambda: os.listdir("/etc")),
    told(lambda: open("/there/is/no/such/file")),
    told(lambda: socket.create_connection(("api.example.com", 443))),
    told(lambda: subprocess.run(["ls"])),
    told(lambda: os.system("id")),
]
"""
    outcome = native.run(code)

    assert outcome.value == ["PermissionError"] * 6
    assert outcome.denials == [
        READ,
        agex.Denial("landlock", "list", "/etc", "filesystem.read"),
        agex.Denial("landlock", "read", "/there/is/no/such/file", "filesystem.read"),
        RESOLVE,
        agex.Denial("seccomp", "exec", "ls", ""),
        agex.Denial("seccomp", "exec", "id", ""),
    ]


def test_an_error_names_the_policy_and_the_key(native: agex.Sandbox) -> None:
    error = native.run("open('/etc/passwd')").error

    assert error is not None
    assert (error.type, error.message) == (
        "PermissionError",
        "[Errno 13] read refused: policy 'full-python' does not grant it; [filesystem] read would allow it:"
        " '/etc/passwd'",
    )


def test_a_path_that_a_policy_grants_is_no_denial(pool: agex.Pool, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "file").write_text("granted")
    for each in (data, *list(data.parents)[:3]):
        each.chmod(0o755)
    policy = agex.Policy.load("full-python").extend({"widen": ["filesystem.read"], "filesystem": {"read": [str(data)]}})
    with agex.Sandbox(policy=policy, pool=pool) as sandbox:
        outcome = sandbox.run(f"open({str(data / 'file')!r}).read()", returns=str)

    assert (outcome.status, outcome.value, outcome.denials) == ("ok", "granted", [])


def test_a_change_of_modes_that_had_no_effect_is_told(native: agex.Sandbox) -> None:
    outcome = native.run("import os\nopen('file', 'w').close()\nos.chmod('file', 0o600)")

    assert (outcome.status, outcome.denials) == ("ok", [agex.Denial("seccomp", "chmod", "file", "")])


def test_a_lack_of_memory_names_the_limit(native: agex.Sandbox) -> None:
    outcome = native.run("bytearray(1 << 44)")

    assert outcome.error is not None and outcome.error.type == "MemoryError"
    assert outcome.denials == [agex.Denial("rlimits", "memory", "", "limits.memory")]


@pytest.mark.parametrize(
    ("limits", "code", "denial"),
    [
        (
            {"open_files": 40},
            "files = [open('file', 'w') for _ in range(50)]",
            agex.Denial("rlimits", "open_files", "", "limits.open_files"),
        ),
        (
            {"file_size": "1MiB"},
            "open('file', 'wb').write(bytes(2 << 20))",
            agex.Denial("rlimits", "file_size", "", "limits.file_size"),
        ),
    ],
    ids=["open_files", "file_size"],
)
def test_an_error_for_want_of_something_limited_names_the_limit(
    limits: dict[str, Any], code: str, denial: agex.Denial, pool: agex.Pool
) -> None:
    policy = agex.Policy.load("full-python").extend({"limits": limits})
    with agex.Sandbox(policy=policy, pool=pool) as sandbox:
        outcome = sandbox.run(code)

    assert (outcome.status, outcome.denials) == ("error", [denial])


@pytest.mark.parametrize("isolation", ["none", "kernel"])
def test_the_policys_deadline_is_a_denial_and_the_callers_is_not(isolation: str, pool: agex.Pool) -> None:
    policy = agex.Policy.load("default").extend({"limits": {"wall_time": "300ms"}})
    with agex.Sandbox(isolation=isolation, policy=policy, pool=pool) as sandbox:
        ended = sandbox.run("while True: pass")
        assert (ended.status, ended.denials) == (
            "timeout",
            [agex.Denial("limits", "wall_time", "", "limits.wall_time")],
        )
        ended = sandbox.run("while True: pass", timeout_s=0.2)
        assert (ended.status, ended.denials) == ("timeout", [])


def test_a_flood_of_refusals_is_bounded(native: agex.Sandbox) -> None:
    code = """
for number in range(5000):
    try:
        open(f"/etc/{number}")
    except PermissionError:
        pass
"""
    outcome = native.run(code)

    assert outcome.status == "ok"
    assert [denial.target for denial in outcome.denials] == [f"/etc/{number}" for number in range(100)]


def test_controls_in_a_target_are_written_out(native: agex.Sandbox) -> None:
    outcome = native.run("open('/etc/\\x1b[2J\\u202e\\n\\udcff')")

    assert [denial.target for denial in outcome.denials] == ["/etc/\\x1b[2J\\u202e\\n\\udcff"]


@pytest.mark.parametrize(
    "code",
    [
        "import numpy as np\nnp.save('a.npy', np.eye(3))\nnp.linalg.svd(np.load('a.npy'))",
        "import pyarrow.parquet as pq, pyarrow as pa\npq.write_table(pa.table({'a': [1]}), 'a')\npq.read_table('a')",
        "import sqlite3\nsqlite3.connect('a.db').execute('create table t (a)')",
        "import tempfile\nwith tempfile.NamedTemporaryFile() as file: file.write(b'x')\ntempfile.mkdtemp()",
        "import zoneinfo, mimetypes, ssl\nzoneinfo.ZoneInfo('Europe/Berlin')\nmimetypes.guess_type('a.txt')",
        "import asyncio\nasyncio.run(asyncio.sleep(0))",
        "import importlib.metadata as metadata\nlist(metadata.distributions())",
        "import inspect, json\ninspect.getsource(json.loads)",
    ],
    ids=["numpy", "pyarrow", "sqlite3", "tempfile", "zoneinfo", "asyncio", "metadata", "inspect"],
)
def test_libraries_are_not_disturbed_and_are_refused_nothing_by_name(code: str, native: agex.Sandbox) -> None:
    outcome = native.run(code + "\nNone")

    # Some ask the kernel for what they can do without; that is told as a bare system call.
    assert (outcome.error, [denial for denial in outcome.denials if denial.target]) == (None, [])


def test_calls_behind_the_back_of_python_are_told_by_the_listener(native: agex.Sandbox) -> None:
    code = """
import ctypes
libc = ctypes.CDLL(None)
[libc.socket(2, 1, 0), libc.socket(1, 1, 0), libc.link(b"a", b"b")]
"""
    outcome = native.run(code)

    assert outcome.value == [-1, -1, -1]
    assert outcome.denials == [
        agex.Denial("seccomp", "socket", "", "network.allow"),
        agex.Denial("seccomp", "socket", "", ""),
        agex.Denial("seccomp", "link", "", ""),
    ]


def test_a_deadly_call_is_told_with_the_death(native: agex.Sandbox) -> None:
    outcome = native.run("import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)")

    assert (outcome.status, outcome.denials) == ("killed", [agex.Denial("seccomp", "ptrace", "", "")])


# --- a task ---


def test_a_task_tells_the_denials_of_all_its_actions_and_each_output_its_own(pool: agex.Pool) -> None:
    model = Scripted(["import sys", "try:\n    open('/etc/passwd')\nexcept OSError:\n    task_success(7)"])
    agent = agex.Agent(isolation="kernel", llm=model, pool=pool)

    @agent.task
    def number() -> int:
        """Some number."""
        raise NotImplementedError

    outcome = number.run()

    assert (outcome.value, outcome.denials) == (7, [IMPORT, OPEN])
    outputs = [event for event in outcome.events if isinstance(event, OutputEvent)]
    assert [event.denials for event in outputs] == [(IMPORT,)]
    assert json.loads(outputs[0].to_json())["denials"] == [dataclasses.asdict(IMPORT)]


def test_the_error_of_a_task_carries_its_denials(pool: agex.Pool) -> None:
    agent = agex.Agent(isolation="none", llm=Scripted(["import sys"] * 2), pool=pool, max_actions=2)

    @agent.task
    def number() -> int:
        """Some number."""
        raise NotImplementedError

    with pytest.raises(agex.BudgetExceeded) as raised:
        number()
    outcome: TaskOutcome = raised.value.outcome
    assert outcome.denials == [IMPORT]


# --- the command line ---


def run(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agex", "run", "-", *options],
        input=code,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_run_tells_denials_of_code_that_failed_one_a_line() -> None:
    done = run("import sys")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "denied: sandbox refused import 'sys' (python.modules would allow it)"


def test_run_tells_denials_of_code_that_ended_well_only_when_asked() -> None:
    code = "try:\n    import sys\nexcept ImportError:\n    print('went on')"

    assert (quiet := run(code)).stderr == "" and quiet.stdout == "went on\n"
    assert run(code, "--verbose").stderr == "denied: sandbox refused import 'sys' (python.modules would allow it)\n"


def test_json_has_the_denials_and_nothing_that_a_terminal_would_obey() -> None:
    done = run("print('\\x1b[2J\\x9b2J\\u202e')\nopen('/etc/passwd')", "--json")

    assert done.stdout.isascii() and done.stdout.rstrip("\n").isprintable()
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["denials"] == [dataclasses.asdict(OPEN)]
    assert told["stdout"] == "\x1b[2J\x9b2J\u202e\n"


def test_errors_of_the_inner_sandbox_in_this_process_are_written_out_too() -> None:
    with agex.Sandbox(isolation="none") as sandbox:
        outcome = sandbox.run("raise ValueError('\\x1b[2J')")

    assert outcome.error is not None
    assert outcome.error.message == "\\x1b[2J" and "\x1b" not in outcome.error.traceback
