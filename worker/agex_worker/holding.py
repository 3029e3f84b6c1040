"""The objects of this worker that handles elsewhere stand for, by numbers that are never used again."""

from __future__ import annotations

from collections.abc import Iterable

from agex_protocol.references import MAX_HANDLES, MAX_NUMBER
from agex_worker import sealing


class Holding:
    """A table of objects; as what an encoder keeps, it seals them too."""

    def __init__(self) -> None:
        self._objects: dict[int, object] = {}
        self._last = 0

    def hold(self, value: object) -> int:
        if len(self._objects) >= MAX_HANDLES:
            raise ValueError(f"there are {MAX_HANDLES} objects of this worker behind handles; have some of them closed")
        if self._last >= MAX_NUMBER:
            raise ValueError(f"this worker has put {MAX_NUMBER} objects behind handles, and can do so no more")
        self._last += 1
        self._objects[self._last] = value
        return self._last

    def seal(self, value: object) -> bytes:
        return sealing.seal(value)

    def get(self, number: int) -> object:
        """LookupError for one that is not here."""
        try:
            return self._objects[number]
        except KeyError:
            raise LookupError("the object of a handle is not in this worker any more") from None

    def drop(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            self._objects.pop(number, None)

    @property
    def last(self) -> int:
        return self._last

    def drop_since(self, last: int) -> None:
        """Forget what was held after that number: its value did not cross."""
        self.drop(range(last + 1, self._last + 1))


HOLDING = Holding()


def held(number: int) -> object:
    """The object of a handle of this very worker. Named in pickles that the supervisor makes of inputs."""
    return HOLDING.get(number)
