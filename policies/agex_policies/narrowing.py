"""Whether one policy allows no more than another, key by key. A key without an order here is not a grant."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

from agex_policies import grants
from agex_policies.quantities import rate, size_bytes, time_s
from agex_policies.syscalls import resolve

Values = dict[str, Any]

_ISOLATION = ("none", "process", "kernel")
_WANTED = ("off", "auto", "required")


def _size_within(inner: str, outer: str) -> bool:
    return size_bytes(inner) <= size_bytes(outer)


def _time_within(inner: str, outer: str) -> bool:
    return time_s(inner) <= time_s(outer)


def _count_within(inner: int, outer: int) -> bool:
    return inner <= outer


def _mode_within(inner: str, outer: str) -> bool:
    return outer == "full" or inner == "restricted"


def _names_within(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    return set(inner) <= set(outer)


def _modules_within(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    return all(module_allowed(module, outer) for module in inner)


def _paths_within(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    return all(any(PurePath(path).is_relative_to(top) for top in outer) for path in inner)


def _grants_within(inner: tuple[Any, ...], outer: tuple[Any, ...]) -> bool:
    tops = [grants.parse_grant(entry) for entry in outer]
    return all(any(grants.within(grants.parse_grant(entry), top) for top in tops) for entry in inner)


def _opened_within(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    return resolve((*outer, *inner)) == resolve(outer)


def _denied_as_much(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    return resolve((), (*inner, *outer)) == resolve((), inner)


def _at_least_as_isolated(inner: str, outer: str) -> bool:
    return _ISOLATION.index(inner) >= _ISOLATION.index(outer)


def _wanted_as_much(inner: str, outer: str) -> bool:
    return _WANTED.index(inner) >= _WANTED.index(outer)


def _hidden_as_much(inner: bool, outer: bool) -> bool:
    return inner or not outer


def _allowed_as_little(inner: bool, outer: bool) -> bool:
    return outer or not inner


def _told_as_little(inner: str, outer: str) -> bool:
    return outer == "message" or inner == "type"


def _rate_within(inner: str | None, outer: str | None) -> bool:
    if inner is None or outer is None:
        return outer is None
    mine, most = rate(inner), rate(outer)
    return mine.count <= most.count and mine.per_s <= most.per_s


def _budget_within(inner: str | None, outer: str | None) -> bool:
    if inner is None or outer is None:
        return outer is None
    return _size_within(inner, outer)


# Every grant, and how to see that the first value allows no more than the second.
WITHIN: dict[str, Callable[[Any, Any], bool]] = {
    "python.mode": _mode_within,
    "python.modules": _modules_within,
    "python.builtins": _names_within,
    "filesystem.read": _paths_within,
    "filesystem.write": _paths_within,
    "filesystem.hide_host": _hidden_as_much,
    "network.allow": _grants_within,
    "syscalls.allow": _opened_within,
    "syscalls.deny": _denied_as_much,
    "limits.memory": _size_within,
    "limits.cpu_time": _time_within,
    "limits.wall_time": _time_within,
    "limits.threads": _count_within,
    "limits.open_files": _count_within,
    "limits.file_size": _size_within,
    "limits.workspace_size": _size_within,
    "limits.workspace_files": _count_within,
    "limits.output": _size_within,
    "results.max_size": _size_within,
    "results.opaque": _allowed_as_little,
    "results.trust_unpickle": _allowed_as_little,
    "host_calls.errors": _told_as_little,
    "host_calls.max_rate": _rate_within,
    "host_calls.max_bytes": _budget_within,
    "isolation.require": _at_least_as_isolated,
    "isolation.namespaces": _wanted_as_much,
    "isolation.cgroup": _wanted_as_much,
    "env.pass": _names_within,
}


def wider_keys(inner: Values, outer: Values) -> tuple[str, ...]:
    """The keys in which `inner` allows something that `outer` does not. Both are {dotted key: value}."""
    return tuple(key for key, within in WITHIN.items() if not within(inner[key], outer[key]))


def module_allowed(module: str, modules: tuple[str, ...]) -> bool:
    """Whether `[python] modules` lets this module be registered: it is named itself, or lies in a package that is."""
    return any(top == "*" or module == top or module.startswith(f"{top}.") for top in modules)
