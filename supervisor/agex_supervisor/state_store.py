"""StateStore: sessions, each a line of versions that nobody rewrites, in one place that several processes may share.

kvgit keeps the versions: trees of keys that share what did not change. It is used with plain bytes, so that nothing that a
worker had a part in is ever unpickled. Whatever it finds damaged, and whatever its store cannot do, is a StateError here.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from agex_supervisor.display import display
from agex_supervisor.errors import StateError
from agex_supervisor.session_name import check_session_name
from agex_supervisor.state_backend import Backend, opened

if TYPE_CHECKING:
    from kvgit import Repo

    from agex_supervisor.session_store import SessionStore

FORMAT_KEY = "agex:format"
FORMAT = b"1"

# A sweep that dies holds up the writers of a server for so long. Other stores sweep in one transaction.
_LEASE_S = 60.0


class StateStore:
    """Opened by `open(url)`. Safe to use from many threads."""

    def __init__(self, backend: Backend, repo: Repo) -> None:
        self._backend = backend
        self.repo = repo

    @classmethod
    def open(cls, url: str, *, create: bool = True) -> Self:
        """The store of a URL. create=False: StateError where there is none, instead of a new one."""
        backend = opened(url, create=create)
        try:
            with _translated(backend), backend.transaction():
                return cls(backend, _repository(backend, create))
        except BaseException:
            backend.close()
            raise

    @property
    def name(self) -> str:
        """Its URL, without a password."""
        return self._backend.name

    def session(self, name: str) -> SessionStore:
        """The versions of one session, whether there are any yet or not. ValueError for what cannot be its name."""
        from agex_supervisor.session_store import SessionStore

        check_session_name(name)
        return SessionStore(self, name)

    def sessions(self) -> list[str]:
        """The names of all sessions that were ever committed to, in order."""
        with self.reading():
            return list(self.repo.branches)

    def forget(self, session: str) -> None:
        """Remove a session. What no other session shares with it goes at the next `collect()`."""
        check_session_name(session)
        with self.writing(session):
            self.repo.branches.delete(session)

    def collect(self) -> int:
        """Remove what no session reaches any more, and give its room back. Says how many commits that were."""
        with self.writing():
            # Of a damaged history the sweep would take all that it cannot see.
            for session in self.sessions():
                self.session(session).history()
            removed = self.repo.gc(min_age=0, deep=True, lease_ttl=_LEASE_S)
        self._backend.shrink()
        return removed

    def close(self) -> None:
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<StateStore {self.name}>"

    @contextmanager
    def reading(self, session: str = "") -> Generator[None]:
        """Faults of the store, within, are StateErrors; `session` is the one that they are about."""
        with _translated(self._backend, session):
            yield

    @contextmanager
    def writing(self, session: str = "") -> Generator[None]:
        """The same, and one step as others see it, where the store can do that."""
        with _translated(self._backend, session), self._backend.transaction():
            yield


def _repository(backend: Backend, create: bool) -> Repo:
    from kvgit import Repo

    from agex_supervisor.checked_store import CheckedStore

    written = backend.store.get(FORMAT_KEY)
    if written is None and not create:
        raise StateError(f"there is no state in {backend.name}; an Agent with this state= makes it with its first task")
    if written not in (None, FORMAT):
        raise StateError(
            f"the state in {backend.name} is of format {display(repr(written), limit=50, one_line=True)}, and this agex knows"
            f" {FORMAT!r}: use the agex that wrote it, or name another store"
        )
    # "bytes", and never kvgit's own default, which unpickles.
    repo = Repo(CheckedStore(backend.store, backend.name), codec="bytes", value_cache_bytes=0)
    if written is None:
        backend.store.set(FORMAT_KEY, FORMAT)
    return repo


@contextmanager
def _translated(backend: Backend, session: str = "") -> Generator[None]:
    """What kvgit raises, what its driver raises, and what comes of reading damaged records, as StateErrors."""
    from kvgit import KvgitError

    try:
        yield
    except StateError:
        raise
    except KvgitError as error:
        raise StateError(_told(error, backend.name, session)) from error
    except backend.faults as error:
        why = display(str(error).strip(), limit=500, one_line=True)
        raise StateError(f"the store {backend.name} cannot be used: {why}") from error
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        what = display(f"{type(error).__name__}: {error}", limit=300, one_line=True)
        raise StateError(f"the store {backend.name} is damaged ({what}); restore it from a copy") from error


def _told(error: Exception, name: str, session: str) -> str:
    from kvgit import BranchExistsError, StorageVersionError, UnknownBranchError, UnknownCommitError

    match error:
        case UnknownCommitError():
            return f"there is no such commit in {name}, or no more"
        case UnknownBranchError():
            return f"there is no session {session!r} in {name}, or it was forgotten"
        case BranchExistsError():
            return f"there is a session {session!r} in {name} already; choose another name"
        case StorageVersionError():
            return f"the state in {name} is of a newer kvgit: use the version that wrote it, or name another store"
        case _:
            return f"the store {name}: {display(str(error), limit=500, one_line=True)}"
