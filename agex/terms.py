"""What a task's annotations demand, compiled once: a contract for every parameter and for the result."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import GenericAlias
from typing import Any, Generic, cast, get_args, get_origin, get_type_hints

from agex.errors import ContractError
from agex.scope import Scope
from agex.signatures import annotation_text
from agex_supervisor.contract import Contract, ContractMismatch, Unpickle, Unportable, Unresolved
from agex_supervisor.handle import Handle
from agex_supervisor.opaque import Opaque


@dataclass(frozen=True)
class Terms:
    """What a task's annotations demand, compiled."""

    parameters: Mapping[str, Contract]
    texts: Mapping[str, str]
    returns: Contract
    returns_text: str | None
    classes: tuple[type, ...]
    signature: inspect.Signature  # as a model is shown it
    resolved: inspect.Signature  # with every annotation as an object

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        *,
        local: bool,
        scope: Mapping[str, Any] | None = None,
        unpickle: Unpickle | None = None,
    ) -> Terms:
        """`scope`: names of the block that defines the function, for annotations that are text. NameError or Unresolved for
        one that is known neither there nor in the function's module; ContractError for a type that cannot be had.
        `unpickle`: opens results that cannot come otherwise."""
        names = dict(scope or {})
        hints = get_type_hints(function, localns=names, include_extras=True)
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
                where = f"{function.__name__}({name})"
                parameters[name] = Contract.of(annotation, where=where, local=True, names=names)
            where = f"the result of {function.__name__}"
            returns = Contract.of(returned, where=where, local=local, result=True, unpickle=unpickle, names=names)
        except Unresolved:
            raise
        except Unportable as error:
            raise ContractError(str(error)) from error
        text = None if returned in (None, type(None)) else _described(returned, returns)
        fields = [each for contract in (*parameters.values(), returns) for each in contract.classes]
        classes = _named_classes([*hints.values(), *fields], [returned, *returns.classes])
        names.clear()  # the contracts keep it, and it would keep alive whatever that block has
        shown, resolved = _shown(signature, hints), _resolved(signature, hints)
        return cls(parameters, texts, returns, text, classes, shown, resolved)

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
            if isinstance(value, Handle | Opaque) and self.parameters[key].accepts_stand_ins:
                values[key] = cast(object, value)  # what it stands for is seen by none but the code
                continue
            try:
                values[key] = self.parameters[key].check(value)
            except ContractMismatch as error:
                raise ContractError(f"{name}(): argument {key!r}: {error}") from None
        return values


class LateTerms:
    """The terms of a task: compiled at once, or at its first call where an annotation names what is not defined yet."""

    def __init__(
        self, function: Callable[..., Any], scope: Scope | None, local: bool, unpickle: Unpickle | None
    ) -> None:
        self._function = function
        self._scope = scope
        self._local = local
        self._unpickle = unpickle
        self._terms: Terms | None = None
        with contextlib.suppress(NameError, Unresolved):
            self._terms = self._compiled()

    def now(self) -> Terms:
        """ContractError where a declared type cannot be had, or is not known yet."""
        if self._terms is None:
            name = self._function.__name__
            try:
                self._terms = self._compiled()
            except NameError as error:
                raise ContractError(
                    f"task {name}: an annotation does not resolve: {error}. It must name what is visible at module"
                    " level, outside `if TYPE_CHECKING`, or where the task is defined"
                ) from error
            except Unresolved as error:
                raise ContractError(str(error)) from error
        return self._terms

    def _compiled(self) -> Terms:
        scope = {} if self._scope is None else self._scope.names()
        terms = Terms.of(self._function, local=self._local, scope=scope, unpickle=self._unpickle)
        self._scope = None  # what it keeps alive is no more needed
        return terms


def _shown(signature: inspect.Signature, hints: Mapping[str, Any]) -> inspect.Signature:
    """The signature as it was written, but of what stands for an object, which code never sees, the annotation itself."""
    own = {name: hint for name, hint in hints.items() if _has_stand_in(hint)}
    parameters = [
        each.replace(annotation=own.get(name, each.annotation)) for name, each in signature.parameters.items()
    ]
    return signature.replace(parameters=parameters, return_annotation=own.get("return", signature.return_annotation))


def _resolved(signature: inspect.Signature, hints: Mapping[str, Any]) -> inspect.Signature:
    parameters = [
        each.replace(annotation=hints.get(name, each.annotation)) for name, each in signature.parameters.items()
    ]
    return signature.replace(parameters=parameters, return_annotation=hints.get("return", signature.return_annotation))


def _has_stand_in(annotation: Any) -> bool:
    return (get_origin(annotation) or annotation) in (Handle, Opaque) or any(map(_has_stand_in, get_args(annotation)))


def _described(returned: object, returns: Contract) -> str:
    """The result's type as it was written, for `none` takes classes of any kind; below it the fields of its records."""
    return "\n".join([annotation_text(returned, 400), *returns.describe().splitlines()[1:]])


def _named_classes(annotations: Iterable[Any], returned: Iterable[Any]) -> tuple[type, ...]:
    """In the order of their names. Of several that are called alike code gets the last: what it has to make."""
    found = _classes_in(annotations)
    names = [each.__name__ for each in found]
    chosen = {each for each in _classes_in(returned) if names.count(each.__name__) > 1}
    return tuple(sorted(found, key=lambda each: (each in chosen, each.__module__, each.__qualname__)))


def _classes_in(annotations: Iterable[Any]) -> dict[type, None]:
    found: dict[type, None] = {}
    pending = list(annotations)
    while pending:
        annotation = pending.pop()
        arguments = get_args(annotation)
        pending += [argument for argument in arguments if not isinstance(argument, str)]
        if (generic := _generic_of(annotation)) is not None:
            pending.append(generic)  # `Box` of `Box[int]`: code writes the one to make the other
        plain = isinstance(annotation, type) and not arguments
        if (
            plain
            and annotation not in (Handle, Opaque)
            and annotation.__module__ not in ("builtins", "typing", "types", "collections.abc")
        ):
            found[annotation] = None
    return found


def _generic_of(annotation: object) -> object:
    """The class that a parametrised one was made from; pydantic's are classes of their own that tell where they come from."""
    origin = get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, Generic):
        return origin
    metadata: Mapping[str, Any] = getattr(annotation, "__pydantic_generic_metadata__", None) or {}
    return metadata.get("origin")
