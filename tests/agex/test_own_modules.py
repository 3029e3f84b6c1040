"""The agent's own files as modules: imported in later actions and tasks, under the rules of the action, in every isolation."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator

import pytest

import agex
from tests.talker import Talker

MODES = ("none", "process", "kernel")


def price(amount: int) -> int:
    """A function of the host."""
    return amount * 2


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=4, spares=0)
    yield pool
    pool.close()


@pytest.fixture(params=[*MODES, "kernel, full-python"])
def any_talk(request: pytest.FixtureRequest, pool: agex.Pool) -> Iterator[Talker]:
    isolation, _, policy = request.param.partition(", ")
    talker = Talker(pool, isolation, policy or "default")
    talker.agent.fn(price)
    talker.agent.module(math)
    yield talker
    talker.close()


@pytest.fixture(params=MODES)
def talk(request: pytest.FixtureRequest, pool: agex.Pool) -> Iterator[Talker]:
    talker = Talker(pool, request.param)
    talker.agent.fn(price)
    talker.agent.module(math)
    yield talker
    talker.close()


def writing(talker: Talker, **files: str) -> None:
    """Have the workspace hold these modules; `__` in a name is a slash, and `__pkg` an __init__.py in that folder."""
    for name, source in files.items():
        path = (
            talker.agent.sessions.acquire("default").workspace
            / f"{name.replace('__pkg', '__PKG').replace('__', '/').replace('PKG', '__init__')}.py"
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        finally:
            talker.agent.sessions.release("default")


def test_a_file_that_code_wrote_is_imported_by_the_next_action_and_the_next_task(any_talk: Talker) -> None:
    told = any_talk(
        "with open('tools.py', 'w') as file:\n    file.write('def dbl(x):\\n    return price(x)\\n')",
        "from tools import dbl\nimport tools\nprint(dbl(3), tools.dbl(4))",
    )
    assert told[1] == "6 8"
    assert any_talk("import tools as t\nprint(t.dbl(5))") == ["10"]


def test_packages_with_and_without_an_init_are_imported_and_so_are_neighbours_by_dots(any_talk: Talker) -> None:
    writing(
        any_talk,
        helpers__shapes="import math\nfrom .units import CM\ndef area(r):\n    return round(math.pi * r * r * CM, 1)\n",
        helpers__units="CM = 100\n",
        helpers__deep__more="from ..units import CM\nfrom .. import units\nBOTH = (CM, units.CM)\n",
        lib__pkg="from lib.one import ONE\nfrom . import one\nTWO = 2\n",
        lib__one="ONE = 1\n",
    )
    told = any_talk(
        "from helpers.shapes import area\nimport helpers.deep.more\nfrom helpers import units\nimport lib\nfrom lib import one\n"
        "print(area(1), helpers.deep.more.BOTH, units.CM, lib.ONE, lib.TWO, one.ONE, lib.one.ONE)"
    )
    assert told == ["314.2 (100, 100) 100 1 2 1 1"]


def test_a_changed_file_is_read_anew(any_talk: Talker) -> None:
    told = any_talk(
        "with open('n.py', 'w') as file:\n    file.write('N = 1')",
        "import n\nprint(n.N)",
        "with open('n.py', 'w') as file:\n    file.write('N = 2')",
        "import n\nprint(n.N)",
    )
    assert [told[1], told[3]] == ["1", "2"]


def test_modules_that_import_each_other_find_each_other_half_made(any_talk: Talker) -> None:
    writing(any_talk, a="import b\ndef one():\n    return b.two() + 1\n", b="import a\ndef two():\n    return 2\n")
    assert any_talk("import a\nprint(a.one())") == ["3"]


def test_a_module_is_one_for_all_that_import_it_in_an_action(any_talk: Talker) -> None:
    writing(
        any_talk, state="count = 0\ndef add():\n    global count\n    count += 1\n", user="import state\nstate.add()\n"
    )
    assert any_talk("import state\nimport user\nstate.add()\nprint(state.count)") == ["2"]


def test_a_traceback_names_the_file_and_shows_its_line(talk: Talker) -> None:
    writing(talk, helpers__div="def bad(x):\n    y = x\n    return 1 / y\n")
    (told,) = talk("from helpers.div import bad\nbad(0)")
    told = re.sub(r"\n *~*\^+~*$", "", told, flags=re.MULTILINE)  # of which expressions depends on the version
    assert told == (
        "Traceback (most recent call last):\n"
        '  File "<action 1>", line 2, in <module>\n    bad(0)\n'
        '  File "helpers/div.py", line 3, in bad\n    return 1 / y\n'
        "ZeroDivisionError: division by zero"
    )


def test_a_file_with_bad_syntax_says_where(talk: Talker) -> None:
    writing(talk, wrong="x = 1\ny = = 2\n")
    (told,) = talk("import wrong")
    assert '  File "wrong.py", line 2\n    y = = 2\n' in told and told.endswith("SyntaxError: invalid syntax")


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import sys\n", "ModuleNotFoundError: the module 'sys' is not registered"),
        ("x = ().__subclasses__\n", "SandboxViolation: line 1: the attribute __subclasses__ is not allowed here"),
        ("open('/etc/passwd')\n", "PermissionError: open of '/etc/passwd' refused"),
        ("x = getattr(1, '__class__')\n", "Refused: the attribute __class__ is not allowed here"),
        ("eval('1')\n", "Refused: eval() is not allowed here"),
        ("from math import *\n", "SandboxViolation: line 1: from math import * is not allowed here"),
        ("from .. import x\n", "ImportError: attempted relative import beyond top-level package"),
        ("inputs\n", "NameError: name 'inputs' is not defined"),
        ("cache\n", "NameError: name 'cache' is not defined"),
        ("task_success(1)\n", "NameError: name 'task_success' is not defined"),
    ],
)
def test_a_module_may_do_what_the_action_may_and_no_more(source: str, error: str, talk: Talker) -> None:
    writing(talk, sly__one=source)
    (told,) = talk("import sly.one")
    assert error in told


def test_a_failed_import_leaves_nothing_behind(talk: Talker) -> None:
    writing(talk, half="x = 1\n1 / 0\n")
    told = talk(
        "for _ in range(2):\n    try:\n        import half\n    except ZeroDivisionError:\n        print('again')"
    )
    assert told == ["again\nagain"]


def test_a_script_itself_has_no_relative_imports(talk: Talker) -> None:
    writing(talk, one="x = 1\n")
    (told,) = talk("from . import one")
    assert "SandboxViolation: line 1: a relative import is not allowed here" in told


def test_no_file_stands_in_for_a_registered_module_or_one_of_pythons_own(pool: agex.Pool) -> None:
    for isolation in MODES:
        talker = Talker(pool, isolation)
        talker.agent.module(json)
        writing(talker, json="def dumps(x):\n    return 'mine'\n", socket="x = 1\n", sys__pkg="")
        told = talker("import json", "import socket", "import sys")
        assert [text.splitlines()[-1] for text in told] == [
            (
                "ImportError: json.py in the working directory has the name of a registered module, and cannot stand in for"
                " it; rename it"
            ),
            *(
                f"ImportError: {file} in the working directory has the name of a module of Python's own, which is not"
                " registered here, and cannot stand in for it; rename it"
                for file in ("socket.py", "sys/__init__.py")
            ),
        ]
        talker.close()


def test_no_file_gets_into_a_registered_package(talk: Talker) -> None:
    writing(talk, math__extra="x = 1\n")
    (told,) = talk("import math.extra")
    assert "ModuleNotFoundError: the module 'math.extra' is not registered" in told


def test_ordinary_python_takes_the_installed_module_where_a_file_has_its_name(pool: agex.Pool) -> None:
    talker = Talker(pool, "kernel", "full-python")
    writing(talker, json="x = 1\n", numpy__pkg="x = 1\n")
    assert talker("import json, numpy\nprint(json.dumps([1]), hasattr(numpy, 'x'))") == ["[1] False"]
    talker.close()


def test_a_mistyped_name_is_answered_by_the_one_that_is_near(talk: Talker) -> None:
    writing(talk, helpers__tables="def clean(x):\n    return x\n")
    told = talk(
        "import helpers.table",
        "import helprs",
        "from helpers.tables import cleen",
        "import helpers.tables\nhelpers.tables.claen(1)",
        "from helpers import tabels",
    )
    lasts = [text.splitlines()[-1] for text in told]
    assert "; did you mean 'helpers.tables'?" in lasts[0]
    assert "; did you mean 'helpers'?" in lasts[1]
    why = "module 'helpers.tables' (helpers/tables.py) has no 'cleen'; did you mean 'clean'?"
    assert lasts[2] == f"ImportError: cannot import 'cleen' from 'helpers.tables': {why}"
    assert lasts[3] == (
        "AttributeError: module 'helpers.tables' (helpers/tables.py) has no 'claen'; did you mean 'clean'?"
    )
    assert lasts[4].endswith("module 'helpers' (a folder) has no 'tabels'; did you mean 'tables'?")


def test_a_module_cannot_be_changed_from_outside_nor_does_it_show_what_is_beneath(talk: Talker) -> None:
    writing(talk, one="x = 1\n_y = 2\n")
    told = talk(
        "import one\none.x = 2",
        "import one\nprint(one._y)",
        "import one\nprint(getattr(one, '<attr>', 3))",
        "import one\nprint(dir(one), one.__name__)",
        "import one\nprint(one.price)",
    )
    lasts = [text.splitlines()[-1] for text in told]
    assert "Refused: assigning to the attribute x of the module one is not allowed here" in lasts[0]
    assert "Refused: the attribute _y of the module one is not allowed here" in lasts[1]
    assert "Refused: the attribute <attr> is not allowed here" in lasts[2]
    assert lasts[4] == "AttributeError: module 'one' (one.py) has no 'price'"
    assert told[3] == "['x'] one"


def test_a_link_out_of_the_workspace_is_no_module(pool: agex.Pool, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.py"
    outside.write_text("token = 1\n")
    talker = Talker(pool, "none")
    workspace = talker.agent.sessions.acquire("default").workspace
    (workspace / "secret.py").symlink_to(outside)
    (workspace / "linked").symlink_to(outside.parent)
    talker.agent.sessions.release("default")
    told = talker("import secret", "import linked.secret")
    assert all("ModuleNotFoundError" in text for text in told)
    talker.close()


def test_classes_of_a_module_are_results_and_cache_entries_as_those_of_a_script(talk: Talker) -> None:
    writing(
        talk,
        model="from dataclasses import dataclass\n@dataclass\nclass Row:\n    a: int\n    def twice(self):\n        return self.a * 2\n",
    )
    talk.agent.module("dataclasses")
    told = talk("from model import Row\ncache['row'] = Row(4)", "row = cache['row']\nprint(row, row.twice())")
    assert told[1] == "Row(a=4) 8"


@pytest.mark.parametrize("cause", ["SystemExit", "GeneratorExit", "task_success(1)"])
def test_an_error_whose_text_ends_everything_ends_nothing(any_talk: Talker, cause: str) -> None:
    call = cause if "(" in cause else f"raise {cause}"
    code = f"class E(Exception):\n    def __str__(self):\n        {call}\nraise E"
    told = any_talk(code, "print('on')")
    assert told[0].splitlines()[-1].startswith("E: <") and told[1] == "on"


def test_what_cannot_be_compiled_is_told_by_its_own_lines_alone(talk: Talker) -> None:
    told = talk("x = (", "y = 1\ny.__foo__", "raise KeyboardInterrupt")
    assert told[0] == "  File \"<action 1>\", line 1\n    x = (\n        ^\nSyntaxError: '(' was never closed"
    # How much of a line is marked depends on the version.
    assert re.sub(r"\^+", "^", told[1]).startswith(
        '  File "<action 2>", line 2\n    y.__foo__\n    ^\nSandboxViolation: line 2: the attribute'
    )
    assert told[2].endswith("\nKeyboardInterrupt")
