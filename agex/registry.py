"""What an agent may reach: modules and classes in its worker, functions in your process.

Nothing is reachable that is not registered here, and nothing registered here is silently weaker than it was asked for:
what this version cannot enforce is refused.
"""

from __future__ import annotations

import builtins
import difflib
import hashlib
import importlib.util
import inspect
import keyword
import sys
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, TypeVar, get_args

from agex import members
from agex.captures import refuse_captured_data
from agex.entries import ClassEntry, FunctionEntry, MemberSpec, Module, ModuleEntry, Side, Visibility, imported
from agex.errors import ConfigurationError
from agex.members import Pattern
from agex.signatures import resolved_signature
from agex_protocol.plan import ModuleGrant
from agex_supervisor.outbound import is_importable

Entry = ModuleEntry | ClassEntry | FunctionEntry
E = TypeVar("E", ModuleEntry, ClassEntry, FunctionEntry)

# What every action finds in its namespace already.
AGENT_NAMES = frozenset({"inputs", "cache", "task_success", "task_fail", "task_clarify", "view_image"})


class Registry:
    """The registrations of one agent or sandbox, in the order in which they were made."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    @classmethod
    def of(
        cls,
        modules: Iterable[ModuleType | str | Module] = (),
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> Registry:
        """The registry of a Sandbox: modules by object, name or `Module`, functions by the name that code calls."""
        registry = cls()
        for item in modules:
            given = item if isinstance(item, Module) else Module(item)
            registry.module(
                given.obj,
                visibility=given.visibility,
                include=given.include,
                exclude=given.exclude,
                configure=given.configure,
                recursive=given.recursive,
            )
        for name, function in (functions or {}).items():
            registry.fn(function, name=name)
        return registry

    def module(
        self,
        obj: ModuleType | str,
        *,
        name: str | None = None,
        visibility: Visibility = "medium",
        include: Pattern = None,
        exclude: Pattern = None,
        configure: Mapping[str, MemberSpec] | None = None,
        recursive: bool = False,
        runs: Side | None = None,
    ) -> ModuleEntry:
        """Let agent code import a module, given as itself or by its dotted name. The worker imports it.

        `include` and `exclude` are a glob, several, or a callable, over dotted names; exclude wins, and names that start
        with "_" are never given. `recursive` opens public submodules too. ConfigurationError says what does not fit.
        """
        full = _module_name(obj, name)
        _check_visibility(visibility, full)
        _check_side(runs, "worker", f"module {full!r}")

        def load() -> ModuleType:
            return obj if isinstance(obj, ModuleType) else imported(full)

        given = members.grant(full, load, include, exclude, recursive)
        shown = _configuration(configure, full, load)
        for dotted, _ in shown:
            if not members.allows(given, dotted):
                raise ConfigurationError(
                    f"module {full!r}: configure names {dotted!r}, which include/exclude take away"
                )
        return self._add(ModuleEntry(full, given, visibility, shown))

    def cls(
        self,
        obj: type,
        *,
        name: str | None = None,
        visibility: Visibility = "high",
        docstring: str | None = None,
        constructable: bool = True,
        include: Pattern = None,
        exclude: Pattern = None,
        configure: Mapping[str, MemberSpec] | None = None,
        runs: Side | None = None,
    ) -> ClassEntry:
        """Give agent code a class under a bare name. The worker imports it, or gets it by value from a script.

        ConfigurationError says what does not fit; `include`, `exclude` and `constructable=False` are among it, since
        this version enforces them for classes of registered modules only.
        """
        _check_kind(obj, type, "cls() takes a class", "functions go to agent.fn")
        bare = _bare_name(obj.__name__ if name is None else name)
        _check_visibility(visibility, bare)
        _check_side(runs, "worker", f"class {bare!r}")
        if include is not None or exclude is not None:
            raise ConfigurationError(
                f"class {bare!r}: include and exclude are not enforced for single classes in this version; "
                f"use agent.module({obj.__module__!r}, include={obj.__name__!r}, exclude='{obj.__name__}.NAME')"
            )
        _check_constructable(constructable, bare)
        if not is_importable(obj):
            refuse_captured_data(obj, f"class {bare!r}")
        return self._add(ClassEntry(bare, obj, visibility, docstring, _configuration(configure, bare, lambda: obj)))

    def fn(
        self,
        obj: Callable[..., Any],
        *,
        name: str | None = None,
        visibility: Visibility = "high",
        docstring: str | None = None,
        runs: Side | None = None,
    ) -> FunctionEntry:
        """Give agent code a function under a bare name. It runs in YOUR process, trusted, with arguments the agent chose
        and your annotations validated; with `runs="worker"` it runs in the worker and needs no trust."""
        if not callable(obj) or isinstance(obj, type):
            raise ConfigurationError(f"fn() takes a function, not {_described(obj)}; classes go to agent.cls")
        bare = _bare_name(_function_name(obj) if name is None else name)
        _check_visibility(visibility, bare)
        if runs not in (None, *get_args(Side)):
            raise ConfigurationError(f"function {bare!r}: runs={runs!r} is neither 'worker' nor 'host'")
        if runs == "worker" and not (inspect.isroutine(obj) and is_importable(obj)):
            refuse_captured_data(obj, f"function {bare!r}")
        signature = resolved_signature(obj, f"function {bare!r}")
        text = inspect.getdoc(obj) if docstring is None else docstring
        return self._add(FunctionEntry(bare, obj, signature, visibility, text, runs or "host"))

    @property
    def modules(self) -> tuple[ModuleEntry, ...]:
        """Registered modules, first registered first."""
        return tuple(entry for entry in self._entries.values() if isinstance(entry, ModuleEntry))

    @property
    def classes(self) -> tuple[ClassEntry, ...]:
        """Registered classes, first registered first."""
        return tuple(entry for entry in self._entries.values() if isinstance(entry, ClassEntry))

    @property
    def functions(self) -> tuple[FunctionEntry, ...]:
        """Registered functions of either side, first registered first."""
        return tuple(entry for entry in self._entries.values() if isinstance(entry, FunctionEntry))

    def grants(self) -> tuple[ModuleGrant, ...]:
        """What the inner sandbox lets agent code import."""
        return tuple(entry.grant for entry in self.modules)

    def preload(self) -> tuple[str, ...]:
        """Modules for the zygote to import: those registered, and those that registered classes and functions live in."""
        named = [entry.name for entry in self.modules]
        named += [entry.cls.__module__ for entry in self.classes if is_importable(entry.cls)]
        sent = [entry.function for entry in self.functions if entry.runs == "worker"]
        named += [function.__module__ for function in sent if is_importable(function)]
        return tuple(name for name in dict.fromkeys(named) if name.partition(".")[0] not in _IMPORTED_LATE)

    def bindings(self) -> dict[str, object]:
        """Classes and functions to send to the worker, by the name that agent code uses."""
        bound: dict[str, object] = {entry.name: entry.cls for entry in self.classes}
        bound |= {entry.name: entry.function for entry in self.functions if entry.runs == "worker"}
        return bound

    def host_functions(self) -> dict[str, FunctionEntry]:
        """Functions that run in this process when agent code calls them."""
        return {entry.name: entry for entry in self.functions if entry.runs == "host"}

    @property
    def fingerprint(self) -> str:
        """The same for the same registrations, in every process; different when one of them differs."""
        digest = hashlib.sha256()
        for entry in self._entries.values():
            digest.update(repr(entry.identity).encode() + b"\n")
        return digest.hexdigest()

    def _add(self, entry: E) -> E:
        known = self._entries.get(entry.name)
        if known is not None and known.subject != entry.subject:
            raise ConfigurationError(
                f"the name {entry.name!r} is taken by {_described(known.subject)}; give name= to one of the two"
            )
        self._entries[entry.name] = entry
        return entry


def _module_name(obj: object, name: str | None) -> str:
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
        raise ConfigurationError(f"module() takes a module, not {_described(obj)}; classes go to agent.cls")
    else:
        raise ConfigurationError(
            f"module() takes a module, not {_described(obj)}: live objects are not available in this version; "
            "register functions that use the object with agent.fn"
        )
    if name not in (None, full):
        raise ConfigurationError(
            f"module {full!r} cannot be renamed to {name!r}: agent code imports it by its own name"
        )
    if full == "__main__":
        raise ConfigurationError("the running script cannot be given as a module; register its functions and classes")
    return full


def _bare_name(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise ConfigurationError(f"{name!r} is not a name that code can use; give name= a Python identifier")
    if name.startswith("_"):
        raise ConfigurationError(
            f"{name!r} is private to agent code, which cannot use it; give name= without underscore"
        )
    if name in AGENT_NAMES or hasattr(builtins, name):
        raise ConfigurationError(f"the name {name!r} is reserved in agent code; give another with name=")
    return name


def _function_name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", None)
    if name is None or name == "<lambda>":
        raise ConfigurationError(f"{_described(function)} has no name of its own; give one with name=")
    return str(name)


def _configuration(
    configure: Mapping[str, MemberSpec] | None, owner: str, load: Callable[[], object]
) -> tuple[tuple[str, MemberSpec], ...]:
    chosen = tuple((configure or {}).items())
    for dotted, spec in chosen:
        where = f"{owner}.{dotted}"
        _check_kind(
            spec,
            MemberSpec,
            f"configure[{dotted!r}] takes an agex.MemberSpec",
            "for example MemberSpec(visibility='high')",
        )
        if spec.visibility is not None:
            _check_visibility(spec.visibility, where)
        _check_constructable(spec.constructable, where)
        _check_side(spec.runs, "worker", repr(where))
        try:
            members.find(load(), dotted)
        except AttributeError as error:
            near = difflib.get_close_matches(dotted, dir(load()), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigurationError(f"configure names {dotted!r}, which {owner!r} does not have{hint}") from error
    return chosen


def _check_kind(obj: object, kind: type, takes: str, remedy: str) -> None:
    if not isinstance(obj, kind):
        raise ConfigurationError(f"{takes}, not {_described(obj)}; {remedy}")


def _check_visibility(visibility: str, where: str) -> None:
    if visibility not in get_args(Visibility):
        raise ConfigurationError(f"{where}: visibility {visibility!r} is none of 'high', 'medium', 'low'")


def _check_side(runs: str | None, only: Side, where: str) -> None:
    if runs not in (None, only):
        raise ConfigurationError(
            f"{where}: runs={runs!r} is not available in this version (only {only!r}); "
            "wrap what has to happen in your process in functions and register them with agent.fn"
        )


def _check_constructable(constructable: bool, where: str) -> None:
    if not constructable:
        raise ConfigurationError(
            f"{where}: constructable=False is not enforced in this version; leave the class unregistered "
            "and give instances to the agent by the inputs of a task"
        )


def _described(obj: object) -> str:
    name = getattr(obj, "__qualname__", None) or getattr(obj, "__name__", None)
    return f"{type(obj).__name__} {name!r}" if name else f"an object of type {type(obj).__name__}"


# polars starts a thread when it is imported, which no fork would inherit: each worker imports it when it first needs it.
_IMPORTED_LATE = frozenset({"polars"})
