"""Sockets for code that is granted some addresses, in a process that can make none.

The filter refuses socket() and connect(). So a socket here is one end of a pair that leads nowhere; connecting it asks the
supervisor, which answers with the end of a relay, and that takes the placeholder's number. The methods are put into
`socket.socket` itself, so that modules loaded before and its subclasses, as that of `ssl`, have them too. This is a
convenience and no wall: the supervisor decides, whoever asks.
"""

from __future__ import annotations

import _socket
import errno
import ipaddress
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from agex_protocol import messages as m

# Asks the supervisor; gives its answer and the descriptors that came with it.
Dial = Callable[[str, int], tuple[m.Dialled, list[int]]]


def install(dial: Dial) -> None:
    """Have sockets and names of this process go by way of the supervisor, from now on."""
    global _dial
    _dial = dial
    for name, method in vars(_Methods).items():
        if name == "__init__" or not name.startswith("__"):
            setattr(socket.socket, name, method)
    socket.has_ipv6 = False  # or urllib3 binds a socket to find out
    # socket.getaddrinfo asks this one, under whatever name it was imported.
    _socket.__dict__["getaddrinfo"] = _getaddrinfo


@dataclass(frozen=True, slots=True)
class _Link:
    """What a descriptor of ours is: its number may be another's by now, its inode is not. peer: None until connected."""

    inode: int
    peer: tuple[str, int] | None = None


_links: dict[int, _Link] = {}


def _not_installed(host: str, port: int) -> NoReturn:
    raise OSError(errno.ENETDOWN, f"there is nobody to connect {host}:{port}")


_dial: Dial = _not_installed

# What stands here is refused, and told of, as it is without any grant.
_make = socket.socket.__init__
_duplicate = socket.socket.dup
_resolve: Callable[..., list[Any]] = _socket.getaddrinfo

_FAMILIES = (-1, socket.AF_INET, socket.AF_INET6)
_PROTOCOLS = (-1, 0, socket.IPPROTO_TCP)
# Options there mean nothing for a relay, and clients take a refusal for a fault.
_SWALLOWED_LEVELS = (socket.SOL_SOCKET, socket.IPPROTO_TCP, socket.IPPROTO_IP, socket.IPPROTO_IPV6)
_TRUE_OPTIONS = (socket.SO_ERROR, socket.SO_TYPE)


