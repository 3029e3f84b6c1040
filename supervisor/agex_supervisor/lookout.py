"""Waits for whichever of several descriptors has something to say. What is watched seldom changes, so it is kept."""

from __future__ import annotations

import select


class Lookout:
    """One for each thing that waits again and again; for one thread."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._reading: tuple[int, ...] = ()
        self._writing = -1

    def wait(self, reading: tuple[int, ...], writing: int, timeout_s: float) -> dict[int, int]:
        """The events that came, by descriptor, waiting at most so long; -1 stands for no descriptor.

        A descriptor that was closed meanwhile and stands for something else now counts as what it stands for.
        """
        if reading != self._reading or writing != self._writing:
            self._poll = select.poll()
            for descriptor in reading:
                if descriptor >= 0:
                    self._poll.register(descriptor, select.POLLIN | (select.POLLOUT if descriptor == writing else 0))
            self._reading, self._writing = reading, writing
        return dict(self._poll.poll(timeout_s * 1000))
