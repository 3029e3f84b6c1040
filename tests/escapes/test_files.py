"""Files outside: Landlock refuses to read and change them, seccomp to change what Landlock does not cover."""

from __future__ import annotations

from tests.escapes.attack import Attack, each
from tests.escapes.conftest import Run, World

ATTACKS = (
    Attack("read a system file", "open('/etc/passwd').read(1)", ("landlock", "namespaces")),
    Attack(
        "read a system file by libc",
        "os.read(ask('open', b'/etc/passwd', 0), 1)",
        ("landlock", "namespaces"),
        by_libc=True,
    ),
    Attack(
        "read a file of the same user",
        "assert open(f'{outside}/secret.txt').read() == 'secret'",
        ("landlock", "namespaces"),
    ),
    Attack("list a directory", "import os\nassert os.listdir(outside)", ("landlock", "namespaces")),
    Attack(
        "list the slots of others",
        "import os\nslots = os.path.dirname(os.environ['HOME'])\nif slots == '/': raise PermissionError('it has no neighbours')\nassert os.listdir(slots)",
        ("landlock", "namespaces"),
    ),
    Attack("read of the supervisor", "open(f'/proc/{supervisor}/cmdline').read(1)", ("landlock", "namespaces")),
    Attack("write a new file", "open(f'{outside}/new', 'x').write('x')", ("landlock", "namespaces")),
    Attack(
        "write a new file by libc",
        "os.write(ask('open', f'{outside}/new'.encode(), os.O_CREAT | os.O_WRONLY, 0o600), b'x')",
        ("landlock", "namespaces"),
        by_libc=True,
    ),
    Attack("append to a file", "open(f'{outside}/secret.txt', 'a').write('x')", ("landlock", "namespaces")),
    Attack("truncate a file", "import os\nos.truncate(f'{outside}/secret.txt', 0)", ("landlock", "namespaces")),
    Attack(
        "truncate a file by libc",
        "ask('truncate', f'{outside}/secret.txt'.encode(), ctypes.c_long(0))",
        ("landlock", "namespaces"),
        by_libc=True,
    ),
    Attack("remove a file", "import os\nos.unlink(f'{outside}/secret.txt')", ("landlock", "namespaces")),
    Attack(
        "rename a file", "import os\nos.rename(f'{outside}/secret.txt', f'{outside}/other')", ("landlock", "namespaces")
    ),
    Attack("make a directory", "import os\nos.mkdir(f'{outside}/new')", ("landlock", "namespaces")),
    Attack(
        "link a file into the workspace",
        "import os\nos.link(f'{outside}/secret.txt', 'mine')",
        ("landlock", "seccomp", "namespaces"),
    ),
    Attack(
        "follow a link of its own",
        "import os\nos.symlink(outside, 'way')\nopen('way/secret.txt').read()",
        ("landlock", "namespaces"),
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
