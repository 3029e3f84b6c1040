"""The Seatbelt profile, as far as it can be judged without a Mac: its text, its structure, and the call that it is given to.

What the kernel of a Mac makes of it is not tested anywhere; docs/limitations.md says so.
"""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agex_protocol.plan import Limits, LockdownPlan
from agex_worker.lockdown import landlock, seatbelt
from agex_worker.lockdown.errors import LayerFailed
from agex_worker.lockdown.seatbelt import Profile, Text, profile

GOLDEN = Path(__file__).with_name("seatbelt.golden.txt")
PLAN = LockdownPlan(
    policy="test",
    isolation="kernel",
    limits=Limits(),
    read=("/nowhere/lib/python", "/nowhere/data.csv"),
    write=("/nowhere/null",),
)
SLOT = "/nowhere/slots/one"

# Without them a profile cannot be harmful: everything that an allowed rule may be about.
ALLOWED_OPERATIONS = {
    "signal",
    "process-info*",
    "sysctl-read",
    "file-read*",
    "file-read-metadata",
    "file-map-executable",
    "file-write-create",
    "file-write-data",
    "file-write-unlink",
}

PATHS = st.lists(
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
        lambda name: name not in (".", "..")
    ),
    min_size=1,
    max_size=4,
).map(lambda names: "/nowhere/" + "/".join(names))


class FakeLibrary:
    """Stands for libSystem, which only a Mac has: keeps what it was called with, and answers as it was told."""

    def __init__(self, *, result: int = 0, sandboxed: int = 1, denied: int = 1) -> None:
        self.result, self.sandboxed, self.denied = result, sandboxed, denied
        self.calls: list[tuple[str, Any]] = []

    def sandbox_init_with_parameters(self, text: bytes, flags: ctypes.c_uint64, parameters: Any, error: Any) -> int:
        self.calls.append(("init", (text, flags.value, list(parameters))))
        if self.result:
            error._obj.value = b"line 3: unbound variable"
        return self.result

    def sandbox_free_error(self, error: ctypes.c_char_p) -> None:
        self.calls.append(("free", error.value))

    def sandbox_check(self, pid: int, operation: bytes | None, kind: int) -> int:
        self.calls.append(("check", (pid, operation, kind)))
        return self.sandboxed if operation is None else self.denied


def parsed(text: str) -> list[Any]:
    """The s-expressions of a profile as lists; symbols as str, quoted strings as Text. AssertionError if unbalanced."""
    stack: list[list[Any]] = [[]]
    end = 0
    for match in re.finditer(r'\s+|([()])|"((?:[^"\\]|\\.)*)"|([^\s()"]+)', text):
        assert match.start() == end, text[end:]
        end = match.end()
        bracket, quoted, symbol = match.groups()
        if bracket == "(":
            stack.append([])
        elif bracket == ")":
            closed = stack.pop()
            stack[-1].append(closed)
        elif quoted is not None:
            stack[-1].append(Text(re.sub(r"\\(.)", r"\1", quoted)))
        elif symbol is not None:
            stack[-1].append(symbol)
    assert (end, len(stack)) == (len(text), 1)
    return stack[0]


def found(forms: Any, head: str) -> list[Any]:
    """All forms (head ...), at any depth."""
    if not isinstance(forms, list):
        return []
    here = [forms] if forms and forms[0] == head else []
    return here + [each for form in forms for each in found(form, head)]


def granted(chosen: Profile, operation: str) -> set[str]:
    """The paths at and beneath which a rule of the profile allows the operation."""
    paths = dict(chosen.parameters)
    rules = [rule for rule in parsed(chosen.text) if rule[0] == "allow" and operation in rule]
    return {paths[name.value] for rule in rules for subpath in found(rule, "subpath") for _, name in [subpath[1]]}


def test_the_profile_of_a_plan_is_the_golden_one() -> None:
    chosen = profile(PLAN, SLOT)
    parameters = "".join(f"; {name} = {path}\n" for name, path in chosen.parameters)
    assert chosen.text + parameters == GOLDEN.read_text()


def test_everything_is_denied_first_and_nothing_dangerous_is_allowed_later() -> None:
    rules = parsed(profile(PLAN, SLOT).text)
    assert rules[:2] == [["version", "1"], ["deny", "default"]]
    assert {rule[0] for rule in rules[2:]} == {"allow"}
    operations = {word for rule in rules[2:] for word in rule[1:] if isinstance(word, str)}
    assert operations == ALLOWED_OPERATIONS


def test_signals_and_process_information_are_of_the_process_itself_only() -> None:
    rules = parsed(profile(PLAN, SLOT).text)
    for operation in ("signal", "process-info*"):
        assert [rule for rule in rules if operation in rule] == [["allow", operation, ["target", "self"]]]


def test_every_allowed_file_operation_is_tied_to_a_path() -> None:
    for rule in parsed(profile(PLAN, SLOT).text):
        if any(isinstance(word, str) and word.startswith("file-") for word in rule):
            assert len(found(rule, "param")) >= 1
            assert all(len(each) == 2 for kind in ("subpath", "literal") for each in found(rule, kind))


