"""What agent code sees of a function that runs in the supervisor: a plain function with its name, doc and signature."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable
from typing import Any, cast

from agex_protocol.encode import encode
from agex_protocol.errors import NotPortable
from agex_protocol.messages import HostFunction
from agex_protocol.shapes import Shape, shape_from_bytes
from agex_worker.holding import HOLDING

Ask = Callable[[str, dict[str, Any], dict[str, Shape]], object]


class HostError(Exception):
    """A host function raised something that is not a builtin exception; the text says what."""


def proxy(function: HostFunction, ask: Ask) -> Callable[..., object]:
    """A function of that name: binds its arguments by the host's signature and asks the supervisor to run it."""
    signature = inspect.Signature(
        [
            inspect.Parameter(
                each.name,
                getattr(inspect.Parameter, each.kind),
                default=... if each.optional else inspect.Parameter.empty,
            )
            for each in function.parameters
        ]
    )
    shapes = {each.name: shape_from_bytes(each.shape) for each in function.parameters}
    name = function.name

    def call(*args: object, **kwargs: object) -> object:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{name}(): {error}") from None
        return ask(name, bound.arguments, shapes)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = function.doc
    cast(Any, call).__signature__ = signature
    return call


def encode_arguments(
    arguments: dict[str, Any], shapes: dict[str, Shape], *, max_bytes: int
) -> dict[str, tuple[bytes, list[Any]]]:
    """The arguments that were given, each by its declared shape. TypeError says which does not fit."""
    encoded: dict[str, tuple[bytes, list[Any]]] = {}
    for name, value in arguments.items():
        try:
            encoded[name] = encode(value, shapes[name], max_bytes=max_bytes, name=name, keep=HOLDING)
        except NotPortable as problem:
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
