"""The thread that moves the bytes of one session's connections. It lives while there are any, and holds up nobody else."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable

from agex_supervisor.connection import Connection


class Relay:
    """Safe to use from many threads.

    session_bytes: what all its connections may carry together. on_end: is told of each connection that has ended, on the
    relay's thread, before its sockets are closed.
    """

    def __init__(self, session_bytes: int, on_end: Callable[[Connection], None]) -> None:
        self._left = session_bytes
        self._on_end = on_end
        self._lock = threading.Lock()
        self._connections: list[Connection] = []
        self._thread: threading.Thread | None = None
        self._bell: tuple[socket.socket, socket.socket] | None = None
        self._closing = False

    def carry(self, connection: Connection) -> None:
        """Take over a connection. OSError or RuntimeError where the machine has no room for it; it is still yours then."""
        with self._lock:
            if self._bell is None:
                self._bell = _bell()
            if self._thread is None:
                thread = threading.Thread(target=self._serve, name="agex-relay", daemon=True)
                thread.start()  # it waits for the lock
                self._thread = thread
            self._connections.append(connection)
            self._ring()

    def close(self) -> None:
        """End every connection, and wait until that is done."""
        with self._lock:
            thread = self._thread
            if thread is None:
                return
            self._closing = True
            self._ring()
        if thread is not threading.current_thread():
            thread.join()

    def _serve(self) -> None:
        try:
            while (connections := self._current()) is not None:
                if self._closing:
                    self._part(connections, "the session is over")
                else:
                    self._move(connections)
        except BaseException:
            # A fault of ours: nothing is left to a thread that is not there any more.
            while (connections := self._current()) is not None:
                self._part(connections, "the relay failed")
            raise

    def _current(self) -> list[Connection] | None:
        """Those there are; without any, the thread is over, and the next connection starts another."""
        with self._lock:
            assert self._bell is not None
            if self._connections:
                with contextlib.suppress(BlockingIOError):
                    # Under the lock that it is rung under: whatever comes after this list was made rings again.
                    self._bell[0].recv(4096)
                return list(self._connections)
            self._thread = None
            self._closing = False
            for end in self._bell:
                end.close()
            self._bell = None
            return None

    def _move(self, connections: list[Connection]) -> None:
        """Wait until there is something to do for one of them, and do it."""
        assert self._bell is not None
        happened = _poll(self._bell[0], connections, time.monotonic())
        for connection in connections:
            self._left -= connection.advance(happened, self._left)
        now = time.monotonic()
        for connection in connections:
            connection.check_time(now)
        self._part([connection for connection in connections if connection.ended], "")

    def _part(self, connections: list[Connection], why: str) -> None:
        for connection in connections:
            connection.end(why)
            try:
                self._on_end(connection)
            finally:
                connection.close()
                with self._lock:
                    self._connections.remove(connection)

    def _ring(self) -> None:
        assert self._bell is not None
        with contextlib.suppress(BlockingIOError):  # it rings already
            self._bell[1].send(b"!")


def _bell() -> tuple[socket.socket, socket.socket]:
    """Two ends by which a thread is woken from poll()."""
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    return ends


def _poll(bell: socket.socket, connections: list[Connection], now: float) -> dict[int, int]:
    poll = select.poll()
    poll.register(bell, select.POLLIN)
    for connection in connections:
        for descriptor, events in connection.interests().items():
            poll.register(descriptor, events)
    left = min(connection.time_left(now) for connection in connections)
    return dict(poll.poll(left * 1000 + 1))
