"""Network grants from the caller's side: ordinary clients in a locked worker, real hosts, and no socket in between."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import msgpack
import pytest

import agex
from agex_policies.compile import compile_plan
from agex_protocol import messages as m
from agex_protocol.plan import NetworkGrant, SandboxPlan
from agex_protocol.shapes import ANY
from agex_supervisor.equipment import Equipment
from agex_supervisor.outbound import dump_bindings
from agex_supervisor.pool import Kit, Pool
from agex_supervisor.session import Session
from agex_supervisor.turn import Turn
from tests.hosts import Host, authority, echo, silent, web

NAME = "api.example.test"
OTHER = "other.example.test"


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    pool = Pool(max_workers=4, spares=0)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def plain() -> Iterator[Host]:
    with web() as host:
        yield host


@pytest.fixture(scope="module")
def secured() -> Iterator[Host]:
    with web("127.0.0.1", NAME, OTHER) as host:
        yield host


@pytest.fixture(scope="module")
def sandbox(pool: Pool, plain: Host, secured: Host) -> Iterator[agex.Sandbox]:
    allow = [f"127.0.0.1:{plain.port}", {"to": f"127.0.0.1:{secured.port}", "tls": "required"}]
    policy = agex.Policy.load("full-python").extend({"widen": ["network.allow"], "network": {"allow": allow}})
    with agex.Sandbox(policy=policy, pool=pool) as sandbox:
        yield sandbox


@pytest.fixture
def world(plain: Host, secured: Host) -> dict[str, object]:
    ca = authority().cert_pem.bytes().decode()
    return {"plain": f"127.0.0.1:{plain.port}", "secured": f"127.0.0.1:{secured.port}", "ca": ca}


def value(sandbox: agex.Sandbox, code: str, world: Mapping[str, object]) -> Any:
    return sandbox.run(code, world).unwrap()


TRUST = "import ssl\ntrust = ssl.create_default_context(cadata=ca)\n"

CLIENTS = {
    "urllib": "import urllib.request\nurllib.request.urlopen(f'http://{plain}/x').read().decode()",
    "urllib with TLS": TRUST
    + "import urllib.request\nurllib.request.urlopen(f'https://{secured}/x', context=trust).read().decode()",
    "http.client": "import http.client\nc = http.client.HTTPConnection(plain)\nc.request('GET', '/x')\n"
    "c.getresponse().read().decode()",
    "http.client with TLS": TRUST + "import http.client\nc = http.client.HTTPSConnection(secured, context=trust)\n"
    "c.request('GET', '/x')\nc.getresponse().read().decode()",
    "urllib3": "import urllib3\nurllib3.PoolManager(timeout=30).request('GET', f'http://{plain}/x').data.decode()",
    "requests": "import requests\nwith requests.Session() as s:\n    a = s.get(f'http://{plain}/x', timeout=30).text\na",
    "requests with TLS": "open('ca.pem', 'w').write(ca)\nimport requests\n"
    "requests.get(f'https://{secured}/x', verify='ca.pem', timeout=30).text",
    "httpx": "import httpx\nhttpx.get(f'http://{plain}/x').text",
    "httpx with TLS": TRUST + "import httpx\nhttpx.get(f'https://{secured}/x', verify=trust).text",
    "httpx, asynchronous": TRUST
    + """
import asyncio, httpx
async def main():
    async with httpx.AsyncClient(verify=trust) as client:
        answers = await asyncio.gather(*(client.get(f'https://{secured}/x') for _ in range(5)))
    return {answer.text for answer in answers}.pop()
asyncio.run(main())
""",
    "streams of asyncio": """
import asyncio
async def main():
    reader, writer = await asyncio.open_connection(*plain.split(':'))
    writer.writelines([b'GET /x HTTP/1.1\\r\\nHost: x\\r\\n', b'Connection: close\\r\\n\\r\\n'])
    await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode().rpartition('\\n')[2]
asyncio.run(main())
""",
    "streams of asyncio with TLS": TRUST
    + """
