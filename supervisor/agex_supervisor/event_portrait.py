"""Events for eyes: a title, a few facts and the texts of each, which the console, a notebook and a page lay out.

Every text is of worker or model origin: it leaves here through `display`.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from agex_supervisor.display import display
from agex_supervisor.events import (
    ActionEvent,
    CancelledEvent,
    ChapterEvent,
    ClarifyEvent,
    EndEvent,
    ErrorEvent,
    Event,
    FailEvent,
    FileEvent,
    NoteEvent,
    OutputEvent,
    SuccessEvent,
    TaskStartEvent,
)
from agex_supervisor.model import Action, EditFile, PythonAction, TerminalAction, Usage, WriteFile

MAX_TEXT_CHARS = 10_000
MAX_FACT_CHARS = 200


@dataclass(frozen=True, slots=True)
class Portrait:
    """tone: "start", "act", "see", "good", "bad" or "note". texts: what to show below the title, with the language of each.

    All of it is safe to show on a terminal; HTML has to be escaped.
    """

    title: str
    tone: str
    facts: tuple[str, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()


def portrait(event: Event, *, limit: int = MAX_TEXT_CHARS) -> Portrait:
    """What there is to see of an event; each text at most `limit` characters long."""
    title, tone, facts, texts = _parts(event)
    shown = tuple((language, display(text, limit=limit)) for language, text in texts if text)
    return Portrait(_fact(title), tone, tuple(_fact(fact) for fact in facts if fact), shown)


def html_of(event: Event) -> str:
    """A small piece of HTML without scripts, styles or references; every text is escaped."""
    seen = portrait(event)
    facts = f" <small>{html.escape(' · '.join(seen.facts))}</small>" if seen.facts else ""
    where = html.escape(_fact(event.namespace or event.agent))
    blocks = "".join(f"<pre>{html.escape(text)}</pre>" for _, text in seen.texts)
    return f"<div><b>{html.escape(seen.title)}</b> <small>{where}</small>{facts}{blocks}</div>"


def markdown_of(event: Event) -> str:
    """The same as Markdown, every text in a block of code that it cannot close."""
    seen = portrait(event)
    line = " · ".join([seen.title, _fact(event.namespace or event.agent), *seen.facts])
    parts = [_fenced("", line)]
    parts += [_fenced("python" if language == "python" else "", text) for language, text in seen.texts]
    return "\n\n".join(parts)


Texts = list[tuple[str, str]]


def _parts(event: Event) -> tuple[str, str, Sequence[str], Texts]:
    match event:
        case TaskStartEvent():
            inputs = [("text", f"{name} = {text}") for name, text in event.inputs.items()]
            answered = "an answer to its question" if event.answers else ""
            return f"task {event.task}", "start", [f"session {event.session}", answered], inputs
        case ActionEvent():
            kind, facts, texts = _action(event.action)
            title = "setup" if event.source == "setup" else f"action {event.number}: {kind}"
            return title, "act", [*facts, *_spent(event.usage, event.cost)], [("text", event.text), *texts]
        case OutputEvent():
            title = f"output of {'setup' if event.source == 'setup' else f'action {event.number}'}"
            refused = [("text", str(denial)) for denial in event.denials]
            return title, "bad" if event.error else "see", [event.error], [("text", event.text), *refused]
        case FileEvent():
            changes = {"added": event.added, "modified": event.modified, "removed": event.removed}
            texts = [("text", f"{what}: {', '.join(paths)}") for what, paths in changes.items() if paths]
            more = [f"and {event.more} more"] if event.more else []
            return f"files changed by the {event.source}", "note", more, texts
        case ChapterEvent():
            return f"chapter {event.name}", "note", [f"{len(event.events)} events"], [("text", event.message)]
        case NoteEvent():
            said = [("text", f"the model said: {event.said}")] if event.said else []
            return "note", "note", [], [*said, ("text", event.message)]
        case EndEvent():
            title, tone, texts = _end(event)
            return title, tone, _spent(event.usage, event.cost), texts
        case _:
            return type(event).__name__, "note", [], []


def _end(event: EndEvent) -> tuple[str, str, Texts]:
    match event:
        case SuccessEvent():
            return f"success: {event.type}", "good", [("text", event.value)]
        case FailEvent():
            return "the agent gave up", "bad", [("text", event.message)]
        case ClarifyEvent():
            return "the agent asks", "note", [("text", event.question)]
        case ErrorEvent():
            return f"error: {event.status}", "bad", [("text", event.message)]
        case CancelledEvent():
            return f"cancelled after {event.actions} actions", "bad", []
        case _:
            return type(event).__name__, "note", []


def _action(action: Action) -> tuple[str, list[str], Texts]:
    match action:
        case PythonAction(code):
            return "python", [], [("python", code)]
        case TerminalAction(commands):
            return "terminal", [], [("shell", commands)]
        case WriteFile(path, content, append):
            return "append to a file" if append else "write a file", [path], [("text", content)]
        case EditFile(path, search, replacement, every):
            facts = [path, "every place"] if every else [path]
            return "edit a file", facts, [("text", search), ("text", replacement)]


def _spent(usage: Usage | None, cost: float | None) -> list[str]:
    tokens: list[str] = []
    if usage is not None and usage != Usage():
        cached = f" ({usage.cached_tokens} cached)" if usage.cached_tokens else ""
        tokens = [f"{usage.input_tokens}{cached} + {usage.output_tokens} tokens"]
    return [*tokens, *([] if cost is None else [f"cost {cost:.6g}"])]


def _fact(text: str) -> str:
    return display(text, limit=MAX_FACT_CHARS, one_line=True)


def _fenced(language: str, text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text}\n{fence}"
