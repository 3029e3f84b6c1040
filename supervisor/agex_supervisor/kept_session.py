"""KeptSession: a session while a task works in it. Its files are put into the workspace, and each action becomes a commit."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from agex_supervisor.events import NoteEvent
from agex_supervisor.session_store import SessionStore
from agex_supervisor.workspace_reading import LeftOut, WorkspaceChanges, WorkspaceReading
from agex_supervisor.workspace_writing import write_workspace

_UNREADABLE = WorkspaceChanges({}, (), (LeftOut(".", "the worker left no folder where its workspace was"),))


class KeptSession:
    """One task's view. Between `place` and the last `commit` nobody else may use the directory; the session may be
    committed to by anybody."""

    def __init__(self, store: SessionStore, *, max_bytes: int, max_files: int, apart: Collection[str] = ()) -> None:
        self.store = store
        self._max_bytes = max_bytes
        self._max_files = max_files
        self._apart = apart
        self._reading = self._fresh({})
        self._is_read = False

    def place(self, directory: int) -> Mapping[str, bytes]:
        """Write the files of the newest commit below an open, empty directory; gives that commit's cache entries."""
        head = self.store.refresh()
        files = self.store.files(head) if head is not None else {}
        self._reading = self._fresh(write_workspace(files, directory))
        return self.store.cache(head) if head is not None else {}

    def read(self, directory: int | None, *, again: bool = False) -> WorkspaceChanges:
        """What changed below an open directory since the last commit, while its worker stands still.

        directory: None where there is none to be read, as the worker left it; the files then stay as they were.
        """
        self._is_read = directory is not None
        return _UNREADABLE if directory is None else self._reading.read(directory, again=again)

    def commit(
        self,
        changes: WorkspaceChanges,
        *,
        cache: Mapping[str, bytes | None],
        events: Sequence[str],
        message: str = "",
        note: NoteEvent | None = None,
    ) -> str:
        """Store what an action left: what was read last, what changed of the cache, and the events. StateError: nothing is
        stored, and the next commit has it all."""
        commit = self.store.commit(
            files=changes.files, removed=changes.removed, cache=cache, events=events, message=message, note=note
        )
        if self._is_read:
            self._reading.committed()
        return commit

    def _fresh(self, known: Mapping[str, bytes]) -> WorkspaceReading:
        return WorkspaceReading(max_bytes=self._max_bytes, max_files=self._max_files, known=known, apart=self._apart)
