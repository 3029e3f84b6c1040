"""What an annotation means: the shape that crosses, and the form of it that pydantic checks.

Both come from one walk. The form differs from the annotation where pydantic alone would be too lax or too strict: classes
with fields (records.py), literals, and the many classes of which only an instance will do.
"""

from __future__ import annotations

import collections
import collections.abc as abc
import enum
import inspect
import itertools
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

import typing_extensions
from pydantic import InstanceOf, PlainValidator, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from agex_protocol import libraries
from agex_protocol.bulk import PLAIN
from agex_protocol.errors import AgexError
from agex_protocol.kinds import reference
from agex_protocol.leaves import LEAVES
from agex_protocol.shapes import ANY, NONE, Shape
from agex_supervisor.checking import Checking
from agex_supervisor.declarable import BUILT, CONTAINERS, NATIVE, PANDAS
from agex_supervisor.handle import Handle
from agex_supervisor.keyed import KEYED, keyed_form
from agex_supervisor.opaque import Opaque
from agex_supervisor.records import STRICT, Record, extra_of, faults, fields_of, flavour_of
from agex_supervisor.stand_ins import class_of, handle_form, instance_form, nominal, opaque_form


class Unportable(AgexError):
    """An annotation that no value can be brought across under. The message names the class and the choices."""


class Unresolved(Unportable):
    """It names what is not defined, or not yet."""


@dataclass(frozen=True, slots=True)
class Form:
    """One annotation, read: its shape and what pydantic is given in its place."""

    shape: Shape
    strict: Any


