"""A supervisor under audit while it reads what is hostile: `python -m tests.fuzz.watched decode | worker | store`.

Prints, as JSON, how much was read and every event of Python's that would tell of an unpickler, of code made or run, of a module or
a file looked for. Nothing can take an audit hook away, so it has a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import pickle
import random
import sys
import warnings
from collections import Counter
from typing import Any, get_args

import agex
from agex_protocol import messages as m
from agex_protocol.codec import pack_message, unpack_message
from agex_protocol.errors import AgexError
from agex_supervisor.state_store import StateStore
from tests.fuzz.mutation import mutated_buffers, mutated_head
from tests.fuzz.samples import sample
from tests.fuzz.subjects import SUBJECTS, Subject
from tests.fuzz.targets import decode_as

WATCHED = {
    *("exec", "compile", "import", "open", "code.__new__", "function.__new__", "marshal.load", "marshal.loads"),
    *(
        "pickle.find_class",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "subprocess.Popen",
        "ctypes.dlopen",
        "builtins.eval",
    ),
}
# Of a supervisor that has workers: what it opens and starts by itself is another test's matter.
WATCHED_BESIDE_A_WORKER = WATCHED - {"open"}
TIMES = 60
RUNS = 12

events = Counter[str]()
watching: set[str] = set()


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event in watching:
        events[f"{event} {arguments[0]!r:.200}" if arguments else event] += 1


class Evil:
    def __reduce__(self) -> Any:
        return exec, ("import os; os.system('true')",)


PICKLES = tuple(pickle.dumps(Evil(), protocol) for protocol in range(6))


def decode_everything() -> int:
    """Thousands of changed values of every subject, and pickles in their place."""
    for subject in SUBJECTS:
        for head, buffers in subject.encodings:
            decode_as(subject, head, buffers)  # what is imported when it is first needed
    dice, read = random.Random(5), 0
    watching.update(WATCHED)
    for subject in SUBJECTS:
        for head, buffers in hostile(subject, dice):
            decode_as(subject, head, buffers)
            read += 1
    watching.clear()
    return read


def hostile(subject: Subject, dice: random.Random) -> list[tuple[bytes, list[bytes]]]:
    """Changed encodings of a subject, and pickles wherever bytes may be."""
    found = [(data, [data]) for data in PICKLES]
    for head, buffers in subject.encodings:
        found += [(mutated_head(head, dice), mutated_buffers(buffers, dice)) for _ in range(TIMES)]
        found += [(head, [data] * len(buffers)) for data in PICKLES]
    return found


CODE = """
import agex_worker.session
agex_worker.session.encode = lambda value, shape, **rest: (head, buffers)
"anything"
"""


def run_hostile_workers() -> int:
    """Workers that send what they like in the place of their results."""
    for kind in get_args(m.ToSupervisor):  # its fields are read from its annotations once
        unpack_message(pack_message(sample(kind)), m.ToSupervisor)
    dice, read = random.Random(6), 0
    with agex.Sandbox(policy="full-python") as sandbox:
        for subject in (SUBJECTS[0], *dice.sample(SUBJECTS[1:], RUNS)):
            attempts = [*dice.sample(hostile(subject, dice), 2), (PICKLES[5], []), (PICKLES[0], [PICKLES[2]])]
            for place, (head, buffers) in enumerate([(PICKLES[4], []), subject.encodings[0], *attempts]):
                # The first two have its contract made, and all imported that it needs.
                watching.update(WATCHED_BESIDE_A_WORKER if place > 1 else ())
                outcome = sandbox.run(CODE, {"head": head, "buffers": buffers}, returns=subject.annotation)
                watching.clear()
                read += 1
                assert outcome.status in ("ok", "error", "violation"), outcome
    return read


def read_stores() -> int:
    """Stores whose files, entries and own records are pickles; read and written to by who does not know."""
    read = 0
    for turn in range(2):
        for data in PICKLES:
            for key in (
                "",
                "kvgit:blob:",
                "kvgit:keyset:",
                "__info__",
                "__commit_root__",
                "__parent_commit__",
                "__branch_head__",
            ):
                with StateStore.open("memory:") as store:
                    first, second = store.session("ann"), store.session("ann")
                    first.commit(files={"a": data, "b": data}, cache={"k": data}, events=["{}"])
                    for name in list(store.repo.store.keys(key)) if key else ():
                        store.repo.store.set(name, data)
                    if store.repo.cache is not None:
                        store.repo.cache.clear()
                    # The first turn has all imported that is needed.
                    watching.update(WATCHED if turn else ())
                    for use in (first.events, first.history, lambda: dict(first.files()), lambda: dict(first.cache())):  # noqa: B023
                        with contextlib.suppress(AgexError):
                            use()
                            read += 1
                    for session in (second, first):
                        with contextlib.suppress(AgexError):
                            session.commit(files={"a": data + b"."}, cache={"k": data})
                    with contextlib.suppress(AgexError):
                        store.collect()
                    watching.clear()
    return read


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.addaudithook(hook)
    count = {"decode": decode_everything, "worker": run_hostile_workers, "store": read_stores}[sys.argv[1]]()
    print(json.dumps({"read": count, "events": events}))
