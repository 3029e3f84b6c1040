"""What one commit of a session costs, beside a bare SQLite transaction of the same bytes: `python bench/state.py`.

The bar: 3 ms for a small workspace, and no more where much is there that did not change; also for the whole way of an
action through an agent, from one question to the model to the next, beside an agent that keeps nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from timing import Measured, interleaved, show

import agex
from agex.llm import Request, Scripted
from agex_supervisor.session_store import SessionStore
from agex_supervisor.state_store import StateStore
from agex_supervisor.workspace_reading import WorkspaceReading
from agex_supervisor.workspace_writing import write_workspace

ROUNDS = 200
LIMIT = "bare SQLite transaction, the same bytes"
CHANGED = 2_000
ACTIONS = 40
TASKS = 6
UNKEPT = "nothing kept"
FILL = "for number in range(20):\n    with open(f'{number}.bin', 'w') as file: file.write(str(number) * 1000)"
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


class Actions:
    """A task of many actions, each of which changes one of 20 files, in a session of its own."""

    def __init__(self, isolation: str, state: str) -> None:
        script = [self._fill, *[self._change] * ACTIONS, self._end] * TASKS
        self._keeps = state != UNKEPT
        self._asked: list[tuple[float, float]] = []
        self.wall_s: list[float] = []
        self.processor_s: list[float] = []
        self.agent = agex.Agent(
            isolation=isolation, llm=Scripted(script), state=state if self._keeps else None, max_actions=ACTIONS + 2
        )

        @self.agent.task
        def work(number: int) -> int:
            """Work."""
            raise NotImplementedError

        self._work = work

    def run(self, number: int) -> None:
        """Measure from each question to the next, but for those around the first action and the last."""
        self._asked.clear()
        if self._keeps:
            self._work.run(number, session=f"of-{number}").unwrap()
        else:
            self._work.map([number])
        for (earlier, worked_before), (later, worked) in pairwise(self._asked[1:]):
            self.wall_s.append(later - earlier)
            self.processor_s.append(worked - worked_before)

    def _fill(self, _: Request) -> str:
        self._note()
        return FILL

    def _change(self, _: Request) -> str:
        self._note()
        return f"with open('1.bin', 'w') as file: file.write('{len(self._asked):04}' * {CHANGED // 4})"

    def _end(self, _: Request) -> str:
        self._note()
        return "task_success(0)"

    def _note(self) -> None:
        self._asked.append((time.perf_counter(), time.thread_time()))


def show_actions(place: Path) -> None:
    ways = {
        f"{isolation}, {name}": Actions(isolation, url)
        for isolation in ("none", "kernel")
        for name, url in ((UNKEPT, UNKEPT), ("memory", "memory:"), ("a file", f"sqlite:///{place / isolation}.db"))
    }
    for number in range(TASKS):
        for way in ways.values():
            way.run(number)
    for way in ways.values():
        way.agent.close()
    wall: Measured = {name: way.wall_s for name, way in ways.items()}
    show("An action, from one question to the model to the next; one of 20 files changed", wall, f"none, {UNKEPT}")
    own: Measured = {name: way.processor_s for name, way in ways.items()}
    show("Of that, processor time of the application's thread", own, f"none, {UNKEPT}")


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
        show_actions(place)


if __name__ == "__main__":
    main()
