"""What a plan grants of the files, and where a path leads that only looks as if it lay within.

To be told, never to be held: who owns the process can change both the answer and what a path leads to.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from os.path import islink, realpath

from agex_protocol.plan import LockdownPlan


class Granted:
    """Paths that may be read and written. `places` are the directories that are the worker's own."""

    def __init__(self, plan: LockdownPlan, places: Iterable[str]) -> None:
        writable = {each for path in (*plan.write, *places) for each in (path, realpath(path))}
        self._way = os.stat("/").st_dev if plan.namespaces != "off" else None
        self._writable = tuple(path.rstrip("/") + "/" for path in sorted(writable))
        self._readable = self._writable + tuple(path.rstrip("/") + "/" for path in plan.read)

    def beyond(self, path: object, *, writing: bool = False, relative: bool = True, follow: bool = True) -> str | None:
        """Where this path leads, if that is not granted; None if it is, and for what only the kernel can tell.

        relative: whether one that does not begin at the root is taken from the working directory, for it may be from a
        descriptor. follow: whether a link at its end is followed.
        """
        text = _absolute(path, relative)
        if text is None:
            return None
        roots = self._writable if writing else self._readable
        inside = "/." not in text and "//" not in text and f"{text}/".startswith(roots)
        if inside and (self._is_seen(text, writing) or not self._is_led_away(text, follow)):
            return None
        real = realpath(text) if follow else _real_folder(text)
        return None if f"{real}/".startswith(roots) else real

    def _is_seen(self, text: str, writing: bool) -> bool:
        """Whether one look is enough: all that a view grants is mounted into it, and its own root is only the way there."""
        if writing or self._way is None:
            return False
        try:
            return os.stat(text).st_dev != self._way
        except OSError:
            return False

    def _is_led_away(self, text: str, follow: bool) -> bool:
        """Whether a link stands in the way. Folders are looked at where the code itself can have made links."""
        if follow and islink(text):
            return True
        root = next((root for root in self._writable if text.startswith(root)), text)
        end = text.find("/", len(root))
        while end != -1:
            if islink(text[:end]):
                return True
            end = text.find("/", end + 1)
        return False


def _absolute(path: object, relative: bool) -> str | None:
    """The path as text from the root on, as it was asked for; None for a descriptor and for no path."""
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if not isinstance(path, str | bytes):
        return None
    text = os.fsdecode(path)
    if "\0" in text or not text:
        return None
    if text[0] == "/":
        return text
    if not relative:
        return None
    try:
        return os.path.join(os.getcwd(), text)
    except OSError:
        return None  # the directory is gone


def _real_folder(text: str) -> str:
    folder, name = os.path.split(text.rstrip("/"))
    return realpath(text) if name in ("", ".", "..") else os.path.join(realpath(folder), name)
