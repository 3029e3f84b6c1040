"""What a task tells of its workspace after an action: the files that changed, and those that no version of the session has."""

from __future__ import annotations

from agex_supervisor.events import Event, FileEvent, NoteEvent
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
        return [*self._changed(changes), *self._not_kept(changes)]

    def _changed(self, changes: WorkspaceChanges) -> list[Event]:
        if not changes.files and not changes.removed:
            return []
        return [
            FileEvent(
                agent=self._agent,
                session=self._session,
                source="agent",
                added=tuple(sorted(changes.added)),
                modified=changes.modified,
                removed=changes.removed,
            )
        ]

    def _not_kept(self, changes: WorkspaceChanges) -> list[Event]:
        lines = [f"{each.path}: {each.why}" for each in changes.left_out if self._known.get(each.path) != each.why]
        if changes.more and changes.more != self._known_more:
            lines.append(f"and {changes.more} more")
        self._known = {each.path: each.why for each in changes.left_out}
        self._known_more = changes.more
        if not lines:
            return []
        text = "\n".join(["not kept in the state of the session:", *lines])
        return [NoteEvent(agent=self._agent, session=self._session, message=text)]
