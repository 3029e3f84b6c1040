"""The first message of a TLS client, read only as far as needed to know which server it asks for.

Nothing of it is decrypted or changed. Whatever two readers might understand differently is refused, for the server that
reads it later must not see another name than we did.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_HELLO_BYTES = 16 << 10
# A client needs one or two; each costs work of ours.
MAX_HELLO_RECORDS = 16

_HANDSHAKE = b"\x16\x03"  # the kind of record, and the version's first half
_CLIENT_HELLO = 1
_HEADER_BYTES = 5
_SERVER_NAME = 0
_HOST_NAME = 0
# Encrypted ClientHello, and the draft before it: behind the name that is shown there is another one.
_HIDING = frozenset({0xFE0D, 0xFFCE})


class NotTls(Exception):
    """These bytes are no ClientHello that may pass; the message says why."""


@dataclass(frozen=True, slots=True)
class ClientHello:
    """server_name: in lower case; "" where the client names none, as it does for an address."""

    server_name: str


class HelloReader:
    """Reads the hello at the beginning of what a client sends, as it comes in, and looks at no byte twice."""

    def __init__(self) -> None:
        self._message = bytearray()
        self._records = 0
        self._position = 0  # of the first record that has not come whole

    def read(self, data: bytes | bytearray) -> ClientHello | None:
        """The hello, or None while more bytes are needed. NotTls for anything else.

        data: all that has come so far, so with what earlier calls were given at its front.
        """
        while (record := self._record(data)) is not None:
            self._message += record
            if self._message[0] != _CLIENT_HELLO:
                raise NotTls("its first TLS message is no ClientHello")
            wanted = 4 + int.from_bytes(self._message[1:4], "big")
            if len(self._message) < max(4, wanted):
                continue
            if len(self._message) > wanted:
                raise NotTls("something else is in the record of its ClientHello")
            return ClientHello(_server_name(_extensions(bytes(self._message[4:]))))
        return None

    def _record(self, data: bytes | bytearray) -> bytes | None:
        """What is in the next record, once all of it has come."""
        header = bytes(data[self._position : self._position + _HEADER_BYTES])
        if not _HANDSHAKE.startswith(header[:2]):
            raise NotTls("it does not begin with a TLS handshake")
        if len(header) < _HEADER_BYTES:
            return None
        begin = self._position + _HEADER_BYTES
        end = begin + int.from_bytes(header[3:5], "big")
        if begin == end:
            raise NotTls("it has an empty TLS record")
        if end > MAX_HELLO_BYTES:
            raise NotTls(f"its ClientHello is longer than {MAX_HELLO_BYTES} bytes")
        if self._records == MAX_HELLO_RECORDS:
            raise NotTls(f"its ClientHello is in more than {MAX_HELLO_RECORDS} records")
        if len(data) < end:
            return None
        self._position, self._records = end, self._records + 1
        return bytes(data[begin:end])


def _extensions(message: bytes) -> dict[int, bytes]:
    hello = _Reader(message)
    hello.take(2 + 32)  # version, random
    hello.block(1)  # session
    hello.block(2)  # cipher suites
    hello.block(1)  # compression methods
    found: dict[int, bytes] = {}
    listed = _Reader(hello.block(2) if hello.left else b"")
    hello.end()
    while listed.left:
        kind = listed.number(2)
        if kind in found:
            raise NotTls("its ClientHello has one extension twice")
        found[kind] = listed.block(2)
    return found


def _server_name(extensions: dict[int, bytes]) -> str:
    if _HIDING & extensions.keys():
        raise NotTls("its ClientHello hides the name of the server (ECH)")
    if _SERVER_NAME not in extensions:
        return ""
    extension = _Reader(extensions[_SERVER_NAME])
    names = _Reader(extension.block(2))
    extension.end()
    if names.number(1) != _HOST_NAME:
        raise NotTls("its ClientHello names the server by something else than a host name")
    name = names.block(2)
    names.end()  # a second name would be for another reader
    if not name or not all(0x21 <= byte <= 0x7E for byte in name):
        raise NotTls("the server's name in its ClientHello is not printable ASCII")
    return name.decode("ascii").lower()


class _Reader:
    """Takes bytes off the front; NotTls where there are too few, or any left at the end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._position

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise NotTls("its ClientHello is malformed")
        self._position += count
        return self._data[self._position - count : self._position]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, size: int) -> bytes:
        """As many bytes as the number before them says."""
        return self.take(self.number(size))

    def end(self) -> None:
        if self.left:
            raise NotTls("its ClientHello is malformed")
