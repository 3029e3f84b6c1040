"""Which attribute names are doubtful under a plan: every name that some table or registration restricts on some object."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

from agex_protocol.plan import SandboxPlan
from agex_worker.sandbox.dangerous import MEMBERS
from agex_worker.sandbox.methods import METHODS
from agex_worker.sandbox.names import DOUBTFUL

_ALWAYS = DOUBTFUL | METHODS.keys() | {name for members in MEMBERS.values() for name in members}


def doubtful_names(plan: SandboxPlan) -> Callable[[str], bool]:
    """The question whether a public attribute name needs a gate."""
    if any(grant.include != ("*",) for grant in plan.classes):
        return lambda name: True  # of such a class everything is refused that is not named
    tails = {tail for grant in plan.modules for pattern in grant.exclude if (tail := _tail(pattern))}
    globs = tuple(tails.union(*(grant.exclude for grant in plan.classes)))

    def doubtful(name: str) -> bool:
        return name in _ALWAYS or any(fnmatchcase(name, glob) for glob in globs)

    return doubtful


def _tail(pattern: str) -> str:
    """The part that speaks of a class's member: "to_*" of "DataFrame.to_*"; of "*pickle*" all; of "read_csv" none."""
    _, dot, tail = pattern.rpartition(".")
    return tail if dot or pattern.startswith("*") else ""
