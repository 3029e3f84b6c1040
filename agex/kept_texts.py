"""Texts made of modules, kept for the life of the process: agents that register a module alike pay for its reading once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from types import ModuleType

MOST_KEPT = 256


class KeptTexts:
    """A text for each key, made of one module; made anew when the module is another one. Safe to use from many threads."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._texts: OrderedDict[Hashable, tuple[ModuleType, str]] = OrderedDict()

    def text(self, key: Hashable, module: ModuleType, make: Callable[[], str]) -> str:
        with self._lock:
            known = self._texts.get(key)
            if known is not None and known[0] is module:
                self._texts.move_to_end(key)
                return known[1]
        made = make()  # outside the lock: it reads the developer's modules, which may do anything
        with self._lock:
            self._texts[key] = module, made
            while len(self._texts) > self._most:
                self._texts.popitem(last=False)
        return made
