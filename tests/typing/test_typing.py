"""mypy --strict and pyright strict are content with what a user writes, and see what is wrong in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WRONG = [
    number for number, line in enumerate((HERE / "wrong.py").read_text().splitlines(), 1) if line.endswith("# wrong")
]


def test_mypy_is_content_with_what_is_right_and_sees_what_is_wrong(tmp_path: Path) -> None:
    # Both programs at once: its cold start takes longer than all else here.
    command = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={tmp_path}", "--follow-imports=silent"]
    programs = [str(HERE / name) for name in ("program.py", "wrong.py")]

    done = subprocess.run([*command, *programs], cwd=ROOT, capture_output=True, text=True, timeout=300)

    errors = re.findall(r"(\w+\.py):(\d+): error:", done.stdout)
    assert [(name, int(line)) for name, line in errors] == [("wrong.py", line) for line in WRONG], done.stdout


def test_pyright_is_content_with_what_is_right() -> None:
    assert pyright_errors("program.py") == []


def test_pyright_sees_what_is_wrong() -> None:
    assert pyright_errors("wrong.py") == WRONG


def pyright_errors(program: str) -> list[int]:
    done = subprocess.run(
        [Path(sys.executable).with_name("pyright"), "--outputjson", str(HERE / program)],
        cwd=ROOT,
        env={**os.environ, "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)["generalDiagnostics"]
    return [each["range"]["start"]["line"] + 1 for each in found if each["severity"] == "error"]
