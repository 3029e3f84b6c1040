"""What a task tells of its workspace after an action: the files that changed, and what no version of the session has."""

from __future__ import annotations

from dataclasses import replace

from agex_supervisor.events import Event
from agex_supervisor.file_changes import file_changes
from agex_supervisor.workspace_reading import WorkspaceChanges


class FileNews:
    """Of one task. A file that is not kept is told once, for it stays so: again only where the reason is another."""

    def __init__(self, agent: str, session: str) -> None:
        self._agent = agent
        self._session = session
        self._known: dict[str, str] = {}  # what was told of by path, and why it is not kept
        self._known_more = 0

    def events(self, changes: WorkspaceChanges) -> list[Event]:
        """What there is to tell of these."""
        left_out = tuple(each for each in changes.left_out if self._known.get(each.path) != each.why)
        more = 0 if changes.more == self._known_more else changes.more
        self._known = {each.path: each.why for each in changes.left_out}
        self._known_more = changes.more
        return file_changes(replace(changes, left_out=left_out, more=more), self._agent, self._session)
