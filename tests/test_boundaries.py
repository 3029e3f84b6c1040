"""The walls between the packages: who imports whom, who unpickles, and what a worker is made of."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import agex

ROOT = Path(__file__).parents[1]
TRUSTED = ("agex", "supervisor/agex_supervisor", "policies/agex_policies", "protocol/agex_protocol")
UNPICKLERS = {"pickle", "_pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}

# Of the interpreter and of its installation, and what compiled modules (msgpack's) bring along under names of their own.
PYTHONS_OWN = (
    "__main__",
    "sitecustomize",
    "_distutils_hack",
    "_virtualenv",
    "_sysconfigdata_",
    "cython_runtime",
    "_cython_",
)


def test_the_import_contracts_hold() -> None:
    tool = Path(sys.executable).with_name("lint-imports")

    finished = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)

    assert finished.returncode == 0, finished.stdout + finished.stderr


def sources() -> Iterator[Path]:
    for folder in TRUSTED:
        yield from (ROOT / folder).rglob("*.py")


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_one_file_of_the_trusted_side_pickles_and_one_unpickles_for_who_asks_for_it_by_name() -> None:
    pickling: list[str] = []
    unpickling: dict[str, set[str]] = {}
    for path in sources():
        tree = ast.parse(path.read_text())
        if imported(tree) & UNPICKLERS:
            pickling.append(path.name)
        loading = {
            ast.unparse(node)
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and node.attr in ("load", "loads", "Unpickler", "read_pickle")
            and isinstance(node.value, ast.Name)
            and node.value.id in UNPICKLERS | {"pandas", "pd", "numpy", "np"}
        }
        if loading:
            unpickling[path.name] = loading

    assert sorted(pickling) == ["outbound.py", "trusted_unpickle.py"]
    assert unpickling == {"trusted_unpickle.py": {"pickle.loads"}}


def test_what_unpickles_is_imported_where_a_task_says_so_and_nowhere_else() -> None:
    naming = [path.name for path in sources() if "trusted_unpickle" in path.read_text()]
    assert naming == ["task.py"]


def test_no_trusted_file_runs_text_as_code() -> None:
    for path in sources():
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        names = {call.id for call in calls if isinstance(call, ast.Name)}
        assert not names & {"eval", "exec", "__import__"}, path


# Nothing else may be in a worker before the modules that were registered: each is attack surface, and time to fork.
@pytest.mark.parametrize(("isolation", "bindings"), [("kernel", {"msgpack", "landlock"}), ("process", {"msgpack"})])
def test_a_bare_worker_holds_the_standard_library_the_bindings_and_our_own_two(
    isolation: str, bindings: set[str]
) -> None:
    code = "import sys\n[name for name in sys.modules if name.partition('.')[0] not in sys.stdlib_module_names]"
    with agex.Sandbox(isolation=isolation, policy="full-python") as sandbox:
        modules = sandbox.run(code, returns=list[str]).unwrap()

    tops = {name.partition(".")[0] for name in modules if not name.startswith(PYTHONS_OWN)}
    assert tops == {"agex_worker", "agex_protocol", *bindings}


def test_a_worker_knows_nothing_of_what_the_trusted_side_needs() -> None:
    code = "import sys\n[name for name in given if name in sys.modules]"
    never = [
        "agex",
        "agex_supervisor",
        "agex_policies",
        "pydantic",
        "openai",
        "typer",
        "rich",
        "psutil",
        "asyncio",
        "ssl",
    ]
    with agex.Sandbox(policy="full-python") as sandbox:
        assert sandbox.run(code, {"given": never}, returns=list[str]).unwrap() == []
