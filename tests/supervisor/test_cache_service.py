"""A worker that is owned, at the door of the cache: it can keep bytes under keys, and nothing else comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agex_protocol import messages as m
from agex_supervisor.cache import Cache
from agex_supervisor.cache_service import CacheService

Hire = Callable[..., Any]
RAW = """
def ask(*parts):
    send(*parts)
    return read()

def read():
    import struct
    def exactly(n):
        data = b''
        while len(data) < n:
            data += os.read(channel, n - len(data))
        return data
    return msgpack.unpackb(exactly(struct.unpack('<I', exactly(4))[0]), raw=False)

def value(head, buffers=0):
    return [head, buffers, []]

def buffer(data):
    send('Buffer', action, data, True)
"""


@pytest.fixture
def owned(hire: Hire, channel_code: str) -> Callable[..., Any]:
    """Runs code that speaks to the channel itself; gives the turn and the cache."""

    def owned(code: str, **caps: int) -> tuple[Any, Cache]:
        hired, cache = hire(), Cache(**caps)
        hired.worker.on_cache = CacheService(cache, "kernel")
        return hired.run(channel_code + RAW + code), cache

    return owned


def test_bytes_are_kept_and_given_back_as_they_are(owned: Callable[..., Any]) -> None:
    turn, cache = owned(
        "buffer(b'pickle of anything')\n"
        "said = [ask('Remember', action, 1, 'k', 'sealed', 'T', 'r', value(b'-', 1))[4:]]\n"
        "said.append(ask('Recount', action, 2)[4:])\n"
        "said.append(ask('Forget', action, 3, 'none')[4:])\n"
        "said.append(ask('Recall', action, 4, 'none')[4:])\n"
        "said"
    )
    assert isinstance(turn.ending, m.Finished), turn
    assert cache.entry("k").buffers == (b"pickle of anything",)
    assert (cache.entry("k").origin, cache.entry("k").type, cache.entry("k").repr) == ("kernel", "T", "r")


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("send('Remember', action, 1, '', 'plain', '', '', value(b'\\x01'))", "a key of the cache that cannot be one"),
        ("send('Recall', action, 1, '__class__')", "a key of the cache that cannot be one"),
        ("send('Forget', action, 1, 'x' * 300)", "a key of the cache that cannot be one"),
        ("send('Remember', action, 1, 'k', 'pickle', '', '', value(b'\\x01'))", "expected one of"),
        ("send('Remember', action, 1, 'k', 'sealed', '', '', value(b'\\x01'))", "a sealed cache entry is one buffer"),
        ("send('Remember', action, 1, 'k', 'sealed', '', '', value(b'', 1))", "buffers"),
        ("buffer(b'x')\nsend('Recall', action, 1, 'k')", "buffers"),
        ("send('Recall', action, 2, 'k')", "call 2 where 1 was due"),
        ("send('Recall', b'b' * 16, 1, 'k')", "an action that is not under way"),
        ("send('Viewed', action, value(b'x'))", "an image is one buffer"),
        ("buffer(b'\\x89PNG')\nsend('Viewed', action, value(b'-', 1))", "an image is not a PNG file"),
    ],
)
def test_whatever_breaks_the_rules_ends_the_worker(code: str, why: str, owned: Callable[..., Any]) -> None:
    turn, cache = owned(code + "\nos.read(channel, 1)")
    assert (turn.death.cause, list(cache)) == ("violation", [])
    assert why in turn.death.detail


def test_a_loop_of_assignments_holds_no_more_than_the_cap(owned: Callable[..., Any]) -> None:
    turn, cache = owned(
        "full = 0\n"
        "for n in range(1, 201):\n"
        "    buffer(b'x' * 50_000)\n"
        "    answer = ask('Remember', action, n, f'k{n}', 'sealed', 'T', 'r', value(b'-', 1))\n"
        "    full += answer[4] == 'ValueError'\n"
        "full",
        max_bytes=1_000_000,
    )
    assert isinstance(turn.ending, m.Finished), turn
    assert len(cache) == 19 and sum(len(cache[key]) for key in cache) < 1_000_000


def test_a_session_that_has_no_cache_answers_with_a_violation(hire: Hire, channel_code: str) -> None:
    turn = hire().run(channel_code + "send('Recount', action, 1)\nos.read(channel, 1)")
    assert (turn.death.cause, turn.death.detail) == ("violation", "Recount where there is no cache")
