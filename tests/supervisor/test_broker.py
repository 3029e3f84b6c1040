"""The broker: what it connects, what it refuses, and what it lets pass of what was connected. Its peers are real."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import pickle
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import FrameType
from typing import Any

import msgpack
import pytest

from agex_protocol import messages as m
from agex_protocol.plan import LockdownPlan, NetworkGrant
from agex_protocol.shapes import ANY
from agex_supervisor.broker import MAX_REFUSALS, Broker, Refusal
from agex_supervisor.connection import Bounds
from tests.hosts import authority, echo, silent, web
from tests.supervisor.conftest import HANG_S, Hire, Hired, no_calls
from tests.supervisor.test_client_hello import hello_of

ACTION = bytes(16)
LOOPBACK = "127.0.0.1"
NAME = "api.example.test"

Made = Callable[..., Broker]


@pytest.fixture
def broker() -> Iterator[Made]:
    made: list[Broker] = []

    def broker(*grants: NetworkGrant, **options: Any) -> Broker:
        made.append(Broker(grants, **options))
        return made[-1]

    yield broker
    for each in made:
        each.close()


def answers(*addresses: str) -> Callable[..., list[Any]]:
    """A resolver that knows these, whatever it is asked."""

    def resolve(host: str, port: int, **options: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in addresses]

    return resolve


def granted(port: int, tls: Any = "any", host: str = LOOPBACK) -> NetworkGrant:
    return NetworkGrant(host, port, tls)


def dialled(broker: Broker, host: str, port: int) -> tuple[m.Dialled, int]:
    return broker.dial(m.Dial(ACTION, 1, host, port), time.monotonic() + HANG_S)


def refused(broker: Broker, host: str, port: int) -> str:
    answer, descriptor = dialled(broker, host, port)
    assert descriptor == -1
    assert answer.refused
    return answer.error


@contextlib.contextmanager
def connected(broker: Broker, host: str, port: int) -> Iterator[socket.socket]:
    answer, descriptor = dialled(broker, host, port)
    assert answer == m.Dialled(ACTION, 1)
    with socket.socket(fileno=descriptor) as sock:
        sock.settimeout(HANG_S)
        yield sock


def everything(sock: socket.socket) -> bytes:
    """All that comes until the other side hangs up."""
    heard = b""
    with contextlib.suppress(ConnectionResetError):
        while data := sock.recv(1 << 16):
            heard += data
    return heard


# --- who is connected with whom ---


def test_a_granted_address_is_connected_by_a_socket_that_has_no_address(broker: Made) -> None:
    with echo() as host, connected(broker(granted(host.port)), LOOPBACK, host.port) as sock:
        assert (sock.family, sock.getsockname(), sock.getpeername()) == (socket.AF_UNIX, "", "")
        sock.sendall(b"hello")
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock) == b"hello"


@pytest.mark.parametrize(
    "asked",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "[::1]",
        "",
        "a" * 9999,
    ],
    ids=lambda asked: asked[:20] or "nothing",
)
def test_only_the_very_address_that_is_granted_is_dialled(broker: Made, asked: str) -> None:
    with silent() as listener:
        port = listener.getsockname()[1]
        other = broker(granted(port, host="127.0.0.2"), granted(port + 1), granted(port, host=NAME))
        assert refused(other, asked, port) == "EACCES the policy does not grant it"
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()
        assert [each.reason for each in other.take_refusals()] == ["the policy does not grant it"]
        assert other.take_refusals() == []


@pytest.mark.parametrize("port", [0, -1, 65536, 1 << 40])
def test_a_port_that_is_none_is_refused(broker: Made, port: int) -> None:
    assert refused(broker(granted(80)), LOOPBACK, port) == "EACCES the policy does not grant it"


@pytest.mark.parametrize("asked", ["api.example.test", "API.Example.TEST", "api.example.test."])
def test_a_granted_name_is_the_same_in_any_case_and_with_a_dot_at_its_end(broker: Made, asked: str) -> None:
    with echo() as host:
        known = broker(granted(host.port, host=NAME), granted(host.port), resolve=answers(LOOPBACK))
        with connected(known, asked, host.port) as sock:
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"


@pytest.mark.parametrize(
    ("address", "kind"),
    [("127.0.0.1", "loopback"), ("169.254.169.254", "link-local"), ("10.0.0.1", "private"), ("fd00::1", "private")],
)
def test_a_name_that_stands_for_an_address_within_is_refused_and_nothing_is_dialled(
    broker: Made, address: str, kind: str
) -> None:
    with silent() as listener:
        port = listener.getsockname()[1]
        error = refused(broker(granted(port, host=NAME), resolve=answers(address)), NAME, port)
        expected = f"EACCES {NAME} stands for {address} ({kind}); such an address has to be granted itself"
        assert error == expected
        listener.settimeout(0)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_of_a_mixed_answer_only_what_is_allowed_is_dialled(broker: Made) -> None:
    with echo() as host, socket.create_server(("127.0.0.2", host.port)) as within, Lines() as lines:
        mixed = answers("169.254.169.254", "127.0.0.2", "10.0.0.1", LOOPBACK)
        known = broker(granted(host.port, host=NAME), granted(host.port), resolve=mixed)
        with connected(known, NAME, host.port) as sock:
            sock.shutdown(socket.SHUT_WR)
            assert everything(sock) == b""
        known.close()
        within.settimeout(0)
        with pytest.raises(BlockingIOError):
            within.accept()
    assert lines.seen[0].startswith(f"{NAME}:{host.port} at {LOOPBACK}: 0 bytes out, 0 bytes back")


def test_a_name_is_resolved_once_and_what_was_checked_is_dialled(broker: Made) -> None:
    asked: list[str] = []

    def rebinding(host: str, port: int, **options: Any) -> list[Any]:
        asked.append(host)
        return answers(LOOPBACK if len(asked) == 1 else "127.0.0.2")(host, port)

    with echo() as host:
        known = broker(granted(host.port, host=NAME), granted(host.port), resolve=rebinding)
        with connected(known, NAME, host.port):
            assert asked == [NAME]


def test_proxies_of_the_environment_are_not_asked(broker: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    with silent() as proxy, echo() as host:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        with connected(broker(granted(host.port)), LOOPBACK, host.port) as sock:
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"


def test_a_host_that_does_not_answer_is_told_as_a_socket_would(broker: Made) -> None:
    with silent() as listener:
        port = listener.getsockname()[1]
    answer, descriptor = dialled(broker(granted(port)), LOOPBACK, port)
    assert descriptor == -1
    assert not answer.refused
    assert answer.error == f"ECONNREFUSED {LOOPBACK} ({LOOPBACK}) was not reached: Connection refused"


def test_a_name_without_an_address_is_told_as_the_resolver_told_it(broker: Made) -> None:
    def unknown(host: str, port: int, **options: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    answer, _ = dialled(broker(granted(80, host=NAME), resolve=unknown), NAME, 80)
    assert (answer.refused, answer.error) == (False, f"EAI_NONAME {NAME}: Name or service not known")


def test_a_resolver_that_hangs_is_waited_for_until_the_deadline(broker: Made) -> None:
    release = threading.Event()
    known = broker(granted(80, host=NAME), resolve=lambda *_, **__: release.wait(HANG_S) and [])
    answer, descriptor = known.dial(m.Dial(ACTION, 1, NAME, 80), time.monotonic() + 0.2)
    release.set()
    assert (answer.error, descriptor) == (f"ETIMEDOUT {NAME} did not answer in time", -1)


@pytest.fixture
def hanging() -> Iterator[Callable[..., list[Any]]]:
    """A resolver that answers nobody before the test is over."""
    over = threading.Event()

    def resolve(host: str, port: int, **options: Any) -> list[Any]:
        over.wait(HANG_S)
        return answers(LOOPBACK)(host, port)

    yield resolve
    over.set()
    for thread in dialling_threads():
        thread.join()


def dialling_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "agex-dial"]


def given_up(broker: Broker) -> str:
    """How a dial ends that nobody wants to wait for."""
    return broker.dial(m.Dial(ACTION, 1, NAME, 80), time.monotonic() + 0.05)[0].error


def test_a_session_whose_resolver_hangs_has_four_dials_under_way_and_keeps_nobody_else_from_dialling(
    broker: Made, hanging: Callable[..., list[Any]]
) -> None:
    stuck = broker(granted(80, host=NAME), resolve=hanging)
    assert [given_up(stuck) for _ in range(4)] == [f"ETIMEDOUT {NAME} did not answer in time"] * 4
    refusal = "ETIMEDOUT too many other connections were being made, 4 of this session"
    assert [given_up(stuck) for _ in range(3)] == [refusal] * 3
    assert len(dialling_threads()) == 4
    with echo() as host, connected(broker(granted(host.port)), LOOPBACK, host.port) as sock:
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"


def test_sessions_that_all_hang_leave_the_others_a_thread(broker: Made, hanging: Callable[..., list[Any]]) -> None:
    for _ in range(16):
        stuck = broker(granted(80, host=NAME), resolve=hanging, abandoned=lambda: True)
        for _ in range(5):
            assert given_up(stuck).startswith("ETIMEDOUT")
    assert len(dialling_threads()) == 62
    with echo() as host, connected(broker(granted(host.port)), LOOPBACK, host.port) as sock:
        sock.sendall(b"hello")
        assert sock.recv(100) == b"hello"


def test_a_dial_waits_for_an_earlier_one_of_its_session_until_its_own_deadline(broker: Made) -> None:
    release = threading.Event()

    def resolve(host: str, port: int, **options: Any) -> list[Any]:
        release.wait(HANG_S)
        return answers(LOOPBACK)(host, port)

    with echo() as host:
        known = broker(granted(80, host=NAME), granted(host.port), granted(80), resolve=resolve, bounds=Bounds(dials=1))
        assert given_up(known) == f"ETIMEDOUT {NAME} did not answer in time"
        threading.Timer(0.05, release.set).start()
        with connected(known, LOOPBACK, host.port) as sock:
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"


def test_a_dial_that_fails_just_as_it_is_given_up_ends_its_thread_quietly(broker: Made) -> None:
    over = threading.Event()

    def hold_up(frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code.co_name == "set_exception":
            over.wait(HANG_S)

    def unknown(host: str, port: int, **options: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    failures: list[object] = []
    before = threading.gettrace(), threading.excepthook
    threading.settrace(hold_up)
    threading.excepthook = failures.append
    try:
        error = given_up(broker(granted(80, host=NAME), resolve=unknown))
        over.set()
        for thread in dialling_threads():
            thread.join()
    finally:
        threading.settrace(before[0])
        threading.excepthook = before[1]
    assert (error, failures) == (f"ETIMEDOUT {NAME} did not answer in time", [])


def test_a_dial_that_nobody_waits_for_any_more_is_given_up_and_hung_up_later(broker: Made) -> None:
    release = threading.Event()

    def hanging(host: str, port: int, **options: Any) -> list[Any]:
        release.wait(HANG_S)
        return answers(LOOPBACK)(host, port)

    with silent() as listener:
        port = listener.getsockname()[1]
        known = broker(granted(port, host=NAME), granted(port), resolve=hanging, abandoned=lambda: True)
        answer, descriptor = dialled(known, NAME, port)
        assert (answer.error, descriptor) == (f"ETIMEDOUT {NAME} did not answer in time", -1)
        release.set()
        late, _ = listener.accept()
        with late:
            assert late.recv(1) == b""


def test_no_more_connections_are_made_than_a_session_may_have_at_once(broker: Made) -> None:
    with echo() as host:
        known = broker(granted(host.port), bounds=Bounds(connections=2))
        with connected(known, LOOPBACK, host.port), connected(known, LOOPBACK, host.port):
            answer, _ = dialled(known, LOOPBACK, host.port)
            assert answer.error == "EMFILE 2 connections are open, the most of one session"


# --- TLS ---


def test_under_a_grant_that_requires_tls_a_client_of_that_name_is_served(broker: Made) -> None:
    with web(NAME) as host:
        known = broker(granted(host.port, "required", NAME), granted(host.port), resolve=answers(LOOPBACK))
        context = ssl.create_default_context()
        authority().configure_trust(context)
        with connected(known, NAME, host.port) as sock, context.wrap_socket(sock, server_hostname=NAME) as secured:
            secured.sendall(b"GET /x HTTP/1.0\r\n\r\n")
            answer = b""
            while not answer.endswith(b"hello /x"):
                answer += secured.recv(1 << 16)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "it does not begin with a TLS handshake, and the grant requires TLS"),
        (hello_of("evil.example.test"), f"its ClientHello names 'evil.example.test', and the grant '{NAME}'"),
        (hello_of(None), f"its ClientHello names no server, and the grant '{NAME}'"),
        (hello_of(f"x.{NAME}"), f"its ClientHello names 'x.{NAME}', and the grant '{NAME}'"),
        (b"\x16\x03\x01", "it ended within its ClientHello, and the grant requires TLS"),
    ],
    ids=["plain", "another name", "no name", "a name below it", "half a hello"],
)
def test_what_is_no_tls_for_the_granted_name_is_cut_off_before_a_byte_of_it_passes(
    broker: Made, sent: bytes, reason: str
) -> None:
    with silent() as listener:
        port = listener.getsockname()[1]
        known = broker(granted(port, "required", NAME), granted(port), resolve=answers(LOOPBACK))
        with connected(known, NAME, port) as sock:
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            assert everything(sock) == b""
        assert known.take_refusals() == [Refusal(f"{NAME}:{port}", reason)]
        server, _ = listener.accept()
        with server:
            assert everything(server) == b""


def test_the_same_bytes_pass_where_the_grant_takes_any_protocol(broker: Made) -> None:
    with echo() as host, connected(broker(granted(host.port)), LOOPBACK, host.port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock) == b"GET / HTTP/1.1\r\n\r\n"


def test_a_hello_that_comes_byte_by_byte_passes_whole(broker: Made) -> None:
    hello = hello_of(NAME)
    with echo() as host:
        known = broker(granted(host.port, "required", NAME), granted(host.port), resolve=answers(LOOPBACK))
        with connected(known, NAME, host.port) as sock:
            sock.setblocking(True)
            for byte in hello:
                sock.sendall(bytes([byte]))
            sock.shutdown(socket.SHUT_WR)
            assert everything(sock) == hello


def test_a_hello_that_never_ends_is_cut_off_when_its_time_is_over(broker: Made) -> None:
    with silent() as listener:
        port = listener.getsockname()[1]
        known = broker(granted(port, "required"), bounds=Bounds(hello_s=0.2))
        with connected(known, LOOPBACK, port) as sock:
            sock.sendall(hello_of(None)[:100])
            assert everything(sock) == b""
        assert known.take_refusals() == [
            Refusal(f"{LOOPBACK}:{port}", "no ClientHello came in 0.2 s, and the grant requires TLS")
        ]
        server, _ = listener.accept()
        with server:
            assert everything(server) == b""


def test_an_address_that_is_granted_for_tls_takes_a_hello_without_a_name_only(broker: Made) -> None:
    hello = hello_of(None)
    with echo() as host:
        known = broker(granted(host.port, "required"))
        with connected(known, LOOPBACK, host.port) as sock:
            sock.sendall(hello)
            assert sock.recv(len(hello), socket.MSG_WAITALL) == hello
        with connected(known, LOOPBACK, host.port) as sock:
            sock.sendall(hello_of(NAME))
            assert everything(sock) == b""


def test_a_server_that_speaks_first_is_not_heard_before_the_hello(broker: Made) -> None:
    with silent() as listener:
        known = broker(granted(listener.getsockname()[1], "required"), bounds=Bounds(hello_s=0.3))
        with connected(known, *listener.getsockname()) as sock:
            server, _ = listener.accept()
            with server:
                server.sendall(b"220 welcome\r\n")
                assert everything(sock) == b""


# --- what passes ---


def test_more_than_any_buffer_holds_passes_in_both_directions(broker: Made) -> None:
    data = os.urandom(8 << 20)
    with echo() as host, connected(broker(granted(host.port)), LOOPBACK, host.port) as sock:
        sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
        sender.start()
        heard = everything(sock)
        sender.join()
    assert heard == data


def test_a_connection_that_nobody_reads_does_not_hold_up_another(broker: Made) -> None:
    with silent() as listener, echo() as host:
        known = broker(granted(listener.getsockname()[1]), granted(host.port))
        with connected(known, *listener.getsockname()) as stuck, connected(known, LOOPBACK, host.port) as sock:
            stuck.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    stuck.send(bytes(1 << 16))
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"


def test_the_end_of_one_direction_leaves_the_other_open(broker: Made) -> None:
    with silent() as listener, connected(broker(granted(listener.getsockname()[1])), *listener.getsockname()) as sock:
        server, _ = listener.accept()
        with server:
            server.settimeout(HANG_S)
            sock.sendall(b"question")
            sock.shutdown(socket.SHUT_WR)
            assert everything(server) == b"question"
            server.sendall(b"answer")
            server.shutdown(socket.SHUT_WR)
            assert everything(sock) == b"answer"


def test_when_the_worker_is_gone_the_host_gets_its_last_bytes_and_is_let_go(broker: Made) -> None:
    with silent() as listener:
        known = broker(granted(listener.getsockname()[1]))
        with connected(known, *listener.getsockname()) as sock:
            sock.sendall(b"last words")
        server, _ = listener.accept()
        with server:
            server.settimeout(HANG_S)
            assert everything(server) == b"last words"


def test_when_the_host_is_gone_the_worker_is_let_go(broker: Made) -> None:
    with silent() as listener, connected(broker(granted(listener.getsockname()[1])), *listener.getsockname()) as sock:
        server, _ = listener.accept()
        server.sendall(b"last words")
        server.close()
        assert everything(sock) == b"last words"


@pytest.mark.parametrize("bounds", [Bounds(connection_bytes=1000), Bounds(session_bytes=1000)], ids=["one", "all"])
def test_no_more_bytes_pass_than_are_allowed(broker: Made, bounds: Bounds) -> None:
    with silent() as listener:
        known = broker(granted(listener.getsockname()[1]), bounds=bounds)
        with connected(known, *listener.getsockname()) as sock:
            server, _ = listener.accept()
            with server:
                server.settimeout(HANG_S)
                sock.sendall(bytes(5000))
                assert len(everything(server)) <= 1000


@pytest.mark.parametrize("bounds", [Bounds(idle_s=0.2), Bounds(total_s=0.2)], ids=["idle", "total"])
def test_a_connection_ends_when_its_time_is_over(broker: Made, bounds: Bounds) -> None:
    with echo() as host, connected(broker(granted(host.port), bounds=bounds), LOOPBACK, host.port) as sock:
        assert everything(sock) == b""


# --- its books ---


def test_every_connection_has_one_line_in_the_log(broker: Made) -> None:
    with echo() as host, Lines() as lines:
        known = broker(granted(host.port))
        with connected(known, LOOPBACK, host.port) as sock:
            sock.sendall(b"hello")
            assert sock.recv(5, socket.MSG_WAITALL) == b"hello"
        known.close()
    (line,) = lines.seen
    target = f"{LOOPBACK}:{host.port}"
    assert line.startswith(f"{target} at {LOOPBACK}: 5 bytes out, 5 bytes back, 0.")


def test_a_name_reaches_the_log_without_anything_that_a_terminal_obeys(broker: Made) -> None:
    with Lines() as lines:
        refused(broker(granted(80)), "evil\n\x1b[31m.example", 80)
    assert lines.seen == ["evil\\n\\x1b[31m.example:80: refused: the policy does not grant it"]


def test_of_a_flood_of_refusals_only_the_first_are_kept_and_logged(broker: Made) -> None:
    known = broker(granted(80))
    with Lines() as lines:
        for number in range(MAX_REFUSALS + 50):
            refused(known, f"host{number}.example", 80)
    assert len(lines.seen) == len(known.take_refusals()) == MAX_REFUSALS


def test_closing_ends_every_connection_and_leaves_no_thread_and_no_descriptor(
    broker: Made, open_descriptors: Callable[[], set[str]]
) -> None:
    with echo() as host:
        before = open_descriptors()
        known = broker(granted(host.port))
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(connected(known, LOOPBACK, host.port)) for _ in range(5)]
            known.close()
            assert [everything(sock) for sock in socks] == [b""] * 5
        with connected(known, LOOPBACK, host.port) as sock:
            sock.sendall(b"again")
            assert sock.recv(100) == b"again"
        known.close()
        # What the server in this process has open is its own affair.
        left = {each for each in open_descriptors() - before if "socket" not in each}
    assert left == set()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("agex-relay", "agex-dial"))]


# --- a worker that is not ours any more ---


def test_a_worker_can_forge_as_many_dials_as_it_likes_and_each_is_refused(
    hire: Hire, plan: LockdownPlan, channel_code: str
) -> None:
    code = f"""
{channel_code}
for number in range(1, 301):
    send("Dial", action, number, "169.254.169.254", 80)
    answer = b""
    while b"EACCES" not in answer:
        answer += os.read(channel, 1 << 16)
