"""Kills a working supervisor at a random moment and looks at what stays: processes at once, directories after the next start.

`python -m tests.attacks.sudden_death TIMES [SEED]` does it many times and prints how long the slowest process lived on.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from agex_supervisor.scratch import PREFIX
from tests.nobody import NOBODY

# Where a kill falls: on the start, on a zygote's boot, on forks, runs, agents, spares, or on several of them.
LATEST_S = 2.5
# What the processes of a dead supervisor are allowed by the promise, and by a test on a machine that is shared.
PROMISED_S = 1.0
ALLOWED_S = 20.0

SUPERVISOR = """
import threading
import agex
from agex.llm import Scripted

pool = agex.Pool(spares=2)

def sandboxes(policy):
    while True:
        with agex.Sandbox(policy=policy, pool=pool) as sandbox:
            sandbox.run("open('left', 'w').write('x' * 100_000)")
            sandbox.run("while True: pass", timeout_s=0.05)

def agents():
    while True:
        agent = agex.Agent(isolation="kernel", llm=Scripted(["n = 1", "task_success(n + 1)"]), pool=pool)

        @agent.task
        def count() -> int:
            "Count."

        count.run()
        agent.close()

for job in (lambda: sandboxes("full-python"), lambda: sandboxes("default"), agents):
    threading.Thread(target=job, daemon=True).start()
threading.Event().wait()
"""

SUCCESSOR = """
import agex
pool = agex.Pool(spares=0)
with agex.Sandbox(pool=pool) as sandbox:
    assert sandbox.run("6 * 7", returns=int).unwrap() == 42
pool.close()
"""


@dataclass(frozen=True)
class Aftermath:
    """lived_on_s: seconds from the kill until no process of the supervisor's was left. left: what the next start kept."""

    killed_after_s: float
    lived_on_s: float
    processes: int
    left: list[str]
    complaint: str


def kill(after_s: float, user: int | None = None) -> Aftermath:
    """Start a supervisor, kill it after that time, wait for its processes to end, and start the next one."""
    with tempfile.TemporaryDirectory(prefix="killed-") as place:
        os.chmod(place, 0o755)
        if user is not None:
            os.chown(place, user, user)
        doomed = _start(SUPERVISOR, place, user)
        time.sleep(after_s)
        processes = len(list(_processes_of(doomed.pid)))
        doomed.kill()
        killed = time.monotonic()
        _, noise = doomed.communicate()
        while any(True for _ in _processes_of(doomed.pid)) and time.monotonic() - killed < ALLOWED_S:
            time.sleep(0.01)
        lived_on_s = time.monotonic() - killed
        successor = _start(SUCCESSOR, place, user)
        _, more_noise = successor.communicate()
        left = [path.name for path in Path(place).iterdir() if _is_ours(path)] + _groups_of(doomed.pid)
        return Aftermath(after_s, lived_on_s, processes, left, (noise + more_noise).decode(errors="replace"))


def _is_ours(path: Path) -> bool:
    # Python tries whether it can write to a temporary directory, by a file that a kill at that moment leaves there.
    return path.is_dir() or path.name.startswith(PREFIX)


def main(times: int, seed: int) -> int:
    chance = random.Random(seed)
    users = [None, NOBODY] if os.geteuid() == 0 else [None]
    print(f"{times} supervisors, seed {seed}", flush=True)
    seen = [kill(chance.uniform(0, LATEST_S), users[number % len(users)]) for number in range(times)]
    wrong = [each for each in seen if each.left or each.complaint or each.lived_on_s > PROMISED_S]
    for each in wrong:
        print(each)
    slowest = max(each.lived_on_s for each in seen)
    total = sum(each.processes for each in seen)
    print(f"{total} processes, the slowest gone after {slowest:.3f} s; {len(wrong)} supervisors left something behind")
    return int(bool(wrong))


def _start(program: str, place: str, user: int | None) -> subprocess.Popen[bytes]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": place,
        "TMPDIR": place,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment,
        cwd="/",
        user=user,
        group=user,
        extra_groups=None if user is None else [],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def _processes_of(supervisor: int) -> Iterator[psutil.Process]:
    """The zygotes are told their supervisor's id as an argument, and their workers show the same command line."""
    for process in psutil.process_iter():
        try:
            arguments = process.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            continue
        if any("agex_worker.zygote" in each for each in arguments) and str(supervisor) in arguments:
            yield process


def _groups_of(supervisor: int) -> list[str]:
    top = Path("/sys/fs/cgroup")
    return [str(path) for path in top.glob(f"**/agex-{supervisor}-*")]


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(1 << 32)))
