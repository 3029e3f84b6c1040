"""What is told of the Python in a workspace, which may hold anything."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agex_worker.outline import MAX_CHARS, MAX_FILES, outline
from agex_worker.sandbox.files import WorkspaceFiles


def outlined(root: Path, **files: str) -> str:
    for name, source in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return outline(WorkspaceFiles(root))


def test_an_empty_workspace_has_nothing_to_tell(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n")
    assert outlined(tmp_path) == ""


def test_signatures_and_first_lines_of_functions_and_classes_are_told(tmp_path: Path) -> None:
    told = outlined(
        tmp_path,
        helpers__tables='"""Tables.\n\nMore."""\n\nimport os\n\nX = 1\n\n'
        'def clean(frame: "DataFrame", *, drop=("a",)) -> dict[str, int]:\n    """\n    Clean it.\n\n    How.\n    """\n\n'
        "async def _private():\n    pass\n\n"
        "class Model(Base, metaclass=Meta):\n    '''A model.'''\n    def __init__(self, x): pass\n"
        "    def _hidden(self): pass\n    async def fit(self, /, y=1, **rest):\n        'Fit.'\n    class Inner: pass\n",
        main="def run(): pass\n",
    )
    assert told == (
        "helpers/tables.py\n"
        "  Tables.\n"
        "  def clean(frame: 'DataFrame', *, drop=('a',)) -> dict[str, int]: Clean it.\n"
        "  class Model(Base): A model.\n"
        "    def __init__(self, x)\n"
        "    async def fit(self, /, y=1, **rest): Fit.\n"
        "    class Inner\n"
        "main.py\n"
        "  def run()"
    )


def test_skills_hidden_files_and_caches_are_left_out(tmp_path: Path) -> None:
    told = outlined(
        tmp_path, skills__a__tool="x = 1", _hidden="x = 1", __pycache__="", deep__skills__mine="def f(): pass"
    )
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "x.py").write_text("def f(): pass")
    assert outlined(tmp_path).splitlines() == ["_hidden.py", "deep/skills/mine.py", "  def f()"], told


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def f(:\n", "(cannot be read: SyntaxError: invalid syntax"),
        ("x = '\0'", "(cannot be read: "),
        ("(" * 5000, "(cannot be read: "),
        ("x = " + "+".join(["1"] * 100_000), "(cannot be read: "),
        ("def f(x=" + "-" * 3000 + "1): pass", "(cannot be read: "),
        ("#" * 300_000, "(more than 256 KiB: not looked at)"),
    ],
    ids=range(6),
)
def test_a_source_that_cannot_be_looked_at_is_said(source: str, told: str, tmp_path: Path) -> None:
    path, line = outlined(tmp_path, bad=source).split("\n", 1)
    assert path == "bad.py" and line.strip().startswith(told) and len(line) < 500


def test_bytes_that_are_no_text_links_and_pipes_are_survived(tmp_path: Path) -> None:
    (tmp_path / "bytes.py").write_bytes(b"x = '\xff\xfe'")
    (tmp_path / "link.py").symlink_to(__file__)
    (tmp_path / "folder").symlink_to("/")
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "directory.py").mkdir()
    told = outlined(tmp_path)
    assert told.splitlines()[0] == "bytes.py" and "(cannot be read: SyntaxError" in told
    assert len(told.splitlines()) == 2


def test_what_is_told_has_an_end(tmp_path: Path) -> None:
    for number in range(MAX_FILES + 20):
        (tmp_path / f"m{number:03}.py").write_text("def f(): pass\n")
    told = outline(WorkspaceFiles(tmp_path))
    assert told.endswith("... and 20 more; list the files to see them")
    for number in range(MAX_FILES):
        (tmp_path / f"m{number:03}.py").write_text(
            "".join(f"def f{n}({'x' * 500}): '{'y' * 500}'\n" for n in range(99))
        )
    told = outline(WorkspaceFiles(tmp_path))
    assert len(told) < MAX_CHARS + 200


def test_of_very_many_files_all_are_counted_and_the_helpers_come_first(tmp_path: Path) -> None:
    files = {f"a{number}": "def f(): pass\n" for number in range(MAX_FILES * 12)}
    told = outlined(tmp_path, **files, helpers__z="def z(): pass\n").splitlines()
    assert told[:2] == ["helpers/z.py", "  def z()"]
    assert told[-1] == f"... and {MAX_FILES * 11 + 1} more; list the files to see them"
