"""All of this folder once more as a user without privileges, where the tests run as root."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.nobody import NOBODY, need_nobody


@pytest.mark.skipif(os.geteuid() != 0, reason="these tests run without privileges already")
def test_every_attack_ends_the_same_for_a_user_without_privileges() -> None:
    need_nobody()
    here = Path(__file__)
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, NOBODY, NOBODY)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "TMPDIR": home,
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        finished = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(here.parent), f"--ignore={here}"],
            env=environment,
            cwd=here.parents[2],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
            timeout=300,
        )

    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-2000:]
