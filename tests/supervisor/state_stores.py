"""The stores that tests of versions run on: memory, a file, a server; and what their tests say again and again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agex_supervisor.state_store import StateStore
from tests.postgres import PostgresServer, running_server


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with running_server() as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    kind: str = request.param
    if kind == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_url()
    else:
        url = "memory:" if kind == "memory" else f"sqlite:///{tmp_path / 'state.db'}"
    with StateStore.open(url) as opened:
        yield opened


def event(text: str) -> str:
    return json.dumps({"kind": "NoteEvent", "message": text})
