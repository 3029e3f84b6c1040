"""/proc and /sys of a worker without namespaces: what of them is not granted is not there, as it is not there with them.

Libraries look whether such a file exists, and open it if so. Landlock lets everybody look and nobody open, and what
has another way to its answer where there is no /proc fails. It is an answer for libraries, and no wall.
"""

from __future__ import annotations

import functools
import genericpath
import os
from collections.abc import Callable
from typing import Any

from agex_protocol.plan import LockdownPlan

_TREES = ("/proc/", "/sys/")
_LOOKS = ("exists", "isfile", "isdir")


def leave_out(plan: LockdownPlan) -> None:
    """Have `os.path` look for granted files only, below these two directories, where Landlock alone keeps them closed."""
    if not plan.landlock_abi or plan.namespaces != "off":
        return
    granted = tuple(f"{path}/" for path in (*plan.read, *plan.write) if f"{path}/".startswith(_TREES))
    for name in _LOOKS:
        look = _within(getattr(genericpath, name), granted)
        setattr(genericpath, name, look)
        setattr(os.path, name, look)


def _within(look: Callable[[Any], bool], granted: tuple[str, ...]) -> Callable[[Any], bool]:
    @functools.wraps(look)
    def wrapped(path: Any) -> bool:
        return look(path) and not _is_left_out(path, granted)

    return wrapped


def _is_left_out(path: Any, granted: tuple[str, ...]) -> bool:
    if isinstance(path, int):
        return False
    text = os.fsdecode(path)
    if not text.startswith(_TREES):
        return False
    text = os.path.normpath(text) + "/"
    # A directory on the way to what is granted is seen, too.
    return text.startswith(_TREES) and not (text.startswith(granted) or any(each.startswith(text) for each in granted))
