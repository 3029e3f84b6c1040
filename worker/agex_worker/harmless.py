"""Calls that libraries make without needing their effect, answered kindly inside the workspace.

The filter refuses chdir by path and every change of modes and times, because neither can be confined to the workspace by
the kernel. `shutil.copy` and its like make them on their own files all the same, and code changes into its own folders.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

from agex_worker import denials


def soften(*roots: str) -> None:
    """Wrap os.chdir, os.chmod and os.utime for paths below these directories. Elsewhere the refusal stays.

    That a change of modes or times had no effect is noted as a denial all the same.
    """
    real_roots = tuple(os.path.realpath(root) for root in roots)

    def inside(path: Any) -> bool:
        if isinstance(path, int):
            return True  # it could only be opened because it may be touched
        real = os.path.realpath(os.fsdecode(path))
        return any(real == root or real.startswith(root + os.sep) for root in real_roots)

    os.chdir = _enter
    os.chmod = _without_effect(os.chmod, inside)
    os.utime = _without_effect(os.utime, inside)


def _enter(path: Any) -> None:
    """As os.chdir: by a descriptor, which only a directory that may be read can give."""
    if isinstance(path, int):
        os.fchdir(path)
        return
    sys.audit("os.chdir", path)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchdir(descriptor)
    finally:
        os.close(descriptor)


def _without_effect(call: Callable[..., None], inside: Callable[[Any], bool]) -> Callable[..., None]:
    @functools.wraps(call)
    def wrapped(path: Any, *args: Any, **kwargs: Any) -> None:
        try:
            call(path, *args, **kwargs)
        except PermissionError:
            shown = f"descriptor {path}" if isinstance(path, int) else os.fsdecode(path)
            denials.note("seccomp", call.__name__, shown)
            if not inside(path):
                raise

    return wrapped
