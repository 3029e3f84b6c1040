"""What a policy makes of the lists of system calls: which groups a worker gets, and why a call is what it is.

A policy speaks of groups, or of single calls that stand in one: never of numbers, nor of a call that stands in none.
"""

from __future__ import annotations

import difflib
import errno
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from agex_policies.syscall_options import ESSENTIAL, NEVER, OPTIONAL
from agex_policies.syscall_rules import Action, Errno, Group, Rule
from agex_policies.syscall_table import STANDARD

ALLOWED = "allowed"
ALLOWED_IN_PART = "allowed with some arguments"
WITHOUT_EFFECT = "answered with success, without effect"
REFUSED = "refused"
DEADLY = "ends the worker"


@dataclass(frozen=True, slots=True)
class Explained:
    """What becomes of a call, or of the calls of a group, and why.

    group: "" where it stands in none. key: the policy key that decided, or by which a policy could allow it; "" if none.
    """

    name: str
    group: str
    action: str
    reason: str
    key: str = ""


def resolve(allow: Iterable[str] = (), deny: Iterable[str] = ()) -> tuple[Group, ...]:
    """The groups of a policy that opens `allow` beyond the standard list and takes `deny` away from what there is.

    What is refused already stays so: deny never weakens. ValueError names the entry, the rule and the remedy.
    """
    return _resolved(frozenset(allow), frozenset(deny))


@functools.lru_cache(maxsize=64)
def _resolved(wanted: frozenset[str], unwanted: frozenset[str]) -> tuple[Group, ...]:
    for entry in sorted(wanted):
        _check_allowed(entry)
    for entry in sorted(unwanted):
        _check_denied(entry)
    standard = [_only(group, group.calls - _named(group, unwanted)) for group in STANDARD]
    opened = [_only(group, _named(group, wanted) - _named(group, unwanted)) for group in OPTIONAL]
    return tuple(group for group in (*standard, *opened, _denied(unwanted)) if group.rules)


def group_names() -> tuple[str, ...]:
    """Every group that `allow` or `deny` may name, the standard ones first."""
    return tuple(group.name for group in (*STANDARD, *OPTIONAL))


def explain(name: str, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> Explained:
    """What a policy with these lists makes of a group or a call. Any name has an answer: what is nowhere is refused."""
    unwanted = frozenset(deny)
    group = next((each for each in (*STANDARD, *OPTIONAL) if name in {each.name, *each.calls}), None)
    if group is None:
        return Explained(name, "", REFUSED, _reason_never(name) or "it stands in no group, and so nobody may call it")
    calls = group.calls if name == group.name else frozenset({name})
    action = _action(
        [rule for each in resolve(allow, unwanted) if each.name == group.name for rule in each.rules], calls
    )
    if calls & _named(group, unwanted):
        key = "syscalls.deny"
    else:
        key = "syscalls.allow" if group in OPTIONAL else ""
    return Explained(name, group.name, action, group.reason, key)


def option_for(name: str, arguments: Sequence[int], own_pid: int) -> str:
    """The optional group that would allow exactly this call of the process that knows itself as `own_pid`; "" if none."""
    return next(
        (group.name for group in OPTIONAL if any(rule.holds(name, arguments, own_pid) for rule in group.rules)), ""
    )


def _named(group: Group, entries: frozenset[str]) -> frozenset[str]:
    """The calls of this group that the entries of a list mean."""
    return group.calls if group.name in entries else group.calls & entries


def _only(group: Group, calls: frozenset[str]) -> Group:
    """The group with these calls alone, and with all that it refuses."""
    kept = (
        replace(rule, names=tuple(name for name in rule.names if name in calls or not rule.gives))
        for rule in group.rules
    )
    return replace(group, rules=tuple(rule for rule in kept if rule.names))


def _denied(unwanted: frozenset[str]) -> Group:
    """Optional calls that the policy takes away, said aloud: learn mode must not let them through."""
    rules = [rule for group in OPTIONAL for rule in _only(group, _named(group, unwanted)).rules]
    refused = tuple(replace(rule, action=Errno(errno.EPERM)) for rule in rules)
    return Group("denied", "The policy takes these away, in learn mode as well.", refused)


def _action(rules: list[Rule], calls: frozenset[str]) -> str:
    about = [rule for rule in rules if calls.intersection(rule.names)]
    if any(rule.action is Action.KILL for rule in about):
        return DEADLY
    given = [rule for rule in about if rule.gives]
    if not given:
        return REFUSED
    if all(rule.action == Errno(0) for rule in given):
        return WITHOUT_EFFECT
    whole = len(given) == len(about) and not any(rule.arguments for rule in given)
    return ALLOWED if whole and calls <= {name for rule in given for name in rule.names} else ALLOWED_IN_PART


def _check_allowed(entry: str) -> None:
    if any(entry in {group.name, *group.calls} for group in OPTIONAL):
        return
    never = _reason_never(entry)
    if never:
        raise ValueError(f"{entry!r} can never be allowed: {never}. What can be: {_optional_names()}")
    if any(entry in {group.name, *group.calls} for group in STANDARD):
        raise ValueError(
            f"{entry!r} cannot be opened any further than the standard list has it. What can be: {_optional_names()}"
        )
    raise _unknown(entry)


def _check_denied(entry: str) -> None:
    for group in STANDARD:
        essential = sorted(_named(group, frozenset({entry})) & ESSENTIAL)
        if essential:
            others = ", ".join(sorted(group.calls - ESSENTIAL)) or "none"
            what = "" if entry in group.calls else f" {', '.join(essential)}"
            raise ValueError(
                f"{entry!r} cannot be denied: no worker starts without{what or ' it'}. Of {group.name!r} can be: {others}"
            )
    known = any(entry in {group.name, *group.calls} for group in (*STANDARD, *OPTIONAL))
    if not known and not _reason_never(entry):
        raise _unknown(entry)


def _reason_never(name: str) -> str:
    promised = next((each for each in NEVER if name in each.names), None)
    return f"{promised.reason} (promise {promised.promise!r})" if promised is not None else ""


def _unknown(entry: str) -> ValueError:
    if entry.isdecimal():
        return ValueError(f"{entry!r} is a number; system calls are named, because numbers differ between machines")
    known = {*group_names(), *(call for group in (*STANDARD, *OPTIONAL) for call in group.calls)}
    near = difflib.get_close_matches(entry, sorted(known), 1)
    hint = f"did you mean {near[0]!r}?" if near else f"groups are {', '.join(group_names())}"
    return ValueError(f"{entry!r} is no group, and no system call that stands in one: {hint}")


def _optional_names() -> str:
    return ", ".join(group.name for group in OPTIONAL)
