"""Where a state is kept, by its URL: memory, one SQLite file, or a PostgreSQL server.

Of what goes wrong there this knows how to tell it; no password of a URL is ever shown.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agex_supervisor.display import display
from agex_supervisor.errors import ConfigurationError, StateError

if TYPE_CHECKING:
    from kvgit.kv.base import KVStore
    from kvgit.kv.postgres import Postgres
    from psycopg_pool import ConnectionPool

MEMORY = "memory:"
_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql", "postgres")

_TABLE = "agex_state"
_CONNECT_S = 10
_CONNECTIONS = 8


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
    if url == MEMORY or (url.startswith(_SQLITE) and url != _SQLITE) or _is_postgres(url):
        return
    raise ConfigurationError(
        f'state={shown(url)!r} names no store; there are "memory:", "sqlite:///file.db" (four slashes before an absolute'
        ' path) and "postgresql://user@host/database"'
    )


def shown(url: str) -> str:
    """A URL that may be told to anybody."""
    try:
        parts = urlsplit(url)
        if parts.scheme in _POSTGRES:
            port = f":{parts.port}" if parts.port else ""
            return display(f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}", limit=300, one_line=True)
    except ValueError:
        return f"{url.partition(':')[0][:20]}:..."
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
        from psycopg_pool import ConnectionPool
    except ImportError as error:
        raise ConfigurationError(f"state={shown(url)!r} needs psycopg: pip install 'agex-kernel[postgres]'") from error
    try:
        # First one connection by itself: a pool would go on trying for longer, and say less.
        psycopg.connect(url, connect_timeout=_CONNECT_S).close()
        # Looked at before they are used: servers and firewalls end idle ones.
        pool = ConnectionPool(
            url,
            min_size=1,
            max_size=_CONNECTIONS,
            kwargs={"autocommit": True},
            timeout=_CONNECT_S,
            check=ConnectionPool.check_connection,
            open=True,
        )
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
