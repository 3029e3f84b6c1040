"""Work before the first model call, with pandas and numpy registered, beside agex 0.12.4.

    python bench/prompt.py [ROUNDS]

Every measurement is a process of its own, and the two take turns. What is measured: seconds from the call of a task, of an
agent that is made and has its modules registered, to the moment when the model is asked; both libraries are imported before. Then
the same task once more. The peer is installed into an environment of its own, with the same numpy and pandas. Its tokenizer would
be downloaded; it is told that there is none and counts characters, as it does by itself where the package is missing. Its own
tokenizer would take longer.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from statistics import median

from timing import show

PEER = "agex==0.12.4"
BAR = 0.1

COMMON = """
import json, sys, time
import numpy, pandas
asked = []
def calls(work):
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        work()
        seconds.append(asked.pop() - started)
        asked.clear()
    print(json.dumps(seconds))
"""

THEIRS = """
import agex.tokenizers
agex.tokenizers._has_tiktoken = False
from agex import Agent
from agex.helpers import register_numpy, register_pandas
from agex.llm.core import LLMResponse
from agex.llm.dummy_client import Dummy
from agex.agent.emissions import PythonEmission

class Timed(Dummy):
    def complete(self, system, events, **choices):
        asked.append(time.perf_counter())
        return super().complete(system, events, **choices)

agent = Agent(llm=Timed(responses=[LLMResponse(emissions=[PythonEmission(code="task_success(1)")])]))
if sys.argv[1] == "helpers":
    register_pandas(agent), register_numpy(agent)
else:
    agent.module(pandas), agent.module(numpy)

@agent.task
def work() -> int:
    "Work."

calls(work)
"""

OURS = """
from agex import Agent
from agex.helpers import register_numpy, register_pandas
from agex.llm import Scripted

def reply(request):
    asked.append(time.perf_counter())
    return "task_success(1)"

agent = Agent(llm=Scripted([reply, reply]), isolation="none")
if sys.argv[1] == "helpers":
    register_pandas(agent), register_numpy(agent)
else:
    agent.module(pandas), agent.module(numpy)

@agent.task
def work() -> int:
    "Work."

calls(work)
"""


def peer_python(folder: Path) -> Path:
    venv.create(folder / "peer", with_pip=True)
    python = folder / "peer" / "bin" / "python"
    same = [f"{name}=={importlib.metadata.version(name)}" for name in ("numpy", "pandas")]
    subprocess.run([python, "-m", "pip", "install", "--quiet", PEER, *same], check=True)
    return python


def written(path: Path, program: str) -> Path:
    """A file, because the source of a task is looked at."""
    path.write_text(COMMON + program)
    return path


def measured(python: Path, program: Path, how: str) -> list[float]:
    done = subprocess.run([python, program, how], check=True, stdout=subprocess.PIPE, text=True)
    seconds: list[float] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pythons = {
            PEER: (peer_python(Path(folder)), written(Path(folder) / "theirs.py", THEIRS)),
            "agex": (Path(sys.executable), written(Path(folder) / "ours.py", OURS)),
        }
        for how in ("module()", "helpers"):
            taken: dict[str, list[list[float]]] = {name: [] for name in pythons}
            for _ in range(rounds):
                for name, (python, program) in pythons.items():
                    taken[name].append(measured(python, program, how))
            for number, call in enumerate(("first call", "second call")):
                each = {name: [pair[number] for pair in pairs] for name, pairs in taken.items()}
                show(f"pandas and numpy registered by {how}: before the model is asked, {call}", each, "agex")
                ratio = median(each["agex"]) / median(each[PEER])
                print(f"of the peer's: {ratio:.4f} (at most {BAR:g})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
