"""A function of the application as agent code may call it: what its parameters declare, and how arguments go into a call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import GenericAlias
from typing import Any

from agex_protocol import messages as m
from agex_protocol.errors import ProtocolError
from agex_supervisor.contract import Contract

MAX_DOC_CHARS = 2_000


@dataclass(frozen=True)
class Hosted:
    """One function with what its parameters declare."""

    function: Callable[..., Any]
    declared: m.HostFunction
    contracts: Mapping[str, Contract]
    signature: inspect.Signature

    @cached_property
    def takes_handles(self) -> bool:
        """Whether an argument can be an object that stays in its worker."""
        return any(contract.has_handles for contract in self.contracts.values())

    @cached_property
    def in_order(self) -> tuple[str, ...]:
        """The names of its parameters where a call that has all of them can give them by their places, else none."""
        kinds = {each.kind for each in self.declared.parameters}
        ordinary = kinds <= {"POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD"}
        return tuple(each.name for each in self.declared.parameters) if ordinary else ()


def hosted(
    name: str,
    function: Callable[..., Any],
    signature: inspect.Signature,
    doc: str | None,
    *,
    local: bool = False,
    hosts: tuple[type, ...] = (),
) -> Hosted:
    """A function under the name that code calls it by. `signature` carries annotations as objects.

    Raises Unportable where a parameter's class has no codec, unless `local`: then nothing has to cross. Instances of
    `hosts` stay in this process and are named.
    """
    contracts: dict[str, Contract] = {}
    parameters: list[m.HostParameter] = []
    for parameter in signature.parameters.values():
        annotation: Any = Any if parameter.annotation is parameter.empty else parameter.annotation
        if parameter.kind is parameter.VAR_POSITIONAL:
            annotation = GenericAlias(tuple, (annotation, ...))
        elif parameter.kind is parameter.VAR_KEYWORD:
            annotation = GenericAlias(dict, (str, annotation))
        # Where nothing crosses, what code gives to a function is wrapped as its results are.
        where = f"{name}({parameter.name})"
        contract = Contract.of(annotation, where=where, local=local, result=local, hosts=hosts, taken=True)
        contracts[parameter.name] = contract
        optional = parameter.default is not parameter.empty
        shape = b"" if local else contract.shape.to_bytes()
        parameters.append(m.HostParameter(parameter.name, parameter.kind.name, optional, shape))
    declared = m.HostFunction(name, (doc or "")[:MAX_DOC_CHARS], tuple(parameters))
    return Hosted(function, declared, contracts, signature)


def refuse_shifted(hosted: Hosted, given: Mapping[str, Any]) -> None:
    """ProtocolError for arguments that no call can have, and by which one would take the place of another unchecked."""
    if len(given) == len(hosted.in_order):
        return
    skipped = False
    for parameter in hosted.declared.parameters:
        name, kind = parameter.name, parameter.kind
        if name not in given:
            skipped = skipped or kind in ("POSITIONAL_ONLY", "POSITIONAL_OR_KEYWORD")
        elif skipped and (kind == "POSITIONAL_ONLY" or (kind == "VAR_POSITIONAL" and given[name])):
            raise ProtocolError(f"{hosted.declared.name}() got {name!r} past an argument that was left out")
        elif kind == "VAR_KEYWORD":
            # `*args` and `**kwargs` themselves are no names that a call could give twice.
            by_name = ("POSITIONAL_OR_KEYWORD", "KEYWORD_ONLY")
            named = {each.name for each in hosted.declared.parameters if each.kind in by_name}
            if twice := sorted(named & set(given[name])):
                raise ProtocolError(f"{hosted.declared.name}() got {twice[0]!r} once more among {name!r}")


def spread(hosted: Hosted, given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments by parameter name, as a call takes them. TypeError where one without a default is missing."""
    if given and len(given) == len(hosted.in_order):
        return [given[name] for name in hosted.in_order], {}
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    positional = True
    for parameter in hosted.declared.parameters:
        name, kind = parameter.name, parameter.kind
        if name not in given:
            if not parameter.optional and kind not in ("VAR_POSITIONAL", "VAR_KEYWORD"):
                raise TypeError(f"{hosted.declared.name}() misses its argument {name!r}")
            positional = False  # what follows goes by keyword, past the one left at its default
        elif kind == "VAR_POSITIONAL":
            args += given[name]
        elif kind == "VAR_KEYWORD":
            kwargs |= given[name]
        elif kind == "POSITIONAL_ONLY" or (kind == "POSITIONAL_OR_KEYWORD" and positional):
            args.append(given[name])
        else:
            kwargs[name] = given[name]
    return args, kwargs
