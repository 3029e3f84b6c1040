"""KeptSession: a session while a task works in it. Its files are put into the workspace, and each action becomes a commit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from agex_supervisor.session_store import SessionStore
from agex_supervisor.workspace_reading import LeftOut, WorkspaceChanges, WorkspaceReading
from agex_supervisor.workspace_writing import write_workspace

_UNREADABLE = WorkspaceChanges({}, (), (LeftOut(".", "the worker left no folder where its workspace was"),))


@dataclass(frozen=True, slots=True)
class Kept:
    """A commit, and what the workspace had that is new in it; or that is not, and why."""

    commit: str
    changes: WorkspaceChanges

    @property
    def modified(self) -> tuple[str, ...]:
        return tuple(sorted(self.changes.files.keys() - self.changes.added))


class KeptSession:
    """One task's view. Between `place` and the last `commit` nobody else may use the directory; the session may be
    committed to by anybody."""

    def __init__(self, store: SessionStore, *, max_bytes: int, max_files: int, apart: Collection[str] = ()) -> None:
        self.store = store
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._apart = apart
        self._reading = self._fresh({})

    def place(self, directory: int) -> Mapping[str, bytes]:
        """Write the files of the newest commit below an open, empty directory; gives that commit's cache entries."""
        head = self.store.refresh()
        files = self.store.files(head) if head is not None else {}
        self._reading = self._fresh(write_workspace(files, directory))
        return self.store.cache(head) if head is not None else {}

    def commit(
        self,
        directory: int | None,
        *,
        cache: Mapping[str, bytes | None],
        events: Sequence[str],
        changed: Callable[[WorkspaceChanges], Sequence[str]] = lambda _: (),
        message: str = "",
        again: bool = False,
    ) -> Kept:
        """Store what an action left: the workspace below an open directory while its worker stands still, what changed of
        the cache, and the events. StateError: nothing is stored, and the next commit has it all.

        directory: None where there is none to be read, as the worker left it; the files then stay as they were. changed:
        further events, made of what changed in it.
        """
        changes = _UNREADABLE if directory is None else self._reading.read(directory, again=again)
        commit = self.store.commit(
            files=changes.files,
            removed=changes.removed,
            cache=cache,
            events=[*events, *changed(changes)],
            message=message,
        )
        if directory is not None:
            self._reading.committed()
        return Kept(commit, changes)

    def _fresh(self, known: Mapping[str, bytes]) -> WorkspaceReading:
        return WorkspaceReading(max_bytes=self._max_bytes, max_files=self._max_files, known=known, apart=self._apart)
