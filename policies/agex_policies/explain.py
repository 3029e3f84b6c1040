"""Why something is allowed or denied under a policy on this machine: which key decides, who set it, what would allow it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any, Literal

from agex_policies.compile import compile_plan, never_granted, paths_of
from agex_policies.errors import IsolationUnavailable
from agex_policies.explain_calls import answer_on_call
from agex_policies.grants import parse_grant, shown, target
from agex_policies.load import Document
from agex_policies.machine import Machine
from agex_policies.schema import ADDED_UP, Policy, values
from agex_policies.wording import toml
from agex_protocol.plan import NetworkGrant


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a policy: its value, and the places ("file:line") that gave it, the first one first."""

    key: str
    value: Any
    set_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What happens to one thing in `kernel` isolation.

    key: what decides, and `set_by` where that was written; both empty where no policy decides it. to_allow: what to
    write; empty where it is allowed already, and where nothing can allow it.
    """

    subject: str
    allowed: bool
    why: str
    key: str = ""
    set_by: str = ""
    to_allow: str = ""


def settings_of(policy: Policy) -> tuple[Setting, ...]:
    """Every key with its value and who set it, in the order of the schema."""
    return tuple(Setting(key, value, _setters(policy, key)) for key, value in values(policy).items())


def answers_on(policy: Policy, on: str, machine: Machine | None = None) -> tuple[Answer, ...]:
    """What this policy says about "path:/data/x", "host:api.example.com:443" or "syscall:ptrace" on this machine.

    ValueError where `on` is none of these; PolicyError where the policy cannot be used here at all.
    """
    kind, _, rest = on.partition(":")
    answer = {"path": _on_path, "host": _on_host, "syscall": _on_call}.get(kind)
    if answer is None or not rest:
        raise ValueError(f"{on!r} is not path:/data/x, host:api.example.com:443 or syscall:ptrace")
    answers = answer(policy, rest)
    try:
        compile_plan(policy, "kernel", machine)
    except IsolationUnavailable as error:
        return tuple(Answer(each.subject, False, f"nothing runs here: {error}") for each in answers)
    return answers


def _setters(policy: Policy, key: str) -> tuple[str, ...]:
    setting = [document for document in policy.origin.chain if document.sets(key)]
    if key in ADDED_UP:
        table, leaf = key.split(".")
        adding = [document for document in setting if document.data[table][leaf]]
        setting = adding or setting[-1:]
        return tuple(_place(document, key) for document in setting)
    return tuple(_place(document, key) for document in setting[-1:])


def _place(document: Document, key: str) -> str:
    line = document.line_of(key)
    return f"{document.path or document.name}{f':{line}' if line else ''}"


def _granted_by(policy: Policy, key: str, is_it: Callable[[Document, Any], bool]) -> str:
    """The place of the first entry of this list that is the one."""
    table, leaf = key.split(".")
    for document in policy.origin.chain:
        if document.sets(key) and any(is_it(document, entry) for entry in document.data[table][leaf]):
            return _place(document, key)
    return ""


def _on_path(policy: Policy, path: str) -> tuple[Answer, ...]:
    if not os.path.isabs(path):
        raise ValueError(
            f"{path!r} is relative, so it lies in the workspace, which is read and written freely; give a path from '/'"
        )
    real = os.path.realpath(path)
    where = path if real == os.path.normpath(path) else f"{path}, which is {real} after symbolic links,"
    return (_reading(policy, path, real, where), _writing(policy, path, real, where))


def _reading(policy: Policy, path: str, real: str, where: str) -> Answer:
    subject = f"read of {path}"
    for key in ("filesystem.read", "filesystem.write"):
        if granted := _grant_over(policy, key, real):
            return Answer(
                subject, True, f"{where} lies in {granted}{_own_limits(real, os.R_OK)}", key, _by(policy, key, granted)
            )
    paths = paths_of(policy)
    if _beneath(real, (*paths.read, *paths.write)):
        return Answer(
            subject, True, f"{where} belongs to Python or to what every worker needs{_own_limits(real, os.R_OK)}"
        )
    why = f"{where} lies in nothing that is granted, nor in the workspace or in Python"
    return _denied_path(policy, subject, why, "filesystem.read", path)


def _writing(policy: Policy, path: str, real: str, where: str) -> Answer:
    subject, key = f"write to {path}", "filesystem.write"
    if granted := _grant_over(policy, "filesystem.write", real):
        return Answer(
            subject, True, f"{where} lies in {granted}{_own_limits(real, os.W_OK)}", key, _by(policy, key, granted)
        )
    paths = paths_of(policy)
    if _beneath(real, paths.write):
        return Answer(subject, True, f"{where} is written by programs to be rid of something")
    if _beneath(real, paths.read) and not _grant_over(policy, "filesystem.read", real):
        return Answer(
            subject, False, f"{where} belongs to Python, which your own process runs too; nothing makes it writable"
        )
    why = f"{where} lies in nothing that is granted for writing, nor in the workspace"
    return _denied_path(policy, subject, why, key, path)


def _denied_path(policy: Policy, subject: str, why: str, key: str, path: str) -> Answer:
    if never_granted(os.path.realpath(path)):
        return Answer(subject, False, f"{why}; no policy can grant it, for it holds far more than files, or none", key)
    answer = _denied(policy, subject, why, key, toml([path]))
    return answer if os.path.exists(path) else replace(answer, to_allow=f"once it exists, {answer.to_allow}")


def _grant_over(policy: Policy, key: Literal["filesystem.read", "filesystem.write"], real: str) -> str:
    """The entry of this list that holds the real path; empty without one."""
    entries = policy.filesystem.read if key == "filesystem.read" else policy.filesystem.write
    return next((entry for entry in entries if _beneath(real, (os.path.realpath(entry),))), "")


def _beneath(real: str, tops: tuple[str, ...]) -> bool:
    return any(PurePath(real).is_relative_to(top) for top in tops)


def _by(policy: Policy, key: str, granted: str) -> str:
    def is_it(document: Document, entry: Any) -> bool:
        folder = document.path.parent if document.path else PurePath("/")
        return bool(os.path.normpath(folder / entry) == granted)

    return _granted_by(policy, key, is_it)


def _own_limits(real: str, access: int) -> str:
    """What stands in the way beside the policy. Workers have the rights of the user who runs agex, or fewer."""
    if not os.path.exists(real):
        return "; there is nothing at that path now"
    return "" if os.access(real, access) else f"; the file's own permissions deny it to user {os.geteuid()}, though"


def _on_host(policy: Policy, text: str) -> tuple[Answer, ...]:
    subject, key = f"connection to {text}", "network.allow"
    try:
        asked = parse_grant(text)
    except ValueError as error:
        return (Answer(subject, False, f"no policy can grant it: {error}", key),)
    granted = [parse_grant(grant.model_dump()) for grant in policy.network.allow]
    found = next((grant for grant in granted if (grant.host, grant.port) == (asked.host, asked.port)), None)
    if found is not None:
        place = _granted_by(policy, key, lambda _, entry: parse_grant(entry) == found)
        return (Answer(subject, True, f"granted for {_protocol(found)}", key, place),)
    others = [target(grant.host, grant.port) for grant in granted]
    why = f"granted are {', '.join(others)}" if others else "there is no network without a grant"
    return (_denied(policy, subject, why, key, f"[{shown(asked)}]"),)


def _protocol(grant: NetworkGrant) -> str:
    tls = f"TLS that names {grant.host}" if grant.tls == "required" else "any protocol"
    named = any(letter.isalpha() for letter in grant.host) and ":" not in grant.host
    return f"{tls}{', if its address is a public one' if named else ''}"


def _on_call(policy: Policy, name: str) -> tuple[Answer, ...]:
    found = answer_on_call(name, policy.syscalls.allow, policy.syscalls.deny)
    subject = f"system call {name}"
    if found.could_be_allowed:
        return (_denied(policy, subject, found.why, "syscalls.allow", toml([name])),)
    place = _granted_by(policy, found.key, lambda _, entry: entry in found.entries) if found.key else ""
    return (Answer(subject, found.allowed, found.why, found.key, place),)


def _denied(policy: Policy, subject: str, why: str, key: str, entry: str) -> Answer:
    """Denied because this list does not have the entry."""
    table, leaf = key.split(".")
    to_allow = f'put `{leaf} = {entry}` under [{table}], and "{key}" into `widen`'
    return Answer(subject, False, why, key, _place(policy.set_by(key), key), to_allow)
