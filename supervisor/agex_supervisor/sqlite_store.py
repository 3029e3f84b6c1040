"""A store of keys and bytes in one SQLite file, for several processes at once: what kvgit's versions are kept in.

One transaction a commit, written ahead (WAL): whoever dies in the middle of one leaves the state before it, and what was
acknowledged is there after a kill. A power failure may cost the last few commits, never the store.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from kvgit.kv.base import KVStore

from agex_supervisor.display import display
from agex_supervisor.errors import StateError

APPLICATION_ID = 0x61676578  # "agex", in the header of the file
SCHEMA_VERSION = 1
BUSY_S = 30.0

_KEYS = "SELECT value FROM json_each(?)"
_WRITE = (
    "INSERT INTO entry (key, value) VALUES (?, ?)"
    " ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value"
)


class SqliteStore(KVStore):
    """Safe to use from many threads and processes. What goes wrong with the file is a StateError that says what to do."""

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self._name = display(str(path), one_line=True)
        self._path = path.absolute()  # in a fork it is opened once more, wherever that went
        self._lock = threading.RLock()
        self._within = False
        with self._lock, self._told():
            self._connection: sqlite3.Connection | None = _opened(self._path, self._name, create)
            self._file = _file(self._path, self._name)
        self._left: list[sqlite3.Connection | None] = []
        _stores.add(self)

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All or nothing of what is done within, while nobody else writes. One within another is part of it."""
        with self._lock, self._told():
            if self._within:
                yield
                return
            connection = self._in_place()
            self._within = True
            try:
                connection.execute("BEGIN IMMEDIATE")
                yield
                connection.execute("COMMIT")
            finally:
                self._within = False
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    # --- reading ---

    def get(self, key: str) -> bytes | None:
        rows = self._rows("SELECT value FROM entry WHERE key = ?", key)
        return _data(rows[0][0]) if rows else None

    def get_many(self, *args: Any) -> Mapping[str, bytes]:
        keys = json.dumps(list(self._normalize_keys(args)))
        return {
            key: _data(value) for key, value in self._rows(f"SELECT key, value FROM entry WHERE key IN ({_KEYS})", keys)
        }

    def items(self) -> Iterable[tuple[str, bytes]]:
        return [(key, _data(value)) for key, value in self._rows("SELECT key, value FROM entry")]

    def keys(self, prefix: str = "") -> Iterable[str]:
        if not prefix:
            rows = self._rows("SELECT key FROM entry")
        else:
            beyond = prefix[:-1] + chr(ord(prefix[-1]) + 1)
            rows = self._rows("SELECT key FROM entry WHERE key >= ? AND key < ?", prefix, beyond)
        return [key for (key,) in rows]

    def __contains__(self, key: object) -> bool:
        return bool(self._rows("SELECT 1 FROM entry WHERE key = ?", key))

    # --- writing ---

    def set(self, key: str, value: bytes) -> None:
        self.set_many({key: value})

    def set_many(self, items: Mapping[str, bytes] | None = None, /, **kwargs: bytes) -> None:
        self.cas_many({}, self._normalize_items(items, kwargs))

    def remove(self, key: str) -> None:
        self.remove_many([key])

    def remove_many(self, *args: Any) -> None:
        self.cas_many({}, {}, self._normalize_keys(args))

    def cas_many(
        self, expected: Mapping[str, bytes | None], writes: Mapping[str, bytes], removes: Iterable[str] = ()
    ) -> bool:
        gone = self._check_batch(writes, removes)
        with self.transaction():
            found = self.get_many(list(expected)) if expected else {}
            if any(found.get(key) != value for key, value in expected.items()):
                return False
            connection = self._connected()
            connection.executemany(_WRITE, writes.items())
            connection.executemany("DELETE FROM entry WHERE key = ?", [(key,) for key in gone])
            return True

    def clear(self) -> None:
        with self.transaction():
            self._connected().execute("DELETE FROM entry")

    # --- its life ---

    def shrink(self) -> None:
        """Give the disk back what was removed."""
        with self._lock, self._told():
            # As a script, for each page is a step of its own.
            self._connected().executescript("PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        with self._lock, self._told():
            if self._connection is not None:
                self._connection.close()

    def forked(self) -> None:
        """In the child of a fork: a connection is not shared with the parent, and not closed either."""
        self._left.append(self._connection)
        self._lock = threading.RLock()
        self._within = False
        self._connection = None  # until it is asked for

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _opened(self._path, self._name, create=False)
        return self._connection

    def _in_place(self) -> sqlite3.Connection:
        """The connection, to the file that still has its name: to one that has none, SQLite goes on writing, for nobody."""
        connection = self._connected()
        if _file(self._path, self._name) != self._file:
            raise StateError(
                f"the store {self._name} was removed, renamed or replaced while it was open: put it back, or go on with a"
                " new Agent or State; nothing more is written to the old one"
            )
        return connection

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, self._told():
            return self._in_place().execute(statement, values).fetchall()

    @contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the second for text that is none
            raise StateError(f"the store {self._name} {_reason(error)}") from error


_stores: weakref.WeakSet[SqliteStore] = weakref.WeakSet()


def _forked() -> None:
    for store in _stores:
        store.forked()


os.register_at_fork(after_in_child=_forked)


def _opened(path: Path, name: str, create: bool) -> sqlite3.Connection:
    if _file(path, name) is None:
        if not create:
            raise StateError(f"there is no store {name}; an Agent with this state= makes it with its first task")
        _make_private(path, name)
    # mode=rw: SQLite makes no file by itself.
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        if _is_blank(connection):
            if not create:
                raise StateError(
                    f"{name} is empty and no store; an Agent with this state= makes it one with its first task"
                )
            _set_up(connection)
        _check(connection, name)
        _write_ahead(connection, name)
        connection.execute("PRAGMA synchronous = NORMAL")
    except BaseException:
        connection.close()
        raise
    return connection


def _file(path: Path, name: str) -> tuple[int, int] | None:
    """Which file stands at a path; None where there is none. StateError for what could not be a store."""
    try:
        facts = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(
            f"the store {name} cannot be reached: {error.strerror}; look at the folders above it"
        ) from error
    if not stat.S_ISREG(facts.st_mode):
        kind = "a folder; name a file in it" if stat.S_ISDIR(facts.st_mode) else "no regular file; name another"
        raise StateError(f"the store {name} is {kind}")
    return facts.st_dev, facts.st_ino


def _make_private(path: Path, name: str) -> None:
    """A file that only its owner reads: workspaces lie in it. Another process may have been faster."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StateError(
            f"the store {name} cannot be made: {error.strerror}; its folder must exist and be writable"
        ) from error


def _is_blank(connection: sqlite3.Connection) -> bool:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return not tables and not _pragma(connection, "application_id")


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts before the first table only
    connection.execute("BEGIN IMMEDIATE")
    if _is_blank(connection):
        connection.execute("CREATE TABLE entry (key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL)")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, name: str) -> None:
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise StateError(f"{name} is an SQLite file of another program; name another file")
    version = _pragma(connection, "user_version")
    if version != SCHEMA_VERSION:
        raise StateError(
            f"the store {name} is of version {version}, and this agex knows {SCHEMA_VERSION}:"
            " use the agex that wrote it, or name another file"
        )


def _write_ahead(connection: sqlite3.Connection, name: str) -> None:
    """WAL, once and for all who open the file. Where several are the first at once, SQLite does not wait by itself."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)
    if mode != "wal":
        raise StateError(
            f"the store {name} lies where SQLite cannot write ahead (a network drive?); name a file on a local disk"
        )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _data(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise sqlite3.DatabaseError(f"{type(value).__name__} where there should be bytes")
    return value


def _reason(error: Exception) -> str:
    code = getattr(error, "sqlite_errorcode", None)
    match code if code is None else code & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"is being written to by somebody else, for more than {BUSY_S:g} s; try again"
        case sqlite3.SQLITE_NOTADB:
            return "is no SQLite file; name another file"
        case sqlite3.SQLITE_CORRUPT:
            return f"is damaged ({error}); restore it from a copy, or name another file"
        case sqlite3.SQLITE_FULL:
            return "has no room left on its disk; nothing of this was stored"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_CANTOPEN:
            return f"cannot be opened for writing ({error}); look at the permissions of the file and of its folder"
        case _:
            return f"cannot be used ({display(str(error), limit=300, one_line=True)})"
