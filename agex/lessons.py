"""From one thing that was refused to the narrowest grant that allows it, or to the reason why nothing is granted.

What was refused is told by the script's own worker, so a grant is what the script asked for, and no more than a proposal.
Grants of files are real paths: a link that agent code can turn must not decide what a policy means.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

from agex_policies.grants import parse_grant, target
from agex_policies.python_paths import interpreter_paths
from agex_policies.quantities import size_bytes, time_s
from agex_policies.schema import Policy, values
from agex_policies.syscall_options import OPTIONAL
from agex_policies.syscalls import explain
from agex_supervisor.denials import Denial
from agex_supervisor.execution import RunUsage

# From so many files of one folder on, the folder is granted.
FILES_OF_ONE_FOLDER = 9

# Counted limits cost little, so these are raised up to here without being asked for.
MOST_COUNTS = {"limits.threads": 1024, "limits.open_files": 4096, "limits.workspace_files": 100_000}

# A measured use, and room for a run that takes a little more.
ROOM = 1.5


@dataclass(frozen=True, slots=True)
class Grant:
    """An entry to add to a list of a policy, or the value that a limit takes. why: what asked for it, safe to show."""

    key: str
    value: str | int
    why: str

    @property
    def identity(self) -> tuple[str, str | int]:
        """Grants of one identity replace each other: a limit has one value."""
        return (self.key, "" if self.is_limit else self.value)

    @property
    def is_limit(self) -> bool:
        return self.key.startswith("limits.")


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that was refused and for which nothing is granted, with the reason; both are safe to show."""

    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class Most:
    """Up to where limits may be raised: bytes and seconds. None: they stay as they are."""

    memory_bytes: int | None = None
    time_s: float | None = None
    disk_bytes: int | None = None


class Teacher:
    """Knows the policy that is started from, what may be given at most, and where the new policy will be written."""

    def __init__(self, base: Policy, out: Path, most: Most) -> None:
        self._most = most
        self._policies = tuple(Path(os.path.realpath(path)) for path in (*base.origin.sources, out))
        self._python = interpreter_paths()

    def lesson(self, denial: Denial, policy: Policy) -> Grant | Obstacle:
        """What to grant beyond `policy` for this refusal under it."""
        what = str(denial)
        try:
            if denial.key.startswith("limits."):
                return self._limit(denial.key, policy)
            if denial.layer != "sandbox" and denial.key in ("filesystem.read", "filesystem.write"):
                return Grant(denial.key, self._path(denial), f"{denial.operation} was refused by {denial.layer}")
            if denial.key == "network.allow":
                return Grant(denial.key, _host(denial), f"connect to {denial.target}")
            if denial.key == "syscalls.allow":
                return Grant(denial.key, _group(denial.operation), f"{denial.operation} was refused by seccomp")
            return Obstacle(what, _reason(denial))
        except ValueError as error:
            return Obstacle(what, str(error))

    def gathered(self, grants: Iterable[Grant]) -> tuple[Grant, ...]:
        """The same with a folder in place of many files of it, where it may be granted, and nothing granted twice."""
        kept = list(grants)
        for key in ("filesystem.read", "filesystem.write"):
            parents: dict[str, int] = {}
            for grant in kept:
                if grant.key == key and not os.path.isdir(str(grant.value)):
                    parent = os.path.dirname(str(grant.value))
                    parents[parent] = parents.get(parent, 0) + 1
            for parent, files in parents.items():
                if files >= FILES_OF_ONE_FOLDER and not self._objection(parent, writing=key == "filesystem.write"):
                    kept.append(Grant(key, parent, f"{files} files of this folder"))
        return tuple(grant for grant in kept if not any(covers(other, grant) for other in kept))

    def _path(self, denial: Denial) -> str:
        """The real path to grant. ValueError says why there is none."""
        asked, writing = denial.target, denial.key == "filesystem.write"
        if not os.path.isabs(asked):
            raise ValueError("a path that does not begin at '/' lies in the workspace")
        # What makes, removes or renames a name changes the folder that holds it.
        in_folder = denial.operation in ("mkdir", "rename", "remove", "symlink")
        if in_folder or (writing and not os.path.isfile(asked)):
            asked = os.path.dirname(os.path.normpath(asked))
        if not os.path.exists(asked):
            raise ValueError(f"there is no {asked} on this machine, and a policy grants what exists")
        real = os.path.realpath(asked)
        if objection := self._objection(real, writing=writing):
            raise ValueError(objection)
        return real

    def _objection(self, real: str, *, writing: bool) -> str:
        """Why this path is not granted; empty where it may be."""
        path = PurePath(real)
        if any(path.is_relative_to(top) for top in _OF_THE_KERNEL):
            return f"{real} is the kernel's, and tells of more than one file; grant it by hand if it is meant"
        if any(part.startswith(".") for part in path.parts):
            return f"{real} is hidden, as keys and settings are; grant it by hand if it is meant"
        if not (writing or os.path.isdir(real)):
            return ""
        if real in _TOO_WIDE or real == os.path.realpath(Path.home()):
            return f"{real} holds far more than this script needs; keep what is meant in a folder of its own"
        if any(policy.is_relative_to(path) for policy in self._policies):
            return f"{real} holds a policy that this one stands on, or the new one; keep policies elsewhere"
        python = [PurePath(each) for each in self._python]
        if any(each.is_relative_to(path) or (writing and path.is_relative_to(each)) for each in python):
            return f"{real} holds Python, which your own process runs too; keep data elsewhere"
        return ""

    def _limit(self, key: str, policy: Policy) -> Grant:
        """Twice as much, within bounds. ValueError says by which option more would be given."""
        now = values(policy).get(key)
        if key in MOST_COUNTS and isinstance(now, int):
            if now >= MOST_COUNTS[key]:
                raise ValueError(f"{now} were not enough; raise it by hand if more are meant")
            return Grant(key, min(2 * now, MOST_COUNTS[key]), f"{now} were not enough")
        why = f"{now} was not enough"
        if key in _TIMES:
            seconds = _raised(time_s(now), self._most.time_s, "--max-time", why)
            return Grant(key, f"{seconds:g}s", why)
        if key in _SIZES:
            option = _SIZES[key]
            most = self._most.memory_bytes if option == "--max-memory" else self._most.disk_bytes
            return Grant(key, exact_size(int(_raised(size_bytes(now), most, option, why))), why)
        raise ValueError("it is not known which limit it was")


