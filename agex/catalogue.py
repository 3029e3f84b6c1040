"""The registrations of an agent as its model reads them, within a budget of tokens.

What the developer wrote comes first and in full, libraries share what is left. The text depends on the registrations
alone, so a provider can cache the prompt it stands in.
"""

from __future__ import annotations

import enum
import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from textwrap import indent
from types import ModuleType
from typing import Any

from agex.class_members import allows as class_allows
from agex.class_members import attributes
from agex.entries import ClassEntry, FunctionEntry, MemberSpec, ModuleEntry, ObjectEntry, Visibility
from agex.kept_texts import KeptTexts
from agex.listing import listing, names_line
from agex.members import allows, find, public_members
from agex.registry import Entry, Registry
from agex.signatures import (
    DOCSTRING_CHARS,
    OWN_SIGNATURE_CHARS,
    SIGNATURE_CHARS,
    cheap_signature,
    clipped,
    first_line,
    render_signature,
)
from agex.tokens import chars_of, estimated_tokens
from agex_supervisor.host_objects import Member
from agex_worker.sandbox.dangerous import kept_back

_OWN_SHARE = 0.6  # of the budget, at most, is for functions and classes while a module also waits for its part
# How each operator that a registration can give is written.
_OPERATORS = {
    "__getitem__": ("[", "]"),
    "__setitem__": ("[...] = ... (", ")"),
    "__delitem__": ("del [", "]"),
    "__contains__": ("in (", ")"),
    "__len__": ("len(", ")"),
    "__iter__": ("iter(", ")"),
    "__call__": ("(", ")"),
    "__bool__": ("bool(", ")"),
}
_MODULE_CHARS = 3000  # of one module, at most: a model knows the famous ones


BUDGET_TOKENS = 1400


def render_registry(
    registry: Registry, budget_tokens: int = BUDGET_TOKENS, skills: Mapping[str, str] | None = None
) -> str:
    """Everything registered, in at most `budget_tokens`; '' when nothing is.

    "high" shows documentation too, "medium" the signature, "low" the name only. `skills` maps a module to the file that
    says how it is used, in place of its signatures. ConfigurationError when a module that has to be shown cannot be
    imported here.
    """
    told = dict(skills or {})
    shown = [each for entry in registry.entries for each in _shown(entry, told)]
    known = tuple(entry.appearance for entry in registry.entries)
    key = (known, tuple(sorted(told.items())), budget_tokens)
    return _whole.text(key, shown, lambda: _within(registry, budget_tokens, told))


