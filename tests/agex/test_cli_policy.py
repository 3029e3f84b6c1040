"""`agex policy` as a program, and what a bad policy does to `agex run`: exit code 4, a reason, and nothing that ran."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import agex as library
from agex.cli import main
from agex_supervisor.scratch import Scratch
from tests.nobody import need_nobody


def agex(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("AGEX_POLICY_")}
    return subprocess.run(
        [sys.executable, "-m", "agex", *arguments],
        stdin=subprocess.DEVNULL,
        env={**clean, "COLUMNS": "300", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_list_names_every_policy_that_a_name_can_mean(tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text('description = "For our reports."\n')
    (tmp_path / "broken.toml").write_text("memory = 1\n")
    listed = json.loads(agex("policy", "list", "--json", AGEX_POLICY_PATH=str(tmp_path)).stdout)
    assert {"default", "strict", "dataframes", "full-python", "egress-example", "ours", "broken"} == set(listed)
    assert listed["ours"] == "For our reports."
    assert listed["broken"].startswith(f"cannot be used: {tmp_path / 'broken.toml'}:1: memory: there is no such key; ")

    capped = json.loads(agex("policy", "list", "--json", AGEX_POLICY_CEILING="strict").stdout)
    assert "is beyond the ceiling 'strict'" in capped["default"]
    assert not capped["strict"].startswith("cannot be used")


def test_a_policy_that_is_shown_loads_as_the_same_policy(tmp_path: Path) -> None:
    copy = tmp_path / "copy.toml"
    for name in ("strict", "egress-example"):
        copy.write_text(agex("policy", "show", name).stdout)
        compared = json.loads(agex("policy", "diff", name, str(copy), "--json").stdout)
        assert compared == {"first": name, "second": "copy", "differences": []}
    shown = json.loads(agex("policy", "show", "strict", "--json").stdout)
    assert (shown["limits"]["memory"], shown["env"]) == ("512MiB", {"pass": []})


def test_check_says_ok_or_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[limits]\nmemory = "1MiB"\n')
    assert (agex("policy", "check", str(path)).stdout, agex("policy", "check", str(path)).returncode) == (
        "mine: ok\n",
        0,
    )
    path.write_text("[limits]\nmemory = 5\n")
    wrong = agex("policy", "check", str(path))
    assert (wrong.returncode, wrong.stdout) == (4, "")
    assert wrong.stderr.startswith(f"agex: policy error: {path}:2: limits.memory: 5 is not a number with a unit")


def test_explain_tells_every_key_with_the_file_that_set_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[limits]\nthreads = 3\n")
    plain = json.loads(agex("policy", "explain", str(path), "--json").stdout)
    settings = {each["key"]: each for each in plain["settings"]}
    assert settings["limits.threads"] == {"key": "limits.threads", "value": 3, "set_by": [f"{path}:2"]}
    assert (
        f"limits.threads           3                        {path}:2\n" in agex("policy", "explain", str(path)).stdout
    )


def test_explain_tells_what_decides_about_a_path_a_host_and_a_call(tmp_path: Path) -> None:
    asked = ("--on", f"path:{tmp_path}", "--on", "host:api.example.com:443", "--on", "syscall:ptrace")
    done = agex("policy", "explain", "egress-example", *asked)
    assert done.returncode == 0
    for line in (
        f"read of {tmp_path}: denied",
        f"write to {tmp_path}: denied",
        "connection to api.example.com:443: allowed",
        "system call ptrace: denied",
        "  decided by: no key of a policy",
        f'  to allow it: put `read = ["{tmp_path}"]` under [filesystem], and "filesystem.read" into `widen`',
    ):
        assert line in done.stdout.splitlines()
    answers = json.loads(agex("policy", "explain", "egress-example", *asked, "--json").stdout)["answers"]
    assert [answer["allowed"] for answer in answers] == [False, False, True, False]
    assert answers[2]["key"] == "network.allow" and "egress-example.toml:" in answers[2]["set_by"]
    assert agex("policy", "explain", "default", "--on", "nonsense").returncode == 2


def test_diff_says_which_policy_allows_more() -> None:
    done = agex("policy", "diff", "default", "strict")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        'limits.memory            "1GiB"                   "512MiB"                 default allows more' in done.stdout
    )
    assert agex("policy", "diff", "strict", "strict").stdout == "strict and strict say the same\n"


def test_the_schema_is_json() -> None:
    schema = json.loads(agex("policy", "schema").stdout)
    assert schema["title"] == "agex policy"
    assert json.loads(agex("policy", "schema", "--json").stdout) == schema


def test_controls_in_a_policy_do_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('description = "\\u001b[2J\\u202e"\nwiden = ["env.pass"]\n[env]\npass = ["\\u001b]0;x\\u0007"]\n')
    done = agex("policy", "check", str(path))
    assert done.returncode == 4
    assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout + done.stderr)
    path.write_text('description = "\\u001b[2J\\u202e"\n')
    shown = agex("policy", "show", str(path)).stdout
    assert not {"\x1b", "\u202e"} & set(shown)
    path.write_text(shown)
    assert json.loads(agex("policy", "show", str(path), "--json").stdout)["description"] == "\x1b[2J\u202e"


# --- bad policies: nothing runs ---

BAD = {
    "unknown key": ("[limits]\nmemroy = '1GiB'\n", "2: limits.memroy: there is no such key; did you mean"),
    "wrong unit": ("[limits]\nwall_time = '3m'\n", "2: limits.wall_time: '3m' has the wrong unit 'm': use one of"),
    "bare number": ("[limits]\nmemory = 512\n", "2: limits.memory: 512 is not a number with a unit"),
    "missing parent": ("\nextends = 'nope'\n", "2: extends: there is no policy named 'nope'"),
    "cycle": ("extends = 'bad.toml'\n", "1: extends: policies extend each other in a circle: bad -> bad; let one"),
    "wider": ("[limits]\nmemory = '4GiB'\n", "2: limits.memory: \"4GiB\" allows more than 'default'"),
    "a key twice": ("[limits]\nthreads = 1\nthreads = 2\n", "3: this is not TOML: "),
    "wrong type": ("[limits]\nthreads = [1]\n", "2: limits.threads: [1]: input should be a valid integer"),
    "table for a value": ("[limits.memory]\nx = 1\n", "1: limits.memory: {'x': 1} is not a number with a unit"),
    "a path that is not there": (
        "widen = ['filesystem.read']\n[filesystem]\nread = ['/no/such/place']\n",
        "3: filesystem.read: there is no /no/such/place on this machine; make it, or",
    ),
    "a grant of everything": (
        "widen = ['filesystem.read']\n[filesystem]\nread = ['/']\n",
        "3: filesystem.read: / holds far more than files, or none; name directories",
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_policy_is_refused_with_file_line_and_remedy_and_nothing_runs(
    bad: str, tmp_path: Path, refused: Refused
) -> None:
    text, reason = BAD[bad]
    path = tmp_path / "bad.toml"
    path.write_text(text)
    refused(str(path), f"agex: policy error: {path}:{reason}")


def test_a_policy_beyond_the_ceiling_is_refused_and_nothing_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[limits]\nmemory = "768MiB"\n')
    expected = f"agex: policy error: {path}:2: limits.memory: \"768MiB\" is beyond the ceiling 'strict'"
    monkeypatch.setenv("AGEX_POLICY_CEILING", "strict")
    refused(str(path), expected)


@pytest.mark.parametrize("kind", ["directory", "FIFO", "socket", "device", "link to itself", "no text", "huge"])
def test_what_is_no_policy_file_is_refused_at_once_and_nothing_runs(
    kind: str, tmp_path: Path, refused: Refused
) -> None:
    path = tmp_path / "policy.toml"
    reason = f"{path}: this is not a regular file; name a .toml file"
    match kind:
        case "directory":
            path.mkdir()
        case "FIFO":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
        case "device":
            path.symlink_to("/dev/zero")
            reason = "/dev/zero: this is not a regular file; name a .toml file"
        case "link to itself":
            path.symlink_to(path)
            reason = f"{path} cannot be reached: Too many levels of symbolic links; give another path"
        case "no text":
            path.write_bytes(b"\xff")
            reason = f"{path}:1: this is not UTF-8 text; save it as UTF-8"
        case _:
            with path.open("wb") as file:
                file.truncate(1 << 40)
            reason = f"{path}: a policy file has at most 1048576 bytes; "
    refused(str(path), f"agex: policy error: {reason}")


def test_a_policy_that_may_not_be_read_is_refused_and_nothing_runs() -> None:
    user = need_nobody() if os.geteuid() == 0 else None  # root may read everything
    with tempfile.TemporaryDirectory() as place:
        policy, script, work = (Path(place, name) for name in ("policy.toml", "script.py", "work"))
        policy.write_text("")
        script.write_text("open('ran', 'w').close()\nprint('ran')\n")
        work.mkdir()
        for path, mode in ((Path(place), 0o755), (policy, 0), (script, 0o644), (work, 0o777)):
            path.chmod(mode)
        command = ["agex", "run", str(script), "--policy", str(policy), "--workspace", str(work)]
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd="/",
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (done.returncode, done.stdout, list(work.iterdir())) == (4, "", [])
        assert done.stderr == (
            f"agex: policy error: {policy}: cannot be read: Permission denied;"
            f" let user {user or os.geteuid()} read it, or name another\n"
        )


class Refused:
    """`agex run` under a policy, in this process: a worker would be another one all the same."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        monkeypatch.delenv("AGEX_POLICY_PATH", raising=False)
        monkeypatch.delenv("AGEX_POLICY_CEILING", raising=False)

    def __call__(self, policy: str, expected: str) -> None:
        work = self._folder / "work"
        work.mkdir()
        script = self._folder / "script.py"
        script.write_text("open('ran', 'w').close()\nprint('ran')\n")
        command = ["agex", "run", str(script), "--policy", policy, "--workspace", str(work)]
        self._monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as caught:
            main()
        shown = self._capsys.readouterr()
        assert (caught.value.code, shown.out) == (4, "")
        assert shown.err.startswith(expected)
        assert list(work.iterdir()) == []


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    return Refused(tmp_path, monkeypatch, capsys)


