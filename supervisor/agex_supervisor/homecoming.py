"""Workspaces on their way home from the slots of dead workers, and on their way out when their session is over.

A large one takes longer than a caller may be kept waiting who only wants to hear how a run ended: it comes home on a thread,
and whoever needs it next waits for that. Its removal, too, goes on on a thread.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from agex_supervisor.errors import WorkerFailed
from agex_supervisor.scratch import remove_tree
from agex_supervisor.slot import Slot
from agex_supervisor.transfer import Late

CLOSE_TIMEOUT_S = 10.0
REMOVAL_S = 0.25


@dataclass
class _Homecoming:
    done: threading.Event = field(default_factory=threading.Event)
    error: OSError | None = None


class Homecomings:
    """All that are under way; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[Path, _Homecoming] = {}
        self._removals: list[threading.Thread] = []

    def begin(self, slot: Slot, home: Path, gone: threading.Event) -> None:
        """Bring a workspace home when its worker is `gone`, and remove the slot: now, or on a thread if that takes time.

        An error is kept for `wait_for`.
        """
        coming = _Homecoming()
        with self._lock:
            self._under_way[home] = coming
        if not (gone.is_set() and slot.is_light):
            bring = threading.Thread(
                target=self._bring, args=(slot, home, gone, coming), name="agex-homecoming", daemon=True
            )
            with contextlib.suppress(RuntimeError):  # there is no room for another thread: then here and now
                bring.start()
                return
        self._bring(slot, home, gone, coming)

    def wait_for(self, home: Path, until: float = float("inf")) -> None:
        """Return when it is home. WorkerFailed if it did not come: it is then as it was before its last worker.

        Late if that is not before `until`, as time.monotonic() counts.
        """
        with self._lock:
            coming = self._under_way.get(home)
        if coming is None:
            return
        if not coming.done.wait(None if until == float("inf") else max(0.0, until - time.monotonic())):
            raise Late
        with self._lock:
            self._under_way.pop(home, None)
        if coming.error is not None:
            raise WorkerFailed(
                "workspace",
                f"what the last worker left in the workspace could not be kept ({coming.error}); the workspace is as it"
                " was before; see that the disk of the temporary directory has room",
            ) from coming.error

    def forget(self, home: Path) -> None:
        """Return when nothing comes there any more, however it went."""
        with contextlib.suppress(WorkerFailed):
            self.wait_for(home)

    def remove(self, home: Path) -> None:
        """Remove a workspace that nothing comes to any more; one of very many files on a thread, after a moment."""
        self.forget(home)
        try:
            with contextlib.suppress(FileNotFoundError):
                remove_tree(home, time.monotonic() + REMOVAL_S)
        except Late:
            removal = threading.Thread(target=_remove_rest, args=(home,), name="agex-removal", daemon=True)
            with self._lock:
                self._removals = [each for each in self._removals if each.is_alive()] + [removal]
            try:
                removal.start()
            except RuntimeError:  # there is no room for another thread: then here and now
                _remove_rest(home)

    def close(self) -> None:
        """Wait for all of them, but not for a worker that does not die: its thread ends when that does."""
        with self._lock:
            under_way = list(self._under_way.values())
        until = time.monotonic() + CLOSE_TIMEOUT_S
        for coming in under_way:
            coming.done.wait(max(0.0, until - time.monotonic()))
        for removal in self._removals:
            if removal.ident is not None:
                removal.join()

    def _bring(self, slot: Slot, home: Path, gone: threading.Event, coming: _Homecoming) -> None:
        try:
            gone.wait()
            slot.give_back(home)
        except OSError as error:
            coming.error = error
        finally:
            slot.remove()
            if coming.error is None:
                with self._lock:
                    self._under_way.pop(home, None)
            coming.done.set()


def _remove_rest(home: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        remove_tree(home)
