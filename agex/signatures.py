"""Signatures: read from a callable with its hints resolved, and written as the model sees them.

What the model sees is bounded and the same in every run: a default that is not plainly a constant is shown as `...`,
so no address and no secret object is printed.
"""

from __future__ import annotations

import functools
import inspect
import textwrap
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from agex.errors import ConfigurationError
from agex_supervisor.handle import Handle
from agex_supervisor.opaque import Opaque

SIGNATURE_CHARS = 120  # of a library's member
OWN_SIGNATURE_CHARS = 600  # of a function or class that the developer registered: its types are worth the room
DOCSTRING_CHARS = 600


def resolved_signature(
    function: Callable[..., Any], name: str, names: Mapping[str, Any] | None = None
) -> inspect.Signature:
    """The signature with every annotation as an object, not text; `names` are known beside those of its module.
    ConfigurationError says why it cannot be had."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{name} cannot be registered: Python knows no signature for it. Wrap it in a def with annotations."
        ) from error
    try:
        hints = _hints(function, names)
    except Exception as error:  # evaluating an annotation runs code of the developer's
        raise ConfigurationError(
            f"{name} cannot be registered: its annotations do not resolve ({type(error).__name__}: {error}). "
            "Annotations must name what is visible at module level, outside `if TYPE_CHECKING`, or where it is registered."
        ) from error
    parameters = [p.replace(annotation=hints.get(p.name, p.annotation)) for p in signature.parameters.values()]
    returns = hints.get("return", signature.return_annotation)
    return signature.replace(parameters=parameters, return_annotation=returns)


def cheap_signature(function: object) -> inspect.Signature | None:
    """The signature as it is written, or None where a compiled object does not tell."""
    if not callable(function):
        return None
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def render_signature(
    name: str, signature: inspect.Signature, docstring: str | None = None, *, max_chars: int = SIGNATURE_CHARS
) -> str:
    """`name(a: int, b=1) -> str` in at most `max_chars`, with the docstring below it, indented.

    What does not fit goes in this order: types of optional parameters, all types, parameters from the right.
    """
    for optional_types, types_at_all in ((True, True), (False, True), (False, False)):
        parameters = _parameters(signature, optional_types, types_at_all)
        returns = _returns(signature) if types_at_all else ""
        text = f"{name}({', '.join(parameters)}){returns}"
        if len(text) <= max_chars:
            break
    else:
        text = _cut(name, _parameters(signature, False, False), max_chars)
    if docstring:
        text += "\n" + textwrap.indent(clipped(inspect.cleandoc(docstring), DOCSTRING_CHARS), "    ")
    return text


def annotation_text(annotation: object, max_chars: int = 60) -> str:
    """An annotation without module prefixes: `dict[str, DataFrame] | None`."""
    return clipped(_type_text(annotation), max_chars)


def first_line(docstring: object, max_chars: int = SIGNATURE_CHARS) -> str:
    """The first paragraph of a docstring on one line, or ''."""
    if not isinstance(docstring, str):
        return ""
    paragraph = docstring.strip().partition("\n\n")[0]
    return clipped(" ".join(paragraph.split()), max_chars)


def clipped(text: str, max_chars: int) -> str:
    """The text, or its head with an ellipsis: never more than `max_chars`."""
    return text if len(text) <= max_chars else text[: max(max_chars - 3, 0)] + "..."[:max_chars]


def _hints(function: Callable[..., Any], names: Mapping[str, Any] | None) -> dict[str, Any]:
    target: Any = function
    while isinstance(target, functools.partial):
        target = target.func
    target = inspect.unwrap(target)
    if inspect.isclass(target):
        target = target.__init__
    elif not inspect.isroutine(target):
        if hasattr(target, "__signature__"):
            return {}  # it says itself what it takes; the hints of __call__ would be about something else
        target = type(target).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except NameError:
        if not names:
            raise
        return typing.get_type_hints(target, localns=dict(names), include_extras=True)


def _parameters(signature: inspect.Signature, optional_types: bool, types_at_all: bool) -> list[str]:
    written: list[str] = []
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    star_due = inspect.Parameter.VAR_POSITIONAL not in kinds
    for index, parameter in enumerate(signature.parameters.values()):
        if parameter.kind is parameter.KEYWORD_ONLY and star_due:
            written.append("*")
            star_due = False
        typed = types_at_all and (optional_types or parameter.default is parameter.empty)
        written.append(_parameter(parameter, typed))
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter.kind not in kinds[index + 1 :]:
            written.append("/")
    return written


def _parameter(parameter: inspect.Parameter, typed: bool) -> str:
    stars = (
        "*" if parameter.kind is parameter.VAR_POSITIONAL else "**" if parameter.kind is parameter.VAR_KEYWORD else ""
    )
    text: str = stars + parameter.name
    annotated = typed and parameter.annotation is not parameter.empty
    if annotated:
        text += f": {annotation_text(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        text += (" = " if annotated else "=") + _default(parameter.default)
    return text


def _default(value: object) -> str:
    if value is None or type(value) in (bool, int, float, str, bytes):
        text = repr(value)
        return text if len(text) <= 24 else "..."
    return "()" if value == () and type(value) is tuple else "..."


def _returns(signature: inspect.Signature) -> str:
    if signature.return_annotation is signature.empty:
        return ""
    return f" -> {annotation_text(signature.return_annotation)}"


def _cut(name: str, parameters: list[str], max_chars: int) -> str:
    kept = list(parameters)
    while kept and len(name) + len(", ".join(kept)) + len("(, ...)") > max_chars:
        kept.pop()
    if kept and kept[-1] == "*":
        kept.pop()
    return clipped(f"{name}({', '.join([*kept, '...'])})", max_chars)


def _type_text(annotation: object) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if isinstance(annotation, str):
        return annotation
    if isinstance(annotation, list):  # the parameters of a Callable
        return f"[{', '.join(map(_type_text, annotation))}]"
    if annotation is None or annotation is types.NoneType:
        return "None"
    if annotation is ...:
        return "..."
    if origin in (typing.Annotated, Handle, Opaque):  # of an object that stands for another, code sees the other
        return _type_text(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(_type_text, arguments))
    if origin is typing.Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin is not None and arguments:
        return f"{_name_of(origin)}[{', '.join(map(_type_text, arguments))}]"
    return _name_of(annotation)


def _name_of(annotation: object) -> str:
    name = getattr(annotation, "__name__", None)
    return name if isinstance(name, str) else repr(annotation).rpartition(".")[2]
