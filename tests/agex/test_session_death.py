"""What a killed process leaves of its sessions. `python -m tests.agex.session_death 200` is the whole of it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("isolation", "how_many"), [("none", 10), ("kernel", 4)])
def test_every_version_of_a_session_is_whole_whenever_its_process_is_killed(isolation: str, how_many: int) -> None:
    command = [sys.executable, "-m", "tests.agex.session_death", str(how_many), isolation]

    finished = subprocess.run(command, capture_output=True, text=True, timeout=300)

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(f"{how_many} processes of isolation '{isolation}' were killed; ")
    assert "; 0 actions" not in finished.stdout
