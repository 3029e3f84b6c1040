"""Declared classes with fields: dataclasses, NamedTuples, TypedDicts, pydantic models.

An instance passes as itself; a mapping is made an instance after its fields were checked strictly, one by one. The same
way makes the instances of what a worker sent.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, NotRequired, Required, Union, cast, get_args, get_origin, get_type_hints

from pydantic import AliasChoices, BaseModel, ConfigDict, FailFast, RootModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict, is_typeddict

from agex_protocol.kinds import reference
from agex_protocol.shapes import Shape
from agex_supervisor.checking import Checking

# Where in a value, what is wrong, and what is there.
Fault = tuple[tuple[int | str, ...], str, Any]
STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True)


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """One field that a caller may give."""

    annotation: Any
    needed: bool


class Unmade(Exception):
    """Of many rows that were to become records this one cannot, for what is known."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


def flavour_of(cls: Any) -> str:
    """ "dataclass", "namedtuple", "typeddict", "model", "root", or "" for a class without declared fields."""
    if not isinstance(cls, type):
        return ""
    if is_typeddict(cls):
        return "typeddict"
    if issubclass(cls, RootModel):
        return "root"
    if issubclass(cls, BaseModel):
        return "model"
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return "namedtuple"
    return "dataclass" if dataclasses.is_dataclass(cls) else ""


def fields_of(annotation: Any, names: Mapping[str, Any]) -> dict[str, Field]:
    """The fields of a class, or of a generic one with its parameters filled in. NameError for a hint beyond resolving;
    of a class within a function it may be one of `names`."""
    cls = get_origin(annotation) or annotation
    flavour = flavour_of(cls)
    within = {cls.__name__: cls, **names} if "<locals>" in cls.__qualname__ else {}
    if flavour in ("model", "root"):
        try:
            # None where it is whole already. As of a class derived from a generic model that contains itself, it may fail.
            if cls is not BaseModel and cls.model_rebuild(_types_namespace=within) is False:
                raise NameError(f"pydantic cannot complete {cls.__name__}")
        except PydanticUndefinedAnnotation as error:
            raise NameError(error.message) from None
        return {name: Field(_written(cls, name), field.is_required()) for name, field in cls.model_fields.items()}
    hints = _hints(cls, within)
    given = dict(zip(getattr(cls, "__parameters__", ()), get_args(annotation), strict=False))
    hints = {name: _filled(hint, given) for name, hint in hints.items()}
    if flavour == "dataclass":
        return {
            field.name: Field(
                hints[field.name],
                field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
            )
            for field in dataclasses.fields(cls)
            if field.init
        }
    if flavour == "namedtuple":
        return {name: Field(hints.get(name, Any), name not in cls._field_defaults) for name in cls._fields}
    return {name: _key(hint, name in cls.__required_keys__) for name, hint in hints.items()}


def _hints(cls: type, within: dict[str, Any]) -> dict[str, Any]:
    try:
        return get_type_hints(cls, include_extras=True)
    except NameError:
        if not within:
            raise
        return get_type_hints(cls, localns=within, include_extras=True)


def _written(cls: Any, name: str) -> Any:
    """The annotation of a model's field. Where a generic model contains itself, pydantic leaves a mere mark in that with its
    parameters given; so it is made of what the generic one has there."""
    annotation = cls.model_fields[name].annotation
    if not _has_mark(annotation):
        return annotation
    for base in cls.__mro__:
        made = vars(base).get("__pydantic_generic_metadata__") or {}
        if made.get("args") and name in made["origin"].model_fields:
            parameters = made["origin"].__pydantic_generic_metadata__["parameters"]
            given = dict(zip(parameters, made["args"], strict=False))
            return _replaced(made["origin"].model_fields[name].annotation, given)
    return annotation


def _has_mark(annotation: Any) -> bool:
    return hasattr(annotation, "type_ref") or any(map(_has_mark, get_args(annotation)))


def _replaced(annotation: Any, given: Mapping[Any, Any]) -> Any:
    """The annotation with these parameters in the place of type variables, in generic models too."""
    if isinstance(annotation, typing.TypeVar):
        return given.get(annotation, annotation)
    made = getattr(annotation, "__pydantic_generic_metadata__", None)
    if made and made["parameters"]:
        return annotation[tuple(_replaced(each, given) for each in made["parameters"])]
    origin, args = get_origin(annotation), get_args(annotation)
    new = tuple(_replaced(each, given) for each in args)
    if new == args:
        return annotation
    if origin is types.UnionType:
        return Union[new]  # noqa: UP007
    return annotation.copy_with(new) if hasattr(annotation, "copy_with") else origin[new]


def aliases_of(cls: Any) -> tuple[tuple[str, str], ...]:
    """The other names of a model's fields, each with its field; a path into a field is none."""
    pairs: list[tuple[str, str]] = []
    for name, field in (cls.model_fields if flavour_of(cls) == "model" else {}).items():
        alias = field.validation_alias or field.alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        pairs += [(each, name) for each in choices if isinstance(each, str) and each not in cls.model_fields]
    return tuple(dict.fromkeys(pairs))


def extra_of(cls: Any) -> str:
    """What becomes of keys that are no fields: "ignore", "forbid" or "allow", as pydantic's configuration says. Where it says
    nothing a model leaves them out, as pydantic documents it; a dataclass itself takes no argument that is no field."""
    config = getattr(cls, "model_config", None) or getattr(cls, "__pydantic_config__", None) or {}
    return str(config.get("extra") or ("ignore" if flavour_of(cls) in ("model", "root") else "forbid"))


