"""What becomes of one system call, by the groups of the tables and what a policy allows and denies of them."""

from __future__ import annotations

import errno
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from agex_policies.bpf import ARCHITECTURES, mask_on
from agex_policies.syscall_rules import ALL_64, LOW_32, Argument, Errno, Rule
from agex_policies.syscalls import ALLOWED, ALLOWED_IN_PART, REFUSED, explain, resolve
from agex_protocol.plan import SECCOMP_PID_PLACEHOLDER


@dataclass(frozen=True, slots=True)
class CallAnswer:
    """allowed: with some arguments at least. key and entries: what of a policy decides it, empty where the tables do."""

    allowed: bool
    why: str
    key: str = ""
    entries: tuple[str, ...] = ()
    could_be_allowed: bool = False


def answer_on_call(name: str, allow: Sequence[str], deny: Sequence[str]) -> CallAnswer:
    """What becomes of a call, or of a group, of this name where a policy has these `[syscalls]` lists."""
    found = explain(name, allow, deny)
    rules = [rule for group in resolve(allow, deny) for rule in group.rules if name in rule.names]
    where = f"in group {found.group!r}, " if found.group and found.group != name else ""
    why = f"{where}{found.action}{_particulars(found.action, rules)}. {_sentence(found.reason)}"
    entries = tuple(entry for entry in (*allow, *deny) if entry in (name, found.group))
    could_be_allowed = found.action == REFUSED and found.key == "syscalls.allow"
    allowed = found.action in (ALLOWED, ALLOWED_IN_PART)
    return CallAnswer(allowed, why, found.key, entries, could_be_allowed)


def _particulars(action: str, rules: list[Rule]) -> str:
    """The arguments that pass, or the error that a refused call returns."""
    if action == ALLOWED_IN_PART and rules:
        return f": where {', or where '.join(_conditions(rule) for rule in rules if rule.gives)}"
    if action == REFUSED:
        errors = {rule.action.number for rule in rules if isinstance(rule.action, Errno) and not rule.arguments}
        return f" with {errno.errorcode[errors.pop() if errors else errno.EPERM]}"
    return ""


def _conditions(rule: Rule) -> str:
    return " and ".join(map(_condition, rule.arguments)) or "no other rule refuses it"


def _condition(argument: Argument) -> str:
    """Arguments are counted from 0, as strace and seccomp(2) do."""
    value = "the worker's own process" if argument.value == SECCOMP_PID_PLACEHOLDER else f"{argument.value:#x}"
    arch = platform.machine() if platform.machine() in ARCHITECTURES else next(iter(ARCHITECTURES))
    masked = "" if argument.mask in (LOW_32, ALL_64) else f" & {mask_on(arch, argument):#x}"
    return f"argument {argument.index}{masked} is {value}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
