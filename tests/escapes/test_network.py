"""The network: no socket of any family leaves the worker."""

from __future__ import annotations

from tests.escapes.attack import Attack, each
from tests.escapes.conftest import Run, World

ATTACKS = (
    Attack(
        "connect by TCP",
        "import socket\nsocket.create_connection(('127.0.0.1', tcp_port))",
        ("landlock", "seccomp", "namespaces"),
    ),
    Attack(
        "connect by TCP by libc",
        "import struct\n"
        "fd = ask('socket', 2, 1, 0)\n"
        "to = struct.pack('=H', 2) + struct.pack('!H', tcp_port) + bytes([127, 0, 0, 1]) + bytes(8)\n"
        "ask('connect', fd, to, len(to))",
        ("landlock", "seccomp", "namespaces"),
        by_libc=True,
    ),
    Attack("listen by TCP", "import socket\nsocket.create_server(('127.0.0.1', 0))", ("landlock", "seccomp")),
    Attack(
        "send by UDP",
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', udp_port))",
        ("seccomp", "namespaces"),
    ),
    Attack("make a socket of the newer internet", "import socket\nsocket.socket(socket.AF_INET6)", ("seccomp",)),
    Attack("make a netlink socket", "ask('socket', 16, 3, 0)", ("seccomp",), by_libc=True),
    Attack(
        "connect to a socket in the file system",
        "import socket\nsocket.socket(socket.AF_UNIX).connect(unix_path)",
        ("seccomp", "namespaces"),
    ),
    Attack(
        "connect to an abstract socket",
        "import socket\nsocket.socket(socket.AF_UNIX).connect(abstract)",
        ("landlock", "seccomp", "namespaces"),
    ),
)


@each(ATTACKS)
def test_a_locked_worker_is_refused(attack: Attack, jailed: Run, world: World) -> None:
    attack.is_refused(jailed, world)


@each(ATTACKS)
def test_each_layer_that_is_named_refuses_alone(attack: Attack, unjailed: Run) -> None:
    attack.needs_each_of_its_layers_gone(unjailed)


@each(ATTACKS)
def test_without_its_layers_the_same_code_succeeds(attack: Attack, unjailed: Run) -> None:
    attack.succeeds_without_its_layers(unjailed)
