"""What an action did to the files of its workspace, as events: which changed, and what of them is in no version."""

from __future__ import annotations

import json
from collections.abc import Iterable

from agex_supervisor.events import Event, FileEvent, NoteEvent
from agex_supervisor.workspace_reading import WorkspaceChanges

# Half of what a stored event may have: code of a worker chooses names, and how many there are.
MAX_NAMES_BYTES = 128 << 10


def file_changes(changes: WorkspaceChanges, agent: str, session: str) -> list[Event]:
    """The events that tell of them, in order; none where nothing changed and nothing was left out."""
    told: list[Event] = []
    if changes.files or changes.removed:
        told.append(_changed(changes, agent, session))
    if changes.left_out or changes.more:
        lines = [f"{each.path}: {each.why}" for each in changes.left_out]
        more = [f"and {changes.more} more"] if changes.more else []
        text = "\n".join(["not kept in the state of the session:", *lines, *more])
        told.append(NoteEvent(agent=agent, session=session, message=text))
    return told


def _changed(changes: WorkspaceChanges, agent: str, session: str) -> FileEvent:
    room = MAX_NAMES_BYTES
    named: list[tuple[str, ...]] = []
    for names in (sorted(changes.added), changes.modified, changes.removed):
        fitting, room = _fitting(names, room)
        named.append(fitting)
    added, modified, removed = named
    return FileEvent(
        agent=agent,
        session=session,
        source="agent",
        added=added,
        modified=modified,
        removed=removed,
        more=len(changes.files) + len(changes.removed) - sum(map(len, named)),
    )


def _fitting(names: Iterable[str], room: int) -> tuple[tuple[str, ...], int]:
    """The first of the names that fit into so many bytes of JSON, and what room is left."""
    fitting: list[str] = []
    for name in names:
        room -= len(json.dumps(name)) + 2
        if room < 0:
            return tuple(fitting), 0
        fitting.append(name)
    return tuple(fitting), room