# --- never from inside a workspace ---


@pytest.fixture
def work(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    (path / "inside.toml").write_text('extends = "strict"\n')
    (tmp_path / "linked.toml").symlink_to(path / "inside.toml")
    (tmp_path / "child.toml").write_text('extends = "work/inside.toml"\n')
    (tmp_path / "outside.toml").write_text('extends = "strict"\n')
    (path / "outward.toml").symlink_to(tmp_path / "outside.toml")
    return path


@pytest.mark.parametrize("isolation", ["none", "process", "kernel"])
@pytest.mark.parametrize("policy", ["work/inside.toml", "linked.toml", "child.toml", "work/outward.toml"])
def test_a_sandbox_refuses_a_policy_that_is_reached_through_its_workspace(
    policy: str, isolation: str, work: Path
) -> None:
    path = work.parent / policy
    if isolation != "kernel":
        for file in (work / "inside.toml", work.parent / "outside.toml"):
            file.write_text("")
    with pytest.raises(library.PolicyError) as caught:
        library.Sandbox(isolation=isolation, policy=path, workspace=work)
    assert "is reached through the workspace" in str(caught.value)


def test_a_name_of_the_deployment_that_lies_in_the_workspace_is_refused_and_nothing_runs(work: Path) -> None:
    script = work.parent / "script.py"
    script.write_text("open('ran', 'w').close()")
    done = agex("run", str(script), "--policy", "inside", "--workspace", str(work), AGEX_POLICY_PATH=str(work))
    assert (done.returncode, done.stdout, (work / "ran").exists()) == (4, "", False)
    assert done.stderr.startswith(
        f"agex: policy error: {work}/inside.toml: this policy is reached through the workspace"
    )


@pytest.fixture
def pool_workspace() -> Iterator[Path]:
    scratch = Scratch()
    try:
        yield scratch.new_workspace()
    finally:
        scratch.close()


def test_a_policy_in_a_workspace_of_a_running_pool_is_refused_and_nothing_runs(
    pool_workspace: Path, refused: Refused
) -> None:
    path = pool_workspace / "policy.toml"
    path.write_text("")
    refused(str(path), f"agex: policy error: {path} is reached through {pool_workspace.parent.parent}")


# --- host calls as the policy says, end to end ---


def test_what_a_policy_says_of_host_calls_holds_in_a_worker() -> None:
    def ask(number: int) -> int:
        if number == 0:
            raise LookupError("the customer is at db.internal")
        return number

    code = """
told = []
for number in (0, 1, 2):
    try:
        told.append(str(ask(number)))
    except Exception as error:
        told.append(f"{type(error).__name__}: {error}")
told
"""
    policy = library.Policy.load("default").extend({"host_calls": {"errors": "type", "max_rate": "2/h"}})
    with library.Sandbox("process", policy=policy, functions={"ask": ask}) as sandbox:
        told = sandbox.run(code, returns=list[str]).unwrap()
    assert told == [
        "LookupError: ask() failed; the policy keeps back why (host_calls.errors)",
        "1",
        "PermissionError: ask() was refused: more host calls than 2 in 3600 s; wait 1800 s, or call less"
        " (host_calls.max_rate)",
    ]
