"""Kills processes in the middle of a session, and looks at what they left in the store.

    python -m tests.agex.session_death [HOW_MANY] [ISOLATION]

Each process goes on with the session that the one before it was killed in. Every action writes its number to a file and to the
cache; in every version there are as many actions as these two say.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

import agex
from agex.llm import Scripted

ACTION = """
n = cache.get('n', 0) + 1
with open('n.txt', 'w') as file:
    file.write(str(n))
cache['n'] = n
print(n)
"""


def killed_sessions(url: str, how_many: int, isolation: str, most_s: float) -> int:
    """Let so many processes work in one session, each for a few actions and a random while. The number of actions kept."""
    for number in range(how_many):
        ready, ours = os.pipe()
        child = os.fork()
        if child == 0:
            _work(url, isolation, ours)
        os.close(ours)
        for _ in range(1 + number % 3):
            os.read(ready, 1)  # an action is about to begin, and the one before it is kept
        os.close(ready)
        time.sleep(random.uniform(0, most_s))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return check(url)


def check(url: str) -> int:
    """Every version is whole. The number of actions in the newest."""
    with agex.State(url) as state:
        session = state.session()
        counts: dict[str, int] = {}
        count = 0
        for event in agex.events(session):
            count += isinstance(event, agex.ActionEvent)
            counts[event.commit_hash or ""] = count
        for commit in session.history():
            then = session.checkout(commit.hash)
            held = (int(then.files.read("n.txt")), then.cache["n"])
            assert held == (counts[commit.hash],) * 2, (commit, held, counts[commit.hash])
        return count


def _work(url: str, isolation: str, ready: int) -> NoReturn:
    def action(request: object) -> str:
        try:
            os.write(ready, b".")
        except BrokenPipeError:
            pass  # it is about to be killed
        return ACTION

    script = [action] * 10_000
    agent = agex.Agent(llm=Scripted(script), isolation=isolation, state=url, max_actions=len(script))

    @agent.task
    def count() -> int:
        """Count."""
        raise NotImplementedError

    count.run()
    os._exit(1)


if __name__ == "__main__":
    many = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    kind = sys.argv[2] if len(sys.argv) > 2 else "none"
    with tempfile.TemporaryDirectory() as folder:
        kept = killed_sessions(f"sqlite:///{Path(folder)}/state.db", many, kind, 0.05)
        print(
            f"{many} processes of isolation {kind!r} were killed; {kept} actions were kept, every version of them whole"
        )
