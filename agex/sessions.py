"""The sessions of an agent: of each its workspace, its cache and where its versions are kept; one task at a time in it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from agex.errors import SessionBusy
from agex.session_news import session_news
from agex.state import State, events
from agex_supervisor.bridge import ENDING, WaitEnded
from agex_supervisor.cache import Cache
from agex_supervisor.events import Event, NoteEvent
from agex_supervisor.kept_session import KeptSession
from agex_supervisor.session_name import check_session_name
from agex_supervisor.transfer import Late
from agex_supervisor.workspace_reading import WorkspaceChanges

if TYPE_CHECKING:
    from agex.agent import Agent


# Of so many sessions that no task uses the folders stay as they are; those of others are made anew from the state.
MAX_IDLE = 64


class Sessions:
    """For all threads; what it gives for a session is for the one task that has acquired it."""

    def __init__(self, agent: Agent, state: State) -> None:
        self._agent = agent
        self._state = state
        self._lock = threading.Lock()
        self._stays: dict[str, Stay] = {}

    def acquire(self, name: str, until: float = float("inf"), *, ephemeral: bool = False) -> Stay:
        """The session as it is now, once no other task of this State uses it. ValueError for a bad name, SessionBusy after
        `wait_s`, StateError where it cannot be read. ephemeral: nothing of it is kept. Late where it does not come before
        `until`, WaitEnded where the wait is ended."""
        check_session_name(name)
        turn = self._state.turn(name)
        if not turn.acquire(min(self._agent.pool.wait_s, max(0.0, until - time.monotonic()))):
            raise self._not_had(name, until)
        try:
            with self._lock:
                stay = self._stays.pop(name, None)
                if stay is not None:
                    self._stays[name] = stay  # the last one to go
            if stay is None or not stay.is_current(self._state):
                self._drop(stay)
                stay = self._opened(name, ephemeral)
                with self._lock:
                    self._stays[name] = stay
            return stay
        except BaseException:
            turn.release()
            raise

    def release(self, name: str, *, forget: bool = False) -> None:
        """Let the next task have the session; or forget it, files and all."""
        if forget:
            with self._lock:
                stay = self._stays.pop(name, None)
            self._drop(stay)
            if stay is not None and stay.is_kept:
                self._state.forget(name)
        self._state.turn(name).release()
        self._let_go()

    def forget(self, name: str) -> None:
        """Forget a session that no task uses any more, files and all."""
        self.acquire(name)
        self.release(name, forget=True)

    def close(self) -> None:
        with self._lock:
            stays, self._stays = list(self._stays.values()), {}
        for stay in stays:
            self._drop(stay)

    def _opened(self, name: str, ephemeral: bool) -> Stay:
        limits = self._agent.workbench(()).limits
        workspace = self._agent.pool.new_workspace()
        stay = Stay(workspace, Cache(max_bytes=limits.result_bytes))
        if ephemeral:
            return stay

        def kept() -> KeptSession:
            session = self._state.store.session(name)
            session.begin()  # until `place` has put into the workspace what there is
            apart = ("skills",) if self._agent.has_skills else ()
            return KeptSession(
                session, max_bytes=limits.workspace_size_bytes, max_files=limits.workspace_files, apart=apart
            )

        stay.keep_in = kept
        if self._state.is_untouched:
            # Needed when the first action is over; until then the model is waited for anyway.
            threading.Thread(target=import_module, args=("kvgit",), name="agex-import", daemon=True).start()
        else:
            try:
                stay.place(limits.result_bytes)
            except BaseException:
                self._agent.pool.drop_workspace(workspace)
                raise
        return stay

    def _not_had(self, name: str, until: float) -> Exception:
        if (ending := ENDING.get()) is not None and ending.ended:
            return WaitEnded()
        if time.monotonic() >= until:
            return Late(f"session {name!r} was in use")
        return SessionBusy(f"session {name!r} of {self._agent.name} is in use; waited {self._agent.pool.wait_s:g} s")

    def _let_go(self) -> None:
        """Of the sessions that were used least lately, unless something of them is nowhere else."""
        with self._lock:
            surplus = list(self._stays)[: max(0, len(self._stays) - MAX_IDLE)]
        for name in surplus:
            turn = self._state.turn(name)
            if not turn.acquire(0):
                continue
            try:
                with self._lock:
                    stay = self._stays.get(name)
                    if stay is None or not stay.is_kept:
                        continue
                    del self._stays[name]
                self._drop(stay)
            finally:
                turn.release()

    def _drop(self, stay: Stay | None) -> None:
        if stay is not None:
            self._agent.pool.drop_workspace(stay.workspace)


@dataclass
class Stay:
    """A session's workspace and cache as its tasks find them, and how they become versions. The store is opened when it is
    first needed: a session that is new has nothing to be read."""

    workspace: Path
    cache: Cache
    keep_in: Callable[[], KeptSession] | None = None
    _kept: KeptSession | None = None
    _at: str | None = None
    _is_behind: bool = field(default=False)

    @property
    def is_kept(self) -> bool:
        """Whether something of it was stored."""
        return self._at is not None

    def is_current(self, state: State) -> bool:
        """Whether the workspace has what the newest version has, and that of the store which is open now."""
        if self._kept is None:
            return True
        if self._kept.store.store is not state.store:
            return False
        return not self._is_behind and self._kept.store.refresh() == self._at

    def place(self, max_cache_bytes: int) -> None:
        """Fill workspace and cache, which are empty, with the newest version."""
        kept = self._opened()
        here = os.open(self.workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            entries: Mapping[str, bytes] = kept.place(here)
        finally:
            os.close(here)
        self.cache = Cache(entries, max_bytes=max_cache_bytes)
        self._at = kept.store.base

    def news(self) -> str:
        """What a task is told of what was before it."""
        if self._kept is None or self._at is None:
            return ""
        from agex.session_state import SessionState

        return session_news(events(SessionState(self._kept.store, self._at)))

    def read(self, workspace: AbstractContextManager[int | None]) -> WorkspaceChanges | None:
        """What an action did to the files; None where nothing is kept."""
        if self.keep_in is None:
            return None
        with workspace as directory:
            return self._opened().read(directory)

    def commit(self, changes: WorkspaceChanges, told: Sequence[Event], message: str) -> Version:
        """A version of what there is now, with these events. StateError: nothing was stored, and the next commit has it all."""
        kept = self._opened()
        texts = [event.to_json() for event in told]
        note = NoteEvent(agent=told[-1].agent, session=told[-1].session, namespace=told[-1].namespace, message="")
        made = kept.commit(changes, cache=self.cache.changed(), events=texts, message=message, note=note)
        self.cache.committed()
        # Where somebody else committed meanwhile, the workspace lacks what they did.
        is_behind = kept.store.parent(made) != self._at
        self._is_behind = self._is_behind or is_behind
        self._at = made
        return Version(made, self._noted(made, note.id) if is_behind else None)

    def _noted(self, commit: str, note: str) -> Event | None:
        events = map(Event.from_json, self._opened().store.said(commit))
        return next((event for event in events if event.id == note), None)

    def _opened(self) -> KeptSession:
        if self._kept is None:
            assert self.keep_in is not None
            self._kept = self.keep_in()
        return self._kept


@dataclass(frozen=True, slots=True)
class Version:
    """A commit of a task. note: what is stored in it of a change that somebody else made at the same time."""

    commit: str
    note: Event | None = None
