"""What runs where a name alone does not decide: reads of doubtful and private attributes, and every store.

The gates of one namespace. Compiled code calls them by names that are no identifiers.
"""

from __future__ import annotations

import builtins
import operator
import types
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from agex_protocol.plan import ClassGrant, ModuleGrant, SandboxPlan
from agex_worker.sandbox.annotation_text import checked_annotation
from agex_worker.sandbox.dangerous import MEMBERS
from agex_worker.sandbox.facade import Facade
from agex_worker.sandbox.file_paths import FILE_MEMBERS, WorkspacePath
from agex_worker.sandbox.files import WorkspaceFiles
from agex_worker.sandbox.formatting import checked_format
from agex_worker.sandbox.methods import METHODS
from agex_worker.sandbox.names import READABLE, STORABLE_DUNDERS, Refused, is_dunder, kind_of, why_refused
from agex_worker.sandbox.own import MARK, Own, class_of, is_own, is_own_class
from agex_worker.sandbox.replacements import Namespace
from agex_worker.sandbox.types_shown import is_closed, type_of

_INPLACE: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.iadd,
    "Sub": operator.isub,
    "Mult": operator.imul,
    "MatMult": operator.imatmul,
    "Div": operator.itruediv,
    "FloorDiv": operator.ifloordiv,
    "Mod": operator.imod,
    "Pow": operator.ipow,
    "LShift": operator.ilshift,
    "RShift": operator.irshift,
    "BitOr": operator.ior,
    "BitXor": operator.ixor,
    "BitAnd": operator.iand,
}
_BASIC = (object, int, float, complex, str, bytes, tuple, frozenset, list, dict, set)
_NAMED_TUPLE = frozenset({"_replace", "_asdict", "_fields", "_make", "_field_defaults"})
# Objects that pass a store on to another object, or whose attributes become source code of a library.
_FORWARDING = frozenset({"typing", "types", "weakref", "dataclasses", "functools", "abc", "unittest"})


