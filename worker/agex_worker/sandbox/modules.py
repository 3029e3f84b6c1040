"""The import statement of agent code: registered modules, each as a facade of what its registration gives."""

from __future__ import annotations

import abc
import enum
import importlib
import importlib.util
import types
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from agex_protocol.plan import ModuleGrant
from agex_worker import denials
from agex_worker.sandbox.classes import Metaclass
from agex_worker.sandbox.dangerous import PARTS, kept_back
from agex_worker.sandbox.facade import Facade, attach, facade
from agex_worker.sandbox.file_modules import FileModules
from agex_worker.sandbox.replacements import Replacements
from agex_worker.sandbox.types_shown import shown
from agex_worker.sandbox.workspace_modules import WorkspaceModules

_FUTURE = ModuleGrant("__future__")
_METACLASSES: dict[type, Metaclass] = {each: Metaclass(each) for each in (abc.ABCMeta, enum.EnumMeta)}


class Modules:
    """The modules of one namespace. Facades are made anew for each, so nothing written into one is seen by another."""

    def __init__(
        self,
        grants: Iterable[ModuleGrant],
        replacements: Replacements,
        members: Mapping[str, Mapping[str, object]] = types.MappingProxyType({}),
        own: WorkspaceModules | None = None,
        files: FileModules | None = None,
    ) -> None:
        self._files = files
        self._grants = {grant.name: grant for grant in grants} | {"__future__": _FUTURE}
        self._replacements = replacements
        self._members = members
        self._own = own
        self._mine: set[str] = set()  # modules of the workspace
        self._facades: dict[str, Facade] = {}

    def import_(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Facade | None:
        """What the import statement calls. ImportError for what is not registered, or not a member."""
        if type(fromlist) is list:
            # Not a statement, which gives a tuple or None, but C code of a library that imports for itself while agent
            # code is on top of the stack (PyImport_Import). It takes the module from sys.modules, not from here.
            importlib.import_module(name)
            return None
        if level:
            package = (globals or {}).get("__package__")
            name = importlib.util.resolve_name("." * level + name, package if isinstance(package, str) else None)
        found = self._chain(name)
        if not fromlist:
            return self._facades[name.partition(".")[0]]
        for member in fromlist:
            # Every name is settled here: for one that is missing, the statement itself would look in sys.modules.
            with denials.apart() as refused:
                missing = _why_missing(found, member)
            if missing is None:
                continue
            if self._grant_for(f"{name}.{member}") is None and not self._is_own(f"{name}.{member}"):
                if refused.take():  # else there is no such member
                    denials.note("sandbox", "import", f"{name}.{member}")
                raise ImportError(f"cannot import {member!r} from {name!r}: {missing}", name=name)
            attach(found, {member: self._chain(f"{name}.{member}")})
        return found

    def wrap(self, module: types.ModuleType) -> Facade:
        """The facade for a module given as a value under a bare name."""
        name = module.__name__
        self._grants.setdefault(name, ModuleGrant(name))
        return self._chain(name)

    def _chain(self, name: str, module: types.ModuleType | None = None) -> Facade:
        """The facade of a dotted name, hung into that of its parent, and so on up. `module`: where it is known already."""
        if name in self._facades:
            return self._facades[name]
        grant = self._grant_for(name)
        if grant is None and not any(f"{each}.".startswith(f"{name}.") for each in (*self._grants, *self._members)):
            return self._own_chain(name)
        if self._own is not None and "." not in name:
            self._own.refuse_shadow(name)
        parent, _, last = name.rpartition(".")
        above = self._chain(parent) if parent else None
        made = self._bare(name) if grant is None else self._facade(name, grant, module or importlib.import_module(name))
        self._facades[name] = made
        attach(made, dict(self._members.get(name, {})))
        if above is not None:
            attach(above, {last: made})
        return made

    def _own_chain(self, name: str) -> Facade:
        """As `_chain`, for a module of the workspace. It is known before it has run, so that two can import each other."""
        parent, _, last = name.rpartition(".")
        above = self._chain(parent) if parent else None
        if name in self._facades:
            return self._facades[name]  # its package imported it
        found = self._own.find(name) if self._own is not None and (not parent or parent in self._mine) else None
        if self._own is None or found is None:
            raise self._unregistered(name)
        made, scope = self._own.facade(found)
        self._facades[name] = made
        self._mine.add(name)
        try:
            self._own.run(found, scope)
        except BaseException:
            del self._facades[name]
            raise
        if above is not None:
            attach(above, {last: made})
        return made

    def _is_own(self, name: str) -> bool:
        return self._own is not None and name.rpartition(".")[0] in self._mine and self._own.find(name) is not None

    def _grant_for(self, name: str) -> ModuleGrant | None:
        """The registration that gives this module: its own, or that of a package it is an open part of."""
        if name in self._grants:
            return self._grants[name]
        parent, _, last = name.rpartition(".")
        grant = self._grant_for(parent) if parent else None
        if grant is None or last.startswith("_"):
            return None
        open_part = grant.recursive or last in PARTS.get(parent, ())
        return grant if open_part and _allows(grant, name.removeprefix(f"{grant.name}.")) else None

    def _bare(self, name: str) -> Facade:
        """The parent of a registered module that is not registered itself."""

        def vet(member: str) -> Any:
            raise _missing(name, member, f"{name} is not registered, only a part of it")

        return facade(name, vet, lambda: ())

    def _facade(self, name: str, grant: ModuleGrant, module: types.ModuleType) -> Facade:
        prefix = "" if name == grant.name else name.removeprefix(f"{grant.name}.") + "."
        on_files = {} if self._files is None else self._files.members(name)

        def vet(member: str) -> Any:
            if member.startswith("_"):
                raise _missing(name, member, "a leading underscore marks what is the module's own")
            if not _allows(grant, prefix + member):
                raise _missing(name, member, f"the registration of {grant.name} leaves it out")
            exact = prefix + member in grant.include
            if member in on_files and not exact:
                return on_files[member]
            if not exact and member not in PARTS.get(name, ()) and kept_back(name, member):
                raise _missing(
                    name,
                    member,
                    f"it runs code or touches files; a registration has to name it: include=[{member!r}, ...]",
                )
            return self._member(name, member, getattr(module, member), module, exact)

        def names() -> list[str]:
            public = [each for each in dir(module) if not each.startswith("_") and _allows(grant, prefix + each)]
            return [each for each in public if each in on_files or not kept_back(name, each)]

        version = getattr(module, "__version__", None)
        return facade(name, vet, names, about=module.__doc__, version=version if isinstance(version, str) else None)

    def _member(self, name: str, member: str, value: Any, module: types.ModuleType, exact: bool) -> Any:
        if issubclass(type(value), types.ModuleType):
            return self._submodule(name, member, value)
        if not exact and _is_foreign(value, name) and member not in getattr(module, "__all__", ()):
            raise _missing(name, member, f"it belongs to {value.__module__}; register that module")
        replaced = self._replacements.of(value)
        if replaced is not None:
            return replaced
        if issubclass(type(value), type) and issubclass(value, type):
            if value not in _METACLASSES:
                raise _missing(name, member, "it is a class of classes")
            return _METACLASSES[value]
        if issubclass(type(value), type):
            return shown(value)
        # Tables of a module are shared by its users; agent code gets its own.
        return type(value)(value) if type(value) in (dict, list, set, bytearray) else value

    def _submodule(self, name: str, member: str, value: types.ModuleType) -> Facade:
        for dotted in (f"{name}.{member}", value.__name__):
            if dotted in self._grants:
                return self._chain(dotted)
        dotted = f"{name}.{member}"
        if self._grant_for(dotted) is not None and (value.__name__ == dotted or member in PARTS.get(name, ())):
            return self._chain(dotted, value)
        raise _missing(name, member, f"it is a module of its own; register {value.__name__!r}")

    def _unregistered(self, name: str) -> ImportError:
        denials.note("sandbox", "import", name)
        names = sorted((self._grants.keys() | self._members.keys()) - {"__future__"})
        known = ", ".join(names) or "none"
        near = self._own.near(name, names) if self._own is not None else ""
        return ModuleNotFoundError(
            f"the module {name!r} is not registered (registered: {known}){near}; whoever runs this code can register it:"
            f" agent.module({name!r}), Sandbox(modules=[{name!r}]) or agex run --module {name}",
            name=name,
        )


def _why_missing(found: Facade, member: str) -> AttributeError | None:
    try:
        getattr(found, member)
    except AttributeError as error:
        return error
    return None


def _allows(grant: ModuleGrant, member: str) -> bool:
    included = any(fnmatchcase(member, glob) for glob in grant.include)
    return included and not any(fnmatchcase(member, glob) for glob in grant.exclude)


def _is_foreign(value: Any, name: str) -> bool:
    """Whether a class or function found in the module was only imported into it."""
    if not issubclass(type(value), type | types.FunctionType | types.BuiltinFunctionType):
        return False
    origin = getattr(value, "__module__", None)
    if not isinstance(origin, str):
        return False
    home, package = name.partition(".")[0], origin.partition(".")[0]
    return package not in (home, f"_{home}", "builtins") or (package == "builtins" and home != "builtins")


def _missing(name: str, member: str, reason: str) -> AttributeError:
    denials.note("sandbox", "member", f"{name}.{member}")
    return AttributeError(f"module {name!r} gives no {member!r} here: {reason}")
