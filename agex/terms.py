"""What a task's annotations demand, compiled once: a contract for every parameter and for the result."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import GenericAlias
from typing import Any, get_args, get_type_hints

from agex.errors import ContractError
from agex.signatures import annotation_text
from agex_supervisor.contract import Contract, ContractMismatch, Unportable


@dataclass(frozen=True)
class Terms:
    """What a task's annotations demand, compiled."""

    parameters: Mapping[str, Contract]
    texts: Mapping[str, str]
    returns: Contract
    returns_text: str | None
    classes: tuple[type, ...]

    @classmethod
    def of(cls, function: Callable[..., Any], *, local: bool, scope: Mapping[str, Any] | None = None) -> Terms:
        """`scope`: names of the block that defines the function, for annotations that are text. NameError for one that
        is known neither there nor in the function's module; ContractError for a type that cannot be had."""
        hints = get_type_hints(function, localns=dict(scope or {}), include_extras=True)
        signature = inspect.signature(function)
        returned = hints.get("return", Any)
        parameters: dict[str, Contract] = {}
        texts: dict[str, str] = {}
        try:
            for name, parameter in signature.parameters.items():
                annotation = hints.get(name, Any)
                texts[name] = annotation_text(annotation)
                if parameter.kind is parameter.VAR_POSITIONAL:
                    annotation = GenericAlias(tuple, (annotation, ...))
                elif parameter.kind is parameter.VAR_KEYWORD:
                    annotation = GenericAlias(dict, (str, annotation))
                parameters[name] = Contract.of(annotation, where=f"{function.__name__}({name})", local=True)
            returns = Contract.of(returned, where=f"the result of {function.__name__}", local=local)
        except Unportable as error:
            raise ContractError(str(error)) from error
        text = None if returned in (None, type(None)) else _described(returned, returns)
        fields = [each for contract in (*parameters.values(), returns) for each in contract.classes]
        return cls(parameters, texts, returns, text, _named_classes([*hints.values(), *fields]))

    def checked(
        self, signature: inspect.Signature, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, object]:
        """The arguments by parameter, validated and with defaults. ContractError says which does not fit."""
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise ContractError(f"{name}(): {error}") from None
        bound.apply_defaults()
        values: dict[str, object] = {}
        for key, value in bound.arguments.items():
            try:
                values[key] = self.parameters[key].check(value)
            except ContractMismatch as error:
                raise ContractError(f"{name}(): argument {key!r}: {error}") from None
        return values


def _described(returned: object, returns: Contract) -> str:
    """The result's type as it was written, for `none` takes classes of any kind; below it the fields of its records."""
    return "\n".join([annotation_text(returned, 400), *returns.describe().splitlines()[1:]])


def _named_classes(annotations: Iterable[Any]) -> tuple[type, ...]:
    found: dict[type, None] = {}
    pending = list(annotations)
    while pending:
        annotation = pending.pop()
        arguments = get_args(annotation)
        pending += [argument for argument in arguments if not isinstance(argument, str)]
        plain = isinstance(annotation, type) and not arguments
        if plain and annotation.__module__ not in ("builtins", "typing", "types", "collections.abc"):
            found[annotation] = None
    return tuple(sorted(found, key=lambda each: (each.__module__, each.__qualname__)))
