"""Where a state is kept, by its URL: memory, one SQLite file, or a PostgreSQL server.

Of what goes wrong there this knows how to tell it; no password of a URL is ever shown.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agex_supervisor.display import display
from agex_supervisor.errors import ConfigurationError, StateError

if TYPE_CHECKING:
    from kvgit.kv.base import KVStore
    from kvgit.kv.postgres import Postgres
    from psycopg_pool import ConnectionPool

MEMORY = "memory:"
_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql", "postgres")

_PLACE = re.compile(r"[\w.,:/%\[\]-]*")

_TABLE = "agex_state"


@dataclass(frozen=True, slots=True)
class Backend:
    """A store of keys and bytes. `transaction` makes one step of all that is done within, where the store can do that;
    `shrink` gives back room; `faults` are the errors of its driver."""

    store: KVStore
    name: str
    transaction: Callable[[], AbstractContextManager[object]]
    shrink: Callable[[], None]
    close: Callable[[], None]
    faults: tuple[type[Exception], ...] = ()


def check_url(url: str) -> None:
    """ConfigurationError for what names no store. Nothing is opened."""
    if _is_postgres(url):
        if not _is_parted(url):
            raise _unreadable(url)
    elif "\0" in url or not (url == MEMORY or (url.startswith(_SQLITE) and url != _SQLITE)):
        raise ConfigurationError(
            f'state={shown(url)!r} names no store; there are "memory:", "sqlite:///file.db" (four slashes before an absolute'
            ' path) and "postgresql://user@host/database"'
        )


def shown(url: str) -> str:
    """A URL that may be told to anybody: without user, password and options."""
    scheme, is_url, rest = url.partition("://")
    if is_url and scheme != "sqlite":
        # Wherever somebody forgot to encode a character of the password.
        place = rest.rpartition("@")[2].partition("?")[0]
        if not _PLACE.fullmatch(place):
            return f"{display(scheme, limit=20, one_line=True)}:..."
        url = f"{scheme}://{place}"
    return display(url, limit=300, one_line=True)


def opened(url: str, *, create: bool) -> Backend:
    """The store, made where it is not there and `create` says so. StateError or ConfigurationError with the remedy."""
    check_url(url)
    if url == MEMORY:
        return _memory()
    if url.startswith(_SQLITE):
        return _sqlite(Path(url.removeprefix(_SQLITE)).expanduser(), create)
    return _postgres(url, create)


def _is_postgres(url: str) -> bool:
    return url.partition("://")[0] in _POSTGRES and "://" in url


def _is_parted(url: str) -> bool:
    """Whether libpq will find the password where its writer meant it to be, and not a part of it in the name of a host."""
    user, at, rest = url.partition("://")[2].partition("@")
    if "@" in rest.partition("?")[0]:
        return False
    return not at or "/" not in user or "?" in user


def _unreadable(url: str) -> ConfigurationError:
    return ConfigurationError(
        f"state={shown(url)!r} cannot be read as postgresql://user:password@host:port/database; of user and password"
        " write @ as %40, / as %2F, : as %3A, % as %25"
    )


def _memory() -> Backend:
    from kvgit.kv.memory import Memory

    lock = threading.RLock()
    return Backend(Memory(), MEMORY, lambda: lock, _nothing, _nothing)


def _sqlite(path: Path, create: bool) -> Backend:
    from agex_supervisor.sqlite_store import SqliteStore

    store = SqliteStore(path, create=create)
    return Backend(store, shown(f"{_SQLITE}{path}"), store.transaction, store.shrink, store.close)


def _postgres(url: str, create: bool) -> Backend:
    try:
        import psycopg
        from kvgit.kv.postgres import Postgres
        from psycopg.conninfo import conninfo_to_dict

        from agex_supervisor.postgres_connections import PostgresConnections
    except ImportError as error:
        raise ConfigurationError(f"state={shown(url)!r} needs psycopg: pip install 'agex-kernel[postgres]'") from error
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise _unreadable(url) from None  # libpq tells all of it
    try:
        pool = PostgresConnections(url)
        try:
            store = _table(Postgres, pool, create)
        except BaseException:
            pool.close()
            raise
    except psycopg.Error as error:
        why = display(str(error).strip(), limit=500, one_line=True)
        raise StateError(f"the store {shown(url)} cannot be opened: {why}") from error
    # Each commit there is two batches, of which the second publishes the first: what is seen is still all or nothing.
    return Backend(store, shown(url), contextlib.nullcontext, _nothing, pool.close, (psycopg.Error,))


def _table(postgres: type[Postgres], pool: ConnectionPool[Any], create: bool) -> Postgres:
    from psycopg.errors import UniqueViolation

    try:
        return postgres(pool=pool, table=_TABLE, create=create)
    except UniqueViolation:  # somebody made it at the same moment
        return postgres(pool=pool, table=_TABLE, create=False)


def _nothing() -> None:
    """Memory has no room to give back and nothing to close, and a server sees to its own."""
