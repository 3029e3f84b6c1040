"""State: where sessions are kept, with every version that they ever had; and the events in it."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import Self

from agex.errors import ConfigurationError, StateError
from agex.session_state import SessionState
from agex.session_turn import SessionTurn
from agex_supervisor.display import display
from agex_supervisor.events import Event
from agex_supervisor.state_backend import MEMORY, check_url, shown
from agex_supervisor.state_store import StateStore


class State:
    """Files, cache and events of sessions, one commit for each action; what `Agent(state=)` takes, beside a URL.

    url: "memory:" (of this object alone), "sqlite:///file.db" (several processes may share it) or "postgresql://...". It is
    opened when it is first used. create=False: StateError where there is none yet. Several agents may share one State.
    """

    def __init__(self, url: str = MEMORY, *, create: bool = True) -> None:
        check_url(url)
        self._url = url
        self._create = create
        self._lock = threading.Lock()
        self._store: StateStore | None = None
        self._turns: dict[str, SessionTurn] = {}

    @classmethod
    def of(cls, given: object) -> State:
        """What `Agent(state=)` was given. ConfigurationError for what is none."""
        if isinstance(given, State):
            return given
        if given is None or isinstance(given, str):
            return cls() if given is None else cls(given)
        raise ConfigurationError(
            f"state={given!r} is none: give a URL ('sqlite:///file.db'), an agex.State, or leave it out"
        )

    def session(self, name: str = "default") -> SessionState:
        """One session; it is there as soon as something is committed to it. ValueError for what cannot be its name."""
        return SessionState(self.store.session(name))

    def sessions(self) -> list[str]:
        """The names of all sessions."""
        return self.store.sessions()

    def forget(self, session: str) -> None:
        """Remove a session with all its versions; what no other session shares goes at the next `collect()`."""
        self.store.forget(session)

    def collect(self) -> int:
        """Remove what no session reaches any more; says how many commits that were."""
        return self.store.collect()

    def turn(self, session: str) -> SessionTurn:
        """By which the tasks of a session follow each other, whichever agents they are of: those that were given one URL have
        one store in common, however many State objects stand for it here."""
        with _lock:
            turns = self._turns if self._url == MEMORY else _turns.setdefault(self._url, {})
            return turns.setdefault(session, SessionTurn())

    @property
    def is_untouched(self) -> bool:
        """Whether nothing can be in it yet."""
        return self._store is None and self._url == MEMORY

    def close(self) -> None:
        """Close the store, also for the sessions that were had of it. The next use opens it again; of "memory:" nothing is left
        then."""
        with self._lock:
            store, self._store = self._store, None
        if store is not None:
            store.close()

    @property
    def store(self) -> StateStore:
        """The store itself, opened. StateError or ConfigurationError says why it cannot be."""
        with self._lock:
            if self._store is None:
                self._store = StateStore.open(self._url, create=self._create)
            return self._store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<State {shown(self._url)}>"


_lock = threading.Lock()
_turns: dict[str, dict[str, SessionTurn]] = {}


def _forked() -> None:
    """Whoever has a turn is not in this process."""
    global _lock
    _lock = threading.Lock()
    _turns.clear()


os.register_at_fork(after_in_child=_forked)


def events(state: SessionState) -> list[Event]:
    """All that happened in a session up to where `state` stands, oldest first.

    `commit_hash` of each is the state as that event's action left it: `state.checkout(event.commit_hash)`.
    """
    found: list[Event] = []
    for text, commit in state.store.events(state.head):
        try:
            found.append(replace(Event.from_json(text), commit_hash=commit))
        except ValueError as error:
            why = display(str(error), limit=300, one_line=True)
            raise StateError(
                f"commit {commit} holds an event that cannot be read: {why}; it may be of a newer agex"
            ) from error
    return found
