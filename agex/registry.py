"""What an agent may reach: modules and classes in its worker, functions and live objects in your process.

Nothing is reachable that is not registered here, but for harmless modules of the standard library (stdlib_modules.py), and
nothing registered here is silently weaker than it was asked for: what this version cannot enforce is refused.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType, ModuleType
from typing import Any, TypeVar

from agex import members
from agex.captures import captured_by
from agex.checks import (
    bare_name,
    check_kind,
    check_side,
    check_visibility,
    configuration,
    described,
    function_name,
    module_name,
)
from agex.class_members import class_grant
from agex.entries import (
    ClassEntry,
    FunctionEntry,
    MemberSpec,
    Module,
    ModuleEntry,
    ObjectEntry,
    Side,
    Visibility,
    imported,
)
from agex.errors import ConfigurationError
from agex.hosted_members import members_of_module, named_members
from agex.members import Pattern
from agex.offered import offered, told_signature
from agex.signatures import resolved_signature
from agex_protocol.plan import ClassGrant, ModuleGrant
from agex_supervisor.outbound import is_importable

Entry = ModuleEntry | ClassEntry | FunctionEntry | ObjectEntry
E = TypeVar("E", ModuleEntry, ClassEntry, FunctionEntry, ObjectEntry)


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
            registry._given(item if isinstance(item, Module) else Module(item))
        for name, function in (functions or {}).items():
            registry.fn(function, name=name)
        return registry

    def module(
        self,
        obj: object,
        *,
        name: str | None = None,
        visibility: Visibility = "medium",
        include: Pattern = None,
        exclude: Pattern = None,
        configure: Mapping[str, MemberSpec] | None = None,
        recursive: bool = False,
        runs: Side | None = None,
    ) -> ModuleEntry | ObjectEntry:
        """Let agent code import a module, given as itself or by its dotted name; or give it a live object under `name`.

        The worker imports a module; with `runs="host"` its functions run HERE. A live object always stays HERE, and its
        methods run in YOUR process. `include` and `exclude` are a glob, several, or a callable, over dotted names. Keys of
        `configure` may be globs too; an exact name counts before them. exclude wins, and names that start with "_" are
        never given, but for operators of a live object that `include` names ("__getitem__"). `recursive` opens public
        submodules too. ConfigurationError says what does not fit.
        """
        if not isinstance(obj, str | ModuleType | type):
            check_side(runs, ("host",), f"live object {name or ''!r}")
            return self._object(obj, name, visibility, include, exclude, configure, recursive)
        full = module_name(obj, name)
        check_visibility(visibility, full)
        check_side(runs, ("worker", "host"), f"module {full!r}")
        if runs == "host":
            return self._add(members_of_module(full, include, exclude, configure, visibility, recursive))

        def load() -> ModuleType:
            return obj if isinstance(obj, ModuleType) else imported(full)

        given = members.grant(full, load, include, exclude, recursive)
        shown = configuration(
            configure,
            full,
            lambda dotted: members.find(load(), dotted),
            lambda: members.given_names(load(), given),
            sides=("worker", "host"),
        )
        for dotted, _ in shown:
            if not members.allows(given, dotted):
                raise ConfigurationError(
                    f"module {full!r}: configure names {dotted!r}, which include/exclude take away"
                )
        closed = tuple(
            ClassGrant(cls.__module__, cls.__qualname__, constructable=False)
            for cls in (
                members.find(load(), dotted) for dotted, spec in shown if not spec.constructable and not spec.runs
            )
        )
        hosted = named_members(full, load, shown)
        return self._add(ModuleEntry(full, given, visibility, shown, hosted=hosted, classes=closed))

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

        `include` and `exclude` say which members code has, and with `constructable=False` it makes no instances. With
        `runs="host"` instances stay HERE, code holds handles to them, and their methods run in YOUR process; there all three
        are a wall. In the worker they stand on the inner sandbox.
        """
        check_kind(obj, type, "cls() takes a class", "functions go to agent.fn")
        bare = bare_name(obj.__name__ if name is None else name)
        check_visibility(visibility, bare)
        check_side(runs, ("worker", "host"), f"class {bare!r}")
        if runs == "host":
            given = offered(obj, None, include, exclude, f"class {bare!r}")
            shown = _of_members(configure, bare, [member.name for member in given])
            constructor = told_signature(obj, f"class {bare!r}") if constructable else None
            return self._add(ClassEntry(bare, obj, visibility, docstring, shown, "host", given, constructor))
        grant = class_grant(obj, include, exclude, constructable, f"class {bare!r}")
        if not is_importable(obj):
            captured_by(obj, f"class {bare!r}")
        shown = configuration(configure, bare, lambda dotted: members.find(obj, dotted), lambda: dir(obj))
        return self._add(ClassEntry(bare, obj, visibility, docstring, shown, grant=grant))

    def fn(
        self,
        obj: Callable[..., Any],
        *,
        name: str | None = None,
        visibility: Visibility = "high",
        docstring: str | None = None,
        runs: Side | None = None,
        captures: Iterable[str] = (),
        names: Mapping[str, Any] | None = None,
    ) -> FunctionEntry:
        """Give agent code a function under a bare name. It runs in YOUR process, trusted, with arguments the agent chose
        and your annotations validated; with `runs="worker"` it runs in the worker and needs no trust. What such a
        function takes along from here is code and numbers; `captures` names the globals and outer variables that may
        go along beside them. names: those of the block that registers it, for annotations that are text."""
        if (as_function := getattr(type(obj), "as_host_function", None)) is not None:
            obj = as_function(obj)  # a task: code is told how it ended, and gets no hold of an outcome
        if not callable(obj) or isinstance(obj, type):
            raise ConfigurationError(f"fn() takes a function, not {described(obj)}; classes go to agent.cls")
        bare = bare_name(function_name(obj) if name is None else name)
        check_visibility(visibility, bare)
        check_side(runs, ("worker", "host"), f"function {bare!r}")
        captured: tuple[str, ...] = ()
        if runs == "worker" and not (inspect.isroutine(obj) and is_importable(obj)):
            captured = captured_by(obj, f"function {bare!r}", frozenset(captures))
        elif tuple(captures):
            raise ConfigurationError(
                f"function {bare!r}: captures= is for a function that is sent to the worker by value"
            )
        signature = resolved_signature(obj, f"function {bare!r}", names)
        text = inspect.getdoc(obj) if docstring is None else docstring
        return self._add(FunctionEntry(bare, obj, signature, visibility, text, runs or "host", captured))

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All of them, first registered first."""
        return tuple(self._entries.values())

    @property
    def modules(self) -> tuple[ModuleEntry, ...]:
        """Registered modules, first registered first."""
        return tuple(entry for entry in self._entries.values() if isinstance(entry, ModuleEntry))

    @property
    def classes(self) -> tuple[ClassEntry, ...]:
        """Registered classes of either side, first registered first."""
        return tuple(entry for entry in self._entries.values() if isinstance(entry, ClassEntry))

    @property
    def functions(self) -> tuple[FunctionEntry, ...]:
        """Registered functions of either side, first registered first."""
        return tuple(entry for entry in self._entries.values() if isinstance(entry, FunctionEntry))

    @property
    def objects(self) -> tuple[ObjectEntry, ...]:
        """Registered live objects, first registered first."""
        return tuple(entry for entry in self._entries.values() if isinstance(entry, ObjectEntry))

    def grants(self) -> tuple[ModuleGrant, ...]:
        """What the inner sandbox lets agent code import in the worker."""
        return tuple(entry.grant for entry in self.modules if entry.runs == "worker")

    def class_grants(self) -> tuple[ClassGrant, ...]:
        """Classes in the worker of which something is taken away."""
        own = tuple(entry.grant for entry in self.classes if entry.grant is not None)
        return (*own, *(grant for entry in self.modules for grant in entry.classes))

    def preload(self) -> tuple[str, ...]:
        """Modules for the zygote to import: those registered, and those that registered classes and functions live in."""
        named = [entry.name for entry in self.modules if entry.runs == "worker"]
        sent: list[Any] = [entry.cls for entry in self.classes if entry.runs == "worker"]
        sent += [entry.function for entry in self.functions if entry.runs == "worker"]
        named += [each.__module__ for each in sent if is_importable(each)]
        return tuple(name for name in dict.fromkeys(named) if name.partition(".")[0] not in _IMPORTED_LATE)

    def bindings(self) -> dict[str, object]:
        """Classes and functions to send to the worker, by the name that agent code uses."""
        bound: dict[str, object] = {entry.name: entry.cls for entry in self.classes if entry.runs == "worker"}
        bound |= {entry.name: entry.function for entry in self.functions if entry.runs == "worker"}
        return bound

    def host_functions(self) -> dict[str, FunctionEntry]:
        """Functions that run in this process when agent code calls them, by bare name or that in their module."""
        inside = [entry for module in self.modules for entry in module.hosted]
        found = [*self.functions, *(entry for entry in inside if isinstance(entry, FunctionEntry))]
        return {entry.name: entry for entry in found if entry.runs == "host"}

    def host_classes(self) -> dict[str, ClassEntry]:
        """Classes whose instances stay in this process, by bare name or that in their module."""
        inside = [entry for module in self.modules for entry in module.hosted]
        found = [*self.classes, *(entry for entry in inside if isinstance(entry, ClassEntry))]
        return {entry.name: entry for entry in found if entry.runs == "host"}

    def captured(self) -> tuple[str, ...]:
        """What functions that are sent to the worker take along from this process."""
        return tuple(each for entry in self.functions for each in entry.captured)

    @property
    def fingerprint(self) -> str:
        """The same for the same registrations, in every process; different when one of them differs."""
        digest = hashlib.sha256()
        for entry in self._entries.values():
            digest.update(repr(entry.identity).encode() + b"\n")
        return digest.hexdigest()

    def _given(self, given: Module) -> None:
        if isinstance(given.obj, type):
            self.cls(
                given.obj,
                name=given.name,
                visibility=given.visibility,
                constructable=given.constructable,
                include=given.include,
                exclude=given.exclude,
                configure=given.configure,
                runs=given.runs,
            )
            return
        if not given.constructable:
            raise ConfigurationError(f"constructable=False is for classes, and this is {described(given.obj)}")
        self.module(
            given.obj,
            name=given.name,
            visibility=given.visibility,
            include=given.include,
            exclude=given.exclude,
            configure=given.configure,
            recursive=given.recursive,
            runs=given.runs,
        )

    def _object(
        self,
        obj: object,
        name: str | None,
        visibility: Visibility,
        include: Pattern,
        exclude: Pattern,
        configure: Mapping[str, MemberSpec] | None,
        recursive: bool,
    ) -> ObjectEntry:
        if inspect.isroutine(obj):
            raise ConfigurationError(f"module() takes a module or a live object, not {described(obj)}; see agent.fn")
        if name is None:
            raise ConfigurationError(
                f"{described(obj)} is a live object, not a module: give name= what agent code is to call it by"
            )
        bare = bare_name(name)
        check_visibility(visibility, bare)
        if recursive:
            raise ConfigurationError(f"live object {bare!r}: recursive=True is for modules; it has no submodules")
        given = offered(type(obj), obj, include, exclude, f"live object {bare!r}")
        shown = _of_members(configure, bare, [member.name for member in given])
        return self._add(ObjectEntry(bare, obj, given, visibility, shown))

    def _add(self, entry: E) -> E:
        known = self._entries.get(entry.name)
        if known is not None and known.subject != entry.subject and not _redefined(known.subject, entry.subject):
            raise ConfigurationError(
                f"the name {entry.name!r} is taken by {described(known.subject)}; give name= to one of the two"
            )
        self._entries[entry.name] = entry
        return entry


def _redefined(known: object, new: object) -> bool:
    """Whether this is the same statement, run again: of a notebook's cell, or of a module that was loaded anew. The later
    definition counts, as for Python itself."""
    where = _statement(new)
    return where is not None and where == _statement(known)


def _statement(subject: object) -> tuple[str, str, str] | None:
    """Which `def` or `class` at the top of a module made it; None for what was made otherwise, or as one of many."""
    made = getattr(subject, "definition", subject)
    if not isinstance(made, type | FunctionType) or "<" in made.__qualname__:
        return None
    return ("class" if isinstance(made, type) else "def", made.__module__, made.__qualname__)


def _of_members(
    configure: Mapping[str, MemberSpec] | None, owner: str, names: list[str]
) -> tuple[tuple[str, MemberSpec], ...]:
    def find(name: str) -> None:
        if name not in names:
            raise AttributeError(name)

    return configuration(configure, owner, find, lambda: names, sides=("host",))


# polars starts a thread when it is imported, which no fork would inherit; matplotlib wants a folder to write in, which only a
# worker has. Each worker imports these when it first needs them.
_IMPORTED_LATE = frozenset({"matplotlib", "polars"})
