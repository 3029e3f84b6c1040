"""Paths that nobody granted, asked for in every way there is: what the code gets, and what the caller is told of it.

In namespaces they are absent and without them refused; a path that is granted and absent is neither.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import agex
from tests.nobody import NOBODY, need_nobody

MADE = """
import os, sqlite3
os.mkdir("folder")
os.symlink("/etc", "folder/link")
folder = os.open("folder", os.O_RDONLY)
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(spares=0)
    yield pool
    pool.close()


@pytest.fixture(params=["auto", "off"], ids=["namespaces", "landlock alone"], scope="module")
def sandboxed(request: pytest.FixtureRequest, pool: agex.Pool) -> Iterator[tuple[agex.Sandbox, str]]:
    """A sandbox of ordinary Python, and the layer that answers C code in it."""
    policy = agex.Policy.load("full-python")
    if request.param == "off":
        policy = policy.extend({"widen": ["isolation.namespaces"], "isolation": {"namespaces": "off"}})
    with agex.Sandbox(policy=policy, pool=pool) as sandbox:
        assert sandbox.run(MADE).error is None
        yield sandbox, "namespaces" if request.param == "auto" else "landlock"


def denials(outcome: agex.Outcome) -> list[agex.Denial]:
    # What numeric libraries try at their import has nothing to do with paths.
    return [each for each in outcome.denials if each.layer != "seccomp"]


@pytest.mark.parametrize(
    ("code", "operation", "target"),
    [
        ("open('folder/link/passwd')", "read", "/etc/passwd"),
        ("open(os.path.abspath('folder/link/passwd'))", "read", "/etc/passwd"),
        ("open('folder/link/new', 'w')", "write", "/etc/new"),
        ("os.open(os.path.abspath('folder/link'), os.O_RDONLY)", "read", "/etc"),
        ("os.listdir('folder/link')", "list", "/etc"),
        ("os.scandir('folder/link')", "list", "/etc"),
        ("os.chdir('folder/link')", "list", "/etc"),
        ("os.chdir('/etc')", "list", "/etc"),
        ("os.mkdir('folder/link/new')", "mkdir", "/etc/new"),
        ("os.remove('folder/link/passwd')", "remove", "/etc/passwd"),
        ("os.rename('folder/link/passwd', 'mine')", "rename", "/etc/passwd"),
        ("os.symlink('x', 'folder/link/new')", "symlink", "/etc/new"),
        ("os.truncate('folder/link/passwd', 0)", "truncate", "/etc/passwd"),
        ("sqlite3.connect('folder/link/x.db')", "read", "/etc/x.db"),
        ("sqlite3.connect('file:/etc/x.db?mode=ro', uri=True)", "read", "/etc/x.db"),
        ("sqlite3.connect('file:///etc/x.db', uri=True)", "read", "/etc/x.db"),
    ],
    ids=lambda value: value if value.endswith(")") else "-",
)
def test_what_python_is_about_to_do_through_a_link_is_refused_with_the_path_it_leads_to(
    code: str, operation: str, target: str, sandboxed: tuple[agex.Sandbox, str]
) -> None:
    sandbox, _ = sandboxed
    key = "write" if operation in ("write", "mkdir", "remove", "rename", "symlink", "truncate") else "read"

    outcome = sandbox.run(f"import os, sqlite3\n{code}")

    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message) == (
        "PermissionError",
        f"[Errno 13] {operation} refused: policy {sandbox.policy.name!r} does not grant it; [filesystem] {key} would"
        f" allow it: {target!r}",
    )
    assert denials(outcome) == [agex.Denial("landlock", operation, target, f"filesystem.{key}")]


C_CODE = [
    ("pyarrow", "import pyarrow.parquet\npyarrow.parquet.read_table('/etc/passwd')", "FileNotFoundError"),
    ("pyarrow", "import pyarrow\npyarrow.memory_map('/etc/passwd')", "FileNotFoundError"),
    ("polars", "import polars\npolars.read_csv('/etc/passwd')", "FileNotFoundError"),
    ("", "import sqlite3\nsqlite3.connect(':memory:').execute(\"attach '/etc/passwd' as other\")", "OperationalError"),
]


@pytest.mark.parametrize(("library", "code", "absent"), C_CODE, ids=[code.splitlines()[-1] for _, code, _ in C_CODE])
def test_what_c_code_was_refused_is_told_as_far_as_it_is_known_where_it_ends_the_run(
    library: str, code: str, absent: str, sandboxed: tuple[agex.Sandbox, str]
) -> None:
    if library and importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    sandbox, layer = sandboxed

    outcome = sandbox.run(code)

    assert outcome.error is not None
    policy = f"'/etc/passwd' is outside of what policy {sandbox.policy.name!r} grants:"
    if layer == "namespaces":
        assert outcome.error.type == absent
        assert denials(outcome) == [agex.Denial("namespaces", "find", "/etc/passwd", "filesystem.read")]
        told = f"{policy} it is not there for this code, whatever there is outside; [filesystem] read would allow it"
    else:
        assert outcome.error.type == absent.replace("FileNotFoundError", "PermissionError")
        assert denials(outcome) == [agex.Denial("landlock", "", "/etc/passwd", "")]
        told = (
            f"{policy} what it was refused for is not known; [filesystem] read would allow to read it, and write to"
            " write it"
        )
    assert outcome.error.traceback.splitlines()[-1] == told