def covers(wide: Grant, narrow: Grant) -> bool:
    """Whether a grant of files is superfluous beside another one."""
    if wide is narrow or not narrow.key.startswith("filesystem.") or wide.key not in (narrow.key, "filesystem.write"):
        return False
    inside = PurePath(str(narrow.value)).is_relative_to(str(wide.value))
    return inside and (wide.value != narrow.value or wide.key != narrow.key)


def measured(grant: Grant, usage: RunUsage, base: Policy) -> Grant | None:
    """This limit by what a run took, with room; None where that is not known, or not between the base's and this one."""
    taken = {"limits.wall_time": usage.wall_s, "limits.cpu_time": usage.cpu_s, "limits.memory": usage.peak_rss_bytes}
    if not taken.get(grant.key):
        return None
    used, least = taken[grant.key], values(base)[grant.key]
    if grant.key in _TIMES:
        chosen, told = f"{int(used * ROOM) + 1}s", f"{used:.1f}s"
        fits = time_s(least) < time_s(chosen) < time_s(grant.value)
    else:
        chosen, told = plain_size(used * ROOM), plain_size(used)
        fits = size_bytes(least) < size_bytes(chosen) < size_bytes(grant.value)
    return Grant(grant.key, chosen, f"{grant.why}; a run took {told}") if fits else None


def plain_size(count: float) -> str:
    """At least so many bytes, rounded up to whole MiB and to three binary digits."""
    units = -(-int(count) >> 20)
    step = 1 << max(units.bit_length() - 3, 0)
    return exact_size(max(-(-units // step) * step, 1) << 20)


def exact_size(count: int) -> str:
    """So many bytes, in the largest unit that divides them."""
    return next(f"{count // size}{unit}" for unit, size in _UNITS if count % size == 0)


_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1))
_SIZES = {"limits.memory": "--max-memory", "limits.file_size": "--max-disk", "limits.workspace_size": "--max-disk"}
_TIMES = ("limits.wall_time", "limits.cpu_time")

_OF_THE_KERNEL = ("/proc", "/sys", "/dev")
_TOO_WIDE = ("/", "/home", "/root", "/etc", "/usr", "/var", "/opt", "/tmp")

_PLAIN_PYTHON = "if that is meant, record with a policy of ordinary Python: --policy full-python"

_REASONS = {
    "exec": "no policy lets a worker run programs; let a function of the host run it",
    "fork": "a worker is one process and starts no other; use threads",
    "kill": "a worker signals nobody but itself",
    "bind": "a worker does not listen for connections",
    **dict.fromkeys(
        ("datagram-socket", "unix-socket", "raw-socket"),
        "a policy grants connections by TCP to a host and a port, and sockets of no other kind",
    ),
    **dict.fromkeys(
        ("link", "chmod", "chown", "utime", "setxattr"),
        "no policy allows it outside of the workspace: Landlock does not decide about it",
    ),
}


def _raised(now: float, most: float | None, option: str, why: str) -> float:
    if most is None:
        raise ValueError(f"{why}; say with {option} up to where it may be raised")
    if now >= most:
        raise ValueError(f"{why}, and {option} allows no more")
    return min(2 * now, most)


def _host(denial: Denial) -> str:
    """The grant's text. ValueError for what no policy can name."""
    if not denial.target:
        raise ValueError("it is not known where to: a library makes sockets of its own, past Python's")
    grant = parse_grant(denial.target)
    return target(grant.host, grant.port)


def _group(call: str) -> str:
    # The table says of each call that it is optional in one group only.
    return next((group.name for group in OPTIONAL if call in group.calls), call)


def _reason(denial: Denial) -> str:
    if denial.key == "python.modules":
        return f"modules are registered by a program, not granted by a policy: give --module {denial.target}"
    if denial.layer == "sandbox" and denial.operation in ("read", "write"):
        return f"restricted code opens files of the workspace only, whatever is granted; {_PLAIN_PYTHON}"
    if denial.layer == "sandbox":
        return f"a recording does not open the inner sandbox; {_PLAIN_PYTHON}"
    if not denial.operation:
        return "C code was refused it, and whether to read or to write is not known: grant it by hand"
    if denial.operation in _REASONS:
        return _REASONS[denial.operation]
    return f"no policy can allow it: {explain(denial.operation).reason}"