class Record:
    """One declared class. `strict` gives the form of a field's annotation that pydantic is to check."""

    def __init__(self, annotation: Any, fields: Mapping[str, Field], strict: Callable[[Any], Any]) -> None:
        self.annotation = annotation
        self.cls: Any = get_origin(annotation) or annotation
        self.flavour = flavour_of(self.cls)
        self.fields = fields
        self.shape = Shape("record", names=tuple(fields), cls=reference(self.cls), aliases=aliases_of(self.cls))
        self._strict = strict

    def check(self, value: Any) -> Any:
        """The instance itself, or one made from a mapping. PydanticCustomError says what does not fit."""
        if self.flavour != "typeddict" and isinstance(value, self.cls):
            return value
        if self.flavour == "root":
            return self.build({"root": value})
        if not isinstance(value, Mapping) or self.flavour == "namedtuple":
            raise PydanticCustomError("agex_record", "Input should be {name}", {"name": self._wanted})
        try:
            parts = self.shape.by_name(cast(Mapping[str, Any], value))
        except ValueError as error:
            raise PydanticCustomError("agex_record", "{text}", {"text": str(error)}) from None
        return self.build(parts)

    def build(self, parts: Mapping[str, Any]) -> Any:
        """An instance of fields that are checked here; its own validators and `__post_init__` run after that."""
        try:
            fields: dict[str, Any] = self._validated(dict(parts))
            return self._made(fields)
        except ValidationError as error:
            raise PydanticCustomError("agex_fields", "its fields do not fit", {"faults": list(faults(error))}) from None
        except PydanticCustomError:
            raise
        except Exception as error:  # the class's own code refused
            text = f"{type(error).__name__}: {error}"
            raise PydanticCustomError(
                "agex_record", "{name} refused it: {text}", {"name": self._wanted, "text": text}
            ) from error

    def build_all(self, rows: list[dict[str, Any]]) -> list[Any]:
        """As `build` for each row, in half of the time. Unmade names a row that `build` would refuse."""
        try:
            fields = self._all.validate_python(rows)
            if self.flavour == "model" and not issubclass(self.cls, RootModel):
                return self._models.validate_python(fields, by_name=True, by_alias=False)
        except ValidationError as error:
            raise Unmade(cast(int, error.errors(include_url=False)[0]["loc"][0])) from None
        except Exception:  # the class's own code, in whatever row
            raise Unmade(0) from None
        made: list[Any] = []
        for each in fields:
            try:
                made.append(self._made(each))
            except Exception:
                raise Unmade(len(made)) from None
        return made

    @cached_property
    def _validated(self) -> Checking:
        return Checking(TypeAdapter(self._mapping))

    @cached_property
    def _all(self) -> TypeAdapter[list[dict[str, Any]]]:
        mappings: Any = Annotated[list[self._mapping], FailFast()]  # type: ignore[name-defined]
        return TypeAdapter(mappings, config=STRICT)

    @cached_property
    def _models(self) -> TypeAdapter[list[Any]]:
        models: Any = Annotated[list[self.cls], FailFast()]  # type: ignore[name-defined]
        return TypeAdapter(models)

    @cached_property
    def _mapping(self) -> Any:
        # Built when first used: the class may contain itself.
        hints = {
            name: Required[self._strict(field.annotation)]
            if field.needed
            else NotRequired[self._strict(field.annotation)]
            for name, field in self.fields.items()
        }
        mapping: Any = cast(Any, TypedDict)(self.cls.__name__, hints)
        mapping.__pydantic_config__ = {**STRICT, "extra": extra_of(self.cls)}
        return mapping

    def prepare(self) -> None:
        """Build now what would fail later. Raises what pydantic raises for an annotation that it cannot check."""
        _ = self._validated

    def _made(self, fields: dict[str, Any]) -> Any:
        if self.flavour == "typeddict":
            return fields
        if self.flavour == "root":
            return self.cls.model_validate(fields["root"])
        if self.flavour == "model":
            return self.cls.model_validate(fields, by_name=True, by_alias=False)
        return self.cls(**fields)

    @property
    def _wanted(self) -> str:
        kinds = {"namedtuple": f"a {self.cls.__name__}", "typeddict": f"a mapping with the keys of {self.cls.__name__}"}
        return kinds.get(self.flavour, f"a {self.cls.__name__} or a mapping of its fields")


def faults(error: ValidationError) -> Iterator[Fault]:
    """Every fault, those inside declared classes too."""
    for fault in error.errors(include_url=False):
        inner = fault.get("ctx", {}).get("faults")
        if fault["type"] == "agex_fields" and inner is not None:
            for where, text, value in inner:
                yield (*fault["loc"], *where), text, value
        else:
            yield fault["loc"], fault["msg"], fault["input"]


def _filled(hint: Any, given: Mapping[Any, Any]) -> Any:
    if isinstance(hint, typing.TypeVar):
        return given.get(hint, hint.__bound__ or Any)
    inner = getattr(hint, "__parameters__", ())
    return hint[tuple(_filled(parameter, given) for parameter in inner)] if inner and get_origin(hint) else hint


def _key(hint: Any, needed: bool) -> Field:
    """A key of a TypedDict. Its own list of needed keys is wrong where annotations are strings, so the hint comes first."""
    if get_origin(hint) in (Required, NotRequired):
        return Field(get_args(hint)[0], get_origin(hint) is Required)
    return Field(hint, needed)
