"""What agent code sees of a function that runs in the supervisor: a plain function with its name, doc and signature."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable
from typing import Any, cast

from agex_protocol.encode import encode
from agex_protocol.errors import NotPortable
from agex_protocol.host_handle import HostHandle, target_of
from agex_protocol.messages import HostFunction
from agex_protocol.shapes import Shape, shape_from_bytes
from agex_worker.holding import HOLDING, Tentative

# The name to call, the arguments that were given, and the shapes of all.
Ask = Callable[[str, dict[str, Any], dict[str, Shape]], object]


class HostError(Exception):
    """A host function raised something that is not a builtin exception; the text says what."""

    __module__ = "builtins"  # so in a traceback its bare name stands before the text


def proxy(function: HostFunction, ask: Ask) -> Callable[..., object]:
    """A function of that name: binds its arguments by the host's signature and asks the supervisor to run it."""
    bind, shapes, name = _Binding(function).bind, _shapes(function), function.name

    def call(*args: object, **kwargs: object) -> object:
        return ask(name, bind(args, kwargs), shapes)

    return _named(call, function, signature_of(function))


def method(function: HostFunction, ask: Ask) -> Callable[..., object]:
    """The same for a method: the object that it is called on goes by the name that it has in the supervisor."""
    bind, shapes = _Binding(function).bind, _shapes(function)
    member = function.name.rpartition(".")[2]

    def call(self: HostHandle, /, *args: object, **kwargs: object) -> object:
        return ask(f"{target_of(self)}.{member}", bind(args, kwargs), shapes)

    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    return _named(call, function, inspect.Signature([own, *signature_of(function).parameters.values()]))


def encode_arguments(
    arguments: dict[str, Any], shapes: dict[str, Shape], *, max_bytes: int
) -> dict[str, tuple[bytes, list[Any]]]:
    """The arguments that were given, each by its declared shape. TypeError says which does not fit."""
    encoded: dict[str, tuple[bytes, list[Any]]] = {}
    held = Tentative(HOLDING)
    for name, value in arguments.items():
        try:
            encoded[name] = encode(value, shapes[name], max_bytes=max_bytes, name=name, keep=held)
        except NotPortable as problem:
            held.drop()
            raise TypeError(str(problem)) from None
    return encoded


def error(kind: str, message: str) -> Exception:
    """The exception to raise for what the host function raised: the builtin of that name, else HostError."""
    found = getattr(builtins, kind, None)
    if isinstance(found, type) and issubclass(found, Exception):
        try:
            return found(message)
        except TypeError:  # UnicodeDecodeError and its like want more than a message
            return HostError(f"{kind}: {message}")
    return HostError(f"{kind}: {message}")


class _Binding:
    """Arguments by parameter. What inspect does for any signature takes longer than the rest of a call, so plain
    positional arguments are bound here."""

    def __init__(self, function: HostFunction) -> None:
        self.signature = signature_of(function)
        self._name = function.name
        self._names = [each.name for each in function.parameters if each.kind.startswith("POSITIONAL")]
        needed = [each for each in function.parameters if not (each.optional or each.kind.startswith("VAR"))]
        keyword_only = any(each.kind == "KEYWORD_ONLY" for each in needed)
        self._least = len(self._names) + 1 if keyword_only else len(needed)

    def bind(self, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, Any]:
        if not kwargs and self._least <= len(args) <= len(self._names):
            return dict(zip(self._names, args, strict=False))
        try:
            return self.signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{self._name}(): {error}") from None


def signature_of(function: HostFunction) -> inspect.Signature:
    """Its parameters as Python knows them; what a default is stays with the supervisor."""
    return inspect.Signature(
        [
            inspect.Parameter(
                each.name,
                getattr(inspect.Parameter, each.kind),
                default=... if each.optional else inspect.Parameter.empty,
            )
            for each in function.parameters
        ]
    )


def _shapes(function: HostFunction) -> dict[str, Shape]:
    # With isolation "none" nothing is encoded, and there are none.
    return {each.name: shape_from_bytes(each.shape) for each in function.parameters if each.shape}


def _named(call: Callable[..., object], function: HostFunction, signature: inspect.Signature) -> Callable[..., object]:
    call.__name__ = function.name.rpartition(".")[2]
    call.__qualname__ = function.name
    call.__doc__ = function.doc
    cast(Any, call).__signature__ = signature
    return call
