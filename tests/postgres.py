"""A real PostgreSQL server for tests, in a temporary directory and on a port of its own; ended with the tests."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Named by who has a server to test with, as CI has: then a missing one is a failure.
REQUIRE = "AGEX_TEST_REQUIRE"
PASSWORD = "pass-word"


class PostgresServer:
    """`new_url()` is that of a place in its database that nobody has used yet."""

    def __init__(self, port: int) -> None:
        self.port = port

    def new_url(self) -> str:
        import psycopg

        schema = f"state_{secrets.token_hex(6)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}".encode())
        return f"{self.url}?options=-csearch_path%3D{schema}"

    @property
    def url(self) -> str:
        return f"postgresql://agex:{PASSWORD}@127.0.0.1:{self.port}/postgres"


@contextmanager
def running_server() -> Generator[PostgresServer]:
    """Skips the test where no server is installed, unless AGEX_TEST_REQUIRE says that there has to be one."""
    binaries = _binaries()
    if binaries is None:
        if os.environ.get(REQUIRE) == "postgres":
            pytest.fail(
                f"{REQUIRE}=postgres, and no PostgreSQL server is installed (Debian: apt-get install postgresql)"
            )
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    # The server refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="agex-test-postgres-"))
    try:
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        with _serving(binaries, folder, user) as port:
            yield PostgresServer(port)
    finally:
        shutil.rmtree(folder)


@contextmanager
def _serving(binaries: Path, folder: Path, user: str | None) -> Generator[int]:
    data, secret = folder / "data", folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    made = subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "agex", "-A", "scram-sha-256", "--pwfile", secret, "-N", "-E", "UTF8"],
        user=user,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert made.returncode == 0, made.stderr
    port = _free_port()
    options = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}", "-c", "fsync=off"]
    server = subprocess.Popen(
        [binaries / "postgres", "-D", data, "-p", str(port), *options],
        user=user,
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stderr is not None
    try:
        said: list[str] = []
        for line in server.stderr:
            said.append(line)
            if "ready to accept connections" in line:
                break
        else:
            raise AssertionError("".join(said))
        yield port
    finally:
        server.send_signal(signal.SIGQUIT)
        server.stderr.close()
        server.wait(timeout=60)


def _binaries() -> Path | None:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name), reverse=True)
    if (found := shutil.which("initdb")) is not None:
        places.append(Path(found).resolve().parent)
    return next((place for place in places if (place / "initdb").exists() and (place / "postgres").exists()), None)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
