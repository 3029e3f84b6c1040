"""What a session holds of a pool: a worker, a seat, and the way home of its workspace."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from agex_supervisor.seats import Seat
from agex_supervisor.worker import Worker


@dataclass
class Place:
    """A worker that a session holds, and where its workspace is at home."""

    worker: Worker
    seat: Seat
    home: Path
    lent: bool  # the home was moved into the slot, and goes back

    def is_empty(self) -> bool:
        """Whether its workspace has nothing in it. Only before the worker has run anything."""
        if not self.lent:
            with os.scandir(self.home) as entries:
                return next(entries, None) is None
        return self.worker.slot.is_empty()
