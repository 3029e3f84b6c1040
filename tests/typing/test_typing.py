"""mypy --strict and pyright strict are content with what a user writes, and see what is wrong in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WRONG = [
    number for number, line in enumerate((HERE / "wrong.py").read_text().splitlines(), 1) if line.endswith("# wrong")
]


def mypy(program: str, cache: Path) -> tuple[int, list[int], str]:
    command = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={cache}", "--follow-imports=silent"]
    done = subprocess.run([*command, str(HERE / program)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, [int(line) for line in re.findall(r":(\d+): error:", done.stdout)], done.stdout


def pyright(program: str) -> tuple[int, list[int], str]:
    tool = Path(sys.executable).with_name("pyright")
    done = subprocess.run(
        [tool, "--outputjson", f"--pythonpath={sys.executable}", str(HERE / program)],
        cwd=ROOT,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)["generalDiagnostics"]
    lines = [each["range"]["start"]["line"] + 1 for each in found if each["severity"] == "error"]
    return done.returncode, lines, done.stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mypy")


def test_mypy_is_content_with_tasks_that_raise_not_implemented(cache: Path) -> None:
    status, lines, text = mypy("program.py", cache)

    assert (status, lines) == (0, []), text


def test_mypy_sees_wrong_arguments_and_results(cache: Path) -> None:
    assert mypy("wrong.py", cache)[1] == WRONG


def test_pyright_is_content_with_tasks_that_raise_not_implemented() -> None:
    status, lines, text = pyright("program.py")

    assert (status, lines) == (0, []), text


def test_pyright_sees_wrong_arguments_and_results() -> None:
    assert pyright("wrong.py")[1] == WRONG
