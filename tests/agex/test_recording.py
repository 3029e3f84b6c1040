"""`agex policy record`: scripts run in locked workers until a policy lets them pass, and the policy that is written then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agex.errors import ConfigurationError, PolicyError
from agex.lessons import Grant, Most, Obstacle, Teacher, measured
from agex.recording import Recording, record
from agex.rehearsal import Script
from agex_policies.schema import Policy, values
from agex_supervisor.denials import Denial
from agex_supervisor.execution import RunUsage
from tests.hosts import echo

MIB = 1 << 20


def recorded(code: str, out: Path, base: str | Path = "full-python", **options: object) -> Recording:
    return record(Script("job.py", code), base, out, **options)  # type: ignore[arg-type]


def given(recording: Recording) -> list[tuple[str, str | int]]:
    return [(grant.key, grant.value) for grant in recording.grants]


def wider(out: Path, base: str | Path = "full-python") -> dict[str, object]:
    """The keys in which the policy that was written is not its base, with their values."""
    before = values(Policy.load(base))
    return {key: value for key, value in values(Policy.load(out)).items() if value != before[key]}


def passes(code: str, policy: Path) -> bool:
    return Script("job.py", code).replay(Policy.load(policy)).passed


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder outside of every workspace, with two files; workers of root that have a user of their own can read them."""
    for folder in (*reversed(tmp_path.parents), tmp_path):
        if folder.stat().st_uid == os.geteuid() and "pytest-of" in str(folder):
            folder.chmod(folder.stat().st_mode | 0o055)
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    return tmp_path / "policies" / "job.toml"


def test_a_script_that_passes_already_is_granted_nothing(out: Path) -> None:
    recording = recorded("open('note.txt', 'w').write('x')", out)
    assert recording == Recording(passed=True, rounds=1)
    assert wider(out) == {}


def test_two_outside_files_are_granted_by_name_and_nothing_beside_them(data: Path, out: Path) -> None:
    (data / "c.csv").write_text("c")
    code = f"open('{data}/a.csv').read() + open('{data}/b.csv').read()"
    recording = recorded(code, out)
    assert given(recording) == [("filesystem.read", f"{data}/a.csv"), ("filesystem.read", f"{data}/b.csv")]
    assert wider(out) == {"filesystem.read": (f"{data}/a.csv", f"{data}/b.csv")}
    assert passes(code, out)
    assert not passes(f"open('{data}/c.csv')", out)


def test_a_refusal_that_the_script_puts_up_with_is_not_granted(data: Path, out: Path) -> None:
    code = f"try:\n    open('{data}/b.csv')\nexcept OSError:\n    pass\nopen('{data}/a.csv')"
    recording = recorded(code, out)
    assert given(recording) == [("filesystem.read", f"{data}/a.csv")]
    assert [(grant.key, grant.value) for grant in recording.needless] == [("filesystem.read", f"{data}/b.csv")]
    assert not passes(f"open('{data}/b.csv')", out)


def test_a_script_that_only_probes_is_granted_nothing(data: Path, out: Path) -> None:
    recording = recorded(f"try:\n    open('{data}/a.csv')\nexcept OSError:\n    pass", out)
    assert (recording.passed, given(recording), wider(out)) == (True, [], {})


def test_a_new_file_takes_the_folder_and_one_that_is_there_only_itself(data: Path, out: Path) -> None:
    for name in ("new.txt", "a.csv"):
        data.chmod(0o777)
        (data / "a.csv").chmod(0o666)
        recorded(f"open('{data}/{name}', 'w').write('written')", out, force=True)
        assert wider(out) == {"filesystem.write": (str(data if name == "new.txt" else data / name),)}
        assert (data / name).read_text() == "written"


def test_many_files_of_one_folder_take_the_folder(data: Path, out: Path) -> None:
    for number in range(12):
        (data / f"{number}.txt").write_text("x")
    recorded(f"for number in range(12):\n    open(f'{data}/{{number}}.txt').read()", out)
    assert wider(out) == {"filesystem.read": (str(data),)}


def test_the_smallest_group_of_system_calls_is_granted(out: Path) -> None:
    code = "import os\nos.sched_setaffinity(0, os.sched_getaffinity(0))"
    assert given(recorded(code, out)) == [("syscalls.allow", "priorities")]
    assert wider(out) == {"syscalls.allow": ("priorities",)}
    assert passes(code, out)


def test_memory_is_raised_up_to_what_was_allowed_and_not_without_being_asked(tmp_path: Path, out: Path) -> None:
    base = tmp_path / "base.toml"
    base.write_text('extends = "full-python"\n[limits]\nmemory = "128MiB"\n')
    code = "len(bytearray(300 << 20))"
    recording = recorded(code, out, base)
    assert recording.obstacles == (
        Obstacle(
            "rlimits refused memory (limits.memory would allow it)",
            "128MiB was not enough; say with --max-memory up to where it may be raised",
        ),
    )
    assert (recording.passed, out.exists()) == (False, False)
    recording = recorded(code, out, base, most=Most(memory_bytes=256 * MIB))
    assert recording.obstacles[0].reason == "256MiB was not enough, and --max-memory allows no more"
    assert not out.exists()
    assert given(recorded(code, out, base, most=Most(memory_bytes=4096 * MIB))) == [("limits.memory", "512MiB")]
    assert wider(out, base) == {"limits.memory": "512MiB"}
    assert 'extends = "../base.toml"' in out.read_text()