class Gates:
    """Reads and stores for one plan; `files` is what paths given to libraries are opened with."""

    def __init__(self, plan: SandboxPlan, files: WorkspaceFiles | None) -> None:
        self._files = files
        self._excluding = tuple(grant for grant in plan.modules if grant.exclude)
        self._classes = {(grant.module, grant.qualname): grant for grant in plan.classes}

    def names(self) -> dict[str, object]:
        """The gates by the names under which compiled code finds them."""
        return {
            "<attr>": self.attribute,
            "<private>": self.private,
            "<self>": receiver,
            "<own>": own,
            "<store>": storable,
            "<annotation>": checked_annotation,
            "<inplace>": inplace,
            "<mark>": MARK,
            "<Own>": Own,
            "<Exception>": Exception,
        }

    def get(self, value: Any, name: object) -> Any:
        """getattr() for a name that was computed."""
        if type(name) is not str:
            raise TypeError(f"attribute name must be a plain str, not {type(name).__name__!r}")
        kind = kind_of(name)
        if kind == "refused" or name.startswith("<"):
            raise Refused(f"the attribute {name} is not allowed here: {why_refused(name)}", name, "attribute")
        return self.private(value, name) if kind == "private" else self.attribute(value, name)

    def set(self, value: Any, name: object, new: object) -> None:
        """setattr() for a name that was computed."""
        builtins.setattr(target(value, name), str(name), new)

    def delete(self, value: Any, name: object) -> None:
        """delattr() for a name that was computed."""
        builtins.delattr(target(value, name), str(name))

    def attribute(self, value: Any, name: str) -> Any:
        """A public attribute that some objects must not give, or not as it is."""
        kind = type(value)
        if kind is Facade:
            return getattr(value, name)
        if name[0] == "_":
            return self._dunder(value, name)
        if kind is types.GenericAlias or (kind.__module__ == "typing" and "__origin__" in vars(value)):
            # `Annotated[str, 1].format` is str.format: what is asked for here is that of the origin.
            return self.attribute(value.__origin__, name)
        cls = class_of(value)
        self._check_member(cls, name)
        if name == "obj" and issubclass(cls, BaseException):
            raise Refused(
                "the attribute obj of an error is not allowed here: it may be a module's own object", name, "attribute"
            )
        if name == "register" and cls is value:
            raise Refused(
                "register() of a class is not allowed here: it changes what isinstance() says; inherit from it",
                name,
                "attribute",
            )
        if name in METHODS and (method := METHODS[name].applies(cls)):
            return self._replaced(value, cls, name, method)
        found = getattr(value, name)
        if name == "format":
            return checked_format(found, self.get)
        if type(found) is types.MappingProxyType:
            return types.MappingProxyType(dict(found))
        if issubclass(type(found), types.ModuleType):
            raise Refused(
                f"the attribute {name} is not allowed here: it is a module; import it, if it is registered",
                name,
                "attribute",
            )
        return found

    def private(self, value: Any, name: str) -> Any:
        """An attribute with a leading underscore: of the agent's own objects, and the public ones of named tuples."""
        if is_own(value) or (name in _NAMED_TUPLE and issubclass(class_of(value), tuple) and not _makes(value, name)):
            return getattr(value, name)
        if type(value) is super and is_own_class(class_of(value)):
            return getattr(value, name)
        if type(value) is Namespace and name in vars(value):
            return vars(value)[name]  # a parameter of the task may be named so
        raise _not_own(value, name)

    def _dunder(self, value: Any, name: str) -> Any:
        if name == "__class__":
            if is_own(value):
                return type_of(value)
        elif name == "__init__":
            if is_own(value) or (type(value) is super and is_own_class(class_of(value))):
                return getattr(value, name)
            if issubclass(type(value), type) and not is_closed(value):
                return _init_of(value)
        elif name == "__new__":
            # Elsewhere it makes objects of classes that take care of what they are made of.
            if (type(value) is super and is_own_class(class_of(value))) or class_of(value) in _BASIC:
                return getattr(value, name)
        elif name == "__members__":
            # A copy: what stands behind the mapping is handed to whoever is compared with it.
            return types.MappingProxyType(dict(getattr(value, name)))
        elif name in ("__setattr__", "__delattr__"):
            if value is object:
                return _checked_store(getattr(object, name))
            if type(value) is super and is_own(super.__self__.__get__(value)):  # type: ignore[attr-defined]
                return _checked_store(getattr(value, name), bound=True)
        elif name in READABLE:
            return getattr(value, name)
        raise Refused(f"the attribute {name} is not allowed here: {why_refused(name)}", name, "attribute")

    def _check_member(self, cls: type, name: str) -> None:
        for base in cls.__mro__:
            grant_of_class = self._classes.get((base.__module__, base.__qualname__))
            if grant_of_class is not None and _taken_away(grant_of_class, cls, base, name):
                text = f"{base.__name__}.{name} is not allowed here: the class is registered without it"
                raise Refused(text, f"{base.__qualname__}.{name}", "member")
            package = base.__module__.partition(".")[0].lstrip("_")
            reason = MEMBERS.get(package, {}).get(name)
            if reason and not (name in FILE_MEMBERS and issubclass(cls, WorkspacePath)):
                raise Refused(f"{base.__name__}.{name} is not allowed here: {reason}", name, "attribute")
            for grant in self._excluding:
                if grant.name.partition(".")[0] == package and _excluded(grant, base, name):
                    text = f"{base.__name__}.{name} is not allowed here: {grant.name} is registered without it"
                    raise Refused(text, f"{grant.name}.{base.__qualname__}.{name}", "member")

    def _replaced(self, value: Any, cls: type, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        files = self._files
        found = getattr(value, name)

        def call(*args: Any, **named: Any) -> Any:
            if cls is value:  # DataFrame.to_csv(df, ...)
                return self.attribute(args[0], name)(*args[1:], **named)
            return method(found, files, *args, **named)

        call.__name__ = call.__qualname__ = name
        call.__doc__ = getattr(found, "__doc__", None)
        return call


def receiver(value: Any) -> None:
    """What a method was called on must be an object, or a class, of the agent's own."""
    if not is_own(value):
        raise Refused(
            f"a method that uses private attributes, or assigns attributes, was called on {_article(value)}; it may be"
            " called only on instances of classes defined in this code"
        ) from None


def inplace(operation: str, value: Any, other: Any) -> Any:
    """`value += other` and its kin, for an attribute that had to be read through a gate."""
    return _INPLACE[operation](value, other)


def own(value: Any, name: str) -> Any:
    """For a store of a private attribute."""
    if not is_own(value):
        raise _not_own(value, name)
    return value


def storable(value: Any, name: str) -> Any:
    """For a store of a public attribute: not on classes, modules and functions that others use as well."""
    kind = type(value)
    if is_own(value):
        return value
    if issubclass(kind, type | types.ModuleType | types.FunctionType | Facade) or _shared(kind):
        raise Refused(
            f"assigning to the attribute {name} of {_article(value)} is not allowed here: others use it as well;"
            " subclass it, or keep the value in a variable",
            name,
        )
    return value


def target(value: Any, name: object) -> Any:
    """The object whose attribute of that name may be set or deleted."""
    if type(name) is not str:
        raise TypeError(f"attribute name must be a plain str, not {type(name).__name__!r}")
    allowed = name in STORABLE_DUNDERS or not (is_dunder(name) or kind_of(name) == "refused")
    if name.startswith("<") or not allowed:
        raise Refused(f"assigning to the attribute {name} is not allowed here: {why_refused(name)}", name)
    return own(value, name) if name.startswith("_") else storable(value, name)


def _init_of(cls: Any) -> Callable[..., None]:
    """`Base.__init__`, for objects of the agent's own: it would turn anybody's file into another one."""

    def init(instance: Any, /, *args: Any, **named: Any) -> None:
        receiver(instance)
        cls.__init__(instance, *args, **named)

    return init


def _checked_store(store: Callable[..., None], *, bound: bool = False) -> Callable[..., None]:
    """object.__setattr__ or super().__setattr__, for what setattr() would do as well."""
    if bound:
        instance = store.__self__  # type: ignore[attr-defined]

        def on_self(name: str, *value: object) -> None:
            target(instance, name)
            store(name, *value)

        return on_self

    def on_any(instance: object, name: str, *value: object) -> None:
        store(target(instance, name), name, *value)

    return on_any


def _taken_away(grant: ClassGrant, cls: type, base: type, name: str) -> bool:
    """Whether a class is registered without this member. What code's own subclasses add to it is theirs."""
    if cls is not base and is_own_class(cls):
        added = any(name in vars(each) for each in cls.__mro__[: cls.__mro__.index(base)])
        if added or not hasattr(base, name):
            return False
    included = any(fnmatchcase(name, glob) for glob in grant.include)
    return not included or any(fnmatchcase(name, glob) for glob in grant.exclude)


def _makes(value: Any, name: str) -> bool:
    """Whether a named tuple's member would make another object of a class that code makes none of."""
    return name in ("_make", "_replace") and is_closed(class_of(value))


def _excluded(grant: ModuleGrant, base: type, name: str) -> bool:
    member = f"{base.__qualname__}.{name}"
    inner = base.__module__.removeprefix(grant.name).lstrip(".")
    spoken = (member, f"{inner}.{member}") if inner else (member,)
    return any(fnmatchcase(each, glob) for glob in grant.exclude for each in spoken)


def _shared(kind: type) -> bool:
    return kind.__module__ in _FORWARDING and kind.__name__ not in ("SimpleNamespace", "Namespace", "partial")


def _not_own(value: object, name: str) -> Refused:
    return Refused(
        f"the attribute {name} of {_article(value)} is not allowed here: a leading underscore marks what belongs to a"
        " library; it is open on objects of classes defined in this code",
        name,
        "attribute",
    )


def _article(value: object) -> str:
    kind = type(value)
    if kind is Facade:
        return f"the module {getattr(value, '__name__', '')}"
    if issubclass(kind, type):
        return f"the class {getattr(value, '__name__', '')}"
    return f"a {kind.__name__}"
