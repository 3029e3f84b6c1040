"""Runs payloads as an application would run a stranger's code, and judges each by what became of the host."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import psutil

import agex
from agex.stdlib_modules import FURTHER
from agex_supervisor.place import Place
from agex_supervisor.pool import Kit, Pool
from tests.attacks.cell import Cell
from tests.attacks.ground import Ground, own_state
from tests.attacks.payload import Payload
from tests.attacks.unlocked import Unlocked

TIMEOUT_S = 3.0
BENIGN_TIMEOUT_S = 20.0
# What is left for good is found all the same; a workspace of very many files takes a while to be removed.
SETTLE_S = 30.0
# The bound of tests is generous, because machines are shared; the table shows what it really took.
ALLOWED_OVERRUN_S = 5.0
OUTPUT_BYTES = 1 << 20
HOST_MEMORY_BYTES = 1 << 30

# What the L1 payloads expect to be registered, and all else that `agex.helpers` would register of the standard library.
MODULES = (
    *FURTHER,
    *("numpy", "pandas", "json", "re", "functools", "operator", "statistics", "typing", "dataclasses", "string"),
    *("logging", "collections", "itertools", "math", "random", "contextlib", "enum", "inspect", "types"),
)

_PR_SET_CHILD_SUBREAPER = 36


@dataclass
class Verdict:
    """outcome: "contained", "partial", "escaped", "fault" (the supervisor was harmed) or "unheld" (its layer is absent).

    findings: the reasons, each a sentence. overrun_s: seconds beyond the deadline of the slowest answer. layers: those
    that stood.
    """

    payload: str
    outcome: str = "contained"
    findings: list[str] = field(default_factory=list[str])
    statuses: list[str] = field(default_factory=list[str])
    overrun_s: float = 0.0
    layers: list[str] = field(default_factory=list[str])

    def add(self, outcome: str, findings: list[str]) -> None:
        """The gravest outcome stays."""
        order = ("contained", "unheld", "partial", "fault", "escaped")
        if findings:
            self.findings += findings
            self.outcome = max(self.outcome, outcome, key=order.index)


class Trial:
    """One host for many payloads: a pool, the ground, and a neighbour whose worker lives all the time."""

    def __init__(self, cell: Cell, key: str) -> None:
        self._cell = cell
        # An orphan of a worker would come to this process, where it is found.
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        os.environ["OPENAI_API_KEY"] = key
        self._pool = Pool(spares=0)
        self._neighbour: Place | None = None
        self._neighbour_secret = f"NEIGHBOUR-{secrets.token_hex(12)}"
        self._layers: set[str] = set()
        with contextlib.closing(self._runner()) as runner:
            report = runner.run("1", timeout_s=BENIGN_TIMEOUT_S).lockdown
            self._layers = {name for name, state in report.layers.items() if state.startswith("enforced")}
        if cell.level == "L2":
            home = self._pool.new_workspace()
            (home / "secret").write_text(self._neighbour_secret)
            self._neighbour = self._pool.checkout(Kit(cell.plan()), home)
        self._folder = tempfile.TemporaryDirectory(prefix="attacked-")
        self._ground = Ground(Path(self._folder.name), key)
        self._processes = {process.pid for process in _descendants()}
        self._own = own_state()
        self._dumps = json.dumps

    def attack(self, payload: Payload) -> Verdict:
        """Run every task of it in a sandbox of its own, each followed by a benign run for somebody else."""
        verdict = Verdict(payload.id, layers=sorted(self._layers))
        for number, task in enumerate(payload.tasks):
            with contextlib.closing(self._runner()) as runner:
                outcome = self._timed(verdict, runner, self._prelude() + task, TIMEOUT_S)
            with contextlib.closing(self._runner()) as runner:
                benign = self._timed(verdict, runner, "print('AX-ALIVE')", BENIGN_TIMEOUT_S)
            speaks = number == len(payload.tasks) - 1 or not payload.only_the_second_speaks
            self._listen(verdict, outcome, speaks)
            if benign is not None and (benign.status, benign.stdout) != ("ok", "AX-ALIVE\n"):
                verdict.add("fault", [f"the benign run after it: {benign.status}, {benign.error}"])
        verdict.add("escaped", self._ground.findings())
        if self._neighbour is not None and not self._neighbour.worker.alive:
            verdict.add("escaped", ["the neighbour's worker is dead"])
        verdict.add("fault", self._harm())
        if verdict.overrun_s > ALLOWED_OVERRUN_S:
            verdict.add("fault", [f"answered {verdict.overrun_s:.1f} s after the deadline"])
        if verdict.outcome in ("escaped", "partial") and payload.needs and payload.needs not in self._layers:
            verdict.outcome = "unheld"
        return verdict

    def close(self) -> None:
        if self._neighbour is not None:
            self._pool.checkin(self._neighbour)
        self._pool.close()
        for process in _descendants():
            if process.pid not in self._processes:
                process.kill()
        self._ground.close()
        self._folder.cleanup()

    def _runner(self) -> agex.Sandbox | Unlocked:
        if self._cell.off:
            return Unlocked(self._pool, self._cell.plan())
        modules = MODULES if self._cell.level == "L1" else ()
        return agex.Sandbox(self._cell.isolation, self._cell.policy(), modules=modules, pool=self._pool)

    def _prelude(self) -> str:
        told = self._ground.told()
        told |= {"MAX_PROCS": 64, "MEM_MIB": 1024, "DISK_MIB": 512, "WORK": "."}  # the limits of `default`
        if self._neighbour is not None:
            worker = self._neighbour.worker
            # A worker with a view of its own calls its workspace as every other does; this is a name for that one's.
            seen = "" if isinstance(worker.slot.place, Path) else f"/proc/{worker.pid}/root"
            told |= {"SIBLING_PID": worker.pid, "ZYGOTE_PID": worker.zygote.pid}
            told |= {"SIBLING_WORK": f"{seen}{worker.slot.workspace}"}
        lines = [f"{name} = {value!r}" for name, value in told.items()]
        if self._cell.level == "L2":
            lines.append("WORK = __import__('os').getcwd()")
        return "\n".join(lines) + "\n"

    def _timed(
        self, verdict: Verdict, runner: agex.Sandbox | Unlocked, code: str, timeout_s: float
    ) -> agex.SandboxOutcome | None:
        started = time.monotonic()
        try:
            outcome = runner.run(code, timeout_s=timeout_s)
        except Exception as error:  # whatever it is: code must not be able to make run() raise
            verdict.add("fault", [f"run() raised {error!r}"])
            return None
        finally:
            verdict.overrun_s = max(verdict.overrun_s, time.monotonic() - started - timeout_s)
        verdict.statuses.append(outcome.status)
        return outcome

    def _listen(self, verdict: Verdict, outcome: agex.SandboxOutcome | None, speaks: bool) -> None:
        """Judge the output. A traceback quotes the payload's own lines, so markers count in what was printed alone."""
        if outcome is None:
            return
        printed = outcome.stdout + outcome.stderr
        everything = f"{printed}{outcome.error}{outcome.value!r}"
        for name, secret in (
            ("the secret file", self._ground.secret),
            ("the host's key", self._ground.key),
            ("the neighbour's file", self._neighbour_secret),
        ):
            if secret in everything:
                verdict.add("escaped", [f"{name} was shown"])
        # What was printed is the caller's data, as it is. What explains an end is for logs and terminals.
        explained = "".join(_texts(outcome.error) + [text for denial in outcome.denials for text in _texts(denial)])
        if any(control in explained for control in "\x1b\x07\x9b\r"):
            verdict.add("escaped", ["terminal controls came through"])
        if len(printed) > 2 * OUTPUT_BYTES + 4096:
            verdict.add("fault", [f"{len(printed)} characters of output were kept"])
        if speaks:
            for outcome_name, marker in (("escaped", "AX-ESCAPED"), ("partial", "AX-PARTIAL")):
                said = [line for line in printed.splitlines() if line.startswith(marker)]
                verdict.add(outcome_name, said[:3])

    def _harm(self) -> list[str]:
        """What is left over of workers, and what has happened to this process itself."""
        found: list[str] = []
        if not _settles(lambda: not self._strangers()):
            found.append(f"processes were left: {self._strangers()}")
        if not _settles(lambda: own_state() <= self._own):
            found.append(f"descriptors and threads of the host: {self._own} -> {own_state()}")
        if json.dumps is not self._dumps or json.dumps({}) != "{}":
            found.append("json.dumps of the host was replaced")
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > HOST_MEMORY_BYTES:
            found.append(f"the host grew beyond {HOST_MEMORY_BYTES} bytes")
        return found

    def _strangers(self) -> list[str]:
        return [str(process) for process in _descendants() if process.pid not in self._processes]


def _texts(record: Any) -> list[str]:
    return [] if record is None else [str(getattr(record, each.name)) for each in fields(record)]


def _descendants() -> Iterator[psutil.Process]:
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _settles(holds: Callable[[], bool]) -> bool:
    """A worker that was let go of may be reaped a little later."""
    deadline = time.monotonic() + SETTLE_S
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
