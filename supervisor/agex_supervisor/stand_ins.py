"""Shape and pydantic form of what stands for an object: Handle and Opaque. Code gives the object, and never the stand-in."""

from __future__ import annotations

import collections.abc as abc
from collections.abc import Callable
from typing import Annotated, Any, get_origin

from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from agex_protocol.kinds import reference
from agex_protocol.shapes import ANY, Shape
from agex_supervisor.handle import Handle
from agex_supervisor.local_holder import handle_of
from agex_supervisor.opaque import Opaque
from agex_supervisor.outbound import NotSendable, sealed

FormParts = tuple[Shape, Any]


def handle_form(wanted: Any, number: int, local: bool) -> FormParts:
    """Of a result that stays where it is. `local`: there it is wrapped where it is checked, since nothing crosses."""
    flavour = "callable" if (get_origin(wanted) or wanted) is abc.Callable else ""
    shape = Shape("handle", cls=nominal(wanted), flavour=flavour, index=number)
    return shape, _wrapping(wanted, lambda value: handle_of(value, wanted), flavour) if local else instance_form(Handle)


def opaque_form(wanted: Any, local: bool, result: bool) -> FormParts:
    """Of sealed bytes: a result, or what code gives to a host function; as an input of a task they go down opened."""
    if local and not result:
        return ANY, instance_form(Opaque)
    shape = Shape("opaque", cls=nominal(wanted))
    return shape, _wrapping(wanted, sealed) if local else instance_form(Opaque)


def nominal(annotation: Any) -> str:
    """A class as a worker can compare it with those of an object; "" for one that says itself what its instances are."""
    cls = class_of(annotation)
    kind: Any = type(cls)
    return reference(cls) if cls is not None and kind.__instancecheck__ is type.__instancecheck__ else ""


def class_of(annotation: Any) -> type[Any] | None:
    """The class that an annotation names; None where any object will do, or no single class says which."""
    cls = get_origin(annotation) or annotation
    return cls if isinstance(cls, type) and cls not in (Any, object, abc.Callable) else None


def _wrapping(wanted: Any, wrap: Callable[[Any], object], flavour: str = "") -> Any:
    cls = class_of(wanted)

    def wrapped(value: Any) -> object:
        if (cls is not None and not isinstance(value, cls)) or (flavour == "callable" and not callable(value)):
            name = "callable" if cls is None else cls.__name__
            raise PydanticCustomError("agex_object", "Input should be {name}", {"name": name})
        try:
            return wrap(value)
        except NotSendable as error:
            raise PydanticCustomError("agex_sealed", "{text}", {"text": str(error)}) from error

    return Annotated[Any, PlainValidator(wrapped)]


def instance_form(cls: type[Any], *others: type[Any]) -> Any:
    """An instance of the stand-in itself, or of one that may come in its place. Not pydantic's own way, which would look
    into it."""

    def check(value: Any) -> Any:
        if isinstance(value, (cls, *others)):
            return value
        raise PydanticCustomError("agex_stand_in", "Input should be {name}", {"name": cls.__name__})

    return Annotated[Any, PlainValidator(check)]
