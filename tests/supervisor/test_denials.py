"""Denials on the trusted side: the closed table, what a worker may not tell, and what is told once where two know of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from agex_policies.schema import Policy, values
from agex_protocol import messages as m
from agex_protocol.errors import ProtocolError
from agex_supervisor.death import Death
from agex_supervisor.denials import (
    FROM_WORKER,
    MAX_DENIALS,
    MAX_TARGET_CHARS,
    Denial,
    merged,
    of_address,
    of_death,
    of_message,
    of_syscall,
)

Hire = Callable[..., Any]

READ = Denial("landlock", "read", "/etc/passwd", "filesystem.read")
SOCKET = Denial("seccomp", "socket", "", "network.allow")


def denied(layer: str, operation: str, target: str = "") -> m.Denied:
    return m.Denied(b"a" * 16, layer, operation, target)


def test_a_denial_has_exactly_the_fields_that_are_promised() -> None:
    assert [field.name for field in dataclasses.fields(Denial)] == ["layer", "operation", "target", "key"]


def test_every_key_of_the_table_is_a_key_of_the_policy() -> None:
    keys = {key for operations in FROM_WORKER.values() for key in operations.values()}
    assert keys - {""} <= values(Policy()).keys()


def test_what_a_worker_tells_gets_its_key_from_the_table() -> None:
    assert of_message(denied("landlock", "read", "/etc/passwd"), 0) == READ
    assert of_message(denied("seccomp", "fork"), 0) == Denial("seccomp", "fork", "", "")


def test_a_target_is_bounded_and_free_of_what_a_terminal_would_obey() -> None:
    told = of_message(denied("landlock", "read", "/a\x1b[2J\n\u202e" + "b" * 10_000), 0)
    assert told.target.startswith("/a\\x1b[2J\\n\\u202ebbb")
    assert len(told.target) <= MAX_TARGET_CHARS


@pytest.mark.parametrize(
    ("layer", "operation"),
    [
        ("landlock", "fly"),
        ("sandbox", "fork"),
        ("limits", "memory"),
        ("network", "connect"),
        ("", ""),
        ("x" * 99, "y" * 99),
    ],
    ids=["operation", "other layer", "supervisor's layer", "relay's layer", "empty", "long"],
)
def test_words_that_are_not_in_the_table_break_the_protocol(layer: str, operation: str) -> None:
    with pytest.raises(ProtocolError) as raised:
        of_message(denied(layer, operation), 0)
    assert str(raised.value) == f"a denial of {operation[:60]!r} by {layer[:60]!r}, of which the table knows nothing"


def test_one_denial_more_than_there_may_be_breaks_the_protocol() -> None:
    assert of_message(denied("landlock", "read", "/etc/passwd"), MAX_DENIALS - 1) == READ
    with pytest.raises(ProtocolError, match="more than 100 denials were told of one action"):
        of_message(denied("landlock", "read", "/etc/passwd"), MAX_DENIALS)


HOSTILE = {
    "forged layer": (
        "send('Denied', action, 'supervisor', 'read', '/etc/passwd')",
        "a denial of 'read' by 'supervisor', of which the table knows nothing",
    ),
    "forged operation": (
        "send('Denied', action, 'limits', 'memory', '')",
        "a denial of 'memory' by 'limits', of which the table knows nothing",
    ),
    "flood": (
        "write(frame('Denied', action, 'landlock', 'read', '/x') * 101)",
        "more than 100 denials were told of one action",
    ),
    "another action": (
        "send('Denied', b'x' * 16, 'landlock', 'read', '/x')",
        "Denied for an action that is not under way",
    ),
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_worker_that_forges_denials_is_ended(attack: str, hire: Hire, channel_code: str) -> None:
    code, expected = HOSTILE[attack]
    worker = hire()
    turn = worker.run(channel_code + code + "\nwhile True: pass")
    assert turn.death == Death("violation", expected)
    assert not worker.worker.alive


def test_denials_that_a_worker_invents_in_the_right_words_are_told_as_its_own(hire: Hire, channel_code: str) -> None:
    turn = hire().run(channel_code + "send('Denied', action, 'landlock', 'read', '/etc/\\x1bpasswd')")
    assert turn.denied == [Denial("landlock", "read", "/etc/\\x1bpasswd", "filesystem.read")]
    assert turn.death is None


# --- merging ---


def test_each_denial_is_told_once_in_the_order_in_which_it_came() -> None:
    assert merged([READ, SOCKET, READ]) == [READ, SOCKET]


def test_there_are_never_more_than_the_cap() -> None:
    many = [Denial("landlock", "read", f"/{number}", "filesystem.read") for number in range(250)]
    assert merged(many, others=[SOCKET]) == many[:MAX_DENIALS]


@pytest.mark.parametrize(
    ("told", "call"),
    [
        (Denial("seccomp", "resolve", "api.example.com:443", "network.allow"), "socket"),
        (Denial("seccomp", "exec", "ls", ""), "execve"),
        (Denial("seccomp", "exec", "ls", ""), "vfork"),
        (Denial("seccomp", "chmod", "/sandbox/x", ""), "fchmodat"),
    ],
    ids=["socket", "execve", "vfork", "fchmodat"],
)
def test_a_system_call_that_the_worker_explained_is_not_told_again(told: Denial, call: str) -> None:
    assert merged([told], [of_syscall(call)]) == [told]


def test_a_system_call_of_which_only_the_listener_knows_is_told() -> None:
    assert merged([READ], [of_syscall("socket", (2, 1, 0)), of_syscall("ptrace")]) == [
        READ,
        SOCKET,
        Denial("seccomp", "ptrace", "", ""),
    ]


@pytest.mark.parametrize(
    ("arguments", "key"),
    [((2, 1 | 0x80000, 6), "network.allow"), ((10, 1, 0), "network.allow"), ((2, 2, 0), ""), ((1, 1, 0), ""), ((), "")],
    ids=["tcp", "tcp of the newer internet", "udp", "unix", "unknown"],
)
def test_only_a_socket_for_tcp_names_the_key_of_the_network(arguments: tuple[int, ...], key: str) -> None:
    assert of_syscall("socket", arguments) == Denial("seccomp", "socket", "", key)


def test_a_system_call_that_a_group_opens_names_the_key() -> None:
    assert of_syscall("chmod", allowed_by_group=True) == Denial("seccomp", "chmod", "", "syscalls.allow")


def test_a_refused_address_names_the_key_of_the_network() -> None:
    assert of_address("api.example.com:443") == Denial("network", "connect", "api.example.com:443", "network.allow")


# --- deaths ---


@pytest.mark.parametrize(
    ("cause", "detail", "by_policy", "expected"),
    [
        ("limit", "limits.threads: 70 threads, 64 allowed", False, Denial("limits", "threads", "", "limits.threads")),
        ("limit", "a workspace of more than 64 levels", False, Denial("limits", "", "", "")),
        ("timeout", "the deadline of the action passed", True, Denial("limits", "wall_time", "", "limits.wall_time")),
        ("timeout", "the deadline of the action passed", False, None),
        ("cancelled", "cancelled by the caller", True, None),
        ("signal", "SIGSEGV: the worker crashed", True, None),
    ],
    ids=["limit", "a limit without a key", "the policy's deadline", "the caller's deadline", "cancelled", "crash"],
)
def test_a_death_by_a_limit_names_its_key(cause: str, detail: str, by_policy: bool, expected: Denial | None) -> None:
    assert of_death(cause, detail, deadline_is_policy=by_policy) == expected


def test_a_denial_as_text_says_what_would_allow_it() -> None:
    assert str(READ) == "landlock refused read '/etc/passwd' (filesystem.read would allow it)"
    assert str(Denial("seccomp", "fork", "", "")) == "seccomp refused fork (no policy key is known to allow it)"
    assert str(Denial("limits", "", "", "")) == "limits refused something unknown (no policy key is known to allow it)"
