"""An application's own modules reach the workers as source; what lies beside them stays where it is."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agex_protocol import messages as m
from agex_protocol.plan import LockdownPlan
from agex_supervisor.errors import PreloadFailed
from agex_supervisor.own_code import MAX_SOURCE_BYTES, NOT_OURS, OwnCode
from agex_supervisor.pool import Kit, Pool

Preloaded = Callable[..., Any]

FILES = {
    ".env": "KEY=sk-secret",
    "own_secrets.py": "KEY = 'sk-secret'",
    "own_module.py": "import own_package.part\nVALUE = own_package.part.VALUE + 1\ndef fail():\n    raise ValueError(VALUE)\n",
    "own_package/__init__.py": "from own_package import part as part",
    "own_package/part.py": "VALUE = 41",
    "own_package/late.py": "VALUE = 'late'",
    "own_package/data.txt": "data",
    "own_namespace/inner/leaf.py": "VALUE = 'leaf'",
}


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Path]:
    """A folder with an application's files. Whatever a test imported of it is forgotten afterwards."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]
    importlib.invalidate_caches()


@pytest.fixture
def beside(application: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """On sys.path, as the folder of a script is, or as the .pth file of an editable install puts it there."""
    monkeypatch.syspath_prepend(application)
    return application


@pytest.fixture
def preloaded(plan: LockdownPlan, pool: Pool, hire_from: Callable[..., Any]) -> Preloaded:
    return lambda *modules: hire_from(pool, Kit(plan, modules))


class Hook:
    """As setuptools installs one for an editable install: a finder that knows where each top-level package is."""

    def __init__(self, places: dict[str, Path]) -> None:
        self._places = places

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        place = self._places.get(name)
        return None if place is None else importlib.util.spec_from_file_location(name, place)


def test_a_module_beside_the_script_is_imported_with_what_it_imports(beside: Path, preloaded: Preloaded) -> None:
    worker = preloaded("own_module")
    assert worker.value("import own_module, own_package.part; own_module.VALUE * 100 + own_package.part.VALUE") == 4241


def test_an_editable_install_by_import_hook_is_imported(
    application: Path, preloaded: Preloaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"own_module": application / "own_module.py", "own_package": application / "own_package" / "__init__.py"}
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Hook(places)])
    assert preloaded("own_module").value("import own_module; own_module.VALUE") == 42


def test_a_namespace_package_is_imported(beside: Path, preloaded: Preloaded) -> None:
    worker = preloaded("own_namespace.inner.leaf")
    assert worker.value("import own_namespace.inner.leaf; own_namespace.inner.leaf.VALUE") == "leaf"


@pytest.mark.parametrize(
    "name", [".env", "own_secrets.py", "own_package/late.py", "own_package/data.txt", "own_module.py"]
)
def test_no_file_of_the_folder_can_be_read(name: str, beside: Path, preloaded: Preloaded) -> None:
    turn = preloaded("own_module").run(f"open({str(beside / name)!r}).read()")
    assert isinstance(turn.ending, m.Raised) and turn.ending.type == "PermissionError"


def test_a_late_import_says_what_to_register(beside: Path, preloaded: Preloaded) -> None:
    turn = preloaded("own_module").run("import own_package.late")
    assert isinstance(turn.ending, m.Raised)
    assert (turn.ending.type, turn.ending.message) == (
        "ModuleNotFoundError",
        "own_package.late was not imported when the workers were prepared, and the application's own files cannot be"
        " read from here; register it: agent.module('own_package.late')",
    )


def test_a_module_that_was_not_registered_is_not_there(beside: Path, preloaded: Preloaded) -> None:
    turn = preloaded("own_module").run("import own_secrets")
    assert isinstance(turn.ending, m.Raised) and turn.ending.type == "ModuleNotFoundError"


def test_a_traceback_shows_the_lines_of_own_code(beside: Path, preloaded: Preloaded) -> None:
    turn = preloaded("own_module").run("import own_module; own_module.fail()")
    assert isinstance(turn.ending, m.Raised)
    assert f'File "{beside / "own_module.py"}", line 4, in fail\n    raise ValueError(VALUE)\n' in turn.ending.traceback


def test_a_module_larger_than_a_frame_is_refused_by_name(beside: Path, preloaded: Preloaded) -> None:
    (beside / "own_secrets.py").write_text("#" * (MAX_SOURCE_BYTES + 1))
    with pytest.raises(PreloadFailed) as caught:
        preloaded("own_secrets")
    assert (caught.value.module, str(MAX_SOURCE_BYTES) in str(caught.value)) == ("own_secrets", True)


def test_source_is_given_for_what_the_zygote_cannot_read_only(beside: Path) -> None:
    readable = OwnCode([str(beside), *sys.path])
    assert readable.find("own_module") == readable.find("own_package") == NOT_OURS
    own = OwnCode([])
    found = own.find("own_module")
    assert (found.kind, found.file, found.source) == (
        "source",
        str(beside / "own_module.py"),
        FILES["own_module.py"].encode(),
    )
    assert own.find("sys") == own.find("there_is_no_such_module") == NOT_OURS


def test_a_part_is_found_only_below_a_package_that_was_asked_for(beside: Path) -> None:
    own = OwnCode([])
    assert own.find("own_package.part") == NOT_OURS
    assert own.find("own_package").kind == "package"
    assert own.find("own_package.part").source == b"VALUE = 41"


@pytest.mark.parametrize(
    "name", ["", ".", "own_package.", "../own_secrets", "own_package/part", "a" * 501, "a b", "\0"]
)
def test_a_name_that_is_no_modules_finds_nothing(name: str, beside: Path) -> None:
    assert OwnCode([]).find(name) == NOT_OURS


def test_a_module_whose_loader_gives_no_source_is_handed_over_as_its_file_has_it(
    application: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rewriting:
        """As pytest's: it loads something else than the file says."""

        def exec_module(self, module: ModuleType) -> None:
            module.VALUE = "rewritten"  # type: ignore[attr-defined]

    module = ModuleType("own_secrets")
    file = str(application / "own_secrets.py")
    module.__spec__ = importlib.machinery.ModuleSpec("own_secrets", Rewriting(), origin=file)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "own_secrets", module)
    assert OwnCode([]).find("own_secrets").source == FILES["own_secrets.py"].encode()
