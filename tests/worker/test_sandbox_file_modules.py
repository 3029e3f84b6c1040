"""`os`, `shutil`, `glob` and `pathlib` of agent code: what everybody knows of them, on the workspace."""

from __future__ import annotations

import glob
import os
import pathlib
import shutil
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agex_protocol.plan import ModuleGrant
from agex_worker.sandbox.dangerous import MEMBERS
from agex_worker.sandbox.file_modules import FileModules
from agex_worker.sandbox.file_paths import FILE_MEMBERS
from agex_worker.sandbox.files import WorkspaceFiles
from tests.worker.sandbox_run import run

IMPORTS = "import glob, os, os.path, pathlib, shutil\nfrom pathlib import Path\n"
MODULES = ("glob", "os", "os.path", "pathlib", "shutil")


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "workspace"
    for name in ("a.txt", "b.csv", "inner/c.csv", "inner/deep/d.csv", ".hidden/e.csv", ".f.csv"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "link.csv").symlink_to("b.csv")
    (root / "empty").mkdir()
    return root


@pytest.fixture
def done(workspace: Path) -> Callable[[str], Any]:
    def done(source: str) -> Any:
        return run(IMPORTS + source, *MODULES, files=workspace)

    return done


@pytest.mark.parametrize(
    "expression",
    [
        "sorted(os.listdir('.'))",
        "sorted(os.listdir('inner'))",
        "sorted((top, sorted(folders), sorted(names)) for top, folders, names in os.walk('.'))",
        "[top for top, _, _ in os.walk('inner', topdown=False)]",
        "list(os.walk('none'))",
        "[f(p) for f in (os.path.exists, os.path.isfile, os.path.isdir) for p in ('a.txt', 'inner', 'none', 'inner/c.csv')]",
        "os.path.islink('link.csv'), os.path.islink('a.txt'), os.path.islink('none')",
        "os.path.getsize('inner/c.csv'), os.stat('a.txt').st_size",
        "os.path.abspath('inner/../a.txt') == os.path.join(os.getcwd(), 'a.txt')",
        "os.path.relpath(os.path.abspath('inner'))",
        "sorted(glob.glob('*.csv'))",
        "sorted(glob.glob('*/*.csv'))",
        "sorted(glob.glob('**/*.csv', recursive=True))",
        "sorted(glob.glob('**', recursive=True))",
        "sorted(glob.glob('**/*.csv', recursive=True, include_hidden=True))",
        "sorted(glob.iglob('inner/?.[ab-c]sv'))",
        "glob.glob('none/*'), glob.glob(''), glob.glob('a.txt'), glob.glob('a.txt/*')",
        "sorted(map(str, Path('.').iterdir()))",
        "sorted(map(str, Path('.').glob('*.csv')))",
        "sorted(map(str, Path('inner').rglob('*.csv')))",
        "sorted(map(str, Path('.').glob('*/deep/*')))",
        "Path('a.txt').read_text(), Path('a.txt').read_bytes(), Path('a.txt').stat().st_size",
        "[(p.exists(), p.is_file(), p.is_dir(), p.is_symlink()) for p in map(Path, ('a.txt', 'inner', 'none', 'empty'))]",
        "Path('inner/c.csv').parent.name, Path('a') / 'b', Path('x.tar.gz').suffixes, Path('a') < Path('b')",
        "Path('inner').resolve() == Path.cwd() / 'inner', Path('inner').absolute() == Path.cwd() / 'inner'",
        "Path('a.txt') == pathlib.PurePosixPath('a.txt'), isinstance(Path('a'), pathlib.PurePath)",
    ],
)
def test_it_gives_what_the_real_one_gives(
    expression: str, done: Callable[[str], Any], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = done(expression)
    monkeypatch.chdir(workspace)
    real = {"glob": glob, "os": os, "pathlib": pathlib, "shutil": shutil, "Path": Path}
    assert repr(given) == repr(eval(expression, real)).replace("PosixPath(", "Path(").replace(
        "PurePath(", "PurePosixPath("
    )


def test_files_and_folders_are_made_moved_and_removed(done: Callable[[str], Any], workspace: Path) -> None:
    done(
        "os.makedirs('x/y')\nos.makedirs('x/y', exist_ok=True)\nos.mkdir('z')\nos.rmdir('z')\n"
        "Path('x/one.txt').write_text('1')\nPath('x/y/two.txt').write_bytes(b'2')\nPath('x/touched').touch()\n"
        "os.rename('x/touched', 'x/moved')\nPath('x/moved').rename('moved')\nos.remove('moved')\n"
        "shutil.copy('x/one.txt', 'x/y')\nshutil.copyfile('x/one.txt', 'three.txt')\nshutil.move('three.txt', 'empty')\n"
        "shutil.copytree('x', 'copied')\nshutil.rmtree('x')\nshutil.rmtree('none', ignore_errors=True)\n"
        "Path('a.txt').unlink()\nPath('a.txt').unlink(missing_ok=True)\nPath('p/q').mkdir(parents=True, exist_ok=True)"
    )
    assert sorted(str(path.relative_to(workspace)) for path in (workspace / "copied").rglob("*")) == [
        "copied/one.txt",
        "copied/y",
        "copied/y/one.txt",
        "copied/y/two.txt",
    ]
    assert (workspace / "empty" / "three.txt").read_text() == "1"
    assert [(workspace / name).exists() for name in ("x", "z", "a.txt", "moved", "p/q")] == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("os.mkdir('inner')", FileExistsError),
        ("os.makedirs('inner')", FileExistsError),
        ("Path('a.txt').touch(exist_ok=False)", FileExistsError),
        ("os.remove('none')", FileNotFoundError),
        ("os.stat('none')", FileNotFoundError),
        ("Path('none').read_text()", FileNotFoundError),
        ("Path('none').resolve(strict=True)", FileNotFoundError),
        ("Path('none').unlink()", FileNotFoundError),
        ("os.listdir('a.txt')", NotADirectoryError),
        ("os.rmdir('inner')", OSError),
        ("os.listdir('..')", PermissionError),
        ("os.remove('../x')", PermissionError),
        ("Path('link.csv').read_text()", PermissionError),
        ("shutil.copy('link.csv', 'x')", PermissionError),
        ("os.listdir(b'.')", TypeError),
        ("os.remove(3)", TypeError),
    ],
)
def test_errors_are_those_that_code_expects(source: str, error: type[Exception], done: Callable[[str], Any]) -> None:
    with pytest.raises(error):
        done(source)


