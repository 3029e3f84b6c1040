"""What can be imported from agex, and what importing it does not bring in."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys

import agex
import agex.errors
import agex.helpers
import agex.llm

SLOW = ("openai", "httpx", "pandas", "numpy", "pyarrow", "typer", "rich", "asyncio", "agex_worker", "kvgit", "sqlite3")


def test_every_public_name_is_there_sorted_and_documented() -> None:
    for module in (agex, agex.llm, agex.helpers, agex.errors):
        names = list(module.__all__)
        assert len(set(names)) == len(names)
        for name in names:
            assert inspect.getdoc(getattr(module, name)), f"{module.__name__}.{name} has no docstring"


def test_every_error_is_exported_and_derives_from_one_base() -> None:
    errors = {
        name
        for name, value in vars(agex.errors).items()
        if isinstance(value, type) and issubclass(value, agex.AgexError)
    } - {"ModelError"}

    assert errors == set(agex.errors.__all__)
    assert errors <= set(agex.__all__)
    assert issubclass(agex.AgexError, Exception)


def test_importing_agex_leaves_the_slow_libraries_alone() -> None:
    code = f"import json, sys, agex; print(json.dumps([name for name in {SLOW!r} if name in sys.modules]))"

    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert json.loads(finished.stdout) == []
