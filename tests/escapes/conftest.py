"""Each attack is tried twice in a real worker: with every layer, and with those off that are said to stop it.

Code is ordinary Python (`full-python`), so that the kernel answers and not the inner sandbox. It ends with the text
REACHED, or it was refused. `world` is what it is told.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import agex
from agex_policies.compile import compile_plan
from agex_protocol import messages as m
from agex_protocol.buffers import enclose
from agex_protocol.plan import SandboxPlan
from agex_supervisor.contract import Contract
from agex_supervisor.outbound import dump, dump_bindings
from agex_supervisor.pool import Kit, Pool

REACHED = "REACHED"

# Calls of libc by name, so that nothing of Python stands before the kernel.
LIBC = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def ask(name, *arguments):
    result = getattr(libc, name)(*arguments)
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), name)
    return result
"""


@dataclass(frozen=True)
class World:
    """What lies outside of the worker, and belongs to the same user."""

    outside: Path
    tcp: socket.socket
    udp: socket.socket
    unix: socket.socket
    abstract: socket.socket

    def told(self) -> dict[str, object]:
        return {
            "outside": str(self.outside),
            "tcp_port": self.tcp.getsockname()[1],
            "udp_port": self.udp.getsockname()[1],
            "unix_path": str(self.outside / "socket"),
            "abstract": bytes(self.abstract.getsockname()),
            "supervisor": os.getpid(),
            "REACHED": REACHED,
        }

    def untouched(self) -> bool:
        """No listener was reached, and the files are as they were."""
        secret = self.outside / "secret.txt"
        names = sorted(path.name for path in self.outside.iterdir())
        quiet = all(map(_is_quiet, (self.tcp, self.udp, self.unix, self.abstract)))
        return quiet and names == ["secret.txt", "socket"] and secret.read_text() == "secret" and _mode(secret) == 0o640


@dataclass(frozen=True)
class Ended:
    """status: as in a SandboxOutcome. value: REACHED or None. error: type of what stopped it."""

    status: str
    value: object
    error: str
    detail: str


Run = Callable[..., Ended]


@pytest.fixture(scope="session")
def pool() -> Iterator[Pool]:
    pool = Pool(max_workers=4, spares=0)
    yield pool
    pool.close()


@pytest.fixture
def world() -> Iterator[World]:
    # Not tmp_path, whose parents are closed to other users; and where Landlock, not the modes, has to refuse.
    outside = Path(tempfile.mkdtemp(prefix="outside-"))
    secret = outside / "secret.txt"
    secret.write_text("secret")
    secret.chmod(0o640)
    abstract = f"\0agex-escape-{secrets.token_hex(8)}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as named,
    ):
        udp.bind(("127.0.0.1", 0))
        unix.bind(str(outside / "socket"))
        named.bind(abstract)
        for listener in (unix, named):
            listener.listen()
        for each in (tcp, udp, unix, named):
            each.setblocking(False)
        yield World(outside, tcp, udp, unix, named)
    shutil.rmtree(outside)


@pytest.fixture(params=["namespaces", "no namespaces"])
def jailed(request: pytest.FixtureRequest, pool: Pool, world: World) -> Run:
    """Run in a Sandbox with every layer on; the next run in the same sandbox must be fine."""
    policy = agex.Policy.load("full-python")
    if request.param == "no namespaces":
        policy = policy.extend('widen = ["isolation.namespaces"]\n[isolation]\nnamespaces = "off"')

    def run(code: str) -> Ended:
        with agex.Sandbox(policy=policy, pool=pool) as sandbox:
            outcome = sandbox.run(code, world.told(), returns=str, timeout_s=20)
            assert sandbox.run("6 * 7", returns=int).unwrap() == 42
        error = outcome.error
        return Ended(outcome.status, outcome.value, error.type if error else "", error.message if error else "")

    return run


@pytest.fixture
def unjailed(pool: Pool, world: World) -> Run:
    """Run in a worker that is the same but for the layers that are named, and without namespaces unless they are asked for.

    No Sandbox would take it.
    """

    def run(code: str, *off: str, namespaces: bool = False) -> Ended:
        plan = replace(compile_plan(agex.Policy.load("full-python"), "kernel"), explain=False)
        if not namespaces:
            plan = replace(plan, namespaces="off")
        if "landlock" in off:
            plan = replace(plan, landlock_abi=0)
        if "seccomp" in off:
            plan = replace(plan, seccomp=b"", seccomp_told=b"", seal=b"")
        place = pool.checkout(Kit(plan), pool.new_workspace())
        try:
            worker, contract = place.worker, Contract.of(str, where="result")
            work = worker.slot.workspace
            assert worker.begin(m.Begin(SandboxPlan(mode="full"), dump_bindings({}), (), work)) == ""
            action = secrets.token_bytes(16)
            first, inputs = enclose(action, *dump(world.told()))
            asked = m.Run(action, code, inputs, contract.shape.to_bytes(), False)
            turn = worker.run(asked, first, timeout_s=20, on_call=lambda call, values: ())
            if turn.death is not None:
                return Ended("killed", None, turn.death.cause, turn.death.detail)
            if isinstance(turn.ending, m.Raised):
                return Ended("error", None, turn.ending.type, turn.ending.message)
            return Ended("ok", contract.decode(turn.head, turn.buffers), "", "")
        finally:
            pool.checkin(place)

    return run


def _is_quiet(listener: socket.socket) -> bool:
    try:
        if listener.type == socket.SOCK_DGRAM:
            listener.recv(1)
        else:
            listener.accept()[0].close()
    except BlockingIOError:
        return True
    return False


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777
