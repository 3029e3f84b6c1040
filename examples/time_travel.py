"""Time travel: two tasks of one session, each action a version of its files and cache; back to one, and on from there.

With a real model:   OPENAI_API_KEY=... AGEX_MODEL=openai:gpt-5-mini python examples/time_travel.py
Any other server:    OPENAI_BASE_URL=http://localhost:8000/v1 AGEX_MODEL=openai:NAME python examples/time_travel.py
With neither, a scripted model stands in, and says so.

`agex state show FILE --session ann` looks at such a store from outside.
"""

from __future__ import annotations

import os
import tempfile

import agex
from agex.llm import EditFile, Reply, Scripted, WriteFile

SCRIPT = [
    Reply(actions=[WriteFile("letter.txt", "Dear Ada,\nthe kettle is late.\n")]),
    "cache['tone'] = 'plain'\nwith open('letter.txt') as file: task_success(file.read())",
    Reply(actions=[EditFile("letter.txt", "the kettle is late.", "we are sorry: the kettle is late.")]),
    "cache['tone'] = 'kind'\nwith open('letter.txt') as file: task_success(file.read())",
    Reply(actions=[EditFile("letter.txt", "is late", "comes on Monday")]),
    "with open('letter.txt') as file: task_success(file.read())",
]


def main() -> None:
    scripted = "AGEX_MODEL" not in os.environ
    if scripted:
        print("AGEX_MODEL is not set: the model is scripted")
    with tempfile.TemporaryDirectory() as folder:
        agent = agex.Agent(
            name="clerk",
            llm=Scripted(SCRIPT) if scripted else None,
            isolation="kernel",
            state=f"sqlite:///{folder}/letters.db",  # several processes may share it; without state= it is memory
        )

        @agent.task
        def letter(wish: str) -> str:
            """Write letter.txt in the working directory, or change the one that is there, as it is wished; give its text.
            Note the tone in the cache."""
            raise NotImplementedError

        first = letter.run("Tell Ada that the kettle is late.", session="ann")
        second = letter.run("Kinder, please.", session="ann")  # it is told of the first one
        assert first.commit and second.commit  # None for sessions of map only, of which nothing is kept
        print(second.unwrap(), end="")

        ann = agent.state("ann")
        print("\nwhat happened, and what each action left:")
        for event in agex.events(ann):
            if isinstance(event, agex.ActionEvent) and event.commit_hash:
                then = ann.checkout(event.commit_hash)
                sizes = {path: len(then.files.read(path)) for path in then.files.list()}
                print(f"  {type(event.action).__name__:12} files {sizes} cache {dict(then.cache)}")

        changed = ann.diff(first.commit, second.commit)
        print(f"from task to task: files {changed.files.modified}, cache {changed.cache.modified}")

        # Ann's letter stays as it is; Ben's goes on from what the first task left.
        ben = ann.fork(first.commit, "ben")
        letter.run("Tell Ada that the kettle comes on Monday.", session="ben").unwrap()
        print(f"{ann.session}: {ann.files.read('letter.txt').decode()!r}")
        print(f"{ben.session}: {ben.files.read('letter.txt').decode()!r}")
        agent.close()


if __name__ == "__main__":
    main()