import asyncio
async def main():
    reader, writer = await asyncio.open_connection(*secured.split(':'), ssl=trust)
    writer.write(b'GET /x HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.decode().rpartition('\\n')[2]
asyncio.run(main())
""",
    "sockets, not blocking": """
import select, socket
host, port = plain.split(':')
s = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
assert s.connect_ex((host, int(port))) == 0
assert s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
select.select([], [s], [])
s.send(b'GET /x HTTP/1.1\\r\\nConnection: close\\r\\n\\r\\n')
select.select([s], [], [])
d = s.dup()
s.close()
assert d.getpeername() == (host, int(port))
d.settimeout(30)
with d.makefile('rb') as stream:
    answer = stream.read()
answer.decode().rpartition('\\n')[2]
""",
}


@pytest.mark.parametrize("client", CLIENTS)
def test_an_ordinary_client_works_for_a_granted_host(
    sandbox: agex.Sandbox, world: dict[str, object], client: str
) -> None:
    assert value(sandbox, CLIENTS[client], world) == "hello /x"


@pytest.mark.parametrize(
    "code",
    [
        "import socket\nsocket.create_connection((host, port))",
        "import urllib.request\nurllib.request.urlopen(f'http://{host}:{port}')",
        "import asyncio\nasyncio.run(asyncio.open_connection(host, port))",
        "import httpx\nhttpx.get(f'http://{host}:{port}')",
        "import requests\nrequests.get(f'http://{host}:{port}')",
    ],
    ids=["socket", "urllib", "asyncio", "httpx", "requests"],
)
def test_another_host_gets_a_permission_error_that_names_the_key_and_is_a_denial(
    sandbox: agex.Sandbox, plain: Host, code: str
) -> None:
    caught = (
        f"try:\n    {code.replace(chr(10), chr(10) + '    ')}\nexcept Exception as error:\n    told = repr(error)\ntold"
    )
    outcome = sandbox.run(caught, {"host": "localhost", "port": plain.port})
    assert "the policy does not grant it; see [network] allow of the policy" in outcome.unwrap()
    assert [(each.layer, each.target, each.key) for each in outcome.denials] == [
        ("network", f"localhost:{plain.port}", "network.allow")
    ]


@pytest.mark.parametrize(
    "code",
    [
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "socket.socket(socket.AF_UNIX)",
        "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)",
        "socket.socket(socket.AF_INET, socket.SOCK_RAW)",
        "socket.create_server(('127.0.0.1', 0))",
        "socket.socket().listen()",
        "socket.gethostbyname('api.example.test')",
        "socket.getaddrinfo('api.example.test', 53, type=socket.SOCK_DGRAM)",
        "socket.socket().sendto(b'x', socket.MSG_FASTOPEN, ('127.0.0.1', port))",
    ],
)
def test_one_grant_opens_nothing_but_itself(sandbox: agex.Sandbox, plain: Host, code: str) -> None:
    outcome = sandbox.run(f"import socket\n{code}", {"port": plain.port})
    assert outcome.error is not None
    assert outcome.error.type == "PermissionError"


def test_a_granted_host_that_does_not_answer_raises_what_a_socket_raises(pool: Pool) -> None:
    with silent() as listener:
        port = listener.getsockname()[1]
    policy = agex.Policy.load("full-python").extend(
        {"widen": ["network.allow"], "network": {"allow": [f"127.0.0.1:{port}"]}}
    )
    with agex.Sandbox(policy=policy, pool=pool) as sandbox:
        outcome = sandbox.run("import socket\nsocket.create_connection(('127.0.0.1', port))", {"port": port})
    assert outcome.error is not None
    assert outcome.error.type == "ConnectionRefusedError"
    assert outcome.denials == []


def test_a_socket_that_is_not_connected_says_so(sandbox: agex.Sandbox, world: dict[str, object]) -> None:
    code = (
        "import socket\ns = socket.socket()\ntry:\n    s.getpeername()\nexcept OSError as e:\n    told = e.errno\ntold"
    )
    assert value(sandbox, code, world) == 107


def test_a_worker_keeps_no_descriptor_of_the_connections_that_it_closed(
    sandbox: agex.Sandbox, world: dict[str, object]
) -> None:
    code = """
import os, urllib.request
def descriptors():
    count = 0
    for number in range(256):
        try:
            os.fstat(number)
            count += 1
        except OSError:
            pass
    return count
urllib.request.urlopen(f'http://{plain}/x').read()
before = descriptors()
for _ in range(40):
    urllib.request.urlopen(f'http://{plain}/x').read()
descriptors() - before
"""
    assert value(sandbox, code, world) == 0


def test_more_connections_at_once_than_a_worker_may_open_are_an_error_of_its_own(
    sandbox: agex.Sandbox, world: dict[str, object]
) -> None:
    code = """
import socket
host, port = plain.split(':')
held = []
try:
    while True:
        held.append(socket.create_connection((host, int(port))))
except OSError as error:
    told = error.errno
[told, len(held)]
"""
    assert value(sandbox, code, world) == [24, 64]


def test_the_certificates_of_the_machine_are_read_in_a_worker_with_a_grant(sandbox: agex.Sandbox) -> None:
    code = """
import pathlib, ssl
folder = pathlib.Path(ssl.get_default_verify_paths().openssl_capath)
paths = folder.iterdir() if folder.is_dir() else []
sum(b"BEGIN CERTIFICATE" in path.read_bytes() for path in paths if path.is_file())
"""
    here: dict[str, object] = {}
    *statements, last = code.strip().splitlines()
    exec("\n".join(statements), here)
    assert value(sandbox, code, {}) == eval(last, here)


def test_without_a_grant_a_socket_is_refused_as_ever(pool: Pool) -> None:
    with agex.Sandbox(policy="full-python", pool=pool) as sandbox:
        outcome = sandbox.run("import socket\nsocket.socket()")
    assert outcome.error is not None
    assert outcome.error.type == "PermissionError"


def test_a_registered_client_works_under_the_inner_sandbox(pool: Pool, plain: Host) -> None:
    policy = agex.Policy.load("default").extend(
        {"widen": ["network.allow"], "network": {"allow": [f"127.0.0.1:{plain.port}"]}}
    )
    with agex.Sandbox(policy=policy, modules=["requests"], pool=pool) as sandbox:
        outcome = sandbox.run(
            "import requests\nrequests.get(url, timeout=30).text", {"url": f"http://127.0.0.1:{plain.port}/x"}
        )
    assert outcome.unwrap() == "hello /x"


# --- names, by a resolver of the test's own ---


def resolve(host: str, port: int, **options: Any) -> list[Any]:
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


Asked = Callable[[str], Turn]


@pytest.fixture
def asked(pool: Pool, secured: Host) -> Iterator[Asked]:
    """Run code in a session whose policy grants NAME, for TLS alone, on a port whose host has two names."""
    with echo() as host:
        grants = (
            NetworkGrant(NAME, secured.port, "required"),
            NetworkGrant(NAME, host.port, "required"),
            NetworkGrant("127.0.0.1", secured.port, "any"),
            NetworkGrant("127.0.0.1", host.port, "any"),
        )
        plan = replace(compile_plan(agex.Policy.load("full-python"), "kernel"), network=grants)
        equipment = Equipment(SandboxPlan(mode="full"), dump_bindings({}))
        session = Session(pool, Kit(plan), equipment, pool.new_workspace(), resolve=resolve)
        world = {"ca": authority().cert_pem.bytes().decode(), "port": secured.port, "plain_port": host.port}

        def run(code: str) -> Turn:
            return session.run(code, world, ANY.to_bytes(), task=False, timeout_s=60, on_call=lambda *_: ())

        yield run
        session.close()
    assert all(not heard for heard in host.heard)


def test_a_granted_name_is_resolved_by_the_supervisor_and_checked_by_the_client(asked: Asked) -> None:
    code = f"import urllib.request\nurllib.request.urlopen(f'https://{NAME}:{{port}}/x', context=trust).read().decode()"
    turn = asked(TRUST + code)
    assert isinstance(turn.ending, m.Finished), turn
    assert msgpack.unpackb(turn.head) == "hello /x"
    assert turn.addresses == []


def test_tls_that_asks_the_granted_host_for_another_one_is_cut_off(asked: Asked) -> None:
    code = f"import socket\ntrust.wrap_socket(socket.create_connection(('{NAME}', port)), server_hostname='{OTHER}')"
    turn = asked(TRUST + code)
    assert isinstance(turn.ending, m.Raised), turn
    assert turn.ending.type in ("SSLEOFError", "SSLZeroReturnError", "ConnectionResetError")
    assert len(turn.addresses) == 1 and turn.addresses[0].startswith(f"{NAME}:")


def test_plain_text_under_a_grant_that_requires_tls_reaches_nobody(asked: Asked) -> None:
    turn = asked(
        f"import socket\ns = socket.create_connection(('{NAME}', plain_port))\ns.sendall(b'GET /')\ns.recv(10)"
    )
    assert len(turn.addresses) == 1 and turn.addresses[0].startswith(f"{NAME}:"), turn
