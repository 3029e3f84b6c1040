"""Other processes: none can be made, signalled, traced or limited."""

from __future__ import annotations

from tests.escapes.attack import Attack, each
from tests.escapes.conftest import Run, World

ATTACKS = (
    Attack("fork", "import os\npid = os.fork()\npid or os._exit(0)\nos.waitpid(pid, 0)", ("seccomp",)),
    Attack("fork by libc", "pid = ask('fork')\npid or os._exit(0)\nos.waitpid(pid, 0)", ("seccomp",), by_libc=True),
    Attack("signal the supervisor", "import os\nos.kill(supervisor, 0)", ("landlock", "seccomp", "namespaces")),
    Attack(
        "signal the supervisor by libc",
        "ask('kill', supervisor, 0)",
        ("landlock", "seccomp", "namespaces"),
        by_libc=True,
    ),
    Attack("signal the zygote", "import os\nos.kill(os.getppid(), 0)", ("landlock", "seccomp")),
    Attack(
        "signal the supervisor by a pidfd",
        "import os, signal\nsignal.pidfd_send_signal(os.pidfd_open(supervisor), 0)",
        ("landlock", "seccomp", "namespaces"),
    ),
    Attack(
        "signal a thread of the supervisor",
        "ask('tgkill', supervisor, supervisor, 0)",
        ("landlock", "seccomp", "namespaces"),
        by_libc=True,
    ),
    Attack(
        "look at the limits of the supervisor",
        "import resource\nresource.prlimit(supervisor, resource.RLIMIT_NOFILE)",
        ("seccomp", "namespaces"),
    ),
    Attack("look at the group of the supervisor", "import os\nos.getpgid(supervisor)", ("seccomp", "namespaces")),
    Attack("leave the session", "import os\nos.setsid()", ("seccomp",)),
    Attack("make memory that nothing counts", "import os\nos.memfd_create('x')", ("seccomp",)),
    Attack("make memory that nothing counts by libc", "ask('memfd_create', b'x', 0)", ("seccomp",), by_libc=True),
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