def test_what_c_code_cannot_write_in_a_view_names_the_key(pool: agex.Pool) -> None:
    pytest.importorskip("pyarrow")
    with agex.Sandbox(policy="full-python", pool=pool) as sandbox:
        outcome = sandbox.run("import pyarrow\npyarrow.OSFile('/usr/lib/new', 'wb')")

    assert outcome.error is not None and outcome.error.type == "OSError"
    assert denials(outcome) == [agex.Denial("namespaces", "write", "/usr/lib/new", "filesystem.write")]


def test_a_look_at_a_path_that_is_not_in_the_view_is_told_where_it_ends_the_run(pool: agex.Pool) -> None:
    with agex.Sandbox(policy="full-python", pool=pool) as sandbox:
        outcome = sandbox.run("import os\nos.stat('/etc/passwd')")
        assert outcome.error is not None and outcome.error.type == "FileNotFoundError"
        assert outcome.denials == [agex.Denial("namespaces", "find", "/etc/passwd", "filesystem.read")]

        outcome = sandbox.run(
            "import os\ntry:\n    os.stat('/x')\nexcept OSError as error:\n    raise ValueError from error"
        )
        assert outcome.error is not None and outcome.error.type == "ValueError"
        assert outcome.denials == [agex.Denial("namespaces", "find", "/x", "filesystem.read")]

        assert sandbox.run("import os\nos.path.exists('/etc/passwd')").denials == []


def test_where_a_path_may_be_relative_to_a_descriptor_the_error_says_more_and_no_denial_is_told(
    pool: agex.Pool,
) -> None:
    with agex.Sandbox(policy="full-python", pool=pool) as sandbox:
        outcome = sandbox.run("import os\nos.stat('../../etc/passwd')")

    assert outcome.error is not None
    assert outcome.error.traceback.splitlines()[-1] == (
        "from the working directory '../../etc/passwd' leads to '/etc/passwd', which is outside of what policy"
        " 'full-python' grants: it is not there for this code, whatever there is outside; [filesystem] read would allow"
        " it"
    )
    assert outcome.denials == []


@pytest.mark.parametrize(
    "code",
    [
        "open('absent')",
        "open(os.path.abspath('absent'))",
        "os.stat('/usr/lib/absent')",
        "os.listdir('folder/absent')",
        "os.open('absent', os.O_RDONLY, dir_fd=os.open('folder', os.O_RDONLY))",
        "os.mkdir('absent/new', dir_fd=os.open('folder', os.O_RDONLY))",
        "sqlite3.connect(':memory:').execute(\"attach 'absent/x.db' as other\")",
        "raise FileNotFoundError('neither /usr/lib/absent nor a/b')",
    ],
)
def test_what_is_granted_and_absent_is_no_denial_and_has_nothing_added(
    code: str, sandboxed: tuple[agex.Sandbox, str]
) -> None:
    sandbox, _ = sandboxed

    outcome = sandbox.run(f"import os, sqlite3\n{code}")

    assert outcome.error is not None
    assert outcome.error.type in ("FileNotFoundError", "OperationalError")
    assert outcome.error.traceback.splitlines()[-1].endswith(outcome.error.message)
    assert outcome.denials == []


def test_a_link_itself_belongs_to_the_folder_that_it_lies_in(sandboxed: tuple[agex.Sandbox, str]) -> None:
    sandbox, _ = sandboxed

    outcome = sandbox.run(
        """
import os
os.symlink("/etc", "one")
os.rename("one", os.path.abspath("two"))
os.remove("./two")
os.symlink("folder", "three")
inside = os.listdir("three")
os.remove("three")
inside
"""
    )

    assert (outcome.status, outcome.value, outcome.denials) == ("ok", ["link"], [])


def test_an_error_of_the_codes_own_class_can_do_what_it_likes_when_it_is_looked_at(
    sandboxed: tuple[agex.Sandbox, str],
) -> None:
    sandbox, _ = sandboxed

    outcome = sandbox.run(
        """
class Odd(FileNotFoundError):
    @property
    def filename(self):
        raise RuntimeError("looked at")
raise Odd("/etc/passwd")
"""
    )

    assert outcome.error is not None and (outcome.error.type, outcome.denials) == ("Odd", [])
    assert sandbox.run("1 + 1").value == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="these tests run without privileges already")
def test_a_user_without_privileges_is_told_the_same() -> None:
    need_nobody()
    with tempfile.TemporaryDirectory() as home:
        os.chown(home, NOBODY, NOBODY)
        finished = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
            env={
                "PATH": os.environ["PATH"],
                "HOME": home,
                "TMPDIR": home,
                "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            cwd=Path(__file__).parents[2],
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            capture_output=True,
            text=True,
        )

    assert finished.returncode == 0, finished.stdout[-4000:] + finished.stderr[-2000:]
