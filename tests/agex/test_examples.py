"""The first programs of the three users run as they are written."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from agex.llm import scripted_server

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTED = "AGEX_MODEL is not set: the model is scripted"

ANALYSIS = [
    "month,north,south",
    "2026-01,7.5,2.5",
    "2026-02,10.0,0.0",
    "2026-03,12.5,22.5",
    "left out: 1; figure: 'Revenue by month' of 2 traces",
]
EXTRACTION = [
    "Bill(number='K-17', day=datetime.date(2026, 3, 2), lines=[Line(article='Tea', pieces=3, price=Decimal('4.50')),"
    " Line(article='Cups', pieces=2, price=Decimal('7.25'))], currency='EUR', total=Decimal('28.00'))",
    "Bill(number='K-18', day=datetime.date(2026, 3, 5), lines=[Line(article='Kettle', pieces=1,"
    " price=Decimal('39.00'))], currency='USD', total=Decimal('39.00'))",
    "failed: K-19: the lines come to 9.00, the letter says 90.00",
]
TERMINAL_AND_SKILLS = [
    "---",
    "name: orders",
    "description: How articles are ordered in this house. Read it before you order anything.",
    "---",
    "# Orders",
    "Of what is below one pack, one pack is ordered. Packs are in packs.txt; pick.py does the sums:",
    "`stock | python skills/orders/pick.py | order`",
    "order: Order what standard input says, a line each: ARTICLE PIECES",
    "ordered 20 of tea",
    "ordered 5 of tin",
    "['tea', 'tin'] {'tea': 20, 'tin': 5}",
]
TIME_TRAVEL = [
    "Dear Ada,",
    "we are sorry: the kettle is late.",
    "",
    "what happened, and what each action left:",
    "  WriteFile    files {'letter.txt': 30} cache {}",
    "  PythonAction files {'letter.txt': 30} cache {'tone': 'plain'}",
    "  EditFile     files {'letter.txt': 44} cache {'tone': 'plain'}",
    "  PythonAction files {'letter.txt': 44} cache {'tone': 'kind'}",
    "from task to task: files ('letter.txt',), cache ('tone',)",
    "ann: 'Dear Ada,\\nwe are sorry: the kettle is late.\\n'",
    "ben: 'Dear Ada,\\nthe kettle comes on Monday.\\n'",
]
LINES = {
    "analysis.py": ANALYSIS,
    "extraction.py": EXTRACTION,
    "terminal_and_skills.py": TERMINAL_AND_SKILLS,
    "time_travel.py": TIME_TRAVEL,
}


def run(name: str, **given: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI", "AGEX"))}
    finished = subprocess.run(
        [sys.executable, str(EXAMPLES / name)], env=environment | given, capture_output=True, text=True, timeout=300
    )
    assert (finished.returncode, finished.stderr) == (0, ""), finished.stderr
    return finished.stdout


def test_every_example_is_tried_here() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == [
        "analysis.py",
        "embedder.py",
        "evaluator.py",
        "extraction.py",
        "handles.py",
        "live_objects.py",
        "network.py",
        "orchestrator.py",
        "server.py",
        "skills.py",
        "terminal.py",
        "terminal_and_skills.py",
        "time_travel.py",
        "tune_policy.py",
    ]


@pytest.mark.parametrize("name", LINES)
def test_an_example_gives_these_lines_without_a_key_or_a_network(name: str) -> None:
    assert run(name).splitlines() == [SCRIPTED, *LINES[name]]


@pytest.mark.parametrize("name", LINES)
def test_an_example_asks_the_model_that_two_variables_name(name: str) -> None:
    script = runpy.run_path(str(EXAMPLES / name))["SCRIPT"]

    with scripted_server(script) as url:
        lines = run(name, AGEX_MODEL="openai:some-model", OPENAI_API_KEY="k", OPENAI_BASE_URL=url).splitlines()

    assert lines == LINES[name]
    assert [body["model"] for body in url.requests] == ["some-model"] * len(script)


def test_the_embedder_gets_a_dict_of_floats() -> None:
    assert run("embedder.py").splitlines()[-1] == "{'price': 499999.5, 'revenue': 1.5}"


def test_objects_that_are_not_data_are_used_where_they_are_stored_sealed_and_called() -> None:
    assert run("handles.py").splitlines() == [
        "<Handle of Line: Line(slope=2, start=1)>",
        "predicted: [7.0, 9.0] slope: 2.0",
        "stored: Line Line(slope=2, start=1)",
        "highest: 21.0",
        "within: 0.25 1.0",
    ]


def test_peers_improve_a_draft_in_an_ordinary_loop() -> None:
    assert run("evaluator.py").splitlines()[1:] == [
        "sent back: Our kettle boils water extremely quickly and also looks nice.",
        "approved: Our kettle boils a litre in two minutes.",
    ]


def test_an_orchestrator_counts_what_its_specialists_say_and_what_they_cannot() -> None:
    lines = run("orchestrator.py").splitlines()

    assert lines[-1] == "good=1 bad=1 unclear=1 summary='1 content, 1 not, 1 unclear'"
    assert lines[1] == "task report boss · session default"
    assert lines.count("  task mood boss/sorter · session default.sorter") == 3
    assert "  the agent asks boss/sorter" in lines


def test_an_agent_reads_its_skill_and_does_as_it_says() -> None:
    assert run("skills.py") == "gross: 12.44\n"


def test_the_server_answers_each_tenant_and_is_harmed_by_none() -> None:
    lines = {line.split()[0]: line.split(maxsplit=2)[1:] for line in run("server.py").splitlines()}

    assert lines["ada"] == ["ok", str(29.9 * 2 + 45.5)]
    assert lines["bob"][0] == "error"
    assert lines["eve"][0] == "error"
    assert lines["mallory"][0] == "timeout"


def test_the_operator_sees_the_typo_the_limit_and_what_holds() -> None:
    text = run("tune_policy.py")

    assert "refused:" in text and "wal_time" in text and "wall_time" in text
    assert "MemoryError" in text
    assert "files.read       held by landlock" in text


def test_code_reaches_the_granted_host_and_no_other() -> None:
    lines = run("network.py").splitlines()

    assert sum('/prices: {"tea": 4.5}' in line for line in lines) == 1
    assert "  network refused connect '169.254.169.254:80' (network.allow would allow it)" in lines
    assert "169.254.169.254:80: refused: the policy does not grant it" in lines


def test_a_connection_stays_here_and_code_asks_it_what_was_registered() -> None:
    assert run("live_objects.py").splitlines() == [
        "pieces: {'tea': 3, 'tin': 1}",
        "orders.find('tea').first(): ['tea', 3]",
        "orders.find(7): TypeError",
        "orders._db: Refused",
        "orders.close(): AttributeError",
        "orders.find('tea').cursor: AttributeError",
    ]


def test_a_terminal_with_a_command_of_the_application_makes_a_report() -> None:
    assert run("terminal.py").splitlines()[-5:] == [
        "[stderr]",
        "stock: no such article: spoon",
        "[exit code 3]",
        "tea     3 pieces",
        "cup    12 pieces",
    ]
