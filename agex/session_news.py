"""What a task is told of its session: how earlier tasks in it ended, and what the application has changed since.

The log has everything, in as many words as were said; this is what fits into a prompt. Whatever else a later task needs, the
agent's files and cache have.
"""

from __future__ import annotations

from collections.abc import Sequence

from agex_supervisor.display import display
from agex_supervisor.events import EndEvent, Event, FileEvent, SuccessEvent, TaskStartEvent

MAX_TASKS = 8
MAX_CHARS = 300
MAX_PATHS = 20


def session_news(events: Sequence[Event]) -> str:
    """A text for the model, or "" where there is nothing to tell."""
    parts = [_earlier(events), _changed(events)]
    return "\n\n".join(part for part in parts if part)


def _earlier(events: Sequence[Event]) -> str:
    lines: list[str] = []
    begun: TaskStartEvent | None = None
    for event in events:
        if isinstance(event, TaskStartEvent):
            begun = event
        elif isinstance(event, EndEvent) and begun is not None:
            lines.append(f"- {_asked(begun)}\n  {_came_to(event)}")
            begun = None
    if not lines:
        return ""
    more = len(lines) - MAX_TASKS
    left_out = [f"({more} before these are left out.)"] if more > 0 else []
    return "\n".join(["Earlier tasks of this session, the oldest first:", *left_out, *lines[-MAX_TASKS:]])


def _asked(start: TaskStartEvent) -> str:
    given = ", ".join(f"{name}={_short(picture)}" for name, picture in start.inputs.items())
    return f"{start.task}({given})"


def _came_to(end: EndEvent) -> str:
    if isinstance(end, SuccessEvent):
        return f"gave {_short(end.value) or end.type}"
    said = getattr(end, "question", "") or getattr(end, "message", "")
    kind = type(end).__name__.removesuffix("Event").lower()
    return f"{kind}: {_short(said)}" if said else kind


def _changed(events: Sequence[Event]) -> str:
    last_end = max((place for place, event in enumerate(events) if isinstance(event, EndEvent)), default=-1)
    changed: dict[str, str] = {}
    for event in events[last_end + 1 :]:
        if isinstance(event, FileEvent) and event.source == "user":
            for how, paths in (("added", event.added), ("changed", event.modified), ("removed", event.removed)):
                changed |= dict.fromkeys(paths, how)
    if not changed:
        return ""
    lines = [f"- {how}: {display(path, limit=200, one_line=True)}" for path, how in list(changed.items())[:MAX_PATHS]]
    more = [f"- and {len(changed) - MAX_PATHS} more"] if len(changed) > MAX_PATHS else []
    return "\n".join(["Files that the caller has put into your working directory, or taken out:", *lines, *more])


def _short(text: str) -> str:
    return display(text, limit=MAX_CHARS, one_line=True)
