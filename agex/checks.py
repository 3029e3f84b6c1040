"""Checks of what a registration says, each with the remedy in its error."""

from __future__ import annotations

import builtins
import difflib
import importlib.util
import keyword
import sys
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from types import ModuleType
from typing import Any, get_args

from agex.entries import MemberSpec, Same, Side, Visibility
from agex.errors import ConfigurationError

# What every action finds in its namespace already.
AGENT_NAMES = frozenset({"inputs", "cache", "task_success", "task_fail", "task_clarify", "view_image"})


def module_name(obj: object, name: str | None) -> str:
    """The dotted name that agent code imports it by. ConfigurationError for what is no module, or has another name."""
    if isinstance(obj, str):
        if not all(part.isidentifier() for part in obj.split(".")):
            raise ConfigurationError(f"{obj!r} is not the dotted name of a module")
        full = obj
        if full not in sys.modules and importlib.util.find_spec(full.partition(".")[0]) is None:
            raise ConfigurationError(f"no module named {full.partition('.')[0]!r} is installed here")
    elif isinstance(obj, ModuleType):
        full = obj.__name__ if name is None else name
        if sys.modules.get(full) is not obj:
            raise ConfigurationError(
                f"module {obj.__name__!r} cannot be imported as {full!r}: agent code imports a module by its own name "
                "(and may say `import pandas as pd`)"
            )
    elif isinstance(obj, type):
        raise ConfigurationError(f"module() takes a module, not {described(obj)}; classes go to agent.cls")
    else:
        raise ConfigurationError(f"module() takes a module, not {described(obj)}")
    if name not in (None, full):
        raise ConfigurationError(
            f"module {full!r} cannot be renamed to {name!r}: agent code imports it by its own name"
        )
    if full == "__main__":
        raise ConfigurationError("the running script cannot be given as a module; register its functions and classes")
    return full


def bare_name(name: str) -> str:
    """The name, if agent code can use it and does not have it already. ConfigurationError otherwise."""
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ConfigurationError(f"{name!r} is not a name that code can use; give name= a Python identifier")
    if name.startswith("_"):
        raise ConfigurationError(
            f"{name!r} is private to agent code, which cannot use it; give name= without underscore"
        )
    if name in AGENT_NAMES or hasattr(builtins, name):
        raise ConfigurationError(f"the name {name!r} is reserved in agent code; give another with name=")
    return name


def function_name(function: Callable[..., Any]) -> str:
    """What a function is called, if it has a name that says something."""
    name = getattr(function, "__name__", None)
    if name is None or name == "<lambda>":
        raise ConfigurationError(f"{described(function)} has no name of its own; give one with name=")
    return str(name)


def configuration(
    configure: Mapping[str, MemberSpec] | None,
    owner: str,
    find: Callable[[str], object],
    names: Callable[[], Iterable[str]],
    *,
    sides: tuple[Side, ...] = ("worker",),
) -> tuple[tuple[str, MemberSpec], ...]:
    """Its entries, each checked and found by `find` (AttributeError for none); a glob is spread over `names`.
    ConfigurationError says which is wrong."""
    chosen = tuple(_spread(configure or {}, owner, names).items())
    for dotted, spec in chosen:
        where = f"{owner}.{dotted}"
        check_kind(
            spec,
            MemberSpec,
            f"configure[{dotted!r}] takes an agex.MemberSpec",
            "for example MemberSpec(visibility='high')",
        )
        if spec.visibility is not None:
            check_visibility(spec.visibility, where)
        check_side(spec.runs, sides, repr(where))
        try:
            found = find(dotted)
        except AttributeError as error:
            near = difflib.get_close_matches(dotted, names(), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"configure names {dotted!r}, which {owner!r} does not have{hint}") from error
        if not spec.constructable and not isinstance(found, type):
            raise ConfigurationError(f"{where}: constructable=False is for classes, and this is {described(found)}")
    return chosen


def _spread(
    configure: Mapping[str, MemberSpec], owner: str, names: Callable[[], Iterable[str]]
) -> dict[str, MemberSpec]:
    """By exact names alone. What is named exactly counts before any glob, and is shown before it; of globs the last one counts."""
    spread: dict[str, MemberSpec] = {}
    exact: dict[str, MemberSpec] = {}
    for dotted, spec in configure.items():
        if not any(sign in dotted for sign in "*?["):
            exact[dotted] = spec
            continue
        fitting = [name for name in names() if not name.startswith("_") and fnmatchcase(name, dotted)]
        if not fitting:
            raise ConfigurationError(f"configure has {dotted!r}, which fits nothing that {owner!r} gives")
        spread |= dict.fromkeys(fitting, spec)
    return exact | {name: spec for name, spec in spread.items() if name not in exact}


def check_kind(obj: object, kind: type, takes: str, remedy: str) -> None:
    """ConfigurationError for what a registration does not take."""
    if not isinstance(obj, kind):
        raise ConfigurationError(f"{takes}, not {described(obj)}; {remedy}")


def check_visibility(visibility: str, where: str) -> None:
    """ConfigurationError for a word that is no visibility."""
    if visibility not in get_args(Visibility):
        raise ConfigurationError(f"{where}: visibility {visibility!r} is none of 'high', 'medium', 'low'")


def check_side(runs: str | None, sides: tuple[Side, ...], where: str) -> None:
    """ConfigurationError for a side on which it cannot run."""
    if runs is not None and runs not in sides:
        raise ConfigurationError(f"{where}: runs={runs!r} is none of {', '.join(map(repr, sides))}, which it can have")


def described(obj: object) -> str:
    """What a thing is, for a message."""
    obj = obj.obj if isinstance(obj, Same) else obj
    name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
    return f"{type(obj).__name__} {name!r}" if name else f"an object of type {type(obj).__name__}"
