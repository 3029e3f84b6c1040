"""Programs: none can be started. Landlock refuses to execute the file, seccomp the call; with both gone it runs."""

from __future__ import annotations

import pytest

from tests.escapes.conftest import LIBC, Run, World

PROGRAM = "/bin/sh"
BY_EXEC = f"import os\nos.execv({PROGRAM!r}, ['sh', '-c', 'exit 7'])"
BY_LIBC = (
    LIBC
    + f"""
words = (ctypes.c_char_p * 4)(b'sh', b'-c', b'exit 7', None)
ask('execve', {PROGRAM.encode()!r}, words, None)
"""
)
BY_SUBPROCESS = f"import subprocess\nsubprocess.run([{PROGRAM!r}, '-c', 'exit 7'])\n'REACHED'"


@pytest.mark.parametrize("code", [BY_EXEC, BY_LIBC, BY_SUBPROCESS], ids=["exec", "libc", "subprocess"])
def test_a_program_is_not_started(code: str, jailed: Run, world: World) -> None:
    ended = jailed(code)

    assert (ended.status, ended.value, ended.error) == ("error", None, "PermissionError")
    assert world.untouched()


@pytest.mark.parametrize("code", [BY_EXEC, BY_LIBC], ids=["exec", "libc"])
@pytest.mark.parametrize("off", ["landlock", "seccomp"])
def test_each_layer_refuses_alone(code: str, off: str, unjailed: Run) -> None:
    assert unjailed(code, off).error == "PermissionError"


@pytest.mark.parametrize("code", [BY_EXEC, BY_LIBC], ids=["exec", "libc"])
def test_without_both_layers_the_program_takes_the_workers_place(code: str, unjailed: Run) -> None:
    ended = unjailed(code, "landlock", "seccomp")

    assert (ended.status, ended.error) == ("killed", "exit")
    assert ended.detail.endswith("exit status 7")


def test_without_both_layers_a_subprocess_runs(unjailed: Run) -> None:
    assert unjailed(BY_SUBPROCESS, "landlock", "seccomp").value == "REACHED"
