"""Resolving a name once and connecting with one of its checked addresses, under a deadline.

It happens on a thread of its own, because a resolver can hang for longer than anybody wants to wait. No proxy is asked:
what is dialled is the address that was checked.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any

from agex_supervisor.addresses import Address
from agex_supervisor.room import Room, Share

MAX_ADDRESSES = 8
PATIENCE_S = 5.0
LOOK_S = 0.1
# A thread whose resolver hangs lives on after nobody waits for it, so each session has a share of them.
THREADS = Room(64)

# As socket.getaddrinfo, by which it is called with a host, a port and the type of socket.
Resolve = Callable[..., Iterable[Any]]
# Why this address must not be dialled; "" if it may.
Objection = Callable[[Address], str]


class Forbidden(Exception):
    """What the name stands for must not be dialled. The message says what it is."""


class Unreachable(Exception):
    """Nothing was reached. code: the name of an errno, or of an EAI_ number of the resolver."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection, and the address that it is with."""

    socket: socket.socket
    address: str


def connect(
    host: str,
    port: int,
    *,
    deadline: float,
    resolve: Resolve,
    objection: Objection,
    abandoned: Callable[[], bool],
    share: Share,
) -> Connected:
    """Connect by time.monotonic() == deadline, or raise Forbidden or Unreachable.

    abandoned: asked now and then whether anybody still waits for this. share: of THREADS, the session's; while nothing is left
    of it, this waits.
    """
    while not share.take(max(0.0, min(deadline - time.monotonic(), LOOK_S))):
        if time.monotonic() >= deadline or abandoned():
            raise Unreachable("ETIMEDOUT", f"too many other connections were being made, {share.taken} of this session")
    future: Future[Connected] = Future()
    attempt = (future, host, port, deadline, resolve, objection, share)
    try:
        threading.Thread(target=_attempt, args=attempt, name="agex-dial", daemon=True).start()
    except RuntimeError as error:
        share.give_back()
        raise Unreachable("ENOBUFS", "this machine has no room for another thread") from error
    while True:
        left = deadline - time.monotonic()
        # The thread that comes too late finds the future cancelled, and hangs up.
        if (left <= 0 or abandoned()) and future.cancel():
            raise Unreachable("ETIMEDOUT", f"{host} did not answer in time")
        try:
            return future.result(max(0.0, min(left, LOOK_S)))
        except TimeoutError:
            continue


def _attempt(
    future: Future[Connected],
    host: str,
    port: int,
    deadline: float,
    resolve: Resolve,
    objection: Objection,
    share: Share,
) -> None:
    # A future may be cancelled at any moment, so it is tried, not asked.
    try:
        connected = _first_reached(_checked(host, port, resolve, objection), host, port, deadline)
    except BaseException as error:
        with contextlib.suppress(InvalidStateError):
            future.set_exception(error)
    else:
        try:
            future.set_result(connected)
        except InvalidStateError:
            connected.socket.close()
    finally:
        share.give_back()


def _checked(host: str, port: int, resolve: Resolve, objection: Objection) -> list[Address]:
    addresses = _resolved(host, port, resolve)
    objections = {address: objection(address) for address in addresses}
    allowed = [address for address, kind in objections.items() if not kind]
    if not allowed:
        told = ", ".join(f"{address} ({kind})" for address, kind in objections.items())
        raise Forbidden(f"{host} stands for {told}; such an address has to be granted itself")
    return allowed[:MAX_ADDRESSES]


def _resolved(host: str, port: int, resolve: Resolve) -> list[Address]:
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        pass  # a name
    try:
        answers = resolve(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise Unreachable(_EAI.get(error.errno or 0, "EAI_FAIL"), f"{host}: {error.strerror}") from error
    except (OSError, UnicodeError) as error:
        raise Unreachable("EAI_FAIL", f"{host} cannot be resolved: {error}") from error
    found = [ipaddress.ip_address(address[0]) for *_, address in answers]
    if not found:
        raise Unreachable("EAI_NONAME", f"{host} has no address")
    return list(dict.fromkeys(found))


def _first_reached(addresses: list[Address], host: str, port: int, deadline: float) -> Connected:
    failed = Unreachable("ETIMEDOUT", f"{host} did not answer in time")
    for address in addresses:
        left = deadline - time.monotonic()
        if left <= 0:
            break
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise Unreachable(_code(error), f"no socket can be made for it: {error.strerror}") from error
        try:
            sock.settimeout(min(left, PATIENCE_S))
            sock.connect((str(address), port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # the worker's writes come as it made them
            return Connected(sock, str(address))
        except OSError as error:
            sock.close()
            failed = Unreachable(_code(error), f"{host} ({address}) was not reached: {error.strerror or error}")
    raise failed


def _code(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "ETIMEDOUT"
    return errno.errorcode.get(error.errno or 0, "EIO")


_EAI = {value: name for name, value in vars(socket).items() if name.startswith("EAI_")}
