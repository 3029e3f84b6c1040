"""Texts that show modules, classes and functions, kept for the process: agents that register alike pay for them once."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

MOST_KEPT = 256


class KeptTexts:
    """A text for each key, made of some objects, which it does not keep alive; made anew when one of them is another one.
    Safe to use from many threads."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._texts: OrderedDict[Hashable, tuple[tuple[weakref.ref[object], ...], str]] = OrderedDict()

    def text(self, key: Hashable, shown: Sequence[object], make: Callable[[], str]) -> str:
        try:
            here = tuple(map(weakref.ref, shown))
        except TypeError:  # of some built-in classes: nobody could tell whether it is the same object
            return make()
        with self._lock:
            refs, text = self._texts.get(key, ((), ""))
            if text and len(refs) == len(shown) and all(ref() is each for ref, each in zip(refs, shown, strict=True)):
                self._texts.move_to_end(key)
                return text
        made = make()  # outside the lock: it reads the developer's modules, which may do anything
        with self._lock:
            self._texts[key] = here, made
            while len(self._texts) > self._most:
                self._texts.popitem(last=False)
        return made
