"""One connection of a worker with a host: two sockets, and the bytes between them, bounded in amount and time.

What goes out under a grant that requires TLS is held back until the ClientHello was read. Nothing here ever waits.
"""

from __future__ import annotations

import contextlib
import ipaddress
import select
import socket
import time
from dataclasses import dataclass

from agex_protocol.plan import NetworkGrant
from agex_supervisor.client_hello import HelloReader, NotTls

PIECE_BYTES = 64 << 10
# How long the last bytes of a worker that has hung up may take to be delivered.
LINGER_S = 5.0

_HUNG_UP = select.POLLHUP | select.POLLERR | select.POLLNVAL


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one session's connections may take; bytes count in both directions together."""

    connections: int = 64  # at once
    dials: int = 4  # under way at once, with those that nobody waits for any more
    connection_bytes: int = 256 << 20
    session_bytes: int = 1 << 30
    dial_s: float = 10.0
    hello_s: float = 10.0  # until the ClientHello has come
    idle_s: float = 120.0
    total_s: float = 3600.0


class Connection:
    """Between `near`, whose other end a worker has, and `far`, which leads to the host.

    `ended` says why it is over ("" while it is not), `refused` whether that is because a rule was broken.
    """

    def __init__(
        self, near: socket.socket, far: socket.socket, grant: NetworkGrant, address: str, bounds: Bounds
    ) -> None:
        for each in (near, far):
            each.setblocking(False)
        self.near = near
        self.far = far
        self.grant = grant
        self.address = address
        self.ended = ""
        self.refused = False
        self._out = _Flow(near, far)
        self._back = _Flow(far, near)
        self._greeted = grant.tls == "any"
        self._hello = HelloReader()
        self._bounds = bounds
        self._started = self._moved = time.monotonic()
        self._hung_up_at: float | None = None

    @property
    def bytes_out(self) -> int:
        return self._out.carried

    @property
    def bytes_back(self) -> int:
        return self._back.carried

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def interests(self) -> dict[int, int]:
        """{descriptor: events} for poll()."""
        wanted: dict[int, int] = {}
        near = (select.POLLIN if self._out.open else 0) | (select.POLLOUT if self._back.waiting else 0)
        far = (select.POLLIN if self._back.open else 0) | (select.POLLOUT if self._out.waiting else 0)
        # poll() tells of an end whether asked for or not. The worker's must be heard at all times, but once; the host's
        # would be told again and again while there is no room to read what came before it.
        if near or self._hung_up_at is None:
            wanted[self.near.fileno()] = near
        if far and self._greeted:
            wanted[self.far.fileno()] = far
        return wanted

    def advance(self, happened: dict[int, int], room: int) -> int:
        """Move what can be moved, taking in at most `room` bytes; gives how many those were."""
        near, far = happened.get(self.near.fileno(), 0), happened.get(self.far.fileno(), 0)
        if not near and not far:
            return 0
        if near & _HUNG_UP:
            self._hang_up()
        room = min(room, self._bounds.connection_bytes - self.bytes_out - self.bytes_back)
        taken = self._take(self._out, room) if near & ~select.POLLOUT else 0
        taken += self._take(self._back, room - taken) if far & ~select.POLLOUT else 0
        if taken:
            self._moved = time.monotonic()
        if not self._greeted:
            self._greet()
        if self._greeted:
            self._give(self._out)
            self._give(self._back)
        if self._out.done and (self._back.done or self._hung_up_at is not None):
            self.end("closed")
        return taken

    def time_left(self, now: float) -> float:
        """Seconds until `check_time` has something to say."""
        limits = self._bounds
        until = min(self._started + limits.total_s, self._moved + limits.idle_s)
        if not self._greeted:
            until = min(until, self._started + limits.hello_s)
        if self._hung_up_at is not None:
            until = min(until, self._hung_up_at + LINGER_S)
        return max(0.0, until - now)

    def check_time(self, now: float) -> None:
        """End it where its time is up."""
        if self.time_left(now) > 0:
            return
        limits = self._bounds
        if self._hung_up_at is not None:
            self.end("the host took the last bytes too slowly")
        elif not self._greeted and now >= self._started + limits.hello_s:
            self.refuse(f"no ClientHello came in {limits.hello_s:g} s, and the grant requires TLS")
        elif now >= self._started + limits.total_s:
            self.end(f"it was open for {limits.total_s:g} s, the longest there is")
        else:
            self.end(f"nothing moved for {limits.idle_s:g} s")

    def end(self, why: str) -> None:
        """The first cause is kept."""
        self.ended = self.ended or why

    def refuse(self, why: str) -> None:
        """End it because a rule was broken."""
        if not self.ended:
            self.ended, self.refused = why, True

    def close(self) -> None:
        """Hang up on both sides, even if a forked child of this process has copies of the sockets."""
        for each in (self.near, self.far):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _take(self, flow: _Flow, room: int) -> int:
        if not flow.open:
            return 0
        if room <= 0:
            self.end("the bytes that a connection, or all of a session together, may carry are used up")
            return 0
        try:
            return flow.take(room)
        except OSError:
            flow.ended = True
            self._broken(flow.source)
            return 0

    def _give(self, flow: _Flow) -> None:
        try:
            flow.give()
        except OSError:
            self._broken(flow.sink)

    def _broken(self, side: socket.socket) -> None:
        if side is self.far:
            self.end("reset by the host")
        else:
            self._hang_up()

    def _hang_up(self) -> None:
        """The worker's end is gone: nothing can be brought to it; what it sent last may still go out."""
        self._hung_up_at = self._hung_up_at or time.monotonic()
        self._back.drop()

    def _greet(self) -> None:
        """Open the way out once the first bytes have named the granted host."""
        try:
            hello = self._hello.read(self._out.waiting)
        except NotTls as error:
            self.refuse(f"{error}, and the grant requires TLS")
            return
        if hello is not None:
            if hello.server_name == self.grant.host or (not hello.server_name and _is_address(self.grant.host)):
                self._greeted = True
            else:
                named = repr(hello.server_name) if hello.server_name else "no server"
                self.refuse(f"its ClientHello names {named}, and the grant {self.grant.host!r}")
        elif self._out.ended and self._out.waiting:
            self.refuse("it ended within its ClientHello, and the grant requires TLS")
        elif self._out.ended:
            self.end("closed")


class _Flow:
    """One direction: at most one piece that was taken from the source and not yet given to the sink."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.waiting = bytearray()
        self.carried = 0
        self.ended = False
        self._told = False

    @property
    def open(self) -> bool:
        """Whether there is room, and more to come."""
        return not self.ended and len(self.waiting) < PIECE_BYTES

    @property
    def done(self) -> bool:
        return self.ended and not self.waiting

    def take(self, room: int) -> int:
        try:
            data = self.source.recv(min(PIECE_BYTES - len(self.waiting), room))
        except BlockingIOError:
            return 0
        self.ended = not data
        self.waiting += data
        self.carried += len(data)
        return len(data)

    def give(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self.waiting:
                del self.waiting[: self.sink.send(self.waiting)]
        if self.done and not self._told:
            self._told = True
            with contextlib.suppress(OSError):  # the sink may be gone by itself
                self.sink.shutdown(socket.SHUT_WR)

    def drop(self) -> None:
        """Nothing more goes to the sink."""
        self.ended, self._told = True, True
        self.waiting.clear()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
