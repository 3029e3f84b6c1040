"""The objects of this worker that handles elsewhere stand for, by numbers that are never used again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from agex_protocol.references import MAX_HANDLES, MAX_NUMBER
from agex_worker import sealing


class Holding:
    """A table of objects; as what an encoder keeps, it seals them too."""

    def __init__(self) -> None:
        self._objects: dict[int, object] = {}
        self._numbers = itertools.count(1)

    def hold(self, value: object) -> int:
        if len(self._objects) >= MAX_HANDLES:
            raise ValueError(f"there are {MAX_HANDLES} objects of this worker behind handles; have some of them closed")
        number = next(self._numbers)  # in one step: threads call host functions at once
        if number > MAX_NUMBER:
            raise ValueError(f"this worker has put {MAX_NUMBER} objects behind handles, and can do so no more")
        self._objects[number] = value
        return number

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


class Tentative:
    """What is held for values that are not sent yet: they may turn out not to cross. Each thread of agent code has its own."""

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._numbers: list[int] = []

    def hold(self, value: object) -> int:
        self._numbers.append(self._holding.hold(value))
        return self._numbers[-1]

    def seal(self, value: object) -> bytes:
        return self._holding.seal(value)

    def drop(self) -> None:
        """Forget all of it."""
        self._holding.drop(self._numbers)


HOLDING = Holding()


def held(number: int) -> object:
    """The object of a handle of this very worker. Named in pickles that the supervisor makes of inputs."""
    return HOLDING.get(number)
