"""Modes, owners and times of files outside: Landlock does not cover them, seccomp refuses the calls."""

from __future__ import annotations

from tests.escapes.attack import Attack, each
from tests.escapes.conftest import Run, World

ATTACKS = (
    Attack("change a mode", "import os\nos.chmod(f'{outside}/secret.txt', 0o777)", ("seccomp", "namespaces")),
    Attack(
        "change a mode by libc",
        "ask('chmod', f'{outside}/secret.txt'.encode(), 0o777)",
        ("seccomp", "namespaces"),
        by_libc=True,
    ),
    Attack(
        "change an owner",
        "import os\nos.chown(f'{outside}/secret.txt', os.getuid(), os.getgid())",
        ("seccomp", "namespaces"),
    ),
    Attack(
        "change an owner by libc",
        "ask('lchown', f'{outside}/secret.txt'.encode(), os.getuid(), os.getgid())",
        ("seccomp", "namespaces"),
        by_libc=True,
    ),
    Attack("change a time", "import os\nos.utime(f'{outside}/secret.txt', (0, 0))", ("seccomp", "namespaces")),
    Attack(
        "change a time by libc",
        "ask('utimensat', -100, f'{outside}/secret.txt'.encode(), None, 0)",
        ("seccomp", "namespaces"),
        by_libc=True,
    ),
    Attack(
        "make a file that runs as its owner", "import os\nos.close(os.open('mine', os.O_CREAT, 0o4755))", ("seccomp",)
    ),
    Attack(
        "make a file that runs as its owner by libc",
        "os.close(ask('creat', b'mine', 0o2755))",
        ("seccomp",),
        by_libc=True,
    ),
    Attack("go into a directory", "ask('chdir', outside.encode())", ("seccomp", "namespaces"), by_libc=True),
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
