"""What may be reached through the handles of one declared type: its public members, and the type of what each gives.

Decided by this side's own class. Of a Callable it is the call alone; where no class is declared, any public name.
"""

from __future__ import annotations

import collections.abc as abc
import functools
import inspect
import types
import typing
from collections.abc import Sequence
from typing import Any, get_args, get_origin

import typing_extensions

from agex_protocol.operations import is_public
from agex_supervisor.contract import Contract, ContractMismatch, Unportable
from agex_supervisor.errors import ContractError
from agex_supervisor.handle import Handle
from agex_supervisor.stand_ins import class_of

# Of these nothing is said by their annotation.
_SAYS_NOTHING = (Any, object, inspect.Parameter.empty)
_SELF = (typing.Self, typing_extensions.Self)


class Reach:
    """Of one annotation, the T of a Handle[T]. `local`: the objects are in this process, and results do not cross."""

    def __init__(self, wanted: Any, *, local: bool = False) -> None:
        self._wanted = wanted
        self._local = local
        self._callable = (get_origin(wanted) or wanted) is abc.Callable
        self._cls = class_of(wanted)
        self._contracts: dict[str, Contract | None] = {}

    def names(self) -> list[str]:
        """The public names that are known here."""
        return sorted(filter(is_public, [*dir(self._cls), *self._hints()])) if self._cls is not None else []

    def is_method(self, name: str) -> bool | None:
        """Whether a member of a public name is to be called, and not read; None where only the object can tell.

        AttributeError for one that is not declared.
        """
        if self._callable:
            raise AttributeError(f"a handle of a Callable is called, and nothing else; it has no {name!r}")
        if self._cls is None:
            return None
        member = inspect.getattr_static(self._cls, name, None)
        if member is None and name not in self._hints() and not hasattr(self._cls, name):
            raise AttributeError(
                f"{self._cls.__name__} declares no public {name!r}, so a handle does not reach it;"
                " declare the result as Handle[Any] to reach whatever the object has"
            )
        if isinstance(member, property | functools.cached_property | types.MemberDescriptorType):
            return False
        return callable(getattr(self._cls, name, None))

    def checked(self, args: Sequence[Any]) -> Sequence[Any]:
        """The arguments of a call, validated where a Callable declares them. ContractError says which does not fit."""
        self._require("__call__", "called")
        declared = (get_args(self._wanted) or (...,))[0] if self._callable else ...
        if not isinstance(declared, list):
            return args
        wanted: list[Any] = declared
        if len(args) != len(wanted):
            raise ContractError(f"it takes {len(wanted)} arguments by position, and got {len(args)}")
        return [self._checked(place, each, value) for place, (each, value) in enumerate(zip(wanted, args, strict=True))]

    def of_call(self) -> Contract | None:
        """The contract of what a call gives; None where nothing is declared of it."""
        if self._callable:
            return self._contract("()", lambda: (get_args(self._wanted) or (Any,))[-1])
        return self._contract("()", lambda: self._special("__call__"))

    def of_member(self, name: str) -> Contract | None:
        """The same for what a method gives, or for an attribute."""
        return self._contract(name, lambda: self._declared(name))

    def of_length(self) -> Contract | None:
        self._require("__len__", "measured by len()")
        return self._contract("len()", lambda: int)

    def of_question(self) -> Contract | None:
        """Of what is answered by yes or no."""
        return self._contract("?", lambda: bool)

    def of_item(self) -> Contract | None:
        self._require("__getitem__", "asked for items")
        return self._contract("[]", lambda: self._special("__getitem__"))

    def _require(self, special: str, done: str) -> None:
        if self._callable:
            has_it, name = special == "__call__", "a Callable"
        elif self._cls is None:
            return
        else:
            has_it, name = any(special in vars(kind) for kind in self._cls.__mro__), self._cls.__name__
        if not has_it:
            raise TypeError(f"the object of this handle is declared as {name}, which cannot be {done}")

    def _checked(self, place: int, wanted: Any, value: Any) -> Any:
        contract = self._parameters(place, wanted)
        if contract.accepts_stand_ins and isinstance(value, Handle):
            return value
        try:
            return contract.check(value)
        except ContractMismatch as error:
            raise ContractError(f"argument {place + 1}: {error}") from None

    def _parameters(self, place: int, wanted: Any) -> Contract:
        key = f"#{place}"
        found = self._contracts.get(key)
        if found is None:
            found = self._contracts[key] = Contract.of(wanted, where=f"argument {place + 1}", local=True)
        return found

    def _contract(self, key: str, declared: typing.Callable[[], Any]) -> Contract | None:
        if key not in self._contracts:
            self._contracts[key] = self._compiled(declared())
        return self._contracts[key]

    def _compiled(self, annotation: Any) -> Contract | None:
        annotation = self._wanted if annotation in _SELF else annotation
        if annotation in _SAYS_NOTHING or isinstance(annotation, typing.TypeVar):
            return None
        try:
            contract = Contract.of(annotation, where="the result", result=True)
        except Unportable:
            annotation = Handle[annotation]
            contract = Contract.of(annotation, where="the result", result=True)
        return Contract.of(annotation, where="the result", result=True, local=True) if self._local else contract

    def _declared(self, name: str) -> Any:
        if self._cls is None:
            return Any
        member = inspect.getattr_static(self._cls, name, None)
        if isinstance(member, property):
            return _returned(member.fget)
        if isinstance(member, functools.cached_property):
            return _returned(member.func)
        if self.is_method(name):
            return _returned(inspect.unwrap(getattr(self._cls, name)))
        return self._hints().get(name, Any)

    def _special(self, name: str) -> Any:
        return Any if self._cls is None else _returned(inspect.getattr_static(self._cls, name))

    def _hints(self) -> dict[str, Any]:
        return _hints_of(self._cls) if self._cls is not None else {}


def _returned(function: Any) -> Any:
    return _hints_of(getattr(function, "__func__", function)).get("return", Any)


def _hints_of(thing: Any) -> dict[str, Any]:
    """Annotations as objects; none where a name in them cannot be resolved, as under `if TYPE_CHECKING`."""
    try:
        return typing.get_type_hints(thing, include_extras=True)
    except Exception:  # evaluating an annotation runs code of whoever wrote it
        return {}
