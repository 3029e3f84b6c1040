"""What is told of the files of an action: bounded, whatever names its code chose and however many."""

from __future__ import annotations

import json

import pytest

from agex_supervisor.events import Event, FileEvent, NoteEvent
from agex_supervisor.file_changes import MAX_NAMES_BYTES, file_changes
from agex_supervisor.stored_event import MAX_EVENT_BYTES, stored_form
from agex_supervisor.workspace_reading import LeftOut, WorkspaceChanges


def changes(added: list[str], modified: list[str], removed: list[str]) -> WorkspaceChanges:
    return WorkspaceChanges(
        dict.fromkeys([*added, *modified], b""), tuple(removed), added=frozenset(added), left_out=(LeftOut("x", "why"),)
    )


def test_a_few_names_are_told_whole_and_in_order() -> None:
    told, note = file_changes(changes(["b", "a"], ["d", "c"], ["e"]), "memo", "ann")

    assert isinstance(told, FileEvent) and isinstance(note, NoteEvent)
    assert (told.added, told.modified, told.removed, told.more) == (("a", "b"), ("c", "d"), ("e",), 0)
    assert (told.agent, told.session, told.source) == ("memo", "ann", "agent")
    assert note.message == "not kept in the state of the session:\nx: why"


@pytest.mark.parametrize("letter", ["a", "\x01", "\N{GRINNING FACE}"])
def test_so_many_names_that_they_fit_into_no_event_are_counted(letter: str) -> None:
    names = [f"{number:05}{letter * 200}" for number in range(10_000)]

    told = file_changes(changes(names, ["m"], ["r"]), "memo", "ann")[0]

    assert isinstance(told, FileEvent)
    assert told.added == tuple(names[: len(told.added)])
    assert len(json.dumps(told.added)) <= MAX_NAMES_BYTES
    assert told.more == 10_002 - len(told.added) and told.modified == told.removed == ()
    assert len(told.to_json()) < MAX_EVENT_BYTES
    assert Event.from_json(stored_form(told.to_json())) == told


def test_nothing_is_told_where_nothing_changed() -> None:
    assert file_changes(WorkspaceChanges({}, ()), "memo", "ann") == []
