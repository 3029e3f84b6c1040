"""Script: the replies that a scripted model will give, in order, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from agex.errors import LLMError
from agex.llm.fault import Fault
from agex_supervisor.model import PythonAction, Reply, Request

# A string is Python to run; an exception is raised; a callable is asked for any of the others.
ScriptedReply = str | Reply | Fault | BaseException
ScriptItem = ScriptedReply | Callable[[Request], ScriptedReply]


class Script:
    """A list of replies that is gone through once. Safe to share between threads."""

    def __init__(self, items: Iterable[ScriptItem]) -> None:
        if isinstance(items, str):
            raise TypeError("a script is a list of replies, not one string")
        self._items = tuple(items)
        for item in self._items:
            if not isinstance(item, (str, Reply, Fault, BaseException)) and not callable(item):
                raise TypeError(f"a script holds str, Reply, Fault, exceptions and callables, not {item!r}")
        self._lock = threading.Lock()
        self._asked = 0

    def next(self, request: Request) -> Reply | Fault:
        """What the script has for this request. Raises the exception that stands there; LLMError after the last."""
        with self._lock:
            position = self._asked
            self._asked += 1
        if position >= len(self._items):
            replies = "1 reply" if len(self._items) == 1 else f"{len(self._items)} replies"
            raise LLMError(
                f"the script is used up: it has {replies}, and this is call {position + 1}", model="scripted"
            )
        item = self._items[position]
        if not isinstance(item, (str, Reply, Fault, BaseException)):
            item = item(request)
        match item:
            case str(code):
                return Reply(actions=[PythonAction(code)])
            case BaseException():
                raise item
            case _:
                return item
