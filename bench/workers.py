"""What a locked worker costs: fresh, with pandas, and warm; each beside its physical limit in the same run.

    python bench/workers.py [ROUNDS]

Limits: fork() and wait of a process of the same size, in a process of its own; for a warm run one byte there and back
over a socketpair between two processes, plus compiling and running the code here.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from timing import interleaved, show

import agex
from agex_policies.compile import compile_plan
from agex_supervisor.pool import Kit

FORKER = """
import os, sys
for name in sys.argv[1:]: __import__(name)
import gc; gc.collect(); gc.freeze()
while sys.stdin.buffer.read(1):
    pid = os.fork()
    if not pid: os._exit(0)
    os.waitpid(pid, 0); sys.stdout.buffer.write(b'.'); sys.stdout.buffer.flush()
"""
ECHO = """
import os, sys
while os.read(0, 1): os.write(1, b'.')
"""
SINGLE = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


def asker(program: str, *arguments: str) -> Callable[[], None]:
    """A process that answers a byte with a byte; the call asks once."""
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-I", "-c", program, *arguments]
    subprocess.Popen(command, stdin=theirs, stdout=theirs, env=SINGLE)
    theirs.close()

    def ask() -> None:
        ours.send(b".")
        ours.recv(1)

    return ask


def fresh(pool: agex.Pool, kit: Kit, home: Path) -> Callable[[], None]:
    """A worker from fork to READY, verified from outside, and thrown away."""

    def once() -> None:
        pool.checkin(pool.checkout(kit, home))

    return once


def main(rounds: int) -> None:
    plan = compile_plan(agex.Policy.load("default"), "kernel")
    bare, pandas = Kit(plan), Kit(plan, ("pandas",))
    none, spared = agex.Pool(spares=0), agex.Pool(spares=1)
    tasks = {
        "fork() of a bare Python": asker(FORKER),
        "fresh locked worker, bare": fresh(none, bare, none.new_workspace()),
        "fork() of a Python with pandas": asker(FORKER, "pandas"),
        "fresh locked worker, pandas loaded": fresh(none, pandas, none.new_workspace()),
        "the same, from a spare": fresh(spared, pandas, spared.new_workspace()),
    }
    show("a fresh worker, to READY and verified, and its burial", interleaved(rounds, tasks), "fork() of a bare Python")

    echo = asker(ECHO)
    code = "x = 1 + 1\nx"

    def limit() -> None:
        echo()
        exec(compile(code, "<bench>", "exec"), {})  # noqa: S102

    with agex.Sandbox(pool=none) as sandbox:
        warm = {
            "byte over a socketpair + compile and exec": limit,
            "Sandbox.run, warm": lambda: sandbox.run(code),
            "Sandbox.run, warm, returns=int": lambda: sandbox.run(code, returns=int),
        }
        show("a warm run", interleaved(rounds * 10, warm), "byte over a socketpair + compile and exec")
    none.close()
    spared.close()


if __name__ == "__main__":
    os.environ.update(SINGLE)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
    os._exit(0)  # the askers end with their sockets
