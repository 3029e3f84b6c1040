"""The view: all files that a worker sees. A read-only tree of nothing but what the plan grants, under the names it has outside.

What is not in it does not exist there: neither its content nor its name, size or times. No /proc, no other user's anything.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from agex_protocol.messages import SLOT
from agex_protocol.plan import LockdownPlan
from agex_worker.lockdown import mounts

# Directories, links and empty files to mount upon: no data.
_ROOT = {"size": "4m", "nr_inodes": "16384", "mode": "0755"}
# Where the new root is put until it becomes the root; it hides nothing that is still needed.
_PROVISIONAL = ("/tmp", "/mnt", "/var", "/usr")
_MOST_LINKS = 40
_AT_FDCWD = -100


@dataclass(frozen=True, slots=True)
class View:
    """`read` and `write` are real paths of files or directories, `aliases` further names by which something may ask for them."""

    read: tuple[str, ...]
    write: tuple[str, ...]
    aliases: tuple[str, ...]


def view(plan: LockdownPlan, aliases: Iterable[str] = ()) -> View:
    """What this plan lets a worker see. Of two paths of which one lies within the other, the outer one comes first."""
    return View(tuple(sorted(plan.read)), tuple(sorted(plan.write)), ("/lib", "/lib64", *aliases))


def build(chosen: View) -> int:
    """Make the view in this mount namespace and enter it; gives how many paths it has. OSError where that cannot be done."""
    mounts.make_private()
    pieces = [
        (path, mounts.copy(path), writable)
        for paths, writable in ((chosen.read, False), (chosen.write, True))
        for path in paths
        if os.path.exists(path)
    ]
    links = [link for alias in chosen.aliases for link in _links_on_the_way(alias)]
    root = mounts.new("tmpfs", _ROOT, mounts.NO_SUID | mounts.NO_DEVICES)
    try:
        mounts.place(root, _AT_FDCWD, _provisional())
        for path, mount, writable in pieces:
            _place(root, path, mount, writable)
        for link, target in links:
            _make_link(root, link, target)
        _make_directory(root, SLOT)
        mounts.restrict(root, mounts.READ_ONLY | mounts.NO_SUID | mounts.NO_DEVICES, beneath=False)
        mounts.enter(root)
    finally:
        os.close(root)
    return len(pieces)


def _place(root: int, path: str, mount: int, writable: bool) -> None:
    mode = os.fstat(mount).st_mode
    attributes = mounts.NO_SUID | (0 if writable else mounts.READ_ONLY)
    # A device that is granted by name must work; others below a granted directory must not.
    attributes |= 0 if stat.S_ISCHR(mode) else mounts.NO_DEVICES
    mounts.restrict(mount, attributes, beneath=True)
    relative = path.lstrip("/")
    if not _exists(root, relative):
        if stat.S_ISDIR(mode):
            _make_directory(root, path)
        else:
            _make_directory(root, os.path.dirname(path))
            os.close(os.open(relative, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o444, dir_fd=root))
    mounts.place(mount, root, relative)
    os.close(mount)


def _make_directory(root: int, path: str) -> None:
    done = ""
    for part in path.strip("/").split("/"):
        done = os.path.join(done, part)
        # One that is there may be a directory of a read-only piece, within which another piece lies.
        if done and not _exists(root, done):
            os.mkdir(done, 0o755, dir_fd=root)


def _exists(root: int, relative: str) -> bool:
    try:
        os.stat(relative, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _make_link(root: int, link: str, target: str) -> None:
    if not _exists(root, link.lstrip("/")):
        _make_directory(root, os.path.dirname(link) or "/")
        os.symlink(target, link.lstrip("/"), dir_fd=root)


def _links_on_the_way(path: str) -> list[tuple[str, str]]:
    """Every symbolic link that is followed when this path is looked up here, with its target."""
    found: list[tuple[str, str]] = []
    parts, done = path.strip("/").split("/"), "/"
    while parts and len(found) < _MOST_LINKS:
        part = parts.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            done = os.path.dirname(done)
            continue
        here = os.path.join(done, part)
        try:
            target = os.readlink(here)
        except OSError:  # no link, or nothing there
            done = here
            continue
        found.append((here, target))
        parts = [*target.strip("/").split("/"), *parts]
        done = "/" if target.startswith("/") else done
    return found


def _provisional() -> str:
    return next(path for path in _PROVISIONAL if os.path.isdir(path) and not os.path.islink(path))
