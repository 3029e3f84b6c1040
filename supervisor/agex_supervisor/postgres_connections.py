"""The connections to a PostgreSQL server that a state is kept on: a few, for all threads, made anew when the server comes back."""

from __future__ import annotations

import atexit
import weakref
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

CONNECT_S = 10
_CONNECTIONS = 8


class PostgresConnections(ConnectionPool[psycopg.Connection[Any]]):
    """psycopg.Error where there is no server, with the reason for it."""

    def __init__(self, url: str) -> None:
        # First one connection by itself: a pool would go on trying for longer, and say less.
        self._url = url
        _try(url)
        super().__init__(
            url,
            name="agex state",
            min_size=1,
            max_size=_CONNECTIONS,
            kwargs={"autocommit": True, "connect_timeout": CONNECT_S},
            timeout=CONNECT_S,
            # By itself a pool tries for five minutes, each time after a longer pause, in which whoever asks is kept waiting
            # though the server has come back.
            reconnect_timeout=CONNECT_S,
            # Looked at before they are used: servers and firewalls end idle ones.
            check=ConnectionPool.check_connection,
            open=True,
        )
        # A program need not close its state. Later than this the pool's threads do not end any more, and are waited for.
        own = weakref.ref(self)
        self._at_exit = lambda: _close(own())
        atexit.register(self._at_exit)

    def close(self, timeout: float = 5.0) -> None:
        atexit.unregister(self._at_exit)
        super().close(timeout)

    def getconn(self, timeout: float | None = None) -> psycopg.Connection[Any]:
        try:
            return super().getconn(timeout)
        except PoolTimeout:
            _try(self._url)  # says why
            raise


def _close(connections: PostgresConnections | None) -> None:
    if connections is not None:
        connections.close()


def _try(url: str) -> None:
    psycopg.connect(url, connect_timeout=CONNECT_S).close()
