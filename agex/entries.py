"""Records of what was registered: one entry a module, class or function."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from agex.errors import ConfigurationError
from agex.members import Pattern
from agex.signatures import OWN_SIGNATURE_CHARS, render_signature
from agex_protocol.plan import ClassGrant, ModuleGrant
from agex_supervisor.host_objects import Member

Visibility = Literal["high", "medium", "low"]
Side = Literal["worker", "host"]


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """How one member is shown: `visibility` "high" (with documentation), "medium" (signature) or "low" (name only).

    `runs="host"` keeps a module's function or class in your process.
    """

    visibility: Visibility | None = None
    docstring: str | None = None
    constructable: bool = True
    runs: Side | None = None


@dataclass(frozen=True, slots=True)
class Module:
    """A module or a live object with the choices of `agent.module`, or a class with those of `agent.cls`, for
    `Sandbox(modules=[...])`."""

    obj: object
    include: Pattern = None
    exclude: Pattern = None
    visibility: Visibility = "medium"
    configure: Mapping[str, MemberSpec] | None = None
    recursive: bool = False
    name: str | None = None
    runs: Side | None = None
    constructable: bool = True


@dataclass(frozen=True, slots=True)
class ModuleEntry:
    """A module that agent code may import. It need not be imported here until it is shown to a model.

    With `runs="host"` the worker imports nothing. hosted: members that run in this process, by their dotted names. classes:
    those of which code makes no objects.
    """

    name: str
    grant: ModuleGrant
    visibility: Visibility
    configure: tuple[tuple[str, MemberSpec], ...] = ()
    runs: Side = "worker"
    hosted: tuple[FunctionEntry | ClassEntry, ...] = ()
    classes: tuple[ClassGrant, ...] = ()

    def load(self) -> ModuleType:
        """The module, imported into this process. ConfigurationError when that fails."""
        return imported(self.name)

    @property
    def subject(self) -> object:
        """What the name stands for: two registrations of one name must agree in it."""
        return self.name

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes this entry differ from another, the same in every process."""
        hosted = tuple(entry.identity for entry in self.hosted)
        return ("module", self.grant, self.visibility, self.configure, self.runs, hosted, self.classes)

    @property
    def appearance(self) -> tuple[object, ...]:
        """What decides how a model is shown it, beside the object itself. Cheap: it is asked for every prompt."""
        return ("module", self.grant, self.visibility, self.configure, self.runs)


@dataclass(frozen=True, slots=True)
class ClassEntry:
    """A class that agent code knows by a bare name; its instances live in the worker, or with `runs="host"` here.

    members and constructor are those of a class that runs here; without a constructor code cannot make instances.
    """

    name: str
    cls: type
    visibility: Visibility
    docstring: str | None
    configure: tuple[tuple[str, MemberSpec], ...] = ()
    runs: Side = "worker"
    members: tuple[Member, ...] = ()
    constructor: inspect.Signature | None = None
    grant: ClassGrant | None = None  # what is taken away of one in the worker

    @property
    def subject(self) -> object:
        """As of a ModuleEntry."""
        return self.cls

    @property
    def identity(self) -> tuple[object, ...]:
        """As of a ModuleEntry."""
        where = f"{self.cls.__module__}:{self.cls.__qualname__}"
        offered = (self.runs, _identity(self.members), self.constructor is not None, self.grant)
        return ("class", self.name, where, self.visibility, self.docstring, self.configure, offered)

    @property
    def appearance(self) -> tuple[object, ...]:
        """As of a ModuleEntry."""
        offered = (self.runs, _names(self.members), self.constructor is not None, self.grant)
        return ("class", self.name, self.visibility, self.docstring, self.configure, offered)

    @property
    def pictured(self) -> object:
        """What its text is made of."""
        return self.cls


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """A live object that agent code knows by a bare name. It stays in this process; code may use its `members`."""

    name: str
    live: object
    members: tuple[Member, ...]
    visibility: Visibility
    configure: tuple[tuple[str, MemberSpec], ...] = ()

    @property
    def docstring(self) -> str | None:
        """What its class says of itself."""
        return inspect.getdoc(type(self.live))

    @property
    def subject(self) -> object:
        """As of a ModuleEntry."""
        return Same(self.live)

    @property
    def identity(self) -> tuple[object, ...]:
        """As of a ModuleEntry."""
        where = f"{type(self.live).__module__}:{type(self.live).__qualname__}"
        return ("object", self.name, where, _identity(self.members), self.visibility, self.configure)

    @property
    def appearance(self) -> tuple[object, ...]:
        """As of a ModuleEntry."""
        return ("object", self.name, _names(self.members), self.visibility, self.configure)

    @property
    def pictured(self) -> object:
        """As of a ClassEntry."""
        return self.live


@dataclass(frozen=True, slots=True)
class FunctionEntry:
    """A function that agent code knows by a bare name. `signature` carries annotations as objects, not text."""

    name: str
    function: Callable[..., Any]
    signature: inspect.Signature
    visibility: Visibility
    docstring: str | None
    runs: Side
    captured: tuple[str, ...] = ()  # what goes along with it to the worker

    @property
    def subject(self) -> object:
        """As of a ModuleEntry."""
        return self.function

    @property
    def identity(self) -> tuple[object, ...]:
        """As of a ModuleEntry."""
        text = render_signature(self.name, self.signature, max_chars=OWN_SIGNATURE_CHARS)
        where = f"{getattr(self.function, '__module__', '')}:{getattr(self.function, '__qualname__', '')}"
        return ("function", text, where, self.visibility, self.docstring, self.runs, self.captured)

    @property
    def appearance(self) -> tuple[object, ...]:
        """As of a ModuleEntry."""
        return ("function", self.name, self.visibility, self.docstring, self.runs)

    @property
    def pictured(self) -> object:
        """As of a ClassEntry. Of a task it is the function, for what stands for it is made anew for each agent."""
        return getattr(self.function, "definition", None) or self.function


@dataclass(frozen=True, slots=True)
class Same:
    """Equal to another of the very same object; an object's own `==` may answer anything."""

    obj: object

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.obj is other.obj


def _names(members: tuple[Member, ...]) -> tuple[str, ...]:
    return tuple(member.name for member in members)


def _identity(members: tuple[Member, ...]) -> tuple[str, ...]:
    return tuple(f"{member.kind} {render_signature(member.name, member.signature)}" for member in members)


def imported(name: str) -> ModuleType:
    """The module of that name. ConfigurationError with the cause when it cannot be imported here."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever the module's own code raises
        raise ConfigurationError(
            f"module {name!r} was registered but importing it fails: {type(error).__name__}: {error}"
        ) from error
