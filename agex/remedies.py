"""What to change on a machine, or in a policy, so that more layers hold each promise: only what would make a difference here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from agex_policies.machine import Machine
from agex_policies.surroundings import Surroundings
from agex_supervisor.promises import CELLS

# What a pool needs for a worker: channel, two pipes, process descriptor, files; and some for everything else.
_FEW_DESCRIPTORS = 1024
_FEW_PROCESSES = 256


@dataclass(frozen=True, slots=True)
class Remedy:
    """One thing to do, as a sentence, and the promises that would stand firmer for it; without any, what else gains."""

    do: str
    strengthens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the advice depends on. The two texts say why a layer is not in force, and are empty where it is."""

    machine: Machine
    surroundings: Surroundings
    no_namespaces: str
    no_cgroup: str
    wants_namespaces: bool  # the policy does not switch them off
    wants_cgroup: bool


def remedies(situation: Situation) -> tuple[Remedy, ...]:
    """Most important first."""
    if situation.machine.system == "Darwin":
        return (_SEATBELT,)
    if situation.machine.system != "Linux":
        do = "Run on Linux: nothing on this system can hold kernel isolation."
        return (Remedy(do, ("files.read", "files.write", "network", "programs")),)
    return tuple(remedy for advise in _ADVICE for remedy in advise(situation))


_SEATBELT = Remedy(
    "Run on Linux. The lockdown of macOS (Seatbelt) is experimental and unverified: its profile is tested as text, and was"
    " never put on a process. AGEX_EXPERIMENTAL_SEATBELT=1 asks for it all the same; give it only code that you trust.",
    ("files.read", "files.write", "network", "programs"),
)


def _seccomp(situation: Situation) -> Iterator[Remedy]:
    machine = situation.machine
    if not machine.seccomp:
        do = "Use a kernel with CONFIG_SECCOMP_FILTER, and mount /proc."
        yield Remedy(do, _held_with("seccomp"))
    elif not machine.libseccomp:
        do = "Install libseccomp 2.5 or later (package libseccomp2) and pyseccomp: without them only the filter that comes"
        yield Remedy(f"{do} with agex can be used, and no policy can name system calls.", ())
    if machine.seccomp and not machine.listener:
        do = "Use Linux 5.0 or later in a container that does not hide it: refused system calls stay nameless without a"
        yield Remedy(f"{do} listener.", ())


def _landlock(situation: Situation) -> Iterator[Remedy]:
    machine, around = situation.machine, situation.surroundings
    files = _held_with("landlock", range(1, 4))
    if not machine.landlock_package:
        yield Remedy("Install the Python package landlock: pip install 'landlock>=1.0.0.dev5,<2'.", files)
    if machine.landlock_abi == 0:
        if around.lsm and "landlock" not in around.lsm:
            do = f"Boot with lsm=landlock,{','.join(around.lsm)} on the kernel's command line."
        elif around.seccomp_mode == 2:
            do = "Let the container's seccomp profile pass landlock_create_ruleset, landlock_add_rule, landlock_restrict_self."
        else:
            do = "Use Linux 6.2 or later, built with CONFIG_SECURITY_LANDLOCK and with landlock in its lsm= list."
        yield Remedy(do, files)
    elif machine.landlock_abi < 3:
        do = f"Use Linux 6.2 or later: Landlock here has ABI {machine.landlock_abi}, and lets files outside be truncated."
        yield Remedy(do, _held_with("landlock", range(machine.landlock_abi + 1, 4)))
    elif machine.landlock_abi < 6:
        do = f"Use Linux 6.12 or later: from ABI 6 on Landlock refuses signals as well (here {machine.landlock_abi})."
        yield Remedy(do, _held_with("landlock", range(machine.landlock_abi + 1, 7)))


def _namespaces(situation: Situation) -> Iterator[Remedy]:
    if situation.no_namespaces:
        # No cell needs them for files.metadata, but without them stat answers for any path.
        yield Remedy(_for_namespaces(situation), ("files.metadata", *_held_with("namespaces")))


