"""What a policy may make of the list of system calls, and what it may not."""

from __future__ import annotations

import pytest

from agex_policies.bpf import compile_filter, compile_seal, explain_filter, syscall_names
from agex_policies.syscall_options import ESSENTIAL, NEVER, OPTIONAL, PRIORITIES
from agex_policies.syscall_rules import Action
from agex_policies.syscall_table import STANDARD
from agex_policies.syscalls import Explained, explain, group_names, option_for, resolve
from agex_protocol.plan import SECCOMP_PID_PLACEHOLDER
from agex_supervisor.promises import CELLS

NAMES = "priorities, numa, timers, queued-signals, sendfile, executable-memory, protection-keys"


def allowed(allow: list[str] | None = None, deny: list[str] | None = None) -> set[str]:
    groups = resolve(allow or [], deny or [])
    return {call for group in groups for rule in group.rules if rule.gives for call in rule.names}


def test_a_policy_that_asks_for_nothing_gets_the_standard_list() -> None:
    assert resolve() == STANDARD


def test_a_group_is_opened_whole_and_a_call_alone() -> None:
    assert allowed(["priorities"]) - allowed() == PRIORITIES.calls
    assert allowed(["sendfile", "timerfd_create"]) - allowed() == {"sendfile", "timerfd_create"}


def test_what_is_denied_is_taken_from_the_standard_list_and_from_what_is_opened() -> None:
    assert allowed() - allowed([], ["clone"]) == {"clone"}
    assert allowed() - allowed([], ["durability"]) == {
        "fsync", "fdatasync", "sync_file_range", "sync", "syncfs", "msync", "fadvise64"
    }  # fmt: skip
    assert allowed(["timers"], ["timerfd_create", "clone"]) - allowed() == {
        call for group in OPTIONAL if group.name == "timers" for call in group.calls
    } - {"timerfd_create"}


def test_denying_never_weakens() -> None:
    entries = [name for name in group_names() if not _essential(name)]
    refused = [rule for group in STANDARD for rule in group.rules if not rule.gives]
    left = [rule for group in resolve([], entries) for rule in group.rules]
    assert all(rule in left for rule in refused)
    assert any(rule.action is Action.KILL for rule in left)


def _essential(name: str) -> bool:
    return any(name == group.name and group.calls & ESSENTIAL for group in STANDARD)


REFUSED = {
    "ptrace": "'ptrace' can never be allowed: it looks into, or acts on, the memory or descriptors of a process of its"
    f" choice (promise 'introspection'). What can be: {NAMES}",
    "memfd_create": "'memfd_create' can never be allowed: it takes memory that no limit counts, or keeps it from being"
    f" taken back (promise 'memory'). What can be: {NAMES}",
    "execve": f"'execve' can never be allowed: it starts a program (promise 'programs'). What can be: {NAMES}",
    "read": f"'read' cannot be opened any further than the standard list has it. What can be: {NAMES}",
    "deadly": f"'deadly' cannot be opened any further than the standard list has it. What can be: {NAMES}",
    "41": "'41' is a number; system calls are named, because numbers differ between machines",
    "sendfiel": "'sendfiel' is no group, and no system call that stands in one: did you mean 'sendfile'?",
}


@pytest.mark.parametrize("entry", REFUSED)
def test_what_cannot_be_allowed_is_refused_with_its_reason(entry: str) -> None:
    with pytest.raises(ValueError) as caught:
        resolve([entry])
    assert str(caught.value) == REFUSED[entry]


UNDENIABLE = {
    "futex": "'futex' cannot be denied: no worker starts without it. Of 'threads' can be: arch_prctl, clone, clone3, ",
    "clocks": "'clocks' cannot be denied: no worker starts without clock_gettime. Of 'clocks' can be: clock_getres, ",
}


@pytest.mark.parametrize("entry", UNDENIABLE)
def test_what_every_worker_needs_cannot_be_denied(entry: str) -> None:
    with pytest.raises(ValueError) as caught:
        resolve([], [entry])
    assert str(caught.value).startswith(UNDENIABLE[entry])


