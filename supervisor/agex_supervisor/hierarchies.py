"""Where this process may make control groups of its own: in version 2, in version 1, or nowhere, and then why.

Only beneath its own group, or beneath that one's parent where the parent was handed over. No process but a worker is
ever moved, so a version 2 group in which the application itself runs cannot be used: the kernel gives a group's memory
either to its processes or to its children.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CONTROLLERS = ("memory", "pids")
SHARE = "cpu"

_DELEGATION = ("trusted.delegate", "user.delegate")  # extended attributes that systemd puts on what it hands over


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A directory beneath which groups can be made.

    group: the same place in the words of /proc/PID/cgroup. names: the hierarchy's controllers there; "" in version 2.
    leaf: the group beside them in which this process is; None where it is in `directory` itself.
    """

    version: int
    controllers: tuple[str, ...]
    directory: Path
    group: str
    names: str
    leaf: Path | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """Where groups can be made; `no_share` says why a share of the processor cannot be given there, and is empty if it can."""

    hierarchies: tuple[Hierarchy, ...]
    no_share: str


class Unusable(Exception):
    """No control groups can be had here; the message says why, and what would change it."""


def find(process: Path = Path("/proc/self"), controllers: Sequence[str] = CONTROLLERS, no_share: str = "") -> Found:
    """One place that has all controllers in version 2, else one for each in version 1; with SHARE if it can be. Raises Unusable.

    Enables the controllers for children in version 2 where that is ours to do. `process` is a directory of /proc. no_share:
    why SHARE is not wanted.
    """
    try:
        mounts = list(_mounts((process / "mountinfo").read_text(encoding="utf-8", errors="surrogateescape")))
        groups = list(_groups((process / "cgroup").read_text(encoding="utf-8", errors="surrogateescape")))
    except OSError as error:
        raise Unusable(f"{error.filename} cannot be read: {error.strerror}") from error
    reasons: list[str] = []
    for search in (_version_2, _version_1):
        try:
            hierarchies = search(mounts, groups, controllers)
        except Unusable as error:
            reasons.append(str(error))
            continue
        if no_share:
            return Found(hierarchies, no_share)
        try:
            return Found(search(mounts, groups, (*controllers, SHARE)), "")
        except Unusable as error:
            return Found(hierarchies, str(error))
    raise Unusable("; ".join(reasons))


@dataclass(frozen=True, slots=True)
class _Mount:
    version: int
    root: str  # the group that is seen at `point`
    point: str
    options: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Own:
    """A group that this process is in. names: the controllers of its hierarchy, comma-separated; "" is version 2."""

    names: str
    group: str


def _mounts(mountinfo: str) -> Iterator[_Mount]:
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        if len(fields) >= 6 and len(kind) >= 3 and kind[0] in ("cgroup", "cgroup2"):
            version = 2 if kind[0] == "cgroup2" else 1
            yield _Mount(version, _unescape(fields[3]), _unescape(fields[4]), frozenset(kind[2].split(",")))


def _groups(text: str) -> Iterator[_Own]:
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        names, _, group = rest.partition(":")
        if number.isdecimal() and group.startswith("/"):
            yield _Own(names, group)


def _unescape(path: str) -> str:
    for written, meant in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(written, meant)
    return path


def _version_2(mounts: list[_Mount], groups: list[_Own], controllers: Sequence[str]) -> tuple[Hierarchy, ...]:
    own = next((each for each in groups if each.names == ""), None)
    seen = [mount for mount in mounts if mount.version == 2]
    if own is None or not seen:
        raise Unusable("version 2: it is not mounted")
    directory = _directory(seen, own)
    reasons: list[str] = []
    for place, group in ((directory, own.group), (directory.parent, os.path.dirname(own.group))):
        if place != directory and (own.group == "/" or not _is_delegated(place)):
            break
        reason = _enable(place, controllers)
        if reason is None:
            return (Hierarchy(2, tuple(controllers), place, group, "", directory if place != directory else None),)
        reasons.append(reason)
    raise Unusable(
        f"version 2: {', and '.join(reasons)}. Start the application in a leaf of a delegated group, as systemd does with"
        " Delegate=cpu memory pids and DelegateSubgroup=main"
    )


def _enable(directory: Path, controllers: Sequence[str]) -> str | None:
    """Have the children of a version 2 group controlled; None, or why it cannot be."""
    if missing := set(controllers) - set(_words(directory / "cgroup.controllers")):
        return (
            f"{directory} has no {' and no '.join(sorted(missing))} controller (bound to version 1, or not handed down)"
        )
    if not _is_writable(directory) or not _is_writable(directory / "cgroup.procs"):
        return f"{directory} is not writable for this user"
    control = directory / "cgroup.subtree_control"
    try:
        if missing := set(controllers) - set(_words(control)):
            write(control, " ".join(f"+{name}" for name in sorted(missing)))
    except OSError as error:
        # EBUSY: processes live directly in it, this one among them.
        return f"{directory} cannot control children ({error.strerror})"
    return None


def _is_delegated(directory: Path) -> bool:
    """Whether a group was handed over to this user, as a whole: marked by systemd, or given to an ordinary user by root."""
    for name in _DELEGATION:
        try:
            if os.getxattr(directory, name) == b"1":
                return True
        except OSError:
            continue  # not marked, or not for us to read
    try:
        return 0 != os.geteuid() == directory.stat().st_uid != directory.parent.stat().st_uid
    except OSError:
        return False


def _version_1(mounts: list[_Mount], groups: list[_Own], controllers: Sequence[str]) -> tuple[Hierarchy, ...]:
    found: dict[Path, Hierarchy] = {}
    for controller in controllers:
        own = next((each for each in groups if controller in each.names.split(",")), None)
        seen = [mount for mount in mounts if mount.version == 1 and controller in mount.options]
        if own is None or not seen:
            raise Unusable(f"version 1: no {controller} hierarchy is mounted")
        directory = _directory(seen, own)
        if "cpuset" in own.names.split(","):
            raise Unusable(f"version 1: {directory} has cpuset as well, whose new groups have no processor to run on")
        if not _is_writable(directory):
            raise Unusable(
                f"version 1: {directory} is not writable for this user; run as root, or have the directory given to the user"
            )
        also = found[directory].controllers if directory in found else ()
        found[directory] = Hierarchy(1, (*also, controller), directory, own.group, own.names)
    return tuple(found.values())


def _directory(mounts: list[_Mount], own: _Own) -> Path:
    """Where a group is seen. What is mounted last hides what lies beneath it."""
    for mount in reversed(mounts):
        root = mount.root.rstrip("/")
        if own.group != root and not own.group.startswith(f"{root}/"):
            continue
        directory = Path(mount.point + own.group[len(root) :]) if own.group != "/" else Path(mount.point)
        if ".." not in directory.parts and (directory / "cgroup.procs").exists():
            return directory
    raise Unusable(f"this process's own group {own.group} is not visible below {mounts[-1].point}")


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK, effective_ids=True)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return []


def write(path: Path, value: str) -> None:
    """Write to one of the kernel's files. Never makes one: an absent file is FileNotFoundError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def put(path: Path, value: str) -> None:
    """Write a value and see that it reads back. OSError if it does not."""
    write(path, value)
    if (found := path.read_text(encoding="utf-8", errors="replace").strip()) != value:
        raise OSError(errno.EINVAL, f"{path} was set to {value} and reads {found}")


def number(path: Path) -> int | None:
    """What a file of one number says; None if it is not there or says something else."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() and len(text) < 20 else None
