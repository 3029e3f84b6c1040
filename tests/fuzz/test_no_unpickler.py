"""No byte of a worker reaches an unpickler, an evaluator or a loader of code: read from the source, and watched while it runs.

A task with trust="unpickle" is the one exception: the single file for it is named here, and nobody who decodes imports it.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

ROOT = Path(__file__).parents[2]
TRUSTED = ("agex", "supervisor/agex_supervisor", "policies/agex_policies", "protocol/agex_protocol")
TRUSTED_UNPICKLE = "trusted_unpickle.py"

# Modules that turn bytes into objects or code; `outbound.py` writes pickles and reads none.
LOADERS = {"pickle", "_pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "yaml", "jsonpickle", "code", "codeop", "runpy"}  # fmt: skip
WRITERS = {"outbound.py": {"pickle", "cloudpickle"}}
# The front matter of skills, which the application gives, is read as plain data.
READERS = {"skills.py": {"yaml"}}
# Calls, by the last part of their name, that do the same or may.
LOADING = {
    *(
        "eval",
        "exec",
        "compile",
        "__import__",
        "import_module",
        "exec_module",
        "load_module",
        "spec_from_file_location",
    ),
    *("loads", "load", "Unpickler", "read_pickle", "read_hdf", "fromfile", "memmap", "read_feather", "deserialize"),
    *("system", "popen", "Popen", "literal_eval", "get_type_hints", "FunctionType", "CodeType", "construct", "dlopen"),
}
# Those that read plain data, whoever wrote it, or no data at all.
HARMLESS = {"json.loads", "tomllib.loads", "Policy.load", "platform.system", "re.compile"}
# Each other such call that there is: what it loads is the application's own or ours, never chosen by a worker.
KNOWN = {
    "agex/__init__.py: importlib.import_module": "our own modules, by a fixed table",
    "agex/agent.py: import_module": "agex.local, by its name",
    "agex/llm/__init__.py: importlib.import_module": "the clients of models, by a fixed table",
    "agex/entries.py: importlib.import_module": "modules that the application registers by name",
    "agex/catalogue.py: entry.load": "the same",
    "agex/members.py: load": "the same",
    "agex/registry.py: load": "the same",
    "agex/signatures.py: typing.get_type_hints": "annotations of registered functions",
    "agex/terms.py: get_type_hints": "annotations of tasks",
    "supervisor/agex_supervisor/annotations.py: typing.get_type_hints": "annotations of tasks and registered functions",
    "supervisor/agex_supervisor/event_json.py: get_type_hints": "annotations of our own events",
    "supervisor/agex_supervisor/records.py: get_type_hints": "annotations of declared classes",
    "supervisor/agex_supervisor/reach.py: typing.get_type_hints": "annotations of the class behind a handle",
    "agex/hosted_members.py: load": "modules that the application registers",
    "protocol/agex_protocol/codec.py: get_type_hints": "annotations of our own messages",
    "protocol/agex_protocol/libraries.py: importlib.import_module": "our own codecs, by a fixed table",
    "protocol/agex_protocol/blocks.py: importlib.import_module": "a part of pandas, by a fixed name",
    "protocol/agex_protocol/images.py: image.load": "pixels of an image, where it is encoded",
}


def sources() -> Iterator[Path]:
    for folder in TRUSTED:
        yield from sorted((ROOT / folder).rglob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield (node.func.id if isinstance(node.func, ast.Name) else node.func.attr), node


def test_no_trusted_file_imports_a_loader_of_objects_or_code() -> None:
    found = {path.name: imported(ast.parse(path.read_text())) & LOADERS for path in sources()}
    assert {
        name: modules for name, modules in found.items() if modules and name != TRUSTED_UNPICKLE
    } == WRITERS | READERS


def test_yaml_is_read_as_plain_data_only() -> None:
    tree = ast.parse((ROOT / "agex/skills.py").read_text())
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert {each for each in used if each.startswith("yaml.")} == {"yaml.safe_load", "yaml.YAMLError"}


def test_every_call_that_could_load_an_object_or_code_is_known() -> None:
    found: set[str] = set()
    for path in sources():
        for name, call in calls(ast.parse(path.read_text())):
            text = ast.unparse(call.func)
            if name in LOADING and text not in HARMLESS and path.name != TRUSTED_UNPICKLE:
                found.add(f"{path.relative_to(ROOT)}: {text}")
    started = {f"supervisor/agex_supervisor/{name}.py: subprocess.Popen" for name in ("zygote", "huge_pages")}
    assert found - started == set(KNOWN)


def test_no_call_lets_a_library_unpickle() -> None:
    for path in sources():
        for _, call in calls(ast.parse(path.read_text())):
            assert not {keyword.arg for keyword in call.keywords} & {"allow_pickle", "object_hook_pickle"}, path


@pytest.mark.parametrize("folder", ["protocol/agex_protocol", "policies/agex_policies"])
def test_nobody_who_decodes_imports_the_file_that_unpickles(folder: str) -> None:
    for path in sorted((ROOT / folder).rglob("*.py")):
        assert "trusted_unpickle" not in path.read_text(), path


def watched(what: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.fuzz.watched", what]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (finished.returncode, finished.stderr) == (0, "")
    return cast(dict[str, Any], json.loads(finished.stdout))


def test_decoding_hostile_values_loads_makes_and_runs_nothing() -> None:
    seen = watched("decode")
    assert seen["read"] > 5000
    # Time zones are data, and only those are looked for that there are.
    zones = tuple(f"open '{folder}/" for folder in zoneinfo.TZPATH)
    assert [event for event in seen["events"] if not event.startswith(zones)] == []


def test_reading_hostile_workers_loads_makes_and_runs_nothing() -> None:
    seen = watched("worker")
    assert seen["read"] > 50
    assert seen["events"] == {}


def test_the_watch_sees_an_unpickler() -> None:
    code = """
