"""Control groups: one for each worker, with a bound on its memory and its tasks that nothing in the worker can lift.

The backstop behind RLIMIT_AS, which code can handle as a MemoryError: this one kills. It also counts what RLIMIT_AS does
not, such as the files of a worker's tmpfs. A share of the processor comes with it where it can (processor_share.py).

    GROUP OF THE SUPERVISOR / agex-PID-STARTTIME-NUMBER / SERIAL       group_directory.py makes and sweeps the middle one
"""

from __future__ import annotations

import contextlib
import resource
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from agex_protocol.plan import Limits, LockdownPlan
from agex_supervisor import group_directory, processor_share
from agex_supervisor.errors import WorkerFailed
from agex_supervisor.group_directory import PREFIX, GroupDirectory
from agex_supervisor.hierarchies import SHARE, Hierarchy, Unusable, find, number, put, write
from agex_supervisor.promises import unavailable

# What a worker may use beyond what its code is granted: the kernel's own memory for it, and copied pages of its zygote.
OVERHEAD_BYTES = 64 << 20


class Groups:
    """The control groups of one pool. Never raises when made: `unavailable` then says why there are none, else is "".

    Sweeps first what dead supervisors left. prefix: the first part of the directory's name.
    """

    def __init__(self, prefix: str = PREFIX) -> None:
        self.unavailable = ""
        self._share = ""  # what all have together of the processor, in words
        self._directories: list[GroupDirectory] = []
        self._left: list[Path] = []
        self._lock = threading.Lock()
        try:
            found = find(no_share=processor_share.unfit())
            group_directory.sweep(found.hierarchies, prefix)
            self._directories = group_directory.make(found.hierarchies, prefix)
            self._share = f"no share of the processor: {found.no_share}"
            for each in self._directories:
                if SHARE in each.hierarchy.controllers:
                    self._share = processor_share.give_way(each.hierarchy, each.path)
        except Unusable as error:
            self.unavailable = str(error)
        except OSError as error:
            self.unavailable = f"no group can be made: {error}"

    def joined(self, serial: int, pid: int, plan: LockdownPlan) -> Group | str:
        """The group of a worker, which is in it; or why it has none. IsolationUnavailable if the plan says that it must."""
        if self.unavailable and plan.cgroup != "required":
            return f"unavailable: {self.unavailable}"
        group = self.new(serial, plan.limits)
        try:
            group.join(pid)
        except BaseException:
            group.remove()
            raise
        return group

    def new(self, serial: int, limits: Limits) -> Group:
        """A group for one worker, with its limits set and read back. IsolationUnavailable if that cannot be."""
        if self.unavailable:
            raise unavailable("cgroup", self.unavailable)
        self._remove_left()
        places = tuple(_Place(each.hierarchy, each.path / str(serial)) for each in self._directories)
        return Group(places, limits, self._share, self._leave)

    def close(self) -> None:
        """End whatever is left in the groups, and remove them all."""
        directories, self._directories = self._directories, []
        for directory in directories:
            directory.close()

    def _leave(self, directory: Path) -> None:
        with self._lock:
            self._left.append(directory)

    def _remove_left(self) -> None:
        with self._lock:
            self._left = [directory for directory in self._left if not group_directory.remove(directory, 0.0)]


@dataclass(frozen=True, slots=True)
class _Place:
    """A worker's group in one hierarchy."""

    hierarchy: Hierarchy
    directory: Path

    @property
    def group(self) -> str:
        """Its name in /proc/PID/cgroup."""
        return f"{self.hierarchy.group.rstrip('/')}/{self.directory.parent.name}/{self.directory.name}"


