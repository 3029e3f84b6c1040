"""What a worker's interpreter may read: enough to import everything, and nothing that lies beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

import agex_policies
import agex_protocol
import agex_worker
from agex_policies.errors import PolicyError
from agex_policies.python_paths import collapsed, interpreter_paths


def readable(path: str | Path, paths: tuple[str, ...]) -> bool:
    return any(Path(os.path.realpath(path)).is_relative_to(top) for top in paths)


def test_the_standard_library_and_the_installed_packages_are_readable() -> None:
    paths = interpreter_paths()
    for module in (json, pytest, agex_worker, agex_protocol):
        assert readable(str(module.__file__), paths)
    assert readable(os.path.join(sysconfig.get_path("platstdlib"), "lib-dynload"), paths)


def test_what_lies_beside_them_is_not() -> None:
    paths = interpreter_paths()
    for path in (
        sys.prefix,
        Path(sys.prefix, "pip.conf"),
        "/etc/passwd",
        "/proc/self/environ",
        "/root",
        Path.home(),
        "/",
    ):
        assert not readable(path, paths)


def test_of_agex_itself_a_worker_reads_two_packages() -> None:
    if readable(Path(str(agex_policies.__file__)).parent.parent, interpreter_paths()):
        pytest.skip("agex is installed in site-packages, which is readable as a whole")
    assert not readable(str(agex_policies.__file__), interpreter_paths())


def test_paths_are_real_existing_and_none_within_another(tmp_path: Path) -> None:
    paths = interpreter_paths()
    assert all(os.path.realpath(path) == path and os.path.exists(path) for path in paths)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "ab").mkdir()
    (tmp_path / "link").symlink_to("a")
    given = [str(tmp_path / name) for name in ("link", "a/b", "a", "ab", "gone")]
    assert collapsed(given) == (str(tmp_path / "a"), str(tmp_path / "ab"))


@pytest.mark.parametrize("sees_system", [True, False])
def test_packages_of_the_base_are_readable_only_where_the_environment_sees_them(
    sees_system: bool, tmp_path: Path
) -> None:
    venv.create(tmp_path / "env", system_site_packages=sees_system, symlinks=True)
    code = (
        "import json, site, sys; sys.path += sys.argv[1:];"
        "from agex_policies.python_paths import _site_packages;"
        "print(json.dumps([_site_packages(), site.getsitepackages([sys.base_prefix])]))"
    )
    roots = [str(Path(str(package.__file__)).parent.parent) for package in (agex_policies, agex_protocol)]
    done = subprocess.run([tmp_path / "env/bin/python", "-I", "-c", code, *roots], capture_output=True, check=True)
    found, base = json.loads(done.stdout)
    seen = [path for path in base if path in found]
    assert bool(seen) == (sees_system and any(os.path.isdir(path) for path in base))
    assert any(Path(path).is_relative_to(tmp_path) for path in found)


def test_a_python_that_fills_a_home_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", sysconfig.get_path("purelib"))
    with pytest.raises(PolicyError) as caught:
        interpreter_paths()
    assert caught.value.remedy == "install Python, or make the virtual environment, in a directory of its own"
