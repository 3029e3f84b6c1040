"""The command line as a program: what it prints, and its exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest


def agex(*arguments: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agex", *arguments],
        input=given,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def script(tmp_path: Path) -> Any:
    def write(code: str) -> str:
        path = tmp_path / "script.py"
        path.write_text(code)
        return str(path)

    return write


# --- run ---


def test_run_shows_what_the_script_prints(script: Any) -> None:
    done = agex("run", script("print('hello')\nprint(sum(range(4)))"))

    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n6\n", "")


def test_run_reads_a_script_from_standard_input_and_gives_it_arguments() -> None:
    done = agex("run", "-", "--", "one", "--two", given="print(argv)")

    assert (done.returncode, done.stdout) == (0, "['-', 'one', '--two']\n")


def test_run_shows_the_traceback_of_a_script_that_fails(script: Any) -> None:
    done = agex("run", script("print('before')\n1 / 0"))

    assert (done.returncode, done.stdout) == (1, "before\n")
    assert "ZeroDivisionError" in done.stderr and "line 2" in done.stderr
    assert "agex/cli.py" not in done.stderr


@pytest.mark.parametrize(
    ("code", "status"), [("raise SystemExit", 0), ("raise SystemExit(0)", 0), ("raise SystemExit(5)", 1)]
)
def test_run_maps_system_exit(script: Any, code: str, status: int) -> None:
    assert agex("run", script(code), "--policy", "full-python").returncode == status


def test_run_as_json_has_everything(script: Any) -> None:
    done = agex("run", script("print('out')\n{'a': [1, 2]}"), "--json")
    outcome = json.loads(done.stdout)

    assert done.returncode == 0
    assert (outcome["status"], outcome["value"], outcome["stdout"], outcome["error"]) == (
        "ok",
        {"a": [1, 2]},
        "out\n",
        None,
    )
    assert outcome["lockdown"]["isolation"] == "kernel" and outcome["lockdown"]["unenforced"] == []
    assert outcome["usage"]["peak_rss_bytes"] > 0

    failed = agex("run", script("1 / 0"), "--json")
    assert (failed.returncode, json.loads(failed.stdout)["error"]["type"]) == (1, "ZeroDivisionError")


def test_run_allows_the_modules_that_are_named(script: Any) -> None:
    path = script("import binascii, hashlib, math\nprint(math.floor(len(binascii.hexlify(hashlib.md5().digest()))))")

    assert agex("run", path, "--module", "binascii", "--module", "hashlib").stdout == "32\n"
    assert agex("run", path, "--module", "hashlib").returncode == 1


def test_run_works_in_a_directory_that_is_given(script: Any, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()

    assert agex("run", script("open('out.txt', 'w').write('x')"), "--workspace", str(work)).returncode == 0
    assert work.joinpath("out.txt").read_text() == "x"


def test_run_ends_a_script_that_takes_too_long(script: Any) -> None:
    done = agex("run", script("print('begun')\nwhile True:\n    pass"), "--timeout", "0.5")

    assert (done.returncode, done.stdout) == (1, "begun\n")
    assert "timeout" in done.stderr


def test_hostile_output_cannot_steer_the_terminal(script: Any) -> None:
    steering = "'\\x1b[2J\\x1b]0;title\\x07\\u202e[red]'"
    done = agex("run", script(f"print({steering})\nraise ValueError({steering})"))

    for text in (done.stdout, done.stderr):
        assert not {"\x1b", "\x07", "\u202e"} & set(text)
        assert "[red]" in text
    as_json = agex("run", script(f"print({steering})"), "--json").stdout
    assert "\x1b" not in as_json


def test_usage_errors_are_two(script: Any) -> None:
    path = script("1")

    for arguments in (
        ("run",),
        ("run", path + ".nosuch"),
        ("run", path, "--isolation", "fortress"),
        ("run", path, "--nosuch"),
        ("nosuch",),
    ):
        assert agex(*arguments).returncode == 2, arguments


def test_isolation_that_cannot_be_had_is_three_and_names_promise_and_layers(script: Any, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    code = f"open({str(witness)!r}, 'w')"
    done = agex("run", script(code), AGEX_TEST_LANDLOCK_ABI="0", AGEX_TEST_WITHOUT="namespaces")

    assert (done.returncode, done.stdout) == (3, "")
    assert "files.read" in done.stderr and "Landlock" in done.stderr
    assert not witness.exists()


def test_policy_errors_are_four(script: Any, tmp_path: Path) -> None:
    path = script("1")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[limits]\nmemroy = "1GiB"\n')

    unknown = agex("run", path, "--policy", "nosuch")
    assert unknown.returncode == 4 and "nosuch" in unknown.stderr
    mistyped = agex("run", path, "--policy", str(wrong))
    assert mistyped.returncode == 4
    assert "wrong.toml" in mistyped.stderr and "memroy" in mistyped.stderr and "memory" in mistyped.stderr
    assert agex("run", path, "--policy", "full-python", "--isolation", "none").returncode == 4


def test_the_environment_can_raise_the_isolation_but_not_lower_it(script: Any) -> None:
    path = script("1")
    raised = agex("run", path, "--isolation", "none", "--json", AGEX_ISOLATION="process")
    lowered = agex("run", path, "--json", AGEX_ISOLATION="none")

    assert json.loads(raised.stdout)["lockdown"]["isolation"] == "process"
    assert json.loads(lowered.stdout)["lockdown"]["isolation"] == "kernel"


# --- doctor ---


def test_doctor_says_what_was_tried_and_what_holds() -> None:
    shown = agex("doctor", COLUMNS="200")
    plain = json.loads(agex("doctor", "--json").stdout)

    assert shown.returncode == 0
    for promise in ("files.read", "network", "programs", "signals", "channel"):
        assert promise in shown.stdout
        assert plain["lockdown"]["promises"][promise]
    assert (plain["holds"], plain["refusal"]) == (True, "")
    assert plain["lockdown"]["probes"]["programs"].startswith("refused")


def test_doctor_is_three_where_nothing_may_run() -> None:
    shown = agex("doctor", AGEX_TEST_LANDLOCK_ABI="0", AGEX_TEST_WITHOUT="namespaces")
    plain = agex("doctor", "--json", AGEX_TEST_LANDLOCK_ABI="0", AGEX_TEST_WITHOUT="namespaces")

    assert (shown.returncode, plain.returncode) == (3, 3)
    assert "files.read" in shown.stdout
    found = json.loads(plain.stdout)
    assert (found["holds"], found["lockdown"]) == (False, None) and "Landlock" in found["refusal"]


# --- policies ---


def test_policies_are_listed_shown_checked_and_described(tmp_path: Path) -> None:
    listed = json.loads(agex("policy", "list", "--json").stdout)
    assert {"default", "strict", "dataframes", "full-python"} <= set(listed)
    assert "full-python" in agex("policy", "list").stdout

    shown = agex("policy", "show", "strict")
    path = tmp_path / "strict-copy.toml"
    path.write_text(shown.stdout)
    checked = agex("policy", "check", str(path))
    assert (shown.returncode, checked.returncode) == (0, 0), checked.stderr
    assert json.loads(agex("policy", "show", "strict", "--json").stdout)["limits"]["memory"] == "512MiB"

    path.write_text('extends = "default"\n[limits]\nmemory = 5\n')
    wrong = agex("policy", "check", str(path))
    assert wrong.returncode == 4 and "limits.memory" in wrong.stderr
    assert json.loads(agex("policy", "schema").stdout)["type"] == "object"
