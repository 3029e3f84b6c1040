"""What of an instance crosses: the fields that its class is made of. What would be lost is refused, never left out in silence.

The instance is built anew in the supervisor. So what its class does not take as a field (private attributes, fields that are
not for the constructor, attributes put on later) must come back by itself, as it does when it was never touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, cast

from agex_protocol.bulk import BARE
from agex_protocol.kinds import reference
from agex_protocol.misfit import Misfit, named, short, unlike
from agex_protocol.shapes import Shape


def parts_of(value: Any, shape: Shape) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of an instance or a mapping, and what it holds beyond them."""
    if shape.flavour != "typeddict" and reference(type(value)) == shape.cls:
        return _fields_of(value, shape), dict(getattr(value, "__pydantic_extra__", None) or {})
    if shape.cls in map(reference, type(value).__mro__):
        raise unlike(value, shape, "; a subclass would lose its own fields")
    if shape.flavour == "root":
        return {"root": value}, {}
    if not isinstance(value, Mapping) or shape.flavour == "namedtuple":
        raise unlike(value, shape)
    entries: Mapping[Any, Any] = shape.by_name(value)
    beyond = {name: entries[name] for name in entries if name not in shape.names}
    if beyond and shape.extra == "forbid":
        raise Misfit(f"{named(value)} with unknown {', '.join(map(short, beyond))}, wanted {shape}")
    found = {name: entries[name] for name in shape.names if name in entries}
    return found, beyond if shape.extra == "allow" else {}


def _fields_of(value: Any, shape: Shape) -> dict[str, Any]:
    """The fields of an instance of exactly the class that the shape names. Misfit if something else would be lost."""
    found = {name: getattr(value, name) for name in shape.names if hasattr(value, name)}
    if shape.flavour == "dataclass":
        _check_dataclass(value, found)
    elif shape.flavour in ("model", "root"):
        private = getattr(value, "__pydantic_private__", None)
        if private:
            _check_again(value, _model(type(value), found), private)
        return _without_defaults(value, found)
    return found


def _check_dataclass(value: Any, found: dict[str, Any]) -> None:
    declared: dict[str, Any] = type(value).__dataclass_fields__
    held: dict[str, Any] = getattr(value, "__dict__", {})
    beyond = [name for name in held if name not in declared and not _is_remade(type(value), name)]
    if len(declared) == len(found) and not beyond:
        return
    # By name, since the kinds of pseudo-fields are private to the standard library.
    kinds = {name: field._field_type.name for name, field in declared.items()}
    if "_FIELD_INITVAR" in kinds.values():
        beyond += found
    beyond += [name for name, kind in kinds.items() if kind == "_FIELD" and name not in found and hasattr(value, name)]
    if beyond:
        _check_again(value, type(value)(**found), {name: getattr(value, name) for name in beyond})


def _check_again(value: Any, again: Any, held: dict[str, Any]) -> None:
    lost = [name for name, one in held.items() if not _is_alike(one, getattr(again, name, _NOTHING))]
    if lost:
        raise Misfit(
            f"{named(value)} would lose {', '.join(map(repr, sorted(lost)))}, as only the fields of its constructor cross; "
            "give a dict of all that is wanted, or leave it as it was made"
        )


def _is_alike(one: Any, other: Any) -> bool:
    """Whether two attributes mean the same: plain data that is equal, or two objects of one class such as locks."""
    if type(one) is not type(other):
        return False
    try:
        return bool(one == other) or type(one) not in _COMPARED
    except Exception:
        return True


def _is_remade(cls: type[Any], name: str) -> bool:
    return name.startswith("__") or isinstance(getattr(cls, name, None), cached_property)


def _model(cls: Any, found: dict[str, Any]) -> Any:
    if "root" in found and len(found) == 1:
        return cls.model_validate(found["root"])
    return cls.model_validate(found, by_name=True, by_alias=False)


def _without_defaults(value: Any, found: dict[str, Any]) -> dict[str, Any]:
    """Fields that nobody set and that are as they would be anyway stay out, so that `exclude_unset` still knows them."""
    given: set[str] = value.__pydantic_fields_set__
    if len(given) >= len(found):
        return found
    fields: dict[str, Any] = type(value).model_fields
    return {name: one for name, one in found.items() if name in given or not _is_default(one, fields[name])}


def _is_default(value: Any, field: Any) -> bool:
    default = field.default_factory() if field.default_factory in _FACTORIES else field.default
    if value is default:
        return True
    return type(value) is type(default) and type(value) in _COMPARED and _is_equal(value, default)


def _is_equal(value: Any, default: Any) -> bool:
    try:
        return cast(bool, value == default) is True
    except Exception:  # an array in a list has no truth of its own
        return False


_NOTHING = object()
_FACTORIES: tuple[Any, ...] = (list, dict, set, tuple, frozenset)
_COMPARED: frozenset[type[Any]] = BARE | {list, dict, set, tuple, frozenset}
