"""A key in the supervisor's environment: no worker and no zygote has it, in no place that code or root can look at."""

from __future__ import annotations

import json
import os
import subprocess
import sys

# Runs as a program of its own, so that the key is in its environment from the start and in no test's source.
SUPERVISOR = r"""
import json, os, sys
import agex

SCAN = '''
import ctypes, gc, os, stat, sys
found, others = [], []
wanted = bytes(reversed(mirror.encode()))
if any(wanted in (key + value).encode() for key, value in os.environ.items()):
    found.append('environ')
if any(wanted in argument.encode() for argument in sys.orig_argv):
    found.append('argv')
block = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), 'environ')
n = 0
while block and block[n]:
    if wanted in block[n]:
        found.append('environment block')
    n += 1
for each in gc.get_objects():
    if isinstance(each, dict):
        for one in [*each.keys(), *each.values()]:
            if isinstance(one, str) and one is not mirror and mirror[::-1] in one:
                found.append('objects')
for fd in range(64):
    try:
        status = os.fstat(fd)
    except OSError:
        continue
    if fd > 2:
        others.append(stat.S_ISSOCK(status.st_mode))
if others != [True]:
    found.append(f'descriptors beside the channel: {others}')
try:
    maps = open('/proc/self/maps').read()
    found.append('maps')
except PermissionError:
    pass
found
'''

key = os.environ["OPENAI_API_KEY"]
pool = agex.Pool(spares=0)
with agex.Sandbox(policy="full-python", pool=pool) as sandbox:
    inside = sandbox.run(SCAN, {"mirror": key[::-1]}, returns=list[str]).unwrap()
    seen = sandbox.run("import os\nwith open('pids', 'w') as f:\n    f.write(f'{os.getpid()} {os.getppid()}')\nopen('pids').read()", returns=str)
zygotes = [stock.zygote for stock in pool._stocks.values()]
outside = []
# A zygote in namespaces is closed to other processes of the same user, the supervisor's included: then root has to look.
closed = os.geteuid() != 0 and not os.access(f"/proc/{zygotes[0].pid}/environ", os.R_OK)
for pid in [] if closed else [zygote.pid for zygote in zygotes]:
    for name in ("environ", "cmdline"):
        with open(f"/proc/{pid}/{name}", "rb") as file:
            if key.encode() in file.read():
                outside.append(name)
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in maps:
            span, modes, *rest = line.split()
            if not modes.startswith("rw") or rest[-1:] == ["[vvar]"]:
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            memory.seek(start)
            if key.encode() in memory.read(end - start):
                outside.append(f"memory {rest[-1:]}")
pool.close()
print(json.dumps([inside, outside, len(zygotes)]))
"""


def test_a_key_in_the_supervisors_environment_is_in_no_worker_and_no_zygote() -> None:
    environment = {**os.environ, "OPENAI_API_KEY": "sk-" + os.urandom(24).hex()}

    finished = subprocess.run(
        [sys.executable, "-c", SUPERVISOR], env=environment, capture_output=True, text=True, timeout=120
    )

    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == [[], [], 1]


def test_a_variable_that_the_policy_passes_is_there() -> None:
    code = (
        "import agex\n"
        "policy = agex.Policy.load('full-python').extend({'widen': ['env.pass'], 'env': {'pass': ['AGEX_PASSED']}})\n"
        "with agex.Sandbox(policy=policy) as sandbox:\n"
        "    print(sandbox.run('import os\\nos.environ.get(\"AGEX_PASSED\")', returns=str).unwrap())\n"
    )
    environment = {**os.environ, "AGEX_PASSED": "seen"}

    finished = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )

    assert (finished.returncode, finished.stdout) == (0, "seen\n"), finished.stderr


def test_globals_and_locals_of_the_application_do_not_ride_along_with_a_class() -> None:
    code = r"""
import agex
from pydantic import BaseModel

KEY = "sk-global"

class Leaky(BaseModel):
    text: str
    def go(self) -> str:
        return KEY

def make() -> agex.Task:
    secret = "sk-local"

    class Local(BaseModel):
        text: str

    model = agex.llm.Scripted([
        "for value in dict(vars(type(inputs.given))).values():\n"
        "    assert 'sk-' not in repr(value), value\n"
        "task_success(Local(text=repr(sorted(vars(Local)))))"
    ])
    agent = agex.Agent(isolation="kernel", llm=model, policy="full-python")

    @agent.task
    def show(given: Local) -> Local:
        "Show."

    return show(Local(text=""))

print("sk-local" in make().text)
agent = agex.Agent(isolation="kernel", llm=agex.llm.Scripted([]))

@agent.task
def leak() -> Leaky:
    "Leak."

try:
    leak()
except agex.ConfigurationError as error:
    print("`KEY`" in str(error), "sk-global" in str(error))
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)

    assert (finished.returncode, finished.stdout.split()) == (0, ["False", "True", "False"]), finished.stderr
