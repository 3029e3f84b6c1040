"""A message of every kind, with every field filled."""

from __future__ import annotations

import dataclasses
import types
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from agex_protocol import messages as m
from agex_protocol import zygote_messages as zm

ACTION = b"a" * 16
UNIONS: tuple[types.UnionType, ...] = (m.ToSupervisor, m.ToWorker, zm.FromZygote, zm.ToZygote)


def sample(annotation: Any) -> Any:
    """Some value of a field's type, with every container filled; the action is always the same."""
    if dataclasses.is_dataclass(annotation) or hasattr(annotation, "_fields"):
        fields = {name: sample(hint) for name, hint in get_type_hints(annotation).items()}
        if "action" in fields:
            fields["action"] = ACTION
        return cast(Any, annotation)(**fields)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return arguments[-1]
    if origin is tuple and arguments[-1] is Ellipsis:
        return (sample(arguments[0]), sample(arguments[0]))
    if origin is tuple:
        return tuple(map(sample, arguments))
    return {bool: True, int: 1, str: "täxt", bytes: b"\xff\x00", float: 0.5}.get(annotation, {"KEY": "value"})
