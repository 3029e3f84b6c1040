"""What one commit of a session costs, beside a bare SQLite transaction of the same bytes: `python bench/state.py`.

The bar: 3 ms for a small workspace, and no more where much is there that did not change.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path

from timing import interleaved, show

from agex_supervisor.session_store import SessionStore
from agex_supervisor.state_store import StateStore
from agex_supervisor.workspace_reading import WorkspaceReading
from agex_supervisor.workspace_writing import write_workspace

ROUNDS = 200
LIMIT = "bare SQLite transaction, the same bytes"
CHANGED = 2_000
EVENTS = [json.dumps({"kind": "NoteEvent", "message": "x" * 400})] * 3


def bare(path: Path) -> Callable[[], None]:
    """A row for what changed and one for the events, with the settings of the store."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE entry (key INTEGER PRIMARY KEY, value BLOB)")

    def transact() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO entry (value) VALUES (?)", (os.urandom(CHANGED),))
        connection.execute("INSERT INTO entry (value) VALUES (?)", ("".join(EVENTS).encode(),))
        connection.execute("COMMIT")

    return transact


def filled(store: StateStore, files: int, earlier: int = 0) -> SessionStore:
    """A session with so many files and so many events of the past."""
    session = store.session(f"of-{files}-{earlier}")
    session.commit(files={f"data/{number}.bin": os.urandom(CHANGED) for number in range(files)})
    for _ in range(earlier // 1000):
        session.commit(events=EVENTS[:1] * 1000)
    return session


def commit_of(session: SessionStore) -> Callable[[], object]:
    return lambda: session.commit(files={"data/1.bin": os.urandom(CHANGED)}, events=EVENTS, message="action 7")


def reading_of(folder: Path, files: int) -> Callable[[], object]:
    """A look at a workspace of which one file has changed."""
    folder.mkdir()
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    digests = write_workspace({f"data/{number}.bin": os.urandom(CHANGED) for number in range(files)}, directory)
    workspace = WorkspaceReading(max_bytes=1 << 30, max_files=100_000, known=digests)

    def read() -> None:
        (folder / "data" / "1.bin").write_bytes(os.urandom(CHANGED))
        workspace.read(directory)
        workspace.committed()

    return read


def main() -> None:
    # Workspaces lie in memory, as those of workers with namespaces do.
    memory_disk = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryDirectory(dir=memory_disk) as shared:
        place, workspaces = Path(scratch), Path(shared)
        with StateStore.open(f"sqlite:///{place / 'state.db'}") as store, StateStore.open("memory:") as memory:
            tasks: dict[str, Callable[[], object]] = {
                LIMIT: bare(place / "bare.db"),
                "commit, 20 files": commit_of(filled(store, 20)),
                "commit, 1,000 files": commit_of(filled(store, 1_000)),
                "commit, 10,000 files": commit_of(filled(store, 10_000)),
                "commit, 20 files, 20,000 events before": commit_of(filled(store, 20, 20_000)),
                "commit in memory, 20 files": commit_of(filled(memory, 20)),
                "reading a workspace, 20 files": reading_of(workspaces / "20", 20),
                "reading a workspace, 1,000 files": reading_of(workspaces / "1000", 1_000),
            }
            show("One of the files changed, three events; 2,000 bytes each", interleaved(ROUNDS, tasks), LIMIT)
            size = (place / "state.db").stat().st_size + (place / "state.db-wal").stat().st_size
            print(f"\nThe store has {size / 1e6:.1f} MB.")


if __name__ == "__main__":
    main()
