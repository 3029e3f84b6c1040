"""An error that ends an action and names a path that nobody granted says so, where nobody told it before.

What C code opens, and what Python looks up without an event, fails in the kernel. With namespaces the answer is that there
is no such file: whether there is one outside, nobody in here can know. Without them it is a refusal, of what is not told.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from agex_protocol.plan import LockdownPlan
from agex_worker import denials
from agex_worker.granted import Granted

_MOST_ERRORS = 20
_MOST_PATHS = 10
_MOST_CHARS = 4_000
# In quotes, as the end of a line, or as a word.
_PATHS = re.compile(r"""'(/[^'\n]+)'|"(/[^"\n]+)"|(?:^|: )(/[^'"\n]+)$|(?<![^\s(=])(/[^\s'",;:)]+)""", re.MULTILINE)

_READ = "[filesystem] read would allow it"
_WRITE = "[filesystem] write would allow it"
_EITHER = "[filesystem] read would allow to read it, and write to write it"


class Outside:
    """Knows what the layers of a plan answer for a path that it does not grant."""

    def __init__(self, plan: LockdownPlan, granted: Granted) -> None:
        self._policy = plan.policy
        self._granted = granted
        self._viewed = plan.namespaces != "off"
        self._landlock = plan.landlock_abi > 0

    def explain(self, error: BaseException) -> None:
        """Add to this error what is known of the paths that it names, and note what was refused."""
        answer = _answer(error)
        if answer in ("absent", "unopened") and self._viewed:
            self._tell(error, "namespaces", "find", "it is not there for this code, whatever there is outside", _READ)
        elif answer == "unchanged" and self._viewed:
            self._tell(error, "namespaces", "write", "it is there to be read only", _WRITE, writing=True)
        elif answer in ("refused", "unopened") and self._landlock:
            self._tell(error, "landlock", "", "what it was refused for is not known", _EITHER)

    def _tell(
        self, error: BaseException, layer: str, operation: str, why: str, remedy: str, *, writing: bool = False
    ) -> None:
        for path in _paths(error):
            target = self._granted.beyond(os.path.realpath(path), writing=writing)
            if target is None or denials.is_noted(target) or denials.is_noted(path):
                continue
            shown = repr(target)
            if os.path.isabs(path):
                denials.note(layer, operation, target)
            else:  # unless it was taken from a descriptor, which no error tells
                shown = f"from the working directory {path!r} leads to {target!r}, which"
            BaseException.add_note(error, f"{shown} is outside of what policy {self._policy!r} grants: {why}; {remedy}")


def install(plan: LockdownPlan, granted: Granted) -> None:
    """Explain errors of this process from now on."""
    global _outside
    _outside = Outside(plan, granted)


def explain(error: BaseException) -> None:
    """Do so for an error that ends an action, and for those that it came of."""
    if _outside is None:
        return
    try:
        for each in _chain(error):
            _outside.explain(each)
    except BaseException:
        return  # its class is the code's own, with attributes that do anything


_outside: Outside | None = None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(_MOST_ERRORS):
        if error is None:
            return
        yield error
        cause, hidden = error.__cause__, error.__suppress_context__
        error = cause if cause is not None or hidden else error.__context__


def _answer(error: BaseException) -> str:
    """What the kernel said of a path: "absent", "refused", "unchanged", one of the former ("unopened"), or nothing known."""
    if isinstance(error, FileNotFoundError):
        return "absent"
    if isinstance(error, PermissionError):
        return "" if error.errno == errno.EPERM else "refused"  # that is the filter's, and not about paths
    if isinstance(error, OSError):
        return "unchanged" if error.errno == errno.EROFS else ""
    return "unopened" if type(error).__module__ == "sqlite3" and str(error).startswith("unable to open") else ""


def _paths(error: BaseException) -> list[str]:
    """What an error of the kernel is about: its attributes where they tell, else its text."""
    names = [getattr(error, name, None) for name in ("filename", "filename2")]
    paths = [os.fsdecode(name) for name in names if isinstance(name, str | bytes | os.PathLike)]
    if not paths:
        found = _PATHS.finditer(str(error)[:_MOST_CHARS])
        paths = [next(filter(None, match.groups())) for match in found]
    return list(dict.fromkeys(paths))[:_MOST_PATHS]
