"""Printers for a console: handlers of events and of tokens, to be given as they are: `on_event=agex.pprint_events`.

What is printed was written by a model or by its code, so every text goes through `display`, and none is markup.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal, TextIO, cast

from agex_supervisor.display import display
from agex_supervisor.event_portrait import Portrait, portrait
from agex_supervisor.events import Event, NoteEvent, OutputEvent, TaskStartEvent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_MOST_INDENTED = 20
Verbosity = Literal["brief", "normal", "verbose"]

_STYLES = {
    "start": "bold magenta",
    "act": "bold cyan",
    "see": "bold blue",
    "good": "bold green",
    "bad": "bold red",
    "note": "bold yellow",
}


def pprint_events(
    events: Event | Iterable[Event] | Any,
    *,
    verbosity: Verbosity = "normal",
    color: bool | None = None,
    width: int | None = None,
    stream: TextIO | None = None,
    indent: bool = True,
    delta: bool = False,
    max_lines: int = 30,
) -> None:
    """Print an event, several, or those of a TaskOutcome (whatever has `events`) or of a session's state.

    verbosity: "brief" prints titles, "normal" texts of up to `max_lines` lines, "verbose" the whole of them and the task's
    message. width: that of the terminal, where it is not given. color: None colours where the stream is a terminal and
    NO_COLOR is not set. indent: sub-agents stand to the right of who called them. delta: the seconds since the event before,
    of those printed in one call.
    """
    if verbosity not in ("brief", "normal", "verbose"):
        raise ValueError(f"verbosity is 'brief', 'normal' or 'verbose', not {verbosity!r}")
    if max_lines < 1:
        raise ValueError(f"max_lines is at least 1, not {max_lines}")
    console = _console(stream, color, width)
    _end_line(stream or sys.stdout)
    before: float | None = None
    for event in _each(events):
        passed = f" +{event.time - before:.1f} s" if delta and before is not None else ""
        before = event.time
        _print(console, event, verbosity, passed, _depth(event) if indent else 0, max_lines)


def pprint_tokens(token: str, *, color: bool | None = None, stream: TextIO | None = None) -> None:
    """Print a piece of the model's text as it arrives. A Token of a sub-agent is printed in another colour. An event that is
    printed next begins a line of its own."""
    if not token:
        return
    console = _console(stream, color, None)
    style = "yellow" if "/" in getattr(token, "namespace", "") else "bright_black"
    # As it is: a piece is no line, and must not be wrapped.
    console.out(_taken(console, display(token, limit=12 * len(token))), end="", style=style, highlight=False)
    console.file.flush()
    with contextlib.suppress(TypeError):  # a stream of the caller's own kind may allow no weak references
        (_IN_LINE.discard if token.endswith("\n") else _IN_LINE.add)(stream or sys.stdout)


# The streams whose last line is a piece of a model's text.
_IN_LINE: weakref.WeakSet[TextIO] = weakref.WeakSet()


def _end_line(stream: TextIO) -> None:
    with contextlib.suppress(TypeError):
        if stream in _IN_LINE:
            _IN_LINE.discard(stream)
            stream.write("\n")


def _each(events: Any) -> Iterable[Event]:
    if isinstance(events, Event):
        return [events]
    # Here, so that a program without states does not import them.
    from agex.session_state import SessionState
    from agex.state import events as events_of

    if isinstance(events, SessionState):
        return events_of(events)
    inside = getattr(events, "events", events)
    found = list(cast(Iterable[Any], inside() if callable(inside) else inside))
    for each in found:
        if not isinstance(each, Event):
            raise TypeError(f"pprint_events prints events, not {type(each).__name__}")
    return found


def _depth(event: Event) -> int:
    # An event that was read from a log can say anything.
    return min(event.namespace.count("/"), _MOST_INDENTED)


def _console(stream: TextIO | None, color: bool | None, width: int | None) -> Console:
    # Here, for rich takes longer to import than all of agex.
    from rich.console import Console

    return Console(
        file=stream or sys.stdout,
        width=width,
        # In a notebook it would show each piece as an output of its own, and nothing in `stream`.
        force_jupyter=False,
        force_terminal=True if color else None,
        no_color=None if color is None else not color,
        color_system="auto" if color is not False else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _print(console: Console, event: Event, verbosity: Verbosity, passed: str, depth: int, max_lines: int) -> None:
    from rich.text import Text

    # The longest text that is printed whole is as long as an event may have it.
    seen = portrait(event, limit=1 << 20) if verbosity == "verbose" else portrait(event)
    where = display(event.namespace or event.agent, limit=200, one_line=True)
    title = Text(_taken(console, seen.title), style=_STYLES[seen.tone])
    between = " · " if _taken(console, "·") == "·" else " - "
    after = between.join(part for part in (where, *seen.facts) if part) + passed
    title.append(f" {_taken(console, after)}" if after else "", style="default")
    indent = min(2 * depth, console.width // 2)
    _print_indented(console, title, indent)
    if verbosity != "brief":
        style = "default" if isinstance(event, OutputEvent | NoteEvent) else "cyan"
        for text in _texts(event, seen, max_lines if verbosity == "normal" else None):
            _print_indented(console, Text(_taken(console, text), style=style), indent + 2)


def _taken(console: Console, text: str) -> str:
    """With what the stream cannot encode written out, as in a console or a log of plain ASCII."""
    return text.encode(console.encoding, "backslashreplace").decode(console.encoding)


def _print_indented(console: Console, text: Text, by: int) -> None:
    """Each line, and each that it is wrapped into, as far to the right; nothing is added at the end of any."""
    for line in text.split("\n", allow_blank=True):
        for piece in line.wrap(console, max(console.width - by, 20)) if line else [line]:
            piece.rstrip()
            console.print(" " * by if piece else "", piece, sep="", soft_wrap=True)


def _texts(event: Event, seen: Portrait, max_lines: int | None) -> list[str]:
    texts = [text for _, text in seen.texts]
    if isinstance(event, TaskStartEvent) and max_lines is None:
        texts = [display(event.message, limit=1 << 20)]
    return [_cut(text, max_lines) for text in texts]


def _cut(text: str, max_lines: int | None) -> str:
    lines = text.rstrip("\n").split("\n")
    if max_lines is None or len(lines) <= max_lines:
        return "\n".join(lines)
    return "\n".join([*lines[:max_lines], f"... {len(lines) - max_lines} more lines"])