def _for_namespaces(situation: Situation) -> str:
    machine, around, why = situation.machine, situation.surroundings, situation.no_namespaces
    if not situation.wants_namespaces:
        return 'Write namespaces = "auto" under [isolation] of the policy.'
    if "namespaces" in machine.without:
        return "Unset AGEX_TEST_WITHOUT: it is for tests."
    if "max_user_namespaces" in why:
        return "Set user.max_user_namespaces to some thousand: sysctl user.max_user_namespaces=10000."
    if "unprivileged_userns_clone" in why:
        return "Let ordinary users make namespaces: sysctl kernel.unprivileged_userns_clone=1."
    if "apparmor" in why or around.apparmor and "mount" in why:
        return (
            "Load an AppArmor profile for this Python that has the rule `userns,`, or set"
            " kernel.apparmor_restrict_unprivileged_userns=0."
        )
    if around.missing_capabilities:
        lost = ", ".join(around.missing_capabilities)
        return f"Run the supervisor as an ordinary user, or give it what this container takes from root: {lost}."
    if around.container or around.seccomp_mode == 2:
        return (
            "Let the container's seccomp profile pass unshare, setns, mount, umount2, pivot_root, open_tree, move_mount,"
            " fsopen, fsconfig, fsmount and mount_setattr (docs/operations.md has the text)."
        )
    return f"Let this user make user namespaces: {why}."


def _groups(situation: Situation) -> Iterator[Remedy]:
    if not situation.no_cgroup:
        return
    if not situation.wants_cgroup:
        do = 'Write cgroup = "auto" under [isolation] of the policy.'
    elif "cgroup" in situation.machine.without:
        do = "Unset AGEX_TEST_WITHOUT: it is for tests."
    elif situation.surroundings.container:
        do = "Give the container a cgroup of its own that is writable (private cgroup namespace, /sys/fs/cgroup not read-only)."
    else:
        do = "Start the supervisor in a delegated group: Delegate=yes in its unit, or systemd-run --user --scope -p Delegate=yes."
    yield Remedy(do, _held_with("cgroup"))


def _user(situation: Situation) -> Iterator[Remedy]:
    if situation.machine.uid == 0 and situation.no_namespaces:
        do = "Run the supervisor as an ordinary user: here a worker has root's files behind Landlock and seccomp alone."
        yield Remedy(do, ("files.read", "files.write"))


def _proc(situation: Situation) -> Iterator[Remedy]:
    if situation.surroundings.hidepid not in ("", "0", "off"):
        do = (
            "Mount /proc without hidepid, or with gid= of the supervisor's group: it verifies its workers from outside."
        )
        yield Remedy(do, ("introspection",))


def _room(situation: Situation) -> Iterator[Remedy]:
    around = situation.surroundings
    if around.open_files is not None and around.open_files < _FEW_DESCRIPTORS:
        do = f"Raise the limit of open files (ulimit -n, here {around.open_files}): each worker takes about six of the supervisor's."
        yield Remedy(do, ())
    if around.processes is not None and around.processes < _FEW_PROCESSES and situation.machine.uid != 0:
        yield Remedy(f"Raise the limit of processes (ulimit -u, here {around.processes}): threads count too.", ())
    if around.address_space_bytes is not None:
        do = (
            "Lift the limit of address space (ulimit -v): workers inherit it, so limits.memory cannot be given to them."
        )
        yield Remedy(do, ())


def _held_with(layer: str, versions: range = range(1_000)) -> tuple[str, ...]:
    """The promises of which a cell needs this layer, at the least in one of these versions of Landlock."""
    return tuple(
        promise
        for promise, cells in CELLS.items()
        if any(each.layer == layer and each.least in versions for cell in cells for each in cell)
    )


_ADVICE: tuple[Callable[[Situation], Iterator[Remedy]], ...] = (
    _seccomp,
    _landlock,
    _namespaces,
    _groups,
    _user,
    _proc,
    _room,
)
