"""SessionState: one session as the application sees it: its files, its cache, and every version that it had."""

from __future__ import annotations

from agex.errors import StateError
from agex.state_cache import StateCache
from agex.state_files import StateFiles
from agex_supervisor.session_store import SessionStore
from agex_supervisor.versions import Commit, Diff


class SessionState:
    """Follows the session; or, from `checkout`, stands at one commit for good and cannot be written to."""

    def __init__(self, store: SessionStore, commit: str | None = None) -> None:
        self.store = store
        self._commit = commit

    @property
    def session(self) -> str:
        return self.store.session

    @property
    def head(self) -> str | None:
        """The commit that is seen: the newest, or the one that was checked out. None before the first."""
        return self._commit or self.store.head

    @property
    def files(self) -> StateFiles:
        """The files of the workspace."""
        return StateFiles(self.store, self._commit)

    @property
    def cache(self) -> StateCache:
        """What the agent's code keeps in `cache`: plain data, or an Opaque where it is anything else."""
        return StateCache(self.store, self._commit)

    def history(self) -> list[Commit]:
        """The commits up to `head`, newest first."""
        return self.store.history(self._commit)

    def checkout(self, commit: str | None) -> SessionState:
        """The state as it was at a commit, such as an event's `commit_hash`. StateError if this session has none of this hash."""
        return SessionState(self.store, self._own(commit))

    def diff(self, a: str | None, b: str | None) -> Diff:
        """The paths and keys that differ, going from commit `a` to commit `b`. They may be of other sessions, so that a fork
        can be compared with what became of its origin."""
        return self.store.diff(_named(a), _named(b))

    def fork(self, commit: str | None, session: str) -> SessionState:
        """A new session that begins as this one was at a commit; they go on apart. StateError if the name is taken, or the
        commit not one of this session."""
        return SessionState(self.store.fork(self._own(commit), session))

    def _own(self, commit: str | None) -> str:
        named = _named(commit)
        self.store.require(named)
        return named

    def __repr__(self) -> str:
        at = f" at {self._commit}" if self._commit else ""
        return f"<SessionState {self.session!r}{at} of {self.store.store.name}>"


def _named(commit: object) -> str:
    """The hash of an event or an outcome, which have none where nothing was kept."""
    if commit is None:
        raise StateError("None is no commit: the event or outcome that it is from was not kept in a state")
    if not isinstance(commit, str):
        raise TypeError(f"a commit is named by its hash, a str, not by {type(commit).__name__}")
    return commit
