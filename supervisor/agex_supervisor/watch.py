"""What rlimits cannot count, or not so that one knows the cause: the processor time and the threads of a worker, and all
the bytes and files of its workspace together.

The workspace is hostile ground: it is measured through descriptors, without following links, and never beyond the caps.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from agex_protocol.plan import Limits

MAX_DEPTH = 64
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def stopped(pid: int) -> bool:
    """Whether every thread of a process that was sent SIGSTOP stands still."""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/stat", "rb") as stat:
                if stat.read().rsplit(b")", 1)[1].split()[0] not in (b"T", b"t", b"Z", b"X"):
                    return False
    except (OSError, IndexError):
        return False  # a thread, or all of it, has just ended
    return True


class Watch:
    """Looks at one worker from outside. `breach()` names the limit that is passed, or is None."""

    def __init__(self, pid: int, limits: Limits, places: list[Path | int]) -> None:
        self._stat = f"/proc/{pid}/stat"
        self._limits = limits
        self._places = places

    def breach(self) -> str | None:
        return self._use() or self._disk()

    def _use(self) -> str | None:
        try:
            with open(self._stat, "rb") as stat:
                fields = stat.read().rsplit(b")", 1)[1].split()
            cpu_s, threads = (int(fields[11]) + int(fields[12])) / TICKS_PER_S, int(fields[17])
        except (OSError, IndexError, ValueError) as error:
            # Dead, and its pidfd will say so; or nothing can be opened here, and then nothing holds it.
            return _blind("limits.threads") if _is_full(error) else None
        if cpu_s > self._limits.cpu_time_s:
            return f"limits.cpu_time: {self._limits.cpu_time_s:g}s of processor time are used up"
        if threads > self._limits.threads:
            return f"limits.threads: {threads} threads, {self._limits.threads} allowed"
        return None

    def _disk(self) -> str | None:
        count = _Count(self._limits)
        for place in self._places:
            try:
                # Of an open directory, another descriptor: the walk closes the one that it is given.
                top = os.open(place, DIRECTORY) if isinstance(place, Path) else os.open(".", DIRECTORY, dir_fd=place)
            except OSError as error:
                count.blind = count.blind or _is_full(error)
                continue
            count.add(top, 0)
        if count.size > self._limits.workspace_size_bytes:
            return f"limits.workspace_size: {count.size} bytes or more, {self._limits.workspace_size_bytes} allowed"
        if count.files > self._limits.workspace_files:
            return f"limits.workspace_files: {count.files} or more, {self._limits.workspace_files} allowed"
        if count.blind:
            return _blind("limits.workspace_size")
        if count.closed:
            return "limits.workspace_size: a directory of the workspace cannot be read, so it cannot be measured"
        return f"a workspace of more than {MAX_DEPTH} levels" if count.depth > MAX_DEPTH else None


DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _is_full(error: Exception) -> bool:
    """Whether this process, or the machine, has no descriptor left."""
    return isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE)


def _blind(key: str) -> str:
    return f"{key}: it cannot be watched, because the supervisor has no descriptor left; raise its limit of open files"


class _Count:
    """Bytes on disk, files and depth, summed up to the first cap passed. Holds one descriptor a level, no more."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.size = 0
        self.files = 0
        self.depth = 0
        self.closed = False
        self.blind = False

    def add(self, directory: int, depth: int) -> None:
        """Count what is below an open directory, and close it."""
        self.depth = max(self.depth, depth)
        below: list[str] = []
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    self._add_entry(entry, below)
                    if self._over():
                        return
            # Only now, for a listing under way is a second descriptor.
            for name in below:
                self._add_directory(name, directory, depth)
                if self._over():
                    return
        finally:
            os.close(directory)

    def _add_entry(self, entry: os.DirEntry[str], below: list[str]) -> None:
        # One that goes away under us must not keep the rest from being counted.
        try:
            self.size += entry.stat(follow_symlinks=False).st_blocks * 512
            self.files += 1
            if entry.is_dir(follow_symlinks=False):
                below.append(entry.name)
        except PermissionError:
            self.closed = True
        except OSError:
            return

    def _add_directory(self, name: str, directory: int, depth: int) -> None:
        try:
            self.add(os.open(name, DIRECTORY, dir_fd=directory), depth + 1)
        except PermissionError:
            self.closed = True
        except OSError as error:
            self.blind = self.blind or _is_full(error)

    def _over(self) -> bool:
        limits = self._limits
        return self.size > limits.workspace_size_bytes or self.files > limits.workspace_files or self.depth > MAX_DEPTH