@dataclass
class Reading:
    """One walk. `local` accepts any class, by isinstance: where the value does not have to cross.

    result: the value is one that code gives, so objects may stay behind; taken: it gives it to a host function. unpickled:
    what classes without a form of their own cross as is a pickle. hosts: classes whose instances stay in this process; what a
    worker sends of one is its name. names: what the fields of classes within a function may name.
    """

    where: str
    local: bool
    result: bool = False
    unpickled: bool = False
    hosts: tuple[type, ...] = ()
    names: Mapping[str, Any] = field(default_factory=dict[str, Any])
    taken: bool = False
    takes_hosted: bool = False
    # The annotations of the objects that stay behind, each the T of a Handle[T], or a Callable.
    handles: dict[int, Any] = field(default_factory=dict[int, Any])
    stood_for: dict[type, None] = field(default_factory=dict[type, None])  # classes of objects that are not to cross
    records: dict[int, Record] = field(default_factory=dict[int, Record])
    enums: dict[int, type[enum.Enum]] = field(default_factory=dict[int, type[enum.Enum]])
    _named: dict[Any, Form] = field(default_factory=dict[Any, Form])
    _definitions: list[Shape] = field(default_factory=list[Shape])

    def whole(self, annotation: Any) -> Form:
        """The form of the outermost annotation; its shape brings along what it names. Raises Unportable."""
        form = self.read(annotation)
        shape = Shape("scope", (form.shape, *self._definitions)) if self._definitions else form.shape
        return Form(shape, form.strict)

    def read(self, annotation: Any) -> Form:
        """The form of one annotation within the walk."""
        if annotation in (Any, object, inspect.Parameter.empty):
            return Form(ANY, Any)
        if annotation is None or annotation is type(None):
            return Form(NONE, None)
        if isinstance(annotation, str | typing.ForwardRef):
            raise self._unresolved(annotation, "its name cannot be resolved")
        if isinstance(annotation, typing.TypeVar):
            if annotation.__constraints__:
                return self._union(annotation.__constraints__)
            return self.read(annotation.__bound__ or Any)
        if hasattr(annotation, "__supertype__"):
            return self.read(annotation.__supertype__)
        if isinstance(annotation, _ALIASES):
            return self._alias(annotation)
        origin: Any = get_origin(annotation)
        if (origin or annotation) in (Handle, Opaque):
            return self._stand_in(origin or annotation, *(get_args(annotation) or (Any,)))
        if isinstance(origin, _ALIASES):
            # A generic alias with its parameters given, as numpy's NDArray is from 2.5 on.
            return self.read(origin.__value__[get_args(annotation)])
        if origin in (Annotated, typing.Required, typing.NotRequired, typing.Final, typing.ClassVar):
            return self._annotated(annotation)
        if origin in (Union, types.UnionType):
            return self._union(get_args(annotation))
        if origin is Literal:
            return self._literal(annotation)
        if annotation in self.hosts:
            return self._hosted(annotation)
        if flavour_of(origin or annotation):
            return self._record(annotation)
        return self._class(origin or annotation, get_args(annotation), annotation)

    def _class(self, cls: Any, args: tuple[Any, ...], annotation: Any) -> Form:
        if cls in CONTAINERS:
            return self._container(cls, args, annotation)
        if cls in NATIVE:
            return Form(Shape(NATIVE[cls]), cls)
        if cls is slice:
            return Form(Shape("slice", (ANY, ANY, ANY)), _instance(cls))
        if not isinstance(cls, type):
            return self._other(annotation)
        if issubclass(cls, enum.Enum):
            return self._enum(cls)
        leaf = next((kind for kind, leaf in LEAVES.items() if leaf.type is cls), None)
        if leaf is not None or cls.__module__.startswith("pathlib"):
            return Form(Shape(leaf or "path"), _instance(cls))
        library = cls.__module__.partition(".")[0]
        if library == "pandas" and cls.__name__ in PANDAS:
            return Form(Shape(PANDAS[cls.__name__]), _instance(cls))
        if library == "numpy":
            return self._numpy(cls, args)
        if kind := libraries.kind_declared(cls):
            return Form(Shape(kind), _instance(cls))
        return self._other(annotation)

    def _container(self, cls: Any, args: tuple[Any, ...], annotation: Any) -> Form:
        kinds = CONTAINERS[cls]
        if kinds == ("tuple_of",):
            return self._tuple(args, annotation)
        if kinds == ("dict",):
            key, value = (self.read(arg) for arg in args or (Any, Any))
            return Form(Shape("dict", (key.shape, value.shape)), _generic(dict, key.strict, value.strict))
        item = self.read(args[0] if args else Any)
        shapes = tuple(Shape(kind, (item.shape,)) for kind in kinds)
        forms = [
            _generic(tuple, item.strict, ...) if kind == "tuple_of" else _generic(BUILT[kind], item.strict)
            for kind in kinds
        ]
        return Form(shapes[0] if len(shapes) == 1 else Shape("union", shapes), Union[tuple(forms)])  # noqa: UP007

    def _tuple(self, args: tuple[Any, ...], annotation: Any) -> Form:
        if annotation != tuple[()] and (not args or (len(args) == 2 and args[1] is ...)):
            item = self.read(args[0] if args else Any)
            return Form(Shape("tuple_of", (item.shape,)), _generic(tuple, item.strict, ...))
        items = [self.read(arg) for arg in args]
        return Form(
            Shape("tuple", tuple(item.shape for item in items)), _generic(tuple, *(item.strict for item in items))
        )

    def _union(self, args: tuple[Any, ...]) -> Form:
        forms = [self.read(arg) for arg in args]
        strict: Any = Union[tuple(form.strict for form in forms)]  # noqa: UP007
        shapes = tuple(dict.fromkeys(form.shape for form in forms))
        if any(shape.kind == "any" for shape in shapes):
            return Form(ANY if ANY in shapes else Shape("any", cls=f":{' | '.join(map(str, shapes))}"), strict)
        if all(shape.kind in PLAIN for shape in shapes):
            return Form(Shape("scalar", shapes), strict)
        others = tuple(shape for shape in shapes if shape != NONE)
        inner = others[0] if len(others) == 1 else Shape("union", others)
        # Only what can never be None on the wire by itself leaves None to say that there is nothing.
        if NONE not in shapes:
            return Form(inner, strict)
        if inner.kind in ("optional", "scalar", "ref"):
            return Form(Shape("union", shapes), strict)
        return Form(Shape("optional", (inner,)), strict)

    def _literal(self, annotation: Any) -> Form:
        wanted: tuple[Any, ...] = get_args(annotation)
        plain = tuple(value for value in wanted if not isinstance(value, enum.Enum))
        kinds = dict.fromkeys(type(value) for value in wanted if isinstance(value, enum.Enum))
        shapes = [Shape("literal", values=plain)] if plain else []
        shapes += [self._enum(kind).shape for kind in kinds]

        def check(value: Any) -> Any:
            if any(type(value) is type(one) and value == one for one in wanted):
                return value
            raise PydanticCustomError(
                "agex_literal", "Input should be one of {wanted}", {"wanted": ", ".join(map(repr, wanted))}
            )

        return Form(
            shapes[0] if len(shapes) == 1 else Shape("union", tuple(shapes)), Annotated[Any, PlainValidator(check)]
        )

    def _annotated(self, annotation: Any) -> Form:
        inner, *metadata = get_args(annotation)
        form = self.read(inner)
        # A discriminator chooses among models by their schemas, which are not what pydantic gets here.
        kept = [each for each in metadata if not (isinstance(each, FieldInfo) and each.discriminator)]
        kept = kept if get_origin(annotation) is Annotated else []
        return Form(form.shape, Annotated[(form.strict, *kept)] if kept else form.strict)

    def _enum(self, cls: type[enum.Enum]) -> Form:
        number = next((number for number, known in self.enums.items() if known is cls), None) or next(_NUMBERS)
        self.enums[number] = cls
        if issubclass(cls, enum.Flag):
            return Form(Shape("flag", cls=reference(cls), index=number), _instance(cls))
        return Form(Shape("enum", names=tuple(cls.__members__), cls=reference(cls), index=number), _instance(cls))

    def _record(self, annotation: Any) -> Form:
        if annotation in self._named:
            return self._named[annotation]
        cls: Any = get_origin(annotation) or annotation
        if type(cls).__module__ == "typing" and flavour_of(cls) == "typeddict" and sys.version_info < (3, 12):
            raise self._unportable(
                cls, "before Python 3.12 its keys are not known: take TypedDict from typing_extensions"
            )
        try:
            fields = fields_of(annotation, self.names)
        except NameError as error:
            raise self._unresolved(cls, f"a hint cannot be resolved ({error})") from error
        number = next(_NUMBERS)
        record = Record(annotation, fields, lambda hint: self.read(hint).strict)
        self.records[number] = record
        self._named[annotation] = form = Form(
            Shape("ref", cls=reference(cls), index=number), Annotated[Any, PlainValidator(record.check)]
        )
        needed = tuple(name for name, one in fields.items() if one.needed)
        self._definitions.append(
            Shape(
                "record",
                tuple(self.read(one.annotation).shape for one in fields.values()),
                names=tuple(fields),
                needed=needed,
                cls=reference(cls),
                flavour=record.flavour,
                extra=extra_of(cls),
                index=number,
                aliases=record.shape.aliases,
            )
        )
        return form

    def _alias(self, annotation: Any) -> Form:
        """A `type` statement, which may name itself."""
        if annotation not in self._named:
            number, name = next(_NUMBERS), str(annotation.__name__)
            value = self._resolved(annotation)
            lazy = _Lazy(lambda: self.read(value).strict)
            form = Form(Shape("ref", cls=name, index=number), Annotated[Any, PlainValidator(lazy.check)])
            self._named[annotation] = form
            inner = self.read(value)
            self._definitions.append(Shape("alias", (inner.shape,), cls=name, index=number))
        return self._named[annotation]

    def _resolved(self, alias: Any) -> Any:
        """What an alias stands for, with the names in it looked up in its own module."""
        names = vars(sys.modules[alias.__module__]) if alias.__module__ in sys.modules else {}
        holder = type("Alias", (), {"__annotations__": {"value": alias.__value__}})
        try:
            return typing.get_type_hints(holder, globalns=names, include_extras=True)["value"]
        except NameError as error:
            raise self._unresolved(alias, f"a name in it cannot be resolved ({error})") from error

    def _numpy(self, cls: type[Any], args: tuple[Any, ...]) -> Form:
        if cls.__name__ != "ndarray":
            scalar = any(base.__name__ == "generic" for base in cls.__mro__)
            return Form(Shape("npscalar"), _instance(cls)) if scalar else self._other(cls)
        wanted = next(iter(get_args(args[1])), None) if len(args) == 2 else None
        if not isinstance(wanted, type):
            return Form(Shape("ndarray"), _instance(cls))

        def check(value: Any) -> Any:
            if isinstance(value, cls) and issubclass(value.dtype.type, wanted):
                return value
            raise PydanticCustomError("agex_array", "Input should be an array of {wanted}", {"wanted": wanted.__name__})

        return Form(Shape("ndarray"), Annotated[Any, PlainValidator(check)])

    def _handle(self, wanted: Any) -> Form:
        number = next(_NUMBERS)
        self.handles[number] = wanted
        return Form(*handle_form(wanted, number, self.local))

    def _stand_in(self, kind: Any, wanted: Any) -> Form:
        if (cls := class_of(wanted)) is not None:
            self.stood_for[cls] = None
        if kind is Opaque:
            return Form(*opaque_form(wanted, self.local, self.result))
        if self.result or self.taken:
            return self._handle(wanted)
        if self.local:  # an input: down goes the object itself, which a sealed one is there as well
            return Form(ANY, instance_form(Handle, Opaque))
        raise self._unportable(kind, "no object stays in its worker for this")

    def _hosted(self, cls: type) -> Form:
        self.takes_hosted = True
        return Form(Shape("hosted", cls=reference(cls)), _instance(cls))

    def _other(self, annotation: Any) -> Form:
        if any(annotation in host.__mro__ for host in self.hosts):
            return self._hosted(annotation)
        cls = get_origin(annotation) or annotation
        if self.local:
            if cls is abc.Callable:
                return Form(ANY, Callable)
            if cls in KEYED:
                given = get_args(annotation) or (Any,)
                key, value = (
                    self.read(each).strict for each in (*given, int if cls is collections.Counter else Any)[:2]
                )
                return Form(ANY, keyed_form(cls, key, value))
            if not isinstance(cls, type):
                return Form(ANY, annotation)
            return Form(Shape("any", cls=reference(cls)), _instance(cls))
        if self.unpickled and (isinstance(cls, type) or cls is abc.Callable):
            form = Callable if cls is abc.Callable else _instance(cls)
            return Form(Shape("pickle", cls=nominal(annotation)), form)
        if self.result and cls is abc.Callable:
            returned = (get_args(annotation) or (Any,))[-1]
            Reading(self.where, False, result=True).whole(returned)  # Unportable now, and not when it is called
            return self._handle(annotation)
        raise self._unportable(annotation, "no value of it can leave a worker")

    def _unresolved(self, annotation: Any, reason: str) -> Unresolved:
        name = getattr(annotation, "__qualname__", None) or getattr(annotation, "__forward_arg__", None) or annotation
        return Unresolved(f"{self.where}: {name} cannot be declared: {reason}; define it at the top of its module")

    def _unportable(self, annotation: Any, reason: str) -> Unportable:
        name = getattr(annotation, "__qualname__", None) or str(annotation)
        if reason != "no value of it can leave a worker":
            return Unportable(f"{self.where}: {name} cannot be declared: {reason}")
        instead = _INSTEAD.get(str(getattr(annotation, "__module__", "")).partition(".")[0], _PLAINER)
        ways = [f"`agex.Opaque[{name}]` (bytes that only workers open)"]
        if self.result:
            ways.insert(0, f"`-> agex.Handle[{name}]` (the object stays in its worker)")
            ways[1] = f"`-> {ways[1][1:]}"
            ways.append('`trust="unpickle"` on the task (the agent can then run code in your process)')
        elif self.taken:
            after = "the object stays in its worker, where it can be used after the call"
            ways.insert(0, f"`agex.Handle[{name}]` ({after})")
        return Unportable(
            f"{self.where}: {name} has no form in which it can cross between a worker and your process. "
            f'Declare {instead}. Or choose {", ".join(ways)}, or `isolation="none"`.'
        )


class _Lazy:
    """A form that is built when it is first used, since it may contain itself."""

    def __init__(self, strict: Callable[[], Any]) -> None:
        self._strict = strict

    def check(self, value: Any) -> Any:
        try:
            return self._validated(value)
        except ValidationError as error:
            raise PydanticCustomError("agex_fields", "it does not fit", {"faults": list(faults(error))}) from None

    @cached_property
    def _validated(self) -> Checking:
        return Checking(TypeAdapter(self._strict(), config=STRICT))


def _instance(cls: Any) -> Any:
    return Annotated[cls, cast(Any, InstanceOf)()]


def _generic(cls: Any, *args: Any) -> Any:
    return types.GenericAlias(cls, args)


_NUMBERS = itertools.count(1)
_PLAINER = "a type of plain data, a dataclass or a pydantic model"
_INSTEAD = {
    "matplotlib": "PIL.Image.Image or bytes (savefig makes PNG)",
    "polars": "polars.DataFrame or polars.Series",
}
_ALIASES: tuple[Any, ...] = (
    typing_extensions.TypeAliasType,
    getattr(typing, "TypeAliasType", typing_extensions.TypeAliasType),
)
