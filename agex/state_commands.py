"""`agex state ...`: what happened in stored sessions, what they hold, and how versions of them differ. Nothing is changed.

Whatever is stored may be of an agent's making: no byte of it reaches a terminal unescaped.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from agex.session_state import SessionState
from agex.state import State, events
from agex_supervisor.display import display
from agex_supervisor.event_portrait import portrait
from agex_supervisor.events import Event

states = typer.Typer(help="Look at stored sessions, at any of their versions.", no_args_is_help=True)

Stored = Annotated[str, typer.Argument(help="A store's URL, as Agent(state=) takes it, or the path of an SQLite file.")]
Session = Annotated[str, typer.Option("--session", help="The session to look at.")]
AtCommit = Annotated[str | None, typer.Option("--commit", help="As of this commit: its hash, or the beginning of it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]

_MOST_CHARS = 1 << 20
_GIST_CHARS = 160
_SHORT = 12


@states.command("events")
def show_events(state: Stored, session: Session = "default", commit: AtCommit = None, as_json: AsJson = False) -> None:
    """All that happened in a session, oldest first, with the commit that each left."""
    with _opened(state) as opened:
        found = events(_seen(opened, session, commit))
        others = "" if found else ", ".join(opened.sessions()) or "none"
    plain = {"session": session, "events": [json.loads(event.to_json()) for event in found]}
    _print(
        plain, as_json, lambda: "\n".join(map(_line, found)) or f"no events in session {session}; sessions: {others}"
    )


@states.command("show")
def show_state(state: Stored, session: Session = "default", commit: AtCommit = None, as_json: AsJson = False) -> None:
    """The store's sessions; and of one session its commits, its files with their sizes, and what its cache holds."""
    with _opened(state) as opened:
        seen = _seen(opened, session, commit)
        plain: dict[str, Any] = {
            "sessions": opened.sessions(),
            "session": session,
            "commits": [dataclasses.asdict(each) for each in seen.history()],
            "files": {path: len(seen.files.read(path)) for path in seen.files.list()},
            "cache": seen.cache.types(),
        }
    _print(plain, as_json, lambda: _shown(plain))


@states.command("diff")
def compare_commits(
    state: Stored,
    first: Annotated[str, typer.Argument(help="A commit: its hash, or the beginning of it.")],
    second: Annotated[str, typer.Argument(help="The commit to compare it with.")],
    session: Session = "default",
    as_json: AsJson = False,
) -> None:
    """The files and cache entries that differ between two commits of a session."""
    with _opened(state) as opened:
        store = _session(opened, session).store
        found = store.diff(store.resolve(first), store.resolve(second))
    _print(dataclasses.asdict(found), as_json, lambda: _compared(dataclasses.asdict(found)))


def _opened(state: str) -> State:
    url = state if "://" in state else f"sqlite:///{Path(state)}"
    return State(url, create=False)


def _session(opened: State, name: str) -> SessionState:
    try:
        return opened.session(name)
    except ValueError as error:
        raise typer.BadParameter(display(str(error)), param_hint="--session") from error


def _seen(opened: State, session: str, commit: str | None) -> SessionState:
    seen = _session(opened, session)
    return seen if commit is None else seen.checkout(seen.store.resolve(commit))


def _line(event: Event) -> str:
    kind = type(event).__name__.removesuffix("Event")
    return f"{_when(event.time)}  {(event.commit_hash or '')[:_SHORT]}  {kind:10} {_gist(event)}"


def _gist(event: Event) -> str:
    """What an event says, on one line."""
    seen = portrait(event)
    said = [seen.title, *seen.facts, *(text for _, text in seen.texts)]
    return display("; ".join(each for each in said if each), limit=_GIST_CHARS, one_line=True)


def _shown(plain: dict[str, Any]) -> str:
    lines = [f"sessions: {', '.join(plain['sessions']) or 'none'}", f"session {plain['session']}:"]
    lines += [
        f"  {_when(each['time'])}  {each['hash'][:_SHORT]}  {_one_line(each['message'])}" for each in plain["commits"]
    ]
    lines.append("files:" if plain["files"] else "no files")
    lines += [f"  {size:>12}  {_one_line(path)}" for path, size in plain["files"].items()]
    lines.append("cache:" if plain["cache"] else "nothing in the cache")
    lines += [f"  {_one_line(key)}: {_one_line(kind)}" for key, kind in plain["cache"].items()]
    return "\n".join(lines)


def _compared(plain: dict[str, Any]) -> str:
    lines = [
        f"{how:9} {what} {_one_line(name)}"
        for what, part in (("file", plain["files"]), ("cache", plain["cache"]))
        for how in ("added", "removed", "modified")
        for name in part[how]
    ]
    return "\n".join(lines) or "no difference"


def _one_line(text: str) -> str:
    return display(text, limit=300, one_line=True)


def _when(time_s: float) -> str:
    try:
        return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "no time of ours    "


def _print(plain: object, as_json: bool, text: Callable[[], str]) -> None:
    # In ASCII: no terminal control of anybody's reaches a terminal.
    shown = json.dumps(plain) if as_json else display(text(), limit=_MOST_CHARS)
    encoding = sys.stdout.encoding or "utf-8"
    typer.echo(shown.encode(encoding, "backslashreplace").decode(encoding))
