"""One cell of the matrix: which payloads, in which isolation, with or without namespaces, for which user.

As a program it is the host of a trial: `python -m tests.attacks.cell CELL KEY ID...` prints one JSON object a line,
{"start": id} before a payload and its verdict after it. It ends early after one that left its mark; a host that dies is
known by the payload that it started last.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import agex
from agex_policies.compile import compile_plan
from agex_protocol.plan import Limits, LockdownPlan
from tests.attacks.payload import BOMBS, Payload, read_all

User = Literal["root", "nobody", "self"]


@dataclass(frozen=True)
class Cell:
    """user: "self" is whoever runs this, where that is not root. off: layers taken away, as the keys of WITHOUT."""

    level: Literal["L1", "L2"]
    isolation: Literal["kernel", "process", "none"]
    user: User
    namespaces: Literal["auto", "off"] = "auto"
    off: tuple[str, ...] = ()

    def __str__(self) -> str:
        without = f" without {', '.join(self.off)}" if self.off else ""
        return f"{self.level} {self.isolation} {self.user} {self.namespaces}{without}"

    def payloads(self) -> list[Payload]:
        """Those of its level; without the ones that `none` says it cannot end."""
        excluded = BOMBS if self.isolation == "none" else frozenset[str]()
        return [each for each in read_all().values() if each.level == self.level and each.id not in excluded]

    def policy(self) -> agex.Policy:
        policy = agex.Policy.load("default")
        if self.namespaces == "off":
            policy = policy.extend({"widen": ["isolation.namespaces"], "isolation": {"namespaces": "off"}})
        if self.level == "L2":
            policy = policy.extend({"widen": ["python.mode"], "python": {"mode": "full"}})
        return policy

    def plan(self) -> LockdownPlan:
        """What the policy compiles to, less the layers that are off. For level L2, in a process of its own."""
        assert self.isolation != "none"
        plan = compile_plan(self.policy(), self.isolation)
        for layer in self.off:
            plan = replace(WITHOUT[layer](plan), explain=False)
        return plan


_NO_LIMITS = Limits(
    memory_bytes=1 << 46,
    cpu_time_s=1e6,
    threads=1_000_000,
    open_files=4096,
    file_size_bytes=1 << 40,
    workspace_size_bytes=1 << 40,
    workspace_files=1_000_000,
    output_bytes=1 << 24,
)

# layer -> the plan without it. The explanations are no layer: without them, the kernel is what answers a call of Python's.
WITHOUT: dict[str, Callable[[LockdownPlan], LockdownPlan]] = {
    "seccomp": lambda plan: replace(plan, seccomp=b"", seccomp_told=b"", seal=b""),
    "landlock": lambda plan: replace(plan, landlock_abi=0),
    "namespaces": lambda plan: replace(plan, namespaces="off"),
    "limits": lambda plan: replace(plan, limits=_NO_LIMITS, cgroup="off"),
    "explanations": lambda plan: replace(plan, explain=False),
}


def every_cell() -> list[Cell]:
    """The matrix, as far as this user can walk it: root can also be nobody."""
    users: tuple[User, ...] = ("root", "nobody") if os.geteuid() == 0 else ("self",)
    cells: list[Cell] = []
    for user in users:
        for namespaces in ("auto", "off"):
            cells += [Cell("L2", "kernel", user, namespaces, off) for off in ((), ("explanations",))]
    return cells + [Cell("L1", isolation, user) for user in users for isolation in ("kernel", "none")]


def main(cell: Cell, key: str, ids: list[str]) -> None:
    from tests.attacks.trial import Trial

    payloads = read_all()
    trial = Trial(cell, key)
    try:
        for each in ids:
            _say({"start": each})
            verdict = trial.attack(payloads[each])
            _say(asdict(verdict))
            if verdict.outcome in ("escaped", "fault", "unheld"):
                return  # this host is not as it was: the rest is for another
    finally:
        trial.close()


def _say(line: object) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    described: dict[str, Any] = json.loads(sys.argv[1])
    described["off"] = tuple(described["off"])
    main(Cell(**described), sys.argv[2], sys.argv[3:])
