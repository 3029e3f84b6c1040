"""The broker connects a session's workers with the hosts that its policy grants, and with nothing else.

A worker asks by `Dial`; it gets one end of a pair of sockets without any address, whose other end the relay connects with
the host. What was asked for and refused is kept for the outcome; every connection has a line in the log `agex.network`.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agex_protocol import messages as m
from agex_protocol.plan import NetworkGrant
from agex_supervisor.addresses import Address, objection
from agex_supervisor.connection import Bounds, Connection
from agex_supervisor.dialling import THREADS, Forbidden, Resolve, Unreachable, connect
from agex_supervisor.display import display
from agex_supervisor.relay import Relay
from agex_supervisor.room import Room, Share

# Connections of all sessions together, because each takes two of this process's descriptors.
PLACES = Room(256)
# What is kept, and logged, of the refusals of one run: a worker can ask as often as it likes.
MAX_REFUSALS = 100
# The longest name there can be.
MAX_HOST_CHARS = 253

log = logging.getLogger("agex.network")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A connection that was not made, or was ended, because a rule forbids it. target: "host:port", safe to show."""

    target: str
    reason: str


class Broker:
    """Of one session, whose workers come and go. `dial` is what `Worker.run` takes as its on_dial.

    resolve: called as socket.getaddrinfo. abandoned: asked while a host is dialled whether anybody still waits.
    """

    def __init__(
        self,
        grants: Iterable[NetworkGrant],
        *,
        bounds: Bounds | None = None,
        resolve: Resolve = socket.getaddrinfo,
        abandoned: Callable[[], bool] = lambda: False,
    ) -> None:
        # Of two grants for one address, the one that allows more counts.
        ordered = sorted(grants, key=lambda grant: grant.tls == "any")
        self._grants = {(grant.host, grant.port): grant for grant in ordered}
        self._bounds = bounds or Bounds()
        self._resolve = resolve
        self._abandoned = abandoned
        self._relay = Relay(self._bounds.session_bytes, self._ended)
        self._places = Share(PLACES, self._bounds.connections)
        self._dials = Share(THREADS, self._bounds.dials)
        self._lock = threading.Lock()
        self._refusals: list[Refusal] = []
        self._owner = os.getpid()

    def dial(self, dial: m.Dial, deadline: float) -> tuple[m.Dialled, int]:
        """Connect by time.monotonic() == deadline. The descriptor, -1 if there is none, is the worker's end.

        `error` begins with the name of an errno or of an EAI_ number, by which a worker raises what a socket would.
        """
        host = _normal(dial.host)
        target = _target(host, dial.port)
        grant = self._grants.get((host, dial.port))
        if grant is None:
            return self._refuse(dial, target, "the policy does not grant it"), -1
        try:
            return m.Dialled(dial.action, dial.call), self._connect(grant, deadline)
        except Forbidden as error:
            return self._refuse(dial, target, str(error)), -1
        except Unreachable as error:
            told = display(str(error), limit=500, one_line=True)
            log.info("%s: %s: %s", target, error.code, told)
            return m.Dialled(dial.action, dial.call, error=f"{error.code} {told}"), -1

    def take_refusals(self) -> list[Refusal]:
        """What was refused since this was last asked, at most MAX_REFUSALS of them."""
        with self._lock:
            taken, self._refusals = self._refusals, []
            return taken

    def close(self) -> None:
        """End every connection. The broker can be used again: what was carried counts on."""
        if self._owner == os.getpid():  # in a forked child the sockets are copies, and the thread is not there
            self._relay.close()

    def _connect(self, grant: NetworkGrant, deadline: float) -> int:
        if not self._places.take():
            taken = self._places.taken
            if taken >= self._places.most:
                raise Unreachable("EMFILE", f"{taken} connections are open, the most of one session")
            raise Unreachable(
                "ENFILE", f"{taken} connections are open, and other sessions need the places that are left"
            )
        try:
            return self._connected(grant, deadline)
        except BaseException:
            self._places.give_back()
            raise

    def _connected(self, grant: NetworkGrant, deadline: float) -> int:
        far = connect(
            grant.host,
            grant.port,
            deadline=min(deadline, time.monotonic() + self._bounds.dial_s),
            resolve=self._resolve,
            objection=lambda address: self._objection(address, grant.port),
            abandoned=self._abandoned,
            share=self._dials,
        )
        try:
            near, given = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        except OSError as error:
            far.socket.close()
            raise Unreachable("ENFILE", "this process has no descriptors left") from error
        self._carry(Connection(near, far.socket, grant, far.address, self._bounds), given)
        return given.detach()

    def _carry(self, connection: Connection, given: socket.socket) -> None:
        try:
            self._relay.carry(connection)
        except (OSError, RuntimeError) as error:
            given.close()
            connection.close()
            raise Unreachable("ENOBUFS", "this process has no room for another connection") from error

    def _objection(self, address: Address, port: int) -> str:
        return "" if (str(address), port) in self._grants else objection(address)

    def _refuse(self, dial: m.Dial, target: str, reason: str) -> m.Dialled:
        self._record(target, reason)
        return m.Dialled(dial.action, dial.call, refused=True, error=f"EACCES {display(reason, limit=500)}")

    def _record(self, target: str, reason: str) -> None:
        told = display(reason, limit=500, one_line=True)
        with self._lock:
            count = len(self._refusals)
            if count < MAX_REFUSALS:
                self._refusals.append(Refusal(target, told))
        if count < MAX_REFUSALS:
            log.warning("%s: refused: %s", target, told)

    def _ended(self, connection: Connection) -> None:
        self._places.give_back()
        target = _target(connection.grant.host, connection.grant.port)
        if connection.refused:
            self._record(target, connection.ended)
        log.info(
            "%s at %s: %d bytes out, %d bytes back, %.3f s, %s",
            target,
            connection.address,
            connection.bytes_out,
            connection.bytes_back,
            connection.seconds,
            display(connection.ended, limit=500, one_line=True),
        )


def _normal(host: str) -> str:
    """A name as grants have it; an address in its shortest form. Nothing else that a resolver might understand."""
    if len(host) > MAX_HOST_CHARS + 1:
        return host
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower().removesuffix(".") if host.isascii() else host


def _target(host: str, port: int) -> str:
    shown = display(host, limit=300, one_line=True)
    return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"
