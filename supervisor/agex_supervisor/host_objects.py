"""Live objects, and classes whose instances stay in this process: what agent code may ask of them, settled when they are
registered. Nothing that a worker sends is looked up on an object; it is looked up in these tables.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from agex_protocol import messages as m
from agex_supervisor.annotations import Unportable
from agex_supervisor.hosted import MAX_DOC_CHARS, Hosted, hosted

# What a loop over an object of this process gets at most: all of it crosses at once.
MAX_ITEMS = 10_000
# Operators that a registration may give by naming them.
OPERATORS = frozenset(
    f"__{name}__" for name in ("getitem", "setitem", "delitem", "contains", "len", "iter", "call", "bool")
)


@dataclass(frozen=True, slots=True)
class Member:
    """One name that agent code may use. `static`: asked of the class, without an instance."""

    name: str
    kind: Literal["method", "attribute", "static"]
    signature: inspect.Signature
    doc: str | None = None


@dataclass(frozen=True)
class HostedObject:
    """One registration. `members` take the object as their first argument, `functions` (by their whole names) do not."""

    declared: m.HostObject
    cls: type
    live: object | None
    members: Mapping[str, Hosted]
    functions: Mapping[str, Hosted]


def hosted_object(
    name: str,
    cls: type,
    live: object | None,
    members: Iterable[Member],
    constructor: inspect.Signature | None = None,
    doc: str | None = None,
    *,
    local: bool = False,
    hosts: tuple[type, ...] = (),
) -> HostedObject:
    """A live object, or with `live=None` a class. Raises Unportable as `hosted` does, naming the member."""

    def made(whole: str, function: Callable[..., Any], member: Member) -> Hosted:
        try:
            return hosted(whole, function, member.signature, member.doc, local=local, hosts=hosts)
        except Unportable as error:
            remedy = f"leave the member out: exclude={member.name!r}" if whole != name else "say constructable=False"
            raise Unportable(f"{error} Or {remedy}.") from error

    of_instances: dict[str, Hosted] = {}
    functions: dict[str, Hosted] = {}
    for member in members:
        whole = f"{name}.{member.name}"
        of_instances[member.name] = made(whole, _REACH[member.kind](member.name), member)
        if member.kind == "static" and live is None:
            functions[whole] = made(whole, getattr(cls, member.name), member)
    if constructor is not None:
        functions[name] = made(name, cls, Member(name, "static", constructor, doc))
    attributes = tuple(member.name for member in members if member.kind == "attribute")
    declared = m.HostObject(
        name,
        cls.__name__,
        (doc or "")[:MAX_DOC_CHARS],
        live is not None,
        tuple(each.declared for key, each in of_instances.items() if key not in attributes),
        attributes,
        tuple(each.declared for each in functions.values()),
    )
    return HostedObject(declared, cls, live, of_instances, functions)


def _calling(name: str) -> Callable[..., Any]:
    def call(owner: Any, /, *args: Any, **kwargs: Any) -> Any:
        return getattr(owner, name)(*args, **kwargs)

    return _listing if name == "__iter__" else call


def _reading(name: str) -> Callable[..., Any]:
    def read(owner: Any, /) -> Any:
        return getattr(owner, name)

    return read


def _listing(owner: Any, /) -> list[Any]:
    items = list(islice(owner, MAX_ITEMS + 1))
    if len(items) > MAX_ITEMS:
        raise ValueError(f"it has more than {MAX_ITEMS} items, which do not cross at once; ask for fewer of them")
    return items


_REACH: dict[str, Callable[[str], Callable[..., Any]]] = {
    "method": _calling,
    "static": _calling,
    "attribute": _reading,
}
