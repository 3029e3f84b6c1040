"""A session's cache on the trusted side: envelopes, bounds, what a commit has to write, and what the application sees."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agex_protocol.encode import encode
from agex_protocol.shapes import ANY
from agex_supervisor.cache import MAX_BUFFERS, MAX_ENTRIES, Cache, CacheFull
from agex_supervisor.cache_entry import SEALED_HEAD, CacheEntry, decoded, for_host, key_fault, of_host
from agex_supervisor.errors import StateError
from agex_supervisor.opaque import Opaque


def plain(value: object) -> CacheEntry:
    head, buffers = encode(value, ANY)
    return CacheEntry.of("plain", "kernel", type(value).__name__, repr(value), head, tuple(map(bytes, buffers)))


def sealed(data: bytes) -> CacheEntry:
    return CacheEntry.of("sealed", "kernel", "Own", "<Own>", SEALED_HEAD, (data,))


def test_an_entry_comes_back_from_its_bytes() -> None:
    for entry in (plain({"a": [1, (2,)]}), sealed(b"\x80\x05"), of_host("x" * 100_000)):
        assert CacheEntry.from_bytes(entry.to_bytes()) == entry


@given(st.binary(max_size=200))
def test_bytes_that_are_no_entry_are_a_state_error(data: bytes) -> None:
    with pytest.raises(StateError):
        CacheEntry.from_bytes(data)


@given(st.data())
def test_an_entry_whose_data_were_changed_is_refused(data: st.DataObject) -> None:
    whole = bytearray(sealed(b"0123456789" * 10).to_bytes())
    start = bytes(whole).index(b"0123456789")
    place = data.draw(st.integers(start, start + 99))
    whole[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StateError, match="they were changed"):
        CacheEntry.from_bytes(bytes(whole))


def test_what_a_worker_says_of_a_value_is_bounded_and_harmless() -> None:
    entry = CacheEntry.of("plain", "kernel", "T\x1b[31m" * 500, "r\u202e" * 5000, b"", ())
    assert len(entry.type) <= 200 and len(entry.repr) <= 500
    assert "\x1b" not in entry.type and "\u202e" not in entry.repr


def test_the_application_never_opens_what_is_sealed() -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return exec, ("raise SystemExit",)

    data = pickle.dumps(Bomb())
    found = for_host(sealed(data))
    assert isinstance(found, Opaque)
    assert (found.data, found.sha256, found.type) == (data, hashlib.sha256(data).hexdigest(), "Own")


def test_plain_bytes_of_a_worker_that_are_no_value_are_a_state_error() -> None:
    for head in (b"", b"\xc1", b"\xdd\xff\xff\xff\xff", pickle.dumps([1])):
        entry = CacheEntry.of("plain", "kernel", "list", "", head, ())
        with pytest.raises(StateError, match="does not hold the plain data"):
            decoded(entry)


@pytest.mark.parametrize("entry", [("x", ()), (b"-", ()), (b"", (b"a",)), (b"-", (b"a", b"b"))])
def test_a_sealed_entry_of_another_form_is_a_state_error(entry: tuple[Any, tuple[bytes, ...]]) -> None:
    head = entry[0] if isinstance(entry[0], bytes) else b"x"
    with pytest.raises(StateError, match="does not have the form"):
        for_host(CacheEntry.of("sealed", "kernel", "", "", head, entry[1]))


def test_the_application_stores_plain_data_and_opaques_and_nothing_else() -> None:
    opaque: Opaque[Any] = Opaque(b"\x80\x05N.", type="Own", repr="<Own>")
    assert for_host(of_host({"a": 1})) == {"a": 1}
    assert for_host(of_host(opaque)) == opaque
    assert (of_host(opaque).origin, of_host(1).origin) == ("host", "host")
    with pytest.raises(StateError, match="plain data or an agex.Opaque"):
        of_host(object())


def test_changes_are_what_was_kept_and_what_is_gone_until_they_are_committed() -> None:
    cache = Cache({"old": plain(1).to_bytes(), "gone": plain(2).to_bytes()})
    assert cache.changed() == {}
    cache.keep("new", plain(3))
    cache.forget("gone")
    cache.keep("brief", plain(4))
    cache.forget("brief")
    assert cache.changed() == {"brief": None, "gone": None, "new": plain(3).to_bytes()}
    cache.committed()
    assert cache.changed() == {}
    assert dict(cache) == {"old": plain(1).to_bytes(), "new": plain(3).to_bytes()}
    assert cache.listed() == [("old", "int"), ("new", "int")]


def test_what_does_not_fit_changes_nothing() -> None:
    cache = Cache(max_bytes=2000)
    cache.keep("a", sealed(b"x" * 1000))
    for key, size in (("b", 1000), ("a", 3000)):
        with pytest.raises(CacheFull, match="results.max_size"):
            cache.keep(key, sealed(b"x" * size))
    assert cache.changed() == {"a": sealed(b"x" * 1000).to_bytes()}
    cache.keep("a", sealed(b"y" * 1500))  # in the place of the first
    cache.forget("a")
    cache.keep("b", sealed(b"x" * 1500))
    assert list(cache) == ["b"]


def test_there_is_an_end_to_the_number_of_entries() -> None:
    cache = Cache()
    one = plain(1)
    for number in range(MAX_ENTRIES):
        cache.keep(f"k{number}", one)
    with pytest.raises(CacheFull, match="10000 entries"):
        cache.keep("more", one)
    cache.keep("k0", plain(2))


@pytest.mark.parametrize(
    ("key", "fault"),
    [
        ("", "it has 0 characters"),
        ("x" * 201, "it has 201 characters"),
        ("__x", "it begins with two underscores"),
        ("a\0", "it has characters that cannot be printed"),
        ("a\u202e", "it has characters that cannot be printed"),
    ],
)
def test_a_key_that_cannot_be_one_is_refused_to_the_application_too(key: str, fault: str) -> None:
    assert key_fault(key).startswith(fault)
    with pytest.raises(StateError, match="cannot be a key"):
        Cache().keep(key, plain(1))


def test_an_entry_of_a_newer_form_is_a_state_error() -> None:
    from agex_protocol.codec import pack

    entry = plain(1)
    with pytest.raises(StateError, match="another version"):
        CacheEntry.from_bytes(pack(dataclasses.replace(entry, form="folded")))  # type: ignore[arg-type]


def test_an_entry_of_more_parts_than_can_be_read_again_is_not_kept() -> None:
    cache = Cache()
    most = CacheEntry.of("plain", "kernel", "list", "[...]", b"x", (b"",) * MAX_BUFFERS)
    cache.keep("most", most)
    assert Cache(cache.changed()).entry("most") == most
    with pytest.raises(CacheFull, match="'more' is of more than 65536 parts; join arrays"):
        cache.keep("more", dataclasses.replace(most, buffers=(b"",) * (MAX_BUFFERS + 1)))