import json, pickle, sys
from tests.fuzz import watched
sys.addaudithook(watched.hook)
watched.watching.update(watched.WATCHED)
pickle.loads(watched.PICKLES[2])
watched.watching.clear()
print(json.dumps(sorted(event.split()[0] for event in watched.events)))
"""
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert json.loads(finished.stdout) == ["compile", "exec", "os.system", "pickle.find_class"], finished.stderr


def test_the_store_of_versions_is_opened_in_one_place_and_there_with_plain_bytes() -> None:
    found: list[str] = []
    for path in sources():
        tree = ast.parse(path.read_text())
        for name, call in calls(tree):
            if name == "Repo" or ast.unparse(call.func) == "kvgit.open":
                codec = [ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg == "codec"]
                found.append(f"{path.name}: {ast.unparse(call.func)} {codec}")
            assert not ({"codec", "encoder", "decoder"} & {keyword.arg for keyword in call.keywords}) or name == "Repo"
    assert found == ["state_store.py: Repo [\"'bytes'\"]"]


def test_nobody_imports_what_of_the_store_of_versions_unpickles() -> None:
    imports = {
        (node.module, alias.name)
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kvgit")
        for alias in node.names
    }
    errors = ("BranchExistsError", "BranchMovedError", "CorruptHeadError", "KvgitError", "StorageVersionError", "UnknownBranchError", "UnknownCommitError")  # fmt: skip
    assert imports == {
        *(("kvgit", name) for name in ("Commit", "ROOT_COMMIT", "Repo", "Snapshot", "Worktree", *errors)),
        ("kvgit.kv.base", "KVStore"),
        ("kvgit.kv.memory", "Memory"),
        ("kvgit.kv.postgres", "Postgres"),
        ("kvgit.versioned.kv", "commit_hash"),
    }


def test_reading_a_store_full_of_pickles_finds_no_class_and_runs_nothing() -> None:
    seen = watched("store")
    assert seen["read"] > 100
    assert seen["events"] == {}