def test_a_counted_limit_is_raised_without_being_asked(tmp_path: Path, out: Path) -> None:
    base = tmp_path / "base.toml"
    base.write_text('extends = "full-python"\n[limits]\nopen_files = 32\n')
    recorded("files = [open(f'{number}', 'w') for number in range(50)]", out, base)
    assert wider(out, base) == {"limits.open_files": 64}


def test_an_address_is_granted_with_its_port_and_hears_nothing_before_that(out: Path) -> None:
    with echo() as host:
        code = f"import socket\nwith socket.create_connection(('127.0.0.1', {host.port})) as one:\n    one.sendall(b'hello')"
        recording = recorded(code, out, rounds=1)
        assert (recording.passed, given(recording)) == (False, [("network.allow", f"127.0.0.1:{host.port}")])
        assert recording.obstacles == (Obstacle("it did not pass in 1 of --rounds", "allow more"),)
        assert (host.heard, out.exists()) == ([], False)
        assert recorded(code, out).passed
    assert set(host.heard) == {b"hello"}
    assert wider(out) == {"network.allow": ({"to": f"127.0.0.1:{host.port}", "tls": "any"},)}


@pytest.mark.parametrize("name", ["NOWHERE", "nowhere"])
def test_what_stands_for_a_network_while_learning_is_no_host(name: str, out: Path) -> None:
    recording = recorded(f"import socket\nsocket.create_connection(('{name}', 9))", out, rounds=1)
    assert "the policy does not grant it" in recording.ended
    assert given(recording) == [("network.allow", "nowhere:9")]


def test_a_program_is_no_matter_of_a_policy(out: Path) -> None:
    recording = recorded("import subprocess\nsubprocess.run(['id'])", out)
    reason = "no policy lets a worker run programs; let a function of the host run it"
    assert [each.reason for each in recording.obstacles] == [reason]
    assert (recording.passed, recording.ended.startswith("PermissionError: "), out.exists()) == (False, True, False)


def test_a_call_that_ends_the_worker_is_told_by_its_name(out: Path) -> None:
    recording = recorded("import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)", out)
    assert [each.what for each in recording.obstacles] == [
        "seccomp refused ptrace (no policy key is known to allow it)"
    ]
    assert (
        recording.ended == "signal: seccomp: it called ptrace, which no policy allows and no library calls by accident"
    )


def test_restricted_code_is_told_which_module_to_register(out: Path) -> None:
    recording = recorded("import sqlite3", out, "default")
    reason = "modules are registered by a program, not granted by a policy: give --module sqlite3"
    assert [each.reason for each in recording.obstacles] == [reason]
    assert record(Script("job.py", "import json", modules=("json",)), "default", out).passed


def test_a_script_that_fails_by_itself_gets_no_policy(out: Path) -> None:
    recording = recorded("raise KeyError('\\x1b[31mred')", out)
    assert recording.ended == "KeyError: '\\x1b[31mred'"
    assert [each.what for each in recording.obstacles] == ["nothing that was refused is known"]
    assert not out.exists()


def test_a_recording_on_its_own_result_and_one_made_again_add_nothing(data: Path, out: Path) -> None:
    code = f"open('{data}/a.csv')"
    recorded(code, out)
    text = out.read_text()
    recorded(code, out, force=True)
    assert out.read_text() == text
    on_top = out.with_name("on-top.toml")
    assert recorded(code, on_top, out) == Recording(passed=True, rounds=1)
    assert wider(on_top, out) == {}


