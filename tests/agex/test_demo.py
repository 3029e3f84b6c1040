"""agex demo: the main job end to end as a program, offline, and honest about its model."""

from __future__ import annotations

import os
import subprocess
import sys


def test_the_demo_does_the_main_job_and_says_that_its_model_is_scripted() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "AGEX"))}

    done = subprocess.run(
        [sys.executable, "-m", "agex", "demo"],
        env={**environment, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert (done.returncode, done.stderr) == (0, "")
    for shown in (
        "SCRIPTED",
        "action 1: the model wrote",
        "it observed",
        "KeyError: 'revenue'",
        "action 3: the model wrote",
        "Region(region='West', orders=1073, revenue=387792.6)",
        "files.read",
        "landlock",
        "seccomp",
        "enforced",
    ):
        assert shown in done.stdout, shown


def test_the_demo_refuses_where_the_kernel_cannot_hold_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agex", "demo"],
        env={**os.environ, "AGEX_TEST_LANDLOCK_ABI": "0", "AGEX_TEST_WITHOUT": "namespaces"},
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 3
    assert "isolation unavailable" in done.stderr and "files.read" in done.stderr