def test_a_worker_makes_files_folders_and_links_and_nothing_else_and_not_the_granted_path_itself() -> None:
    rules = [rule for rule in parsed(profile(PLAN, SLOT).text) if "file-write-create" in rule]
    assert len(rules) == len(PLAN.write) + 1
    for rule in rules:
        assert {kind for _, kind in found(rule, "vnode-type")} == {"REGULAR-FILE", "DIRECTORY", "SYMLINK"}
        assert found(found(rule, "require-not"), "literal")


@given(reads=st.lists(PATHS, max_size=4), writes=st.lists(PATHS, max_size=3), slot=PATHS)
def test_any_paths_stay_parameters_and_the_text_never_holds_one(reads: list[str], writes: list[str], slot: str) -> None:
    plan = replace(PLAN, read=tuple(reads), write=tuple(writes))
    chosen = profile(plan, slot)
    rules = parsed(chosen.text)
    defined = [name for name, _ in chosen.parameters]
    used = {name.value for _, name in found(rules, "param")}
    assert len(defined) == len(set(defined)) and used == set(defined)
    # The same number of paths under other names gives the same text: no path is in it.
    plain = tuple(f"/nowhere/r{number}" for number in range(len(reads)))
    harmless = replace(plan, read=plain, write=tuple(f"/nowhere/w{number}" for number in range(len(writes))))
    assert _without_ancestors(profile(harmless, "/nowhere/slot").text) == _without_ancestors(chosen.text)


@given(reads=st.lists(PATHS, max_size=4), writes=st.lists(PATHS, max_size=3), slot=PATHS)
def test_the_same_plan_grants_the_same_paths_here_and_to_landlock(
    reads: list[str], writes: list[str], slot: str
) -> None:
    if landlock.prepare() < 1:
        pytest.skip("the rights of Landlock are read from a kernel that has it")
    plan = replace(PLAN, read=tuple(reads), write=tuple(writes), landlock_abi=3)
    chosen = profile(plan, slot)
    rules = landlock.ruleset(plan, slot).rules
    widest = max(rule.access for rule in rules)
    assert granted(chosen, "file-read*") == {rule.path for rule in rules}
    assert granted(chosen, "file-write-data") == {rule.path for rule in rules if rule.access == widest}
    assert granted(chosen, "file-write-create") == granted(chosen, "file-write-data")


@pytest.mark.parametrize("name", ['quo"te', "new\nline", "paren(the)ses", 'back\\slash")(allow default)', "blank e"])
def test_a_path_reaches_the_kernel_byte_for_byte_and_only_as_a_parameter(name: str) -> None:
    library = FakeLibrary()
    path = f"/nowhere/{name}"
    chosen = profile(replace(PLAN, read=(path,)), SLOT)

    assert seatbelt.apply(chosen, library).startswith("enforced")
    (text, flags, argv) = library.calls[0][1]
    assert (flags, argv[-1]) == (0, None)
    assert dict(zip(argv[:-1:2], argv[1:-1:2], strict=True))[b"READ_0"] == os.fsencode(path)
    assert name not in text.decode() and "(allow default)" not in text.decode()


def test_the_call_gets_the_text_and_names_and_values_in_turn_with_a_null_at_the_end() -> None:
    library = FakeLibrary()
    chosen = profile(PLAN, SLOT)
    seatbelt.apply(chosen, library)

    flat = [os.fsencode(part) for pair in chosen.parameters for part in pair]
    assert library.calls == [
        ("init", (chosen.text.encode(), 0, [*flat, None])),
        ("check", (os.getpid(), None, 0)),
        ("check", (os.getpid(), b"process-fork", 0)),
        ("check", (os.getpid(), b"network-outbound", 0)),
    ]


def test_a_profile_that_is_refused_is_an_error_with_the_kernels_reason() -> None:
    library = FakeLibrary(result=-1)
    with pytest.raises(LayerFailed) as caught:
        seatbelt.apply(profile(PLAN, SLOT), library)
    assert str(caught.value) == "seatbelt: the kernel did not take the profile: line 3: unbound variable"
    assert library.calls[-1] == ("free", b"line 3: unbound variable")


@pytest.mark.parametrize("library", [FakeLibrary(sandboxed=0), FakeLibrary(denied=0)], ids=["not under one", "allowed"])
def test_a_profile_that_does_not_hold_is_an_error(library: FakeLibrary) -> None:
    with pytest.raises(LayerFailed):
        seatbelt.apply(profile(PLAN, SLOT), library)


@pytest.mark.parametrize("path", ["relative", "/nowhere/null\0byte", ""])
def test_a_path_that_cannot_be_handed_over_is_refused(path: str) -> None:
    with pytest.raises(LayerFailed):
        profile(replace(PLAN, write=(path,)), SLOT)


@pytest.mark.parametrize("form", ['a"b', "a b", "(allow", "", Text("two\nlines"), Text("null\0")], ids=repr)
def test_what_is_neither_symbol_nor_plain_text_cannot_be_written(form: seatbelt.Form) -> None:
    with pytest.raises(LayerFailed):
        _ = Profile((("allow", form),), ()).text


def test_quoted_text_comes_back_as_it_was() -> None:
    value = 'a "quoted" back\\slash (and) brackets'
    assert parsed(Profile((("literal", Text(value)),), ()).text) == [["literal", Text(value)]]


def test_elsewhere_than_on_macos_the_layer_refuses() -> None:
    with pytest.raises(LayerFailed):
        seatbelt.apply(profile(PLAN, SLOT))


def _without_ancestors(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if "ANCESTOR" not in line)
