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
from agex_protocol.plan import ModuleGrant

Visibility = Literal["high", "medium", "low"]
Side = Literal["worker", "host"]


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """How one member is shown: `visibility` "high" (with documentation), "medium" (signature) or "low" (name only)."""

    visibility: Visibility | None = None
    docstring: str | None = None
    constructable: bool = True
    runs: Side | None = None


@dataclass(frozen=True, slots=True)
class Module:
    """A module with the choices of `agent.module`, for `Sandbox(modules=[...])`."""

    obj: ModuleType | str
    include: Pattern = None
    exclude: Pattern = None
    visibility: Visibility = "medium"
    configure: Mapping[str, MemberSpec] | None = None
    recursive: bool = False


@dataclass(frozen=True, slots=True)
class ModuleEntry:
    """A module that agent code may import. It need not be imported here until it is shown to a model."""

    name: str
    grant: ModuleGrant
    visibility: Visibility
    configure: tuple[tuple[str, MemberSpec], ...] = ()

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
        return ("module", self.grant, self.visibility, self.configure)


@dataclass(frozen=True, slots=True)
class ClassEntry:
    """A class that agent code knows by a bare name; its instances live in the worker."""

    name: str
    cls: type
    visibility: Visibility
    docstring: str | None
    configure: tuple[tuple[str, MemberSpec], ...] = ()

    @property
    def subject(self) -> object:
        """As of a ModuleEntry."""
        return self.cls

    @property
    def identity(self) -> tuple[object, ...]:
        """As of a ModuleEntry."""
        where = f"{self.cls.__module__}:{self.cls.__qualname__}"
        return ("class", self.name, where, self.visibility, self.docstring, self.configure)


@dataclass(frozen=True, slots=True)
class FunctionEntry:
    """A function that agent code knows by a bare name. `signature` carries annotations as objects, not text."""

    name: str
    function: Callable[..., Any]
    signature: inspect.Signature
    visibility: Visibility
    docstring: str | None
    runs: Side

    @property
    def subject(self) -> object:
        """As of a ModuleEntry."""
        return self.function

    @property
    def identity(self) -> tuple[object, ...]:
        """As of a ModuleEntry."""
        text = render_signature(self.name, self.signature, max_chars=OWN_SIGNATURE_CHARS)
        where = f"{getattr(self.function, '__module__', '')}:{getattr(self.function, '__qualname__', '')}"
        return ("function", text, where, self.visibility, self.docstring, self.runs)


def imported(name: str) -> ModuleType:
    """The module of that name. ConfigurationError with the cause when it cannot be imported here."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever the module's own code raises
        raise ConfigurationError(
            f"module {name!r} was registered but importing it fails: {type(error).__name__}: {error}"
        ) from error