def test_all_that_a_path_has_beside_its_text_is_ours_or_refused() -> None:
    of_files = {name for name in set(dir(Path)) - set(dir(pathlib.PurePath)) if not name.startswith("_")}
    assert of_files - FILE_MEMBERS - set(MEMBERS["pathlib"]) - {"from_uri"} == set()


@pytest.mark.parametrize(
    "source",
    [
        "os.remove('inner/c.csv')",
        "os.rename('inner/c.csv', 'c.csv')",
        "os.rename('a.txt', 'inner/c.csv')",
        "os.mkdir('inner/new')",
        "shutil.rmtree('inner')",
        "shutil.move('inner', 'moved')",
        "shutil.copy('a.txt', 'inner')",
        "Path('inner/c.csv').write_text('x')",
        "Path('inner/new').touch()",
    ],
)
def test_a_folder_that_is_read_only_is_so_by_every_name(source: str, workspace: Path) -> None:
    stand_ins = FileModules(WorkspaceFiles(workspace, read_only=("inner",)))
    names = {name: types.SimpleNamespace(**stand_ins.members(name)) for name in ("os", "shutil")}
    with pytest.raises(PermissionError):
        eval(source, {**names, **stand_ins.members("pathlib")})
    assert (workspace / "inner" / "c.csv").read_text() == "inner/c.csv"
    assert sorted(os.listdir(workspace / "inner")) == ["c.csv", "deep"]


def test_the_part_for_paths_comes_with_the_module(workspace: Path) -> None:
    code = "import os\nos.path.exists('a.txt'), os.path.join('a', 'b')"
    assert run(code, "os", files=workspace) == (True, "a/b")
    with pytest.raises(AttributeError, match="module 'os' gives no 'path' here: the registration of os leaves it out"):
        run(code, ModuleGrant("os", exclude=("path",)), files=workspace)


def test_a_registration_still_says_which_of_them_there_are(workspace: Path) -> None:
    code = "import os\nos.listdir('empty'), hasattr(os, 'remove')"
    assert run(code, ModuleGrant("os", exclude=("remove",)), files=workspace) == ([], False)


def test_without_a_workspace_there_is_only_what_touches_no_file() -> None:
    assert run("import os.path\nos.path.join('a', 'b'), hasattr(os, 'listdir')", "os") == ("a/b", False)


def test_no_module_is_to_be_had_by_this_that_is_not_registered(workspace: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="the module 'shutil' is not registered"):
        run("import shutil", "os", files=workspace)
