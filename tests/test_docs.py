"""What the code lists and what the documents list is the same: nothing is undocumented, nothing documented is gone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main

import agex
from agex.cli import app
from agex_policies import sections
from agex_policies.load import packaged_names
from agex_policies.narrowing import WITHIN
from agex_policies.schema import Policy, values
from agex_policies.syscall_options import OPTIONAL
from agex_protocol import budget, framing, messages, references, turns, zygote_messages
from agex_supervisor.events import KINDS
from agex_supervisor.promises import CELLS, FLOOR, PROCESS_HOLDS

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SOURCES = [
    path
    for folder in ("agex", "policies", "protocol", "supervisor", "worker")
    for path in (ROOT / folder).rglob("*.py")
]


def test_every_message_has_its_line_and_no_line_outlives_its_message() -> None:
    unions = (zygote_messages.ToZygote, zygote_messages.FromZygote, messages.ToWorker, messages.ToSupervisor)
    declared = {kind.__name__ for union in unions for kind in get_args(union)}
    assert set(_table("docs/protocol.md", "message")) == declared


def test_the_states_in_the_document_are_those_of_the_tables() -> None:
    rows = [cells for cells in _rows("docs/protocol.md", "peer")]
    shown = {(peer, state.strip("`")): said for peer, state, said in rows}
    declared = {("worker", state): kinds for state, kinds in turns.FROM_WORKER.items()}
    declared |= {("zygote", state): kinds for state, kinds in turns.FROM_ZYGOTE.items()}
    assert shown == {
        key: ", ".join(sorted(kind.__name__ for kind in kinds)) or "nothing" for key, kinds in declared.items()
    }


def test_the_caps_in_the_document_are_those_of_the_code() -> None:
    text = _read("docs/protocol.md")
    caps = {cells[0]: cells[1] for cells in _rows("docs/protocol.md", "bound")}
    assert caps["bytes of structure (head)"] == f"`results.max_size`, at most {budget.Caps().head_bytes >> 20} MiB"
    assert caps["memory that a head could unfold to"] == f"{budget.Caps().memory_bytes >> 30} GiB"
    assert caps["buffers"] == f"{budget.Caps().buffers:,}"
    assert caps["nesting"] == f"{budget.Caps().depth} levels"
    assert caps["bits of an int"] == f"{budget.MAX_INT_BITS:,}"
    assert caps["exponent of a Decimal"] == f"{budget.MAX_DECIMAL_EXPONENT:,}"
    assert caps["bytes of a pattern"] == f"{budget.MAX_PATTERN_BYTES:,}"
    assert caps["keys of a set or dict that share one hash"] == str(budget.MAX_SHARED_HASH)
    assert caps["objects of one worker behind handles at once"] == f"{references.MAX_HANDLES:,}"
    assert caps["objects of one worker behind handles in its life"] == f"{references.MAX_NUMBER:,}"
    assert f"No frame\nis longer than {framing.MAX_FRAME_BYTES >> 20} MiB" in text
    assert f"`PROTOCOL_VERSION` is {messages.PROTOCOL_VERSION} " in text


def test_every_kind_of_event_has_its_line() -> None:
    assert _table("docs/tasks.md", "event") == [kind.__name__ for kind in KINDS]


def test_every_policy_key_has_its_line_with_its_default() -> None:
    defaults = values(Policy()) | {"extends": None, "widen": (), "description": ""}
    rows = {cells[0].strip("`"): cells[1].strip("`") for cells in _rows("docs/policies.md", "key")}
    assert rows == {key: _shown(value) for key, value in defaults.items()}


def test_every_group_of_system_calls_that_a_policy_can_open_has_its_line() -> None:
    assert _table("docs/policies.md", "group") == [group.name for group in OPTIONAL]


def test_every_limit_says_what_it_counts_for() -> None:
    counted = {cells[0].strip("`"): cells[2] for cells in _rows("docs/policies.md", "key") if cells[2]}
    limits = {key for key in WITHIN if key.startswith("limits.")} | {"results.max_size"}
    assert set(counted) == limits
    assert {key: _counted_by_schema(key) for key in limits} == counted


def test_every_packaged_policy_is_named() -> None:
    section = _section("docs/policies.md", "The packaged policies")
    assert set(re.findall(r"^- `([a-z-]+)`:", section, re.MULTILINE)) == set(packaged_names())


def test_every_public_error_has_its_line_and_no_line_outlives_its_error() -> None:
    public = {name for name in agex.__all__ if _is_error(getattr(agex, name))}
    assert set(_table("docs/architecture.md", "error")) == public


def test_every_command_has_its_line_and_no_line_outlives_its_command() -> None:
    assert set(_table("README.md", "command")) == set(_commands(typer.main.get_command(app), "agex"))


def test_the_promise_matrix_in_the_document_is_that_of_the_code() -> None:
    shown = {cells[0].strip("`"): cells[2] for cells in _rows("docs/architecture.md", "promise")}
    assert shown == {
        promise: " / ".join(" + ".join(sorted(str(mechanism) for mechanism in cell)) for cell in cells)
        for promise, cells in CELLS.items()
    }


def test_the_floor_and_what_process_holds_are_those_of_the_code() -> None:
    text = " ".join(_section("docs/architecture.md", "The promise matrix").split())
    assert f"by anything: {', '.join(each.layer for each in FLOOR)}." in text
    held = ", ".join(f"`{promise}` ({', '.join(layers)})" for promise, layers in PROCESS_HOLDS.items())
    assert held in text


def test_every_environment_variable_of_ours_has_its_line_in_the_readme() -> None:
    named = {name for path in SOURCES for name in re.findall(r"\bAGEX_[A-Z_]+\b", path.read_text(encoding="utf-8"))}
    assert {name for name in _table("README.md", "variable") if name.startswith("AGEX_")} == named


def test_glossary_entries_have_at_most_fifteen_words_and_are_in_order() -> None:
    section = " ".join(_section("docs/architecture.md", "Glossary").split())
    entries = re.findall(r"- \*\*(.+?)\*\*: (.+?)(?= - \*\*|$)", section)
    assert [term for term, _ in entries] == sorted(term for term, _ in entries)
    assert {term: len(words.split()) for term, words in entries if len(words.split()) > 15} == {}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_python_blocks_compile(document: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    for number, block in enumerate(blocks, start=1):
        compile(block, f"{document.name}, block {number}", "exec")


def test_the_examples_of_the_readme_that_need_no_model_print_what_they_say() -> None:
    blocks = re.findall(r"```python\n(.*?)```", _read("README.md"), re.DOTALL)
    printed = [
        subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, check=True).stdout.splitlines()
        for block in blocks
        if " Sandbox(" in block
    ]
    assert [lines[0] for lines in printed] == ["ok 91.0", "2 13.0"] and printed[1][1:] == ["2"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_policies_in_toml_blocks_are_right(document: Path, tmp_path: Path) -> None:
    (tmp_path / "reference-data").mkdir()
    for block in re.findall(r"```toml\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
        file = tmp_path / "policy.toml"
        file.write_text(block, encoding="utf-8")
        Policy.load(file)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_and_files_that_are_named_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    linked = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    missing = [link for link in linked if link and not (document.parent / link).exists()]
    named = re.findall(r"`([a-z_]+/[a-z_/]+\.(?:py|toml|md))`", text)
    missing += [path for path in named if not (ROOT / path).exists()]
    assert missing == []


def test_the_folder_map_names_folders_that_exist() -> None:
    block = re.search(r"```\n(.*?)```", _section("docs/architecture.md", "The folders"), re.DOTALL)
    assert block is not None
    above = Path()
    for line in block[1].splitlines():
        for name in re.findall(r"([a-z_/]+/)(?=\s|$)", line):
            folder = above / name if line.startswith(" ") else Path(name)
            assert (ROOT / folder).is_dir(), folder
        if not line.startswith(" "):
            above = Path(line.split()[0])


def _read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def _section(document: str, heading: str) -> str:
    return _read(document).partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def _rows(document: str, first_heading: str) -> list[list[str]]:
    """The cells of the one table whose first column is headed so."""
    lines = iter(_read(document).splitlines())
    for line in lines:
        if line.startswith(f"| {first_heading} |"):
            next(lines)
            return [_cells(row) for row in _while_rows(lines)]
    raise AssertionError(f"{document} has no table of {first_heading}")


def _table(document: str, first_heading: str) -> list[str]:
    """The names in the first column; several may stand in one cell."""
    return [name for cells in _rows(document, first_heading) for name in re.findall(r"`([^`]+)`", cells[0])]


def _while_rows(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if not line.startswith("|"):
            return
        yield line


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip().strip("|").split("|")]


def _shown(value: Any) -> str:
    return "none" if value is None else json.dumps(list(value) if isinstance(value, tuple) else value)


def _counted_by_schema(key: str) -> str:
    table, leaf = key.split(".")
    section: type[sections.Section] = getattr(sections, table.capitalize())
    description = section.model_fields[leaf].description or ""
    return description.partition(":")[0].removeprefix("Per ")


def _is_error(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, Exception)


def _commands(command: Any, path: str) -> Iterator[str]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path
        return
    for name, each in inner.items():
        yield from _commands(each, f"{path} {name}")