class _Methods(socket.socket):
    """What takes the place of methods of socket.socket; never made itself. Sockets that are not ours are left alone."""

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        flags = 0 if type == -1 else type & (socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        is_stream = type == -1 or type & ~flags == socket.SOCK_STREAM
        if fileno is not None or not is_stream or family not in _FAMILIES or proto not in _PROTOCOLS:
            _make(self, family, type, proto, fileno)
            return
        placeholder = _placeholder()
        try:
            _make(self, socket.AF_INET if family == -1 else family, socket.SOCK_STREAM, socket.IPPROTO_TCP, placeholder)
        except BaseException:
            os.close(placeholder)
            raise
        if flags & socket.SOCK_NONBLOCK:
            self.setblocking(False)
        _links[placeholder] = _Link(os.fstat(placeholder).st_ino)

    def connect(self, address: Any) -> None:
        link = _link(self)
        if link is None:
            _socket.socket.connect(self, address)
            return
        if link.peer is not None:
            raise OSError(errno.EISCONN, os.strerror(errno.EISCONN))
        host, port = _host_and_port(address)
        descriptor = _dialled(host, port)
        try:
            os.set_blocking(descriptor, self.gettimeout() is None)
            os.dup2(descriptor, self.fileno(), inheritable=False)
        finally:
            os.close(descriptor)
        _links[self.fileno()] = _Link(os.fstat(self.fileno()).st_ino, (host, port))

    def connect_ex(self, address: Any) -> int:
        if _link(self) is None:
            return _socket.socket.connect_ex(self, address)
        try:
            self.connect(address)
        except socket.gaierror:
            raise
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        if _link(self) is None or level not in _SWALLOWED_LEVELS:
            _socket.socket.setsockopt(self, level, option, *value)

    def getsockopt(self, level: int, option: int, *buffer_bytes: int) -> Any:
        true = level == socket.SOL_SOCKET and option in _TRUE_OPTIONS
        if _link(self) is None or true or level not in _SWALLOWED_LEVELS:
            return _socket.socket.getsockopt(self, level, option, *buffer_bytes)
        return bytes(*buffer_bytes) if buffer_bytes else 0

    def getpeername(self) -> Any:
        link = _link(self)
        if link is None:
            return _socket.socket.getpeername(self)
        if link.peer is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return _address(self.family, *link.peer)

    def getsockname(self) -> Any:
        if _link(self) is None:
            return _socket.socket.getsockname(self)
        return _address(self.family, "0.0.0.0" if self.family == socket.AF_INET else "::", 0)

    def sendmsg(self, buffers: Any, ancillary: Any = (), flags: int = 0, address: Any = None) -> int:
        ancillary = list(ancillary)
        if _link(self) is None or ancillary or address is not None:
            return _socket.socket.sendmsg(self, buffers, ancillary, flags, address)
        return self.send(b"".join(buffers), flags)

    def dup(self) -> Any:
        copy, link = _duplicate(self), _link(self)
        if link is not None:
            _links[copy.fileno()] = link
        return copy


def _getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> list[Any]:
    """As of _socket: names stay names, for the supervisor resolves them when they are connected with."""
    if type not in (0, socket.SOCK_STREAM) or proto not in _PROTOCOLS:
        return _resolve(host, port, family, type, proto, flags)
    name = _text(host) or "localhost"
    version = _version(name)
    if version == 0 and flags & socket.AI_NUMERICHOST:
        raise socket.gaierror(socket.EAI_NONAME, f"{name} is a name")
    natural = socket.AF_INET6 if version == 6 else socket.AF_INET
    if family not in (0, natural) and (version or family != socket.AF_INET6):
        raise socket.gaierror(socket.EAI_ADDRFAMILY, f"{name} has no address of that family")
    chosen = family or natural
    return [(int(chosen), int(socket.SOCK_STREAM), socket.IPPROTO_TCP, "", _address(chosen, name, _port(port)))]


def _link(sock: socket.socket) -> _Link | None:
    descriptor = sock.fileno()
    link = _links.get(descriptor)
    return link if link is not None and link.inode == os.fstat(descriptor).st_ino else None


def _placeholder() -> int:
    """A descriptor of a socket that is connected with nothing."""
    one, other = _socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    other.close()
    return one.detach()


def _dialled(host: str, port: int) -> int:
    """A descriptor from the supervisor, or the error that a socket would raise."""
    answer, descriptors = _dial(host, port)
    if descriptors:
        return descriptors[0]
    code, _, told = answer.error.partition(" ")
    if answer.refused:
        raise PermissionError(errno.EACCES, f"{told}; see [network] allow of the policy", f"{host}:{port}")
    if code.startswith("EAI_"):
        raise socket.gaierror(getattr(socket, code, socket.EAI_FAIL), told)
    if not code:  # it was sent, and there was no room for it
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    raise OSError(getattr(errno, code, errno.EIO), told)


def _host_and_port(address: Any) -> tuple[str, int]:
    if not isinstance(address, tuple) or len(address) < 2:  # pyright: ignore[reportUnknownArgumentType] - any caller's
        raise TypeError(f"an address is (host, port), not {address!r}")
    host, port = _text(address[0]), address[1]
    if not isinstance(port, int):
        raise TypeError(f"a port is a number, not {port!r}")
    if not 0 <= port <= 65535:
        raise OverflowError("connect(): port must be 0-65535.")
    return host, port


def _address(family: int, host: str, port: int) -> tuple[Any, ...]:
    return (host, port, 0, 0) if family == socket.AF_INET6 else (host, port)


def _version(host: str) -> int:
    """4 or 6 for an address, 0 for a name."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return 0


def _text(host: Any) -> str:
    if isinstance(host, bytes | bytearray):
        return host.decode("ascii")
    if host is not None and not isinstance(host, str):
        raise TypeError(f"a host is a name or an address, not {host!r}")
    if host and not host.isascii():
        return host.encode("idna").decode("ascii")
    return host or ""


def _port(port: Any) -> int:
    if port is None:
        return 0
    try:
        return int(port)
    except ValueError:
        pass  # the name of a service
    try:
        return socket.getservbyname(_text(port), "tcp")
    except OSError as error:
        raise socket.gaierror(socket.EAI_SERVICE, f"there is no service {port!r}; give its number") from error