def _within(registry: Registry, budget_tokens: int, skills: Mapping[str, str]) -> str:
    room = chars_of(budget_tokens)
    text = _rendered(registry, room, skills)
    while (
        used := estimated_tokens(text)
    ) > budget_tokens and room > 0:  # what is no ASCII takes more bytes than characters
        room = min(room * budget_tokens // used, room - 1)
        text = _rendered(registry, room, skills)
    return text


def _shown(entry: Entry, skills: Mapping[str, str]) -> tuple[object, ...]:
    """What its text is made of."""
    if not isinstance(entry, ModuleEntry):
        return (entry.pictured,)
    return _loaded(entry.load()) if entry.name not in skills and _speaks(entry) else ()


def _loaded(module: ModuleType) -> tuple[object, ...]:
    """The module, and what is another one once it was loaded anew."""
    return (module, module if module.__spec__ is None else module.__spec__)


def _rendered(registry: Registry, budget_chars: int, skills: Mapping[str, str]) -> str:
    functions = [_function_item(entry) for entry in registry.functions]
    objects = [_object_item(entry) for entry in registry.objects]
    classes = [_class_item(entry) for entry in registry.classes]
    taught = [f"{entry.name} ({skills[entry.name]})" for entry in registry.modules if entry.name in skills]
    others = [entry for entry in registry.modules if entry.name not in skills]
    shown = [entry for entry in others if _speaks(entry)]
    quiet = [entry.name for entry in others if not _speaks(entry)]
    own = int(budget_chars * (_OWN_SHARE if registry.modules else 1)) // max(
        bool(functions) + bool(objects) + bool(classes), 1
    )
    sections = [
        _section("Functions, called by their bare names:", functions, own - 2),
        _section("Objects, known by their bare names:", objects, own - 2),
        _section("Classes, known by their bare names:", classes, own - 2),
        names_line(taught, budget_chars // 4, opening="To import once you have read how to use it: "),
        names_line(quiet, budget_chars // 4, opening="Also available to import: "),
    ]
    left = budget_chars - sum(len(section) + 2 for section in sections if section)
    for position, entry in enumerate(shown):
        sections.append(_module_section(entry, min(left // (len(shown) - position) - 2, _MODULE_CHARS)))
        left -= len(sections[-1]) + 2
    return "\n\n".join(section for section in sections if section)


@dataclass(frozen=True, slots=True)
class _Item:
    """One name to show; `text(room)` is its full form, or a shorter one where that does not fit."""

    name: str
    visibility: Visibility
    text: Callable[[int], str]


def _section(heading: str, items: list[_Item], budget: int) -> str:
    """Items with more to show than a name first, in the order given, then the names of the others."""
    speaking = [item for item in items if item.visibility != "low"]
    names = [item.name for item in speaking] + [item.name for item in items if item.visibility == "low"]
    room = budget - len(heading) - 1
    body = listing(names, lambda index, room: speaking[index].text(room), room, lines=len(speaking))
    return f"{heading}\n{body}" if body else ""


def _function_item(entry: FunctionEntry) -> _Item:
    def text(room: int) -> str:
        short = render_signature(entry.name, entry.signature, max_chars=OWN_SIGNATURE_CHARS)
        if entry.visibility != "high":
            return short
        full = render_signature(entry.name, entry.signature, entry.docstring, max_chars=OWN_SIGNATURE_CHARS)
        return full if len(full) <= room else short

    return _Item(entry.name, entry.visibility, text)


def _class_item(entry: ClassEntry) -> _Item:
    def text(room: int) -> str:
        hosted = entry.runs == "host"
        given = entry.constructor is None if hosted else entry.grant is not None and not entry.grant.constructable
        where = "functions and methods" if hosted else "inputs and functions"
        short = f"{entry.name}: given by {where}" if given else _class_text(entry.name, entry.cls)
        docstring = entry.docstring or vars(entry.cls).get("__doc__")
        if hosted:
            return _with_members(short, docstring, entry, room)
        if entry.visibility != "high":
            return short
        head = [short]
        if docstring:
            head.append(indent(clipped(inspect.cleandoc(docstring), DOCSTRING_CHARS), "    "))
        chosen = dict(entry.configure)
        lines: list[str] = []
        data = [name for name in attributes(entry.cls) if class_allows(entry.grant, name)]
        if data and not issubclass(entry.cls, enum.Enum):
            head.append(indent(names_line(data, SIGNATURE_CHARS, opening="attributes: "), "    "))
        public = [name for name in sorted(vars(entry.cls)) if not name.startswith("_")]
        methods = [(name, getattr(entry.cls, name)) for name in public if class_allows(entry.grant, name)]
        for name, method in methods:
            spec = chosen.get(name, MemberSpec())
            if callable(method) and spec.visibility != "low":
                lines.append(indent(_call_text(f".{name}", method, spec.docstring or method.__doc__), "    "))
        return _fitting(head, lines, room)

    return _Item(entry.name, entry.visibility, text)


def _object_item(entry: ObjectEntry) -> _Item:
    def text(room: int) -> str:
        return _with_members(f"{entry.name}: {type(entry.live).__name__}", entry.docstring, entry, room)

    return _Item(entry.name, entry.visibility, text)


def _with_members(short: str, docstring: str | None, entry: ObjectEntry | ClassEntry, room: int) -> str:
    """What stays in this process, with what code may ask of it: nothing else is reachable, so all of it is worth a line."""
    head, lines = [short], list[str]()
    if docstring and entry.visibility == "high":
        head.append(indent(clipped(inspect.cleandoc(docstring), DOCSTRING_CHARS), "    "))
    chosen = dict(entry.configure)
    for member in entry.members:
        spec = chosen.get(member.name, MemberSpec())
        visibility = spec.visibility or entry.visibility
        line = _member_text(member) if visibility != "low" else f".{member.name}"
        about = first_line(spec.docstring or member.doc) if visibility == "high" else ""
        lines.append(indent(f"{line}\n    {about}" if about and member.name not in _OPERATORS else line, "    "))
    return _fitting(head, lines, room)


def _fitting(head: list[str], members: list[str], room: int) -> str:
    """As many members as there is room for below the head, and how many more there are; then less of the head."""
    used = _size(head)
    if used + _size(members) <= room:
        return "\n".join([*head, *members])
    count, left = 0, room - used - len(f"    ... and {len(members)} more") - 1
    while left >= 0 and len(members[count]) < left:
        left -= len(members[count]) + 1
        count += 1
    if left >= 0:
        return "\n".join([*head, *members[:count], f"    ... and {len(members) - count} more"])
    while len(head) > 1 and _size(head) > room:
        head = head[:-1]
    return "\n".join(head)


def _size(lines: list[str]) -> int:
    return sum(map(len, lines)) + len(lines)


def _member_text(member: Member) -> str:
    if member.name in _OPERATORS:
        opening, closing = _OPERATORS[member.name]
        text = render_signature("", member.signature)
        arguments, _, returns = text.rpartition(" -> ") if " -> " in text else (text, "", "")
        return f"{opening}{arguments[1:-1]}{closing}{f' -> {returns}' if returns else ''}"
    name = f".{member.name}"
    return name if member.kind == "attribute" else render_signature(name, member.signature)


def _speaks(entry: ModuleEntry) -> bool:
    return entry.visibility != "low" or any(spec.visibility in ("high", "medium") for _, spec in entry.configure)


_kept = KeptTexts()  # of single modules, which agents with other registrations have in common
_whole = KeptTexts()


def _module_section(entry: ModuleEntry, budget: int) -> str:
    module = entry.load()
    key = (repr(entry.identity), str(vars(module).get("__version__")), budget)
    return _kept.text(key, _loaded(module), lambda: _made_section(entry, module, budget))


def _made_section(entry: ModuleEntry, module: ModuleType, budget: int) -> str:
    heading = f"import {entry.name}"
    if entry.visibility == "high" and (about := first_line(module.__doc__)):
        heading += f"  # {about}"
    heading = clipped(heading, max(budget, 0))
    return _section(heading, _module_items(entry, module), budget) or heading


def _module_items(entry: ModuleEntry, module: ModuleType) -> list[_Item]:
    """Configured members, then the module's own functions and classes, then whatever else it offers by name alone."""
    chosen = dict(entry.configure)
    items = [_member_item(name, find(module, name), spec, entry.visibility) for name, spec in chosen.items()]
    if entry.visibility == "low":
        return items
    offered = {name: value for name, value in _offered(entry, module).items() if name not in chosen}
    own = [name for name, value in offered.items() if callable(value) and _is_own(value, module)]
    items += [_member_item(name, offered[name], MemberSpec(), entry.visibility) for name in _most_used(own, offered)]
    items += [_member_item(name, offered[name], MemberSpec(), "low") for name in offered if name not in own]
    return items


def _offered(entry: ModuleEntry, module: ModuleType) -> dict[str, Any]:
    """Granted members that the module means to offer: where it has an `__all__`, no more than that."""
    members = {name: value for name, value in public_members(module).items() if _gives(entry, name)}
    if entry.runs == "host":
        here = {each.name.rpartition(".")[2] for each in entry.hosted}
        return {name: value for name, value in members.items() if name in here}
    modules = {name: value for name, value in members.items() if inspect.ismodule(value)}
    parts = {name: value for name, value in modules.items() if entry.grant.recursive and _is_own(value, module)}
    listed = set(getattr(module, "__all__", members))
    return {name: value for name, value in members.items() if name in listed and name not in modules} | parts


def _gives(entry: ModuleEntry, name: str) -> bool:
    """Whether code gets it: the registration says so, and the inner sandbox does not keep it back."""
    held = entry.runs == "worker" and name not in entry.grant.include and kept_back(entry.name, name)
    return allows(entry.grant, name) and not held


def _is_own(value: object, module: ModuleType) -> bool:
    home = getattr(value, "__name__" if inspect.ismodule(value) else "__module__", None)
    return not isinstance(home, str) or home.partition(".")[0] == module.__name__.partition(".")[0]


def _most_used(names: list[str], members: dict[str, Any]) -> list[str]:
    """Most mentioned as a call ("pd.concat(") in the documentation of all of them first; then the best documented."""
    mentions: Counter[str] = Counter()
    for name in names:
        mentions.update(re.findall(r"(?<=\w)\.(\w+)\(", str(members[name].__doc__)))
    return sorted(names, key=lambda name: (-mentions[name], -len(str(members[name].__doc__)), name))


def _member_item(name: str, value: object, spec: MemberSpec, otherwise: Visibility) -> _Item:
    visibility = spec.visibility or otherwise

    def text(_room: int) -> str:
        return _call_text(name, value, (spec.docstring or value.__doc__) if visibility == "high" else None)

    return _Item(name, visibility, text)


def _class_text(name: str, cls: type) -> str:
    if issubclass(cls, enum.Enum):
        return names_line(list(cls.__members__), OWN_SIGNATURE_CHARS, opening=f"{name}: one of ")
    return _call_text(name, cls, max_chars=OWN_SIGNATURE_CHARS)


def _call_text(name: str, value: object, docstring: str | None = None, max_chars: int = SIGNATURE_CHARS) -> str:
    signature = cheap_signature(value)
    written = first_line(value.__doc__, max_chars)
    if signature is not None:
        if isinstance(value, type):
            signature = signature.replace(return_annotation=signature.empty)
        text = render_signature(name, signature, max_chars=max_chars)
    elif written.startswith(f"{name}("):  # compiled code often has its signature there
        text = written
    else:
        text = f"{name}(...)" if callable(value) else name
    about = first_line(docstring)
    return f"{text}\n    {about}" if about and about != text else text
