"""Events as JSON and back: what was written is read as it was, and anything else is refused by name."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agex_supervisor import event_json
from agex_supervisor.denials import Denial
from agex_supervisor.event_portrait import html_of, markdown_of, portrait
from agex_supervisor.events import (
    KINDS,
    ActionEvent,
    CancelledEvent,
    ChapterEvent,
    ClarifyEvent,
    ErrorEvent,
    Event,
    FailEvent,
    FileEvent,
    NoteEvent,
    OutputEvent,
    SuccessEvent,
    TaskStartEvent,
)
from agex_supervisor.model import EditFile, PythonAction, TerminalAction, Usage, WriteFile

BASE: dict[str, Any] = {"agent": "a", "session": "s", "namespace": "boss/a", "parent": "p", "commit_hash": "c"}
EVENTS: list[Event] = [
    TaskStartEvent(task="t", message="m", inputs={"df": "DataFrame"}, captured=("x",), answers="q", **BASE),
    ActionEvent(number=1, text="t", action=PythonAction("1"), usage=Usage(1, 2), cost=0.5, **BASE),
    ActionEvent(number=2, text="", action=TerminalAction("ls")),
    ActionEvent(number=3, text="", action=WriteFile("p", "c", append=True)),
    ActionEvent(number=4, text="", action=EditFile("p", "s", "r", all=True), source="setup"),
    OutputEvent(number=1, text="\x1b[31m\ud800\n", error="E", denials=(Denial("a", "b", "c", "d"),)),
    FileEvent(source="user", added=("a",), modified=("b",), removed=("c",)),
    SuccessEvent(type="int", value="3", usage=Usage(3, 4), cost=1.0),
    FailEvent(message="m"),
    ClarifyEvent(question="q"),
    ErrorEvent(status="error", message="m"),
    CancelledEvent(actions=3),
    ChapterEvent(name="n", message="m", events=("a", "b")),
    NoteEvent(message="m"),
]


def test_every_kind_is_tried_here() -> None:
    assert {type(event) for event in EVENTS} == set(KINDS)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_from_its_json_as_it_was(event: Event) -> None:
    text = event.to_json()

    assert "\n" not in text and text.isascii()
    assert Event.from_json(text) == event
    assert json.loads(text)["kind"] == type(event).__name__


def test_events_are_frozen_and_no_two_have_the_same_id() -> None:
    first, second = NoteEvent(message="m"), NoteEvent(message="m")

    assert first.id != second.id
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.message = "other"  # type: ignore[misc]


def told(**changes: Any) -> str:
    fields = json.loads(OutputEvent(number=1, text="t", id="i", time=1.0).to_json()) | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...})


WRONG: list[tuple[str, str]] = [
    ("", "this is no event: Expecting value"),
    ("[]", "event is a JSON object, not a list"),
    ("[" * 100_000, "this is no event"),
    ('{"kind": "NoteEvent", "kind": "NoteEvent"}', "this is no event: a name stands twice in it"),
    (told(kind="Event"), "event of unknown kind 'Event'; there are ActionEvent, "),
    (told(kind=["NoteEvent"]), "event of unknown kind ['NoteEvent']"),
    (told(kind=...), "event of unknown kind None"),
    (told(more=1), "OutputEvent has no field 'more'; it has agent, "),
    (told(text=...), "OutputEvent misses its field 'text'"),
    (told(id=...), "OutputEvent misses its field 'id'"),
    (told(time=...), "OutputEvent misses its field 'time'"),
    (told(text=1), "OutputEvent.text is a text, not a number"),
    (told(number="1"), "OutputEvent.number is a whole number, not a text"),
    (told(number=True), "OutputEvent.number is a whole number, not a truth value"),
    (told(number=-1), "OutputEvent.number is from 0 to "),
    (told(time=None), "OutputEvent.time is a number, not null"),
    (told(time=10**400), "OutputEvent.time is too large a number"),
    (told().replace("1.0", "NaN"), "this is no event: NaN is no number here"),
    (told(denials={}), "OutputEvent.denials is a list of at most 100000 items, not an object"),
    (told(denials=[{"layer": "x"}]), "OutputEvent.denials[0] misses its field 'operation'"),
    (told(kind="\x1b[31m"), r"event of unknown kind '\x1b[31m'"),
]


@pytest.mark.parametrize(
    "change",
    [
        lambda inputs: inputs.__setitem__("n", "2"),
        lambda inputs: inputs.__delitem__("n"),
        lambda inputs: inputs.__ior__({"n": "2"}),
        lambda inputs: inputs.update(n="2"),
        lambda inputs: inputs.setdefault("m", "2"),
        lambda inputs: inputs.pop("n"),
        lambda inputs: inputs.popitem(),
        lambda inputs: inputs.clear(),
    ],
)
def test_what_is_in_an_event_is_frozen_too(change: Callable[[Any], object]) -> None:
    given = {"n": "1"}
    event = TaskStartEvent(task="t", message="m", inputs=given)
    given["n"] = "3"

    with pytest.raises(TypeError, match="part of a record"):
        change(event.inputs)
    assert event.inputs == {"n": "1"}
    for same in (copy.deepcopy(event), pickle.loads(pickle.dumps(event)), Event.from_json(event.to_json())):
        assert same == event
        with pytest.raises(TypeError):
            change(same.inputs)  # type: ignore[union-attr]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message[:50] for _, message in WRONG])
def test_what_is_no_event_is_a_value_error_that_says_why(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        Event.from_json(text)

    assert str(caught.value).startswith(message)


def test_texts_lists_and_the_whole_are_bounded() -> None:
    long = "x" * (event_json.MAX_TEXT_CHARS + 1)
    with pytest.raises(ValueError, match=f"OutputEvent.text has at most {event_json.MAX_TEXT_CHARS} characters"):
        Event.from_json(told(text=long))
    with pytest.raises(ValueError, match="at most 100000 items"):
        Event.from_json(told(denials=[0] * (event_json.MAX_ITEMS + 1)))
    with pytest.raises(ValueError, match="an event has at most"):
        Event.from_json(" " * (event_json.MAX_JSON_CHARS + 1))
    with pytest.raises(ValueError, match="characters long as JSON"):
        NoteEvent(message="x" * event_json.MAX_JSON_CHARS).to_json()


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.sampled_from(EVENTS), st.data())
def test_any_change_of_a_field_gives_an_event_or_a_value_error(event: Event, data: st.DataObject) -> None:
    fields = json.loads(event.to_json())
    fields[data.draw(st.sampled_from([*fields, "other"]))] = data.draw(anything)
    text = json.dumps(fields)
    try:
        read = Event.from_json(text)
    except ValueError:
        return
    assert Event.from_json(read.to_json()) == read


@given(st.text())
def test_any_text_gives_an_event_or_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        Event.from_json(text)


HOSTILE = "<script>alert(1)</script>\x1b[2J```\u202e[bold]"


def hostile(event: Event) -> Event:
    texts = {
        field.name: HOSTILE
        for field in dataclasses.fields(event)
        if field.name not in ("id", "parent") and isinstance(getattr(event, field.name), str)
    }
    return dataclasses.replace(event, **texts)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_nothing_that_acts_or_hides_reaches_a_page(event: Event) -> None:
    page = html_of(hostile(event))

    assert "<script" not in page and "\x1b" not in page and "\u202e" not in page
    assert "&lt;script&gt;" in page
    assert event._repr_html_().startswith("<div><b>")
    markdown = markdown_of(hostile(event))
    assert "\x1b" not in markdown
    # All of it stands in fences, each of which is longer than any that the text inside holds.
    outside = re.sub(r"^(`{3,})[a-z]*\n.*?\n\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    assert set(outside) <= {"\n"}


def test_a_portrait_is_bounded() -> None:
    (text,) = portrait(NoteEvent(message="x" * 100_000), limit=1_000).texts

    assert len(text[1]) <= 1_000