def test_a_denied_name_that_is_nowhere_is_an_error_and_one_that_is_refused_anyway_is_not() -> None:
    assert resolve([], ["ptrace", "socket", "io_uring_setup"]) == STANDARD
    with pytest.raises(ValueError) as caught:
        resolve([], ["sokcet"])
    assert str(caught.value).startswith("'sokcet' is no group, and no system call that stands in one: ")


EXPLAINED = {
    "read": ("descriptors", "allowed", ""),
    "clone": ("threads", "allowed with some arguments", ""),
    "clone3": ("threads", "refused", ""),
    "flock": ("descriptors", "answered with success, without effect", ""),
    "durability": ("durability", "answered with success, without effect", ""),
    "ptrace": ("deadly", "ends the worker", ""),
    "sendfile": ("sendfile", "refused", "syscalls.allow"),
    "timerfd_create": ("timers", "allowed", "syscalls.allow"),
    "pipe": ("descriptors", "refused", "syscalls.deny"),
    "socket": ("", "refused", ""),
    "nonsense": ("", "refused", ""),
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_call_is_explained_by_its_group_and_the_key_that_decides(name: str) -> None:
    explained = explain(name, allow=["timers"], deny=["pipe"])
    assert isinstance(explained, Explained)
    assert (explained.group, explained.action, explained.key) == EXPLAINED[name]
    assert explained.reason


def test_no_call_stands_in_two_optional_groups_and_none_that_breaks_a_promise_in_any() -> None:
    calls = [call for group in OPTIONAL for call in group.calls]
    never = [call for each in NEVER for call in each.names]
    assert len(calls) == len(set(calls))
    assert len(never) == len(set(never))
    assert not set(calls) & set(never)
    assert not allowed() & set(never)


def test_what_can_never_be_allowed_names_promises_that_there_are() -> None:
    assert {each.promise for each in NEVER} <= {*CELLS, "lockdown"}


def test_every_name_is_one_that_libseccomp_knows() -> None:
    younger = {"statmount", "listmount"}
    known = set(syscall_names().values())
    named = {call for group in (*STANDARD, *OPTIONAL) for call in group.calls}
    named |= {call for each in NEVER for call in each.names} | ESSENTIAL
    assert named - known <= younger


def test_learn_mode_asks_which_group_would_allow_a_call_with_just_these_arguments() -> None:
    assert option_for("sched_setaffinity", (0, 8, 0, 0, 0, 0), 7) == "priorities"
    assert option_for("sched_setaffinity", (7, 8, 0, 0, 0, 0), 7) == "priorities"
    assert option_for("sched_setaffinity", (8, 8, 0, 0, 0, 0), 7) == ""
    assert option_for("sched_setaffinity", (SECCOMP_PID_PLACEHOLDER, 8, 0, 0, 0, 0), 7) == ""
    assert option_for("mprotect", (0, 0, 6, 0, 0, 0), 7) == "executable-memory"
    assert option_for("ptrace", (0, 0, 0, 0, 0, 0), 7) == ""


def test_every_option_compiles_and_so_does_taking_it_away() -> None:
    names = [group.name for group in OPTIONAL]
    opened, denied = resolve(names), resolve([], names)
    assert len(compile_filter(opened)) > len(compile_filter()) == len(compile_filter(denied))
    # Told, what the policy takes away is refused by the kernel itself.
    assert len(compile_filter(denied, told=True)) > len(compile_filter(told=True))


def test_the_filter_that_tells_refuses_nothing_by_itself_that_the_other_kills_for() -> None:
    text = explain_filter(told=True)
    assert text.rstrip().endswith(
        "action 0x7fc00000;\n# invalid architecture action\naction KILL_PROCESS;\n#\n# pseudo filter code end\n#"
    )
    assert text.count("KILL_PROCESS") == 1
    assert explain_filter().count("KILL_PROCESS") > 30


def test_the_seal_is_small() -> None:
    assert len(compile_seal()) // 8 < 16
