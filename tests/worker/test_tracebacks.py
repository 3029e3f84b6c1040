"""Errors of agent code as text: the lines of its own code, whoever else has a script of that name, and none of ours."""

from __future__ import annotations

import linecache
import re
from typing import Any

import pytest

from agex_protocol.plan import SandboxPlan
from agex_worker.sandbox.compiler import compile
from agex_worker.tracebacks import MAX_SCRIPTS, error_text, remember_script, shown_name


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("x = 1\ny = = 2", "y = = 2\n        ^\nSyntaxError: invalid syntax"),
        ("x = 1\nreturn x", "return x\n    ^^^^^^^^\nSyntaxError: 'return' outside function"),
        (
            "x = 1\nawait f()",
            "await f()\n    ^^^^^^^^^\nSyntaxError: 'await' outside function;"
            " functions that you were given are called without it, asynchronous ones too",
        ),
        (
            "x = [\n().mro]",
            "().mro]\n    ^\nSandboxViolation: line 2: the attribute mro is not allowed here:"
            " the list of base classes ends in object, from which every class can be reached; use isinstance()",
        ),
    ],
)
def test_what_is_wrong_with_a_script_is_told_by_its_line_and_not_by_the_way_to_it(source: str, told: str) -> None:
    with pytest.raises(SyntaxError) as caught:
        compile(source, SandboxPlan(), remember_script("<action 1>", source))
    # Beneath the frame of this test. How much of a line is marked depends on the version.
    own = error_text(caught.value).traceback.partition('  File "<action 1>", line 2\n    ')[2]
    assert re.sub(r"\^+", "^", own) == re.sub(r"\^+", "^", told) + "\n"
    assert "ast.py" not in error_text(caught.value).traceback


def test_scripts_of_one_name_in_one_process_each_keep_their_lines() -> None:
    sources = [f"def fail():\n    raise ValueError  # {number}" for number in range(3)]
    scopes: list[dict[str, Any]] = [{} for _ in sources]
    for source, scope in zip(sources, scopes, strict=True):
        exec(compile(source, SandboxPlan(mode="full"), remember_script("helpers/a.py", source)), scope)
    for number, scope in enumerate(scopes):
        with pytest.raises(ValueError) as caught:
            scope["fail"]()
        told = error_text(caught.value).traceback
        assert f'  File "helpers/a.py", line 2, in fail\n    raise ValueError  # {number}\n' in told


def test_the_lines_of_so_many_scripts_are_remembered_and_of_no_more() -> None:
    before = len(linecache.cache)
    names = [remember_script("<action 7>", f"x = {number}") for number in range(2 * MAX_SCRIPTS)]
    assert len(set(names)) == len(names)
    assert len(linecache.cache) <= before + MAX_SCRIPTS
    assert linecache.getline(names[-1], 1) == f"x = {len(names) - 1}\n"


def test_a_file_named_like_a_numbered_script_has_its_own_lines_and_never_those_of_that_script() -> None:
    remember_script("<action 8>", "first")
    number = int(remember_script("<action 8>", "second").rpartition("#")[2]) + 2
    name = f"<action 8> #{number}"
    mine = remember_script(name, "mine")
    theirs = remember_script("<action 8>", "theirs")

    assert theirs == name
    assert (linecache.getline(mine, 1), shown_name(mine)) == ("mine\n", name)
    assert linecache.getline(theirs, 1) == "theirs\n"
