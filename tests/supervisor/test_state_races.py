"""Several processes that commit to one session of one store, as fast as they can."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from agex_supervisor.state_store import StateStore
from tests.postgres import PostgresServer
from tests.supervisor.state_stores import postgres as postgres
from tests.supervisor.state_writer import SESSION

ROOT = Path(__file__).parents[2]
WRITERS = ("one", "two", "three")
COMMITS = 40


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_processes_that_commit_to_one_session_at_once_lose_no_event(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    if kind == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_url()
    else:
        url = f"sqlite:///{tmp_path / 'state.db'}"

    # They are also the first to open it, all at once.
    command = [sys.executable, "-m", "tests.supervisor.state_writer", "many", url]
    writers = [
        subprocess.Popen([*command, who, str(COMMITS)], cwd=ROOT, stderr=subprocess.PIPE, text=True) for who in WRITERS
    ]
    for writer in writers:
        assert writer.communicate(timeout=120)[1] == ""
        assert writer.returncode == 0

    with StateStore.open(url) as store:
        session = store.session(SESSION)
        said = [json.loads(text)["message"] for text, _ in session.events()]
        conflicts = [
            each for each in said if each.startswith("changed by somebody else at the same time: the file shared")
        ]
        own = [each for each in said if each not in conflicts]
        for who in WRITERS:
            assert [each for each in own if each.startswith(f"{who} ")] == [f"{who} {n}" for n in range(COMMITS)]
        assert len(own) == len(WRITERS) * COMMITS == len(session.history())
        expected = {f"{who}/{number}" for who in WRITERS for number in range(COMMITS)} | {"shared"}
        assert set(session.files()) == expected
        # What stands is what was committed last.
        assert session.files()["shared"].decode() == own[-1]
