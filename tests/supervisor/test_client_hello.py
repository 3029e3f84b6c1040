"""The first message of a TLS client: read from what real clients send, and from what they never would."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from agex_supervisor.client_hello import MAX_HELLO_BYTES, MAX_HELLO_RECORDS, ClientHello, HelloReader, NotTls


def hello_of(server_name: str | None, *, most: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED) -> bytes:
    """What the ssl module sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = server_name is not None
    context.maximum_version = most
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=server_name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def read(data: bytes) -> ClientHello | None:
    """What a reader makes of bytes that have come at once."""
    return HelloReader().read(data)


def block(size: int, data: bytes) -> bytes:
    return len(data).to_bytes(size, "big") + data


def extension(kind: int, data: bytes) -> bytes:
    return kind.to_bytes(2, "big") + block(2, data)


def names(*entries: tuple[int, bytes]) -> bytes:
    return extension(0, block(2, b"".join(bytes([kind]) + block(2, name) for kind, name in entries)))


def message(extensions: bytes, *, surplus: bytes = b"") -> bytes:
    body = b"\x03\x03" + bytes(32) + block(1, b"") + block(2, b"\x13\x01") + block(1, b"\x00")
    return b"\x01" + block(3, body + block(2, extensions) + surplus)


def records(handshake: bytes, size: int = 1 << 14) -> bytes:
    pieces = [handshake[start : start + size] for start in range(0, len(handshake), size)]
    return b"".join(b"\x16\x03\x01" + block(2, piece) for piece in pieces)


@pytest.mark.parametrize("most", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_the_name_that_a_real_client_sends_is_read(most: ssl.TLSVersion) -> None:
    assert read(hello_of("API.example.test", most=most)) == ClientHello("api.example.test")
    assert read(hello_of("127.0.0.1", most=most)) == ClientHello("")
    assert read(hello_of(None, most=most)) == ClientHello("")


def test_every_beginning_of_a_hello_asks_for_more_and_no_more_is_needed_than_there_is() -> None:
    hello = hello_of("api.example.test")

    assert [read(hello[:end]) for end in range(len(hello))] == [None] * len(hello)
    assert read(hello + b"what follows") == ClientHello("api.example.test")


@pytest.mark.parametrize("first", [1, 3, 4, 5, 50])
def test_a_hello_may_be_cut_into_several_records_anywhere(first: int) -> None:
    handshake = hello_of("api.example.test")[5:]
    cut = records(handshake[:first]) + records(handshake[first:], 100)

    assert read(cut) == ClientHello("api.example.test")
    assert read(cut[:-1]) is None


def test_of_more_records_than_a_client_needs_no_further_one_is_read() -> None:
    handshake = message(names(NAME) + extension(21, bytes(300)))
    most = records(handshake[: MAX_HELLO_RECORDS - 1], 1)

    assert read(most + records(handshake[MAX_HELLO_RECORDS - 1 :])) == ClientHello("a.example")
    with pytest.raises(NotTls, match="^its ClientHello is in more than 16 records$"):
        read(most + records(handshake[MAX_HELLO_RECORDS - 1 :], 200))


class Counted(bytearray):
    """Counts the bytes that are taken out of it."""

    taken = 0

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        self.taken += len(found)
        return found


def test_a_hello_that_comes_byte_by_byte_is_not_read_anew_with_each_of_them() -> None:
    hello = records(message(names(NAME) + extension(21, bytes(9000))), 1000)
    reader, come = HelloReader(), Counted()
    for byte in hello[:-1]:
        come.append(byte)
        assert reader.read(come) is None
    come.append(hello[-1])

    assert reader.read(come) == ClientHello("a.example")
    assert come.taken < 10 * len(hello)


NAME = (0, b"a.example")

REFUSED = {
    "plain text": (b"GET / HTTP/1.1\r\n\r\n", "it does not begin with a TLS handshake"),
    "one wrong byte": (b"G", "it does not begin with a TLS handshake"),
    "the old version of the record": (b"\x16\x02\x00", "it does not begin with a TLS handshake"),
    "an alert": (b"\x15\x03\x01\x00\x02\x02\x28", "it does not begin with a TLS handshake"),
    "an empty record": (b"\x16\x03\x01\x00\x00", "it has an empty TLS record"),
    "a record that is too long": (b"\x16\x03\x01\x40\x01", "its ClientHello is longer than 16384 bytes"),
    "a server's hello": (records(b"\x02" + block(3, bytes(40))), "its first TLS message is no ClientHello"),
    "a second message in the record": (
        records(message(names(NAME)) + message(names((0, b"b.example")))),
        "something else is in the record of its ClientHello",
    ),
    "a name twice": (
        records(message(names(NAME, (0, b"b.example")))),
        "its ClientHello is malformed",
    ),
    "the extension twice": (records(message(names(NAME) * 2)), "its ClientHello has one extension twice"),
    "a name of another kind": (
        records(message(names((1, b"a.example")))),
        "its ClientHello names the server by something else than a host name",
    ),
    "an empty name": (
        records(message(names((0, b"")))),
        "the server's name in its ClientHello is not printable ASCII",
    ),
    "a name with a NUL": (
        records(message(names((0, b"a.example\0.b.example")))),
        "the server's name in its ClientHello is not printable ASCII",
    ),
    "an encrypted hello": (
        records(message(names(NAME) + extension(0xFE0D, b"x"))),
        "its ClientHello hides the name of the server (ECH)",
    ),
    "bytes after the extensions": (
        records(message(names(NAME), surplus=b"x")),
        "its ClientHello is malformed",
    ),
    "a list that ends too soon": (
        records(message(extension(0, block(2, b"\0\0\x09a.exampl")))),
        "its ClientHello is malformed",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_client_sends_is_refused(case: str) -> None:
    data, reason = REFUSED[case]
    with pytest.raises(NotTls) as caught:
        read(data)
    assert str(caught.value) == reason


def test_another_kind_of_record_within_the_hello_is_refused() -> None:
    handshake = message(names(NAME))
    with pytest.raises(NotTls):
        read(records(handshake[:20]) + b"\x17\x03\x03" + block(2, handshake[20:]))


def test_a_hello_that_never_ends_is_refused_at_its_bound() -> None:
    endless = records(b"\x01\xff\xff\xff" + bytes(MAX_HELLO_BYTES), 2043)

    assert read(endless[: MAX_HELLO_BYTES + 4]) is None  # eight whole records, and all but a byte of a header
    with pytest.raises(NotTls, match="longer than 16384 bytes"):
        read(endless[: MAX_HELLO_BYTES + 5])
