"""Every message between the supervisor and a zygote, once, on its control socket.

    Boot -> (FindModule -> ModuleFound)* -> Booted | BootFailed; then Fork -> Forked and Reap -> Reaped, any number of times.

A change that an older peer could misread raises PROTOCOL_VERSION (messages.py).
"""

from __future__ import annotations

from typing import NamedTuple

from agex_protocol.plan import LockdownPlan

# How many user ids a zygote run by root has: the first is its own, each worker has one of the others.
UIDS = 256


# --- supervisor -> zygote ---------------------------------------------------------------------------------------------


class Boot(NamedTuple):
    """First frame: what to be."""

    version: int
    plan: LockdownPlan
    slots: str  # the directory below which every worker's slot lies
    preload: tuple[str, ...]
    path: tuple[str, ...]  # directories of installed packages that the interpreter alone would not search
    uids: int = 0  # the first of UIDS user ids of this machine that workers may be mapped to; 0: they keep the zygote's


class ModuleFound(NamedTuple):
    """Answer to FindModule. kind: "none" (not the application's own: look it up yourself), "source", "package", "namespace"
    or "extension" (compiled: its file is readable)."""

    kind: str
    file: str = ""
    source: bytes = b""
    locations: tuple[str, ...] = ()


class Fork(NamedTuple):
    """Fork one worker. With the frame come three descriptors: its channel, its stdout, its stderr."""

    serial: int
    slot: str  # where its own files lie, as the supervisor sees it; with namespaces it sees SLOT instead
    uid: int = 0  # which of the zygote's user ids it takes; 0, the zygote's own, where it has no others


class Reap(NamedTuple):
    """The worker is dead and the supervisor has let go of it: its process id may be used again."""

    serial: int


# --- zygote -> supervisor ---------------------------------------------------------------------------------------------


class FindModule(NamedTuple):
    """Where is this module of the application's own? Only while booting."""

    name: str


class Booted(NamedTuple):
    """Confined, preloaded, single-threaded: ready to fork. `layers` are (layer, state) pairs."""

    version: int
    layers: tuple[tuple[str, str], ...]
    modules: int


class BootFailed(NamedTuple):
    """No zygote. what: "layer", "preload", "threads", "descriptors", "shared-memory", "version"."""

    what: str
    name: str
    message: str


class Forked(NamedTuple):
    """A worker exists; its pidfd comes with the frame, and with namespaces the mount that holds its files, too.

    pid is the zygote's number for it. 0, and no descriptor: there was no room to fork.
    """

    serial: int
    pid: int


class Reaped(NamedTuple):
    """The worker's wait status, and what it used in its whole life: processor seconds, peak resident bytes."""

    serial: int
    status: int
    cpu_s: float
    peak_rss_bytes: int


ToZygote = Boot | ModuleFound | Fork | Reap
FromZygote = FindModule | Booted | BootFailed | Forked | Reaped
