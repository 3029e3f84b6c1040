"""Annotations that are text. Libraries evaluate them (typing, dataclasses, validators), so they may only name types."""

from __future__ import annotations

import ast
import typing
from typing import Any, cast

from agex_worker.sandbox.names import Refused, kind_of

_LITERAL = type(typing.Literal[1])
_NODES = (
    ast.Expression, ast.Name, ast.Attribute, ast.Subscript, ast.Tuple, ast.List, ast.BinOp, ast.BitOr, ast.Constant,
    ast.Starred, ast.Load, ast.UnaryOp, ast.USub,
)  # fmt: skip


def is_harmless(node: ast.AST) -> bool:
    """Whether evaluating this expression, anywhere, does no more than look up names, attributes and brackets."""
    for child in ast.walk(node):
        match child:
            case ast.Name(id=name) if name.startswith("__"):
                return False
            case ast.Attribute(attr=name) if name.startswith("_") or kind_of(name) != "plain":
                return False
            case ast.Constant(value=str(text)):
                if not is_harmless_text(text):
                    return False
            case _:
                if not isinstance(child, _NODES):
                    return False
    return True


def is_harmless_text(text: str) -> bool:
    """The same for source text. What does not parse cannot be evaluated."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return True
    return is_harmless(tree)


def checked_annotation(value: Any) -> Any:
    """The value of an annotation, if none of the texts within it computes anything. Refused otherwise."""
    pending: list[Any] = [value]
    seen = 0
    while pending:
        each = pending.pop()
        seen += 1
        text = each.__forward_arg__ if type(each) is typing.ForwardRef else each
        if isinstance(text, str):
            if type(text) is not str or not is_harmless_text(text):
                raise Refused(f"the annotation {str.__str__(text)[:60]!r} is refused: an annotation only names types")
        elif type(each).__module__ in ("typing", "types", "collections.abc") and type(each) is not _LITERAL:
            pending.extend(getattr(each, "__args__", None) or ())
        elif isinstance(each, list | tuple):
            pending.extend(cast("list[Any]", each))
        if seen > 10_000:
            raise Refused("the annotation is too large to be checked")
    return value