def test_the_ceiling_is_not_passed(data: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGEX_POLICY_CEILING", "full-python")
    with pytest.raises(PolicyError) as refused:
        recorded(f"open('{data}/a.csv')", out)
    assert refused.value.key == "filesystem.read"
    assert "is beyond the ceiling 'full-python'" in refused.value.message
    assert list(out.parent.iterdir()) == []


def test_where_a_policy_must_not_be_written_nothing_runs(tmp_path: Path, out: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    script = Script("job.py", "open('ran', 'w')", workspace=work)
    out.write_text("mine")
    for place in (work / "job.toml", out, out.with_suffix(".txt"), tmp_path / "nowhere" / "job.toml"):
        with pytest.raises(ConfigurationError):
            record(script, "full-python", place)
    assert (out.read_text(), list(work.iterdir())) == ("mine", [])


@pytest.mark.parametrize("hidden", ["folder of the policy", "hidden file", "home"])
def test_what_holds_more_than_the_script_needs_is_not_granted(
    hidden: str, tmp_path: Path, data: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data / ".env").write_text("KEY=1")
    monkeypatch.setenv("HOME", str(data))
    code, why = {
        "folder of the policy": (
            f"open('{out.parent}/x', 'w')",
            "holds a policy that this one stands on, or the new one",
        ),
        "hidden file": (f"open('{data}/.env')", "is hidden, as keys and settings are"),
        "home": (f"import os\nos.listdir('{data}')", "holds far more than this script needs"),
    }[hidden]
    recording = recorded(code, out)
    assert [why in each.reason for each in recording.obstacles] == [True]
    assert not out.exists()


def test_a_link_is_granted_as_what_it_leads_to(data: Path, out: Path) -> None:
    (data / "link.csv").symlink_to("a.csv")
    base = Policy.load("full-python")
    told = Denial("landlock", "read", f"{data}/link.csv", "filesystem.read")
    lesson = Teacher(base, out, Most()).lesson(told, base)
    assert lesson == Grant("filesystem.read", f"{data}/a.csv", "read was refused by landlock")


def test_a_file_that_c_code_did_not_find_in_its_view_is_granted(data: Path, out: Path) -> None:
    pytest.importorskip("pyarrow")
    code = f"import pyarrow\npyarrow.OSFile('{data}/a.csv').read()"
    recording = recorded(code, out)
    assert ("filesystem.read", f"{data}/a.csv") in given(recording)
    assert passes(code, out)


def test_what_is_not_known_of_a_refusal_is_not_guessed(data: Path, out: Path) -> None:
    base = Policy.load("full-python")
    told = Denial("landlock", "", f"{data}/a.csv", "")
    assert Teacher(base, out, Most()).lesson(told, base) == Obstacle(
        f"landlock refused something unknown '{data}/a.csv' (no policy key is known to allow it)",
        "C code was refused it, and whether to read or to write is not known: grant it by hand",
    )


@pytest.mark.parametrize(
    "target", ["/proc/self/environ", "/proc", "/", "/dev/mem", "not/from/the/root", "/no\\x00where"]
)
def test_no_told_path_opens_more_than_a_file(target: str, out: Path) -> None:
    base = Policy.load("full-python")
    for operation in ("read", "write", "remove"):
        told = Denial("landlock", operation, target, f"filesystem.{'read' if operation == 'read' else 'write'}")
        assert isinstance(Teacher(base, out, Most()).lesson(told, base), Obstacle)


def test_limits_are_doubled_within_bounds_and_then_cut_to_what_a_run_took(out: Path) -> None:
    base = Policy.load("full-python")
    told = Denial("limits", "wall_time", "", "limits.wall_time")
    teacher = Teacher(base, out, Most(time_s=45, disk_bytes=300 * MIB))
    longer = teacher.lesson(told, base)
    assert longer == Grant("limits.wall_time", "45s", "30s was not enough")
    assert measured(longer, RunUsage(wall_s=26.0), base) == Grant(
        "limits.wall_time", "40s", "30s was not enough; a run took 26.0s"
    )
    assert measured(longer, RunUsage(wall_s=31.0), base) is None
    larger = teacher.lesson(Denial("rlimits", "file_size", "", "limits.file_size"), base)
    assert larger == Grant("limits.file_size", "300MiB", "256MiB was not enough")
    assert measured(larger, RunUsage(wall_s=26.0), base) is None
    assert isinstance(Teacher(base, out, Most()).lesson(told, base), Obstacle)


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AGEX_POLICY_")}
    return subprocess.run(
        [sys.executable, "-m", "agex", "policy", "record", *arguments],
        stdin=subprocess.DEVNULL,
        env={**clean, "COLUMNS": "300", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_the_command_tells_each_round_and_says_what_it_granted(data: Path, out: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text("print('\\x1b[2J')\nopen(argv[1])")
    done = command(str(job), "-o", str(out), "--policy", "full-python", "--json", "--", f"{data}/a.csv")
    assert (done.returncode, "\x1b" in done.stdout + done.stderr) == (0, False)
    told = json.loads(done.stdout)
    assert (told["file"], told["passed"], told["rounds"], told["obstacles"]) == (str(out), True, 2, [])
    assert [(each["key"], each["value"]) for each in told["grants"]] == [("filesystem.read", f"{data}/a.csv")]
    assert "round 2: passed\n" in done.stderr
    first, _ = out.read_text().split("\n", 1)
    assert first.startswith(f"# For {job}, recorded on 20")
    assert f'    "{data}/a.csv",  # round 1: read was refused by ' in out.read_text()
    again = command(str(job), "-o", str(out), "--policy", "full-python")
    assert (again.returncode, "exists already" in again.stderr) == (2, True)


def test_the_command_fails_with_what_could_not_be_granted(out: Path, tmp_path: Path) -> None:
    job = tmp_path / "job.py"
    job.write_text("import os\nos.fork()")
    done = command(str(job), "-o", str(out), "--policy", "full-python")
    assert (done.returncode, out.exists()) == (1, False)
    assert "no policy was written: PermissionError: " in done.stdout
    assert "a worker is one process and starts no other; use threads" in done.stdout
    beyond = command(str(job), "-o", str(out), "--policy", "full-python", AGEX_POLICY_CEILING="strict")
    assert (beyond.returncode, beyond.stderr.startswith("agex: policy error: ")) == (4, True)
