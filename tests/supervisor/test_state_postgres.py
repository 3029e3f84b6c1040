"""A server that is not there, refuses, or has something else in its place; and what is never said of it."""

from __future__ import annotations

import builtins
import sys
import traceback
from typing import Any

import pytest
from kvgit.kv.postgres import Postgres

from agex_supervisor.checked_store import CheckedStore
from agex_supervisor.errors import ConfigurationError, StateError
from agex_supervisor.postgres_connections import PostgresConnections
from agex_supervisor.state_store import FORMAT_KEY, StateStore
from tests.postgres import PASSWORD, PostgresServer, running_server
from tests.supervisor.state_stores import postgres as postgres


def refusal(url: str, *, create: bool = True) -> str:
    with pytest.raises(StateError) as caught:
        StateStore.open(url, create=create)
    assert PASSWORD not in str(caught.value)
    return str(caught.value)


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    told = refusal(f"postgresql://agex:{PASSWORD}@127.0.0.1:1/db?connect_timeout=5")
    assert told.startswith("the store postgresql://127.0.0.1:1/db cannot be opened: connection failed: ")


def test_a_wrong_password_is_told_without_it(postgres: PostgresServer) -> None:
    told = refusal(postgres.url.replace(PASSWORD, f"{PASSWORD}-wrong"))
    assert 'password authentication failed for user "agex"' in told


def test_a_store_is_named_without_its_password(postgres: PostgresServer) -> None:
    with StateStore.open(postgres.new_url()) as store:
        assert store.name == f"postgresql://127.0.0.1:{postgres.port}/postgres"
        assert repr(store) == f"<StateStore {store.name}>"


def test_a_store_that_is_not_there_is_made_only_where_that_is_meant(postgres: PostgresServer) -> None:
    url = postgres.new_url()
    assert 'relation "agex_state" does not exist' in refusal(url, create=False)
    with StateStore.open(url) as store:
        store.session("ann").commit(files={"a": b"1"})
    with StateStore.open(url, create=False) as store:
        assert dict(store.session("ann").files()) == {"a": b"1"}


def test_a_later_format_is_refused(postgres: PostgresServer) -> None:
    url = postgres.new_url()
    with StateStore.open(url) as store:
        store.repo.store.set(FORMAT_KEY, b"2")
    assert "is of format b'2', and this agex knows b'1': use the agex that wrote it" in refusal(url)


def test_connections_that_the_server_ended_are_made_again(postgres: PostgresServer) -> None:
    import psycopg

    with StateStore.open(postgres.new_url()) as store:
        session = store.session("ann")
        session.commit(files={"a": b"1"})
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        session.commit(files={"a": b"2"})
        assert dict(session.files()) == {"a": b"2"}


def test_a_server_that_went_away_is_told_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agex_supervisor.postgres_connections.CONNECT_S", 1)
    with running_server() as server:
        store = StateStore.open(server.new_url())
        session = store.session("ann")
        session.commit(files={"a": b"1"})
    with pytest.raises(StateError, match="cannot be used: connection failed: .*Connection refused"):
        session.commit(files={"a": b"2"})
    store.close()


def test_who_asks_for_a_connection_waits_for_longer_than_the_pool_pauses(postgres: PostgresServer) -> None:
    connections = PostgresConnections(postgres.url)
    assert connections.reconnect_timeout <= connections.timeout
    connections.close()


def test_a_url_that_libpq_cannot_read_is_told_without_the_password() -> None:
    with pytest.raises(ConfigurationError) as caught:
        StateStore.open(f"postgresql://agex:{PASSWORD}@[::1/db")
    assert str(caught.value).startswith(
        "state='postgresql://[::1/db' cannot be read as postgresql://user:password@host"
    )
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_a_table_that_goes_away_is_a_state_error(postgres: PostgresServer) -> None:
    with StateStore.open(postgres.new_url()) as store:
        session = store.session("ann")
        session.commit(files={"a": b"1"})
        checked = store.repo.store
        assert isinstance(checked, CheckedStore) and isinstance(checked.store, Postgres)
        checked.store.drop()
        with pytest.raises(StateError, match='cannot be used: relation "agex_state" does not exist'):
            session.commit(files={"a": b"2"})


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "psycopg":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "psycopg", raising=False)
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigurationError, match=r"needs psycopg: pip install 'agex-kernel\[postgres\]'$"):
        StateStore.open("postgresql://agex:secret@localhost/db")
