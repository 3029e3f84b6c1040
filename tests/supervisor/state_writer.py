"""Processes that commit, for tests that kill them or set them on one store: `python -m tests.supervisor.state_writer MODE`.

nursery: forks a writer for each line of standard input, the path of a store. A writer commits until it is killed, and says
of each commit when it was acknowledged. many URL WHO COUNT: makes so many commits to one session, and ends.
"""

from __future__ import annotations

import json
import os
import sys

from agex_supervisor.session_store import SessionStore
from agex_supervisor.state_store import StateStore

SESSION = "default"
# More than a page of SQLite's, and than what it keeps of a transaction before it writes.
CONTENT_BYTES = 50_000


def number_of(session: SessionStore, commit: str | None = None) -> int:
    return int(session.cache(commit).get("number", b"-1"))


def commit_next(session: SessionStore, number: int) -> str:
    """Files, cache and an event that only belong together."""
    return session.commit(
        files={"number": str(number).encode(), f"data/{number % 7}": bytes([number % 256]) * CONTENT_BYTES},
        removed=[f"once/{number - 1}"] if number else [],
        cache={"number": str(number).encode()},
        events=[json.dumps({"kind": "NoteEvent", "message": str(number)})],
        message=str(number),
    )


def _say(text: str) -> None:
    os.write(1, f"{text}\n".encode())


def _write_until_killed(path: str) -> None:
    session = StateStore.open(f"sqlite:///{path}").session(SESSION)
    number = number_of(session)
    while True:
        number += 1
        _say(f"ack {number} {commit_next(session, number)}")


def _nursery() -> None:
    import kvgit  # noqa: F401  # imported once, not in each writer

    import agex_supervisor.sqlite_store  # noqa: F401

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                _say(f"pid {os.getpid()}")
                _write_until_killed(line.rstrip("\n"))
            finally:
                os._exit(1)
        _, status = os.waitpid(pid, 0)
        _say(f"gone {status}")


def _many(url: str, who: str, count: int) -> None:
    session = StateStore.open(url).session(SESSION)
    for number in range(count):
        session.commit(
            files={f"{who}/{number}": b"1", "shared": f"{who} {number}".encode()},
            events=[json.dumps({"kind": "NoteEvent", "message": f"{who} {number}"})],
        )


if __name__ == "__main__":
    if sys.argv[1] == "nursery":
        _nursery()
    else:
        _many(sys.argv[2], sys.argv[3], int(sys.argv[4]))
