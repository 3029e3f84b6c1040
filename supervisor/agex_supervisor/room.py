"""Places that the sessions of one process share, in such a way that a few of them cannot take what the others need."""

from __future__ import annotations

import threading


class Room:
    """A fixed number of places. `left` is guarded by `changed`, which tells of every place that is given back."""

    def __init__(self, places: int) -> None:
        self.left = places
        self.changed = threading.Condition()


class Share:
    """What one session may have of a room: at most `most` places. Safe to use from many threads.

    Another is given only while more are left than the session has already. So what is left shrinks more slowly the fuller
    the room is, and the last places are for sessions that have none.
    """

    def __init__(self, room: Room, most: int) -> None:
        self.most = most
        self.taken = 0
        self._room = room

    def take(self, wait_s: float = 0.0) -> bool:
        """Take a place, waiting for one if need be. False if there was none."""
        with self._room.changed:
            if not self._room.changed.wait_for(lambda: self.taken < min(self.most, self._room.left), wait_s):
                return False
            self._room.left -= 1
            self.taken += 1
            return True

    def give_back(self) -> None:
        """To be called once for every place that was taken."""
        with self._room.changed:
            self._room.left += 1
            self.taken -= 1
            self._room.changed.notify_all()