os._exit(7)
"""
    broker = Broker([granted(80, host=NAME)])
    hired = hire(replace(plan, network=(granted(80, host=NAME),)))
    turn = hired.worker.run(run_of(code), [], timeout_s=HANG_S, on_call=no_calls, on_dial=broker.dial)
    assert turn.death is not None
    assert turn.death.detail == "the worker ended by itself with exit status 7"
    assert broker.take_refusals() == [Refusal("169.254.169.254:80", "the policy does not grant it")] * MAX_REFUSALS


def run_of(code: str) -> m.Run:
    return m.Run(secrets.token_bytes(16), code, m.Encoded(pickle.dumps({}, protocol=5)), ANY.to_bytes(), False)


LIBC = """
import ctypes, os, socket, struct
libc = ctypes.CDLL(None, use_errno=True)
def ask(name, *arguments):
    return ctypes.get_errno() if getattr(libc, name)(*arguments) == -1 else 0
def connection():
    global held
    held = socket.create_connection(("127.0.0.1", port))
    return held.fileno()
to = struct.pack("=H", 2) + struct.pack("!H", port) + bytes([127, 0, 0, 1]) + bytes(8)
"""

CALLS = {
    "UDP": "ask('socket', 2, 2, 0)",
    "TCP": "ask('socket', 2, 1, 0)",
    "MPTCP": "ask('socket', 2, 1, 262)",
    "a unix socket": "ask('socket', 1, 1, 0)",
    "netlink": "ask('socket', 16, 3, 0)",
    "connecting the relay's socket elsewhere": "ask('connect', connection(), to, 16)",
    "binding the relay's socket": "ask('bind', connection(), to, 16)",
    "fast open": "ask('sendto', connection(), b'x', 1, 0x20000000, to, 16)",
    "a message with descriptors": "ask('sendmsg', connection(), bytes(56), 0)",
}


@pytest.mark.parametrize("call", CALLS)
def test_one_grant_opens_no_other_way_out_and_it_is_the_filter_that_keeps_them_shut(
    hire: Hire, plan: LockdownPlan, call: str
) -> None:
    with echo() as host:
        locked = replace(plan, network=(granted(host.port),))
        unlocked = replace(
            locked, seccomp=b"", seccomp_told=b"", seal=b"", landlock_abi=0, namespaces="off", cgroup="off"
        )
        numbers = [errno_of(hire(each), CALLS[call], host.port) for each in (locked, unlocked)]
    assert numbers[0] == errno.EPERM
    assert numbers[1] not in (errno.EPERM, errno.EACCES)


def errno_of(hired: Hired, call: str, port: int) -> int:
    """What a call gave in a worker that is granted this port of the loopback."""
    broker = Broker([granted(port)])
    code = f"port = {port}\n{LIBC}\n{call}"
    turn = hired.worker.run(run_of(code), [], timeout_s=HANG_S, on_call=no_calls, on_dial=broker.dial)
    broker.close()
    assert isinstance(turn.ending, m.Finished), turn
    return int(msgpack.unpackb(turn.head))


class Lines(logging.Handler):
    """What was logged while it was entered."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self._log = logging.getLogger("agex.network")

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.getMessage())

    def __enter__(self) -> Lines:
        self._log.addHandler(self)
        self._log.setLevel(logging.INFO)
        return self

    def __exit__(self, *ignored: object) -> None:
        self._log.removeHandler(self)
        self._log.setLevel(logging.NOTSET)