class Group:
    """One worker's group: in version 1 a directory for each controller. Made by `Groups.new`. share: that of its pool.

    Memory: what the policy grants, and the files of the workspace, which are memory where that is a tmpfs. Tasks: one more
    than the policy's threads, so that the watch can see a breach where code tries one.
    """

    def __init__(self, places: tuple[_Place, ...], limits: Limits, share: str, leave: Callable[[Path], None]) -> None:
        self._places = places
        self._share = share
        self._leave = leave
        page = resource.getpagesize()
        self._memory_bytes = (limits.memory_bytes + limits.workspace_size_bytes + OVERHEAD_BYTES) // page * page
        self._threads = limits.threads
        made: list[_Place] = []
        try:
            for place in places:
                place.directory.mkdir(mode=0o700)
                made.append(place)
                self._limit(place)
        except OSError as error:
            self._remove(made)
            raise unavailable("cgroup", f"a group could not be made: {error}") from error

    def join(self, pid: int) -> None:
        """Put a worker that has not run any of its code into it. IsolationUnavailable if the kernel refuses.

        WorkerFailed if it is dead.
        """
        try:
            for place in self._places:
                write(place.directory / "cgroup.procs", str(pid))
        except ProcessLookupError as error:
            raise WorkerFailed("start", "the worker died before it could be put into its group") from error
        except OSError as error:
            raise unavailable("cgroup", f"process {pid} could not be put into its group: {error}") from error

    @property
    def state(self) -> str:
        """For the report of a worker's layers."""
        version = self._places[0].hierarchy.version
        return f"enforced: v{version} memory {_size(self._memory_bytes)}, pids {self._threads + 1}, {self._share}"

    def check(self, pid: int) -> None:
        """Verify from outside that the process is in it, in every hierarchy. IsolationUnavailable otherwise."""
        try:
            with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as lines:
                seen = {line.rstrip("\n").partition(":")[2] for line in lines}
        except OSError as error:
            raise unavailable("cgroup", f"/proc/{pid}/cgroup cannot be read to verify it: {error.strerror}") from error
        for place in self._places:
            if f"{place.hierarchy.names}:{place.group}" not in seen:
                there = next(
                    (group for names, _, group in map(_parted, seen) if names == place.hierarchy.names), "none"
                )
                text = f"seen from outside, process {pid} is in the group {there}, not in {place.group}"
                raise unavailable("cgroup", text)

    def out_of_memory(self) -> bool:
        """Whether the kernel killed something in it because its memory was used up. To be asked before `remove`."""
        return any(
            _kills(place.directory / ("memory.oom_control" if place.hierarchy.version == 1 else "memory.events")) > 0
            for place in self._places
            if "memory" in place.hierarchy.controllers
        )

    def peak_bytes(self) -> int:
        """The most memory it ever held, all kinds together; 0 where the kernel does not say. To be asked before `remove`."""
        name = {1: "memory.max_usage_in_bytes", 2: "memory.peak"}
        peaks = (number(place.directory / name[place.hierarchy.version]) for place in self._places)
        return max((peak for peak in peaks if peak is not None), default=0)

    def remove(self) -> None:
        """Remove it, once its worker is dead. What the kernel still holds on to is removed later."""
        self._remove(self._places)

    def _limit(self, place: _Place) -> None:
        if "memory" in place.hierarchy.controllers:
            _limit_memory(place, self._memory_bytes)
        if "pids" in place.hierarchy.controllers:
            put(place.directory / "pids.max", str(self._threads + 1))
        if SHARE in place.hierarchy.controllers:
            self._share += processor_share.bound(place.hierarchy, place.directory, self._threads)

    def _remove(self, places: Iterable[_Place]) -> None:
        for place in places:
            if not group_directory.remove(place.directory):
                self._leave(place.directory)


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(":")


def _limit_memory(place: _Place, limit: int) -> None:
    if place.hierarchy.version == 2:
        put(place.directory / "memory.max", str(limit))
        with contextlib.suppress(FileNotFoundError):  # a kernel without swap
            put(place.directory / "memory.swap.max", "0")
        return
    put(place.directory / "memory.limit_in_bytes", str(limit))
    try:
        put(place.directory / "memory.memsw.limit_in_bytes", str(limit))
    except FileNotFoundError:  # booted without accounting of swap
        put(place.directory / "memory.swappiness", "0")


def _kills(path: Path) -> int:
    """How many processes memory has cost, from a file of names and numbers; 0 if it does not say."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    numbers = [line.split()[1] for line in lines if line.split()[:1] == ["oom_kill"] and len(line.split()) == 2]
    return int(numbers[0]) if numbers and numbers[0].isdecimal() and len(numbers[0]) < 20 else 0


def _size(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"
