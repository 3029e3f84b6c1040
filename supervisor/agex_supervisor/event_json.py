"""Events as JSON and back. A log may have been written by another version, or by anyone: what is read is checked.

Every field is read by its declared type and nothing else; what is not declared is refused.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NoReturn, get_type_hints

from agex_supervisor import model
from agex_supervisor.denials import Denial
from agex_supervisor.display import display
from agex_supervisor.events import KINDS, Event

# A reply of a model has at most 4 MiB; in JSON each of its characters takes up to six.
MAX_TEXT_CHARS = 4 << 20
MAX_JSON_CHARS = 32 << 20
MAX_ITEMS = 100_000
MAX_COUNT = 1 << 62

_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in KINDS}
_ACTIONS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (model.PythonAction, model.TerminalAction, model.WriteFile, model.EditFile)
}


def written(event: Event) -> str:
    """One line of JSON with the event's type and fields. ValueError for one that could not be read again."""
    text = json.dumps(_plain(event), allow_nan=False)
    if len(text) > MAX_JSON_CHARS:
        raise ValueError(f"{type(event).__name__} is {len(text)} characters long as JSON; at most {MAX_JSON_CHARS}")
    return text


def read(text: str) -> Event:
    """The event in a text that `written` made; ValueError says what is wrong with any other."""
    if len(text) > MAX_JSON_CHARS:
        raise ValueError(f"an event has at most {MAX_JSON_CHARS} characters of JSON, not {len(text)}")
    try:
        data = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("this is no event: it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"this is no event: {error}") from None
    event: Event = _tagged(data, _KINDS, "event")
    return event


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        kind = type(value).__name__
        return _with_kind(kind, fields) if kind in _KINDS or kind in _ACTIONS else fields
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _with_kind(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    # SuccessEvent has a field called type, so the tag needs a name that no field can have.
    return {"kind": kind, **fields}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice in it")
    return made


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number here")


def _tagged(data: Any, kinds: Mapping[str, type[Any]], what: str) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"{what} is a JSON object, not {_named(data)}")
    fields = dict(data)
    kind = fields.pop("kind", None)
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"{what} of unknown kind {_shown(kind)}; there are {', '.join(sorted(kinds))}")
    return _record(fields, kinds[kind], kind)


def _record(data: Any, cls: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise ValueError(f"{where} is a JSON object, not {_named(data)}")
    readers = _readers(cls)
    if unknown := sorted(set(data) - set(readers)):
        raise ValueError(f"{where} has no field {_shown(unknown[0])}; it has {', '.join(readers)}")
    if missing := [name for name in _needed(cls) if name not in data]:
        raise ValueError(f"{where} misses its field {missing[0]!r}")
    return cls(**{name: readers[name](value, f"{where}.{name}") for name, value in data.items()})


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where} is a text, not {_named(value)}")
    if len(value) > MAX_TEXT_CHARS:
        raise ValueError(f"{where} has at most {MAX_TEXT_CHARS} characters, not {len(value)}")
    return value


def _count(value: Any, where: str) -> int:
    if type(value) is not int:
        raise ValueError(f"{where} is a whole number, not {_named(value)}")
    if not 0 <= value <= MAX_COUNT:
        raise ValueError(f"{where} is from 0 to {MAX_COUNT}")
    return value


def _number(value: Any, where: str) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"{where} is a number, not {_named(value)}")
    if not (-MAX_COUNT <= value <= MAX_COUNT and math.isfinite(value)):
        raise ValueError(f"{where} is too large a number")
    return float(value)


def _flag(value: Any, where: str) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{where} is true or false, not {_named(value)}")
    return value


def _texts_by_name(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > MAX_ITEMS:
        raise ValueError(f"{where} is a JSON object of at most {MAX_ITEMS} texts, not {_named(value)}")
    return {_text(name, where): _text(text, f"{where}.{_shown(name)}") for name, text in value.items()}


Reader = Callable[[Any, str], Any]


def _items(reader: Reader) -> Reader:
    def items(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) > MAX_ITEMS:
            raise ValueError(f"{where} is a list of at most {MAX_ITEMS} items, not {_named(value)}")
        return tuple(reader(item, f"{where}[{at}]") for at, item in enumerate(value))

    return items


def _or_none(reader: Reader) -> Reader:
    return lambda value, where: None if value is None else reader(value, where)


def _usage(value: Any, where: str) -> Any:
    return _record(value, model.Usage, where)


# One for each type that a field of an event, an action or a denial is declared as.
_READERS: dict[Any, Reader] = {
    str: _text,
    int: _count,
    float: _number,
    bool: _flag,
    str | None: _or_none(_text),
    float | None: _or_none(_number),
    Mapping[str, str]: _texts_by_name,
    tuple[str, ...]: _items(_text),
    tuple[Denial, ...]: _items(lambda value, where: _record(value, Denial, where)),
    model.Usage: _usage,
    model.Usage | None: _or_none(_usage),
    model.Action: lambda value, where: _tagged(value, _ACTIONS, where),
}


@lru_cache(None)
def _readers(cls: Any) -> dict[str, Reader]:
    hints = get_type_hints(cls)
    return {field.name: _READERS[hints[field.name]] for field in dataclasses.fields(cls)}


@lru_cache(None)
def _needed(cls: Any) -> tuple[str, ...]:
    missing = dataclasses.MISSING
    return tuple(
        field.name for field in dataclasses.fields(cls) if field.default is missing and field.default_factory is missing
    ) + (("id", "time") if issubclass(cls, Event) else ())


def _named(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: Any) -> str:
    return display(repr(value)[:100], limit=80, one_line=True)
