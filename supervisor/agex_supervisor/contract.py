"""Contract: what a parameter or a result was declared to be, and whether a value is that.

Strict as pydantic's strict mode, with two kindnesses: an int is a float, and a mapping is a model. Every element is checked.
The value that comes back is the validated one: containers are new, instances of declared classes are themselves.
"""

from __future__ import annotations

import enum
import functools
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticCustomError

from agex_protocol.budget import Caps, collector_paused
from agex_protocol.decode import decode
from agex_protocol.errors import AgexError, ValueRefused
from agex_protocol.misfit import short
from agex_protocol.plain import NOT_PLAIN, unpack_plain
from agex_protocol.references import Find
from agex_protocol.shapes import ANY, Shape
from agex_supervisor.annotations import Reading
from agex_supervisor.annotations import Unportable as Unportable
from agex_supervisor.annotations import Unresolved as Unresolved
from agex_supervisor.checking import Checking
from agex_supervisor.handle import Handle, Kept
from agex_supervisor.opaque import Opaque
from agex_supervisor.records import STRICT, Fault, Record, Unmade, faults
from agex_supervisor.stack_room import with_room

# Makes the handle of an object that stays in its worker: for the number and the annotation of its place in the contract.
Hold = Callable[[int, Any, Kept], object]
Unpickle = Callable[[bytes], object]


class ContractMismatch(AgexError):
    """A value is not what was declared. The message has a line for each place where it differs."""


class Contract:
    """One annotation, compiled; make it with `Contract.of`."""

    def __init__(self, shape: Shape, validated: Checking, reading: Reading, unpickle: Unpickle | None = None) -> None:
        self.shape = shape
        self._validated = validated
        self._reading = reading
        self._unpickle = unpickle

    @classmethod
    def of(
        cls,
        annotation: Any,
        *,
        where: str,
        local: bool = False,
        result: bool = False,
        unpickle: Unpickle | None = None,
        hosts: tuple[type, ...] = (),
        names: Mapping[str, Any] | None = None,
        taken: bool = False,
    ) -> Contract:
        """The contract of an annotation with its forward references resolved; `where` is what messages call its place.

        Unportable for a class whose values cannot cross; with `local` they do not have to, and any class is checked by
        isinstance. In a `result` objects may stay behind as handles, and in what is `taken` by a host function. With `unpickle`,
        which then opens them, classes that cannot cross are pickled. Instances of `hosts` stay in this process, and a worker may name those that it was given.
        `names`: what fields of classes within a function may name; Unresolved for what they name and nobody knows.
        """
        reading = Reading(where, local, result, unpickle is not None, hosts, names or {}, taken)
        form = reading.whole(annotation)
        try:
            for record in list(reading.records.values()):
                record.prepare()
            validated = Checking(TypeAdapter(form.strict, config=STRICT))
        except PydanticUserError as error:
            raise Unportable(f"{where}: the annotation cannot be checked: {error.message}") from error
        return cls(form.shape, validated, reading, unpickle)

    @classmethod
    def undeclared(cls) -> Contract:
        """What an operation on a kept object gives, of which nothing is declared: data, or else a handle of the object."""
        reading = Reading("the result", False, result=True)
        handle = reading.read(Handle[Any])
        return cls(Shape("union", (ANY, handle.shape)), Checking(TypeAdapter(Any)), reading)

    def describe(self) -> str:
        """The type as a model is shown it, and below it the fields of each class that it names."""
        lines = [str(self.shape), *(_fields_shown(each, self._reading) for each in self._reading.records.values())]
        lines += [f"{cls.__name__}: one of {', '.join(cls.__members__)}" for cls in self._reading.enums.values()]
        return "\n".join(lines)

    @property
    def classes(self) -> tuple[type, ...]:
        """The records and enums that the annotation names, those of their fields included; and what is behind stand-ins."""
        reading = self._reading
        return (*(record.cls for record in reading.records.values()), *reading.enums.values(), *reading.stood_for)

    @property
    def takes_hosted(self) -> bool:
        """Whether an object of this process may be named in a value."""
        return self._reading.takes_hosted

    @property
    def accepts_stand_ins(self) -> bool:
        """Of a `local` contract, for an input: whether a Handle or an Opaque may be given for an object that it describes."""
        return self.shape.kind == "any"

    @property
    def has_handles(self) -> bool:
        """Whether a value can hold objects that stay in their worker."""
        return bool(self._reading.handles)

    @property
    def has_opaque(self) -> bool:
        """Whether a value can hold sealed bytes."""
        return _mentions(self.shape, "opaque")

    def decode(
        self,
        head: bytes,
        buffers: Sequence[memoryview],
        caps: Caps | None = None,
        *,
        hold: Hold | None = None,
        find: Find | None = None,
        borrow: bool = False,
    ) -> Any:
        """What a worker sent, decoded by this contract's own shape and validated. `hold` makes the handles in it, `find`
        knows the objects of this process. `borrow`: the buffers become the value's.

        ValueRefused when the bytes are not of that shape (the worker is not to be trusted any further), ContractMismatch
        when they are but the value is not what was declared. `find` gives the objects that a worker may name.
        """
        if not buffers and (caps is None or len(head) <= caps.head_bytes):
            if (plain := unpack_plain(head, self.shape)) is not NOT_PLAIN:
                return self._checked(plain, local=False)
        adopt = functools.partial(self._adopt, hold)
        read = functools.partial(decode, head, buffers, self.shape, caps=caps, adopt=adopt, find=find, borrow=borrow)
        if len(head) > _SMALL_HEAD:
            return with_room(lambda: self._decoded(read, again=len(head) <= _LARGE_HEAD))
        return self._decoded(read, again=True)

    def check(self, value: object) -> Any:
        """A live object, validated. Raises ContractMismatch."""
        return self._checked(value, local=True)

    def _decoded(self, read: Callable[..., object], *, again: bool) -> Any:
        mismatch = ""
        # Around the check too, which makes every container anew: a million lists take a tenth of the time.
        with collector_paused():
            try:
                return self._checked(read(build=self._build, build_all=self._build_all), local=False)
            except ContractMismatch as error:
                mismatch = str(error)
            if again and not self.has_handles and self._unpickle is None:  # an object is taken once
                # Said again from the outside, so that the message has the way to the fault, as it has of a live object.
                try:
                    self._checked(read(build=self._parts), local=False)
                except ContractMismatch as error:
                    mismatch = str(error)
        # Not within the handler: the error holds the value, and the collector would walk it.
        raise ContractMismatch(mismatch)

    def _checked(self, value: object, *, local: bool) -> Any:
        try:
            return self._validated(value)
        except RecursionError:
            raise ContractMismatch("the value: nested too deep, or it contains itself") from None
        except ValidationError as error:
            # The encoder gave Python's own numbers, where these are declared.
            plain = _without_numpy(value) if local and "numpy" in sys.modules else value
            if plain is not value:
                try:
                    return self._validated(plain)
                except ValidationError:
                    pass  # the first error says it better
            raise ContractMismatch(self._told(error, value)) from None
        except AgexError:
            raise
        except Exception as error:  # of a check that the annotation brings along: the value is what it was not made for
            raise ContractMismatch(f"the value: refused by {type(error).__name__}: {error}") from error

    def _build(self, index: int, parts: Any) -> object:
        cls = self._reading.enums.get(index)
        if cls is not None:
            try:
                return cls[parts] if isinstance(parts, str) else _flag(cls, parts)
            except ValueError as error:
                raise ContractMismatch(f"the value: {error}") from None
        record = self._reading.records[index]
        try:
            return record.build(parts)
        except PydanticCustomError as error:
            inner: list[Fault] | None = (error.context or {}).get("faults")
            lines = (
                [error.message()] if inner is None else [_line(fault, parts, record.cls.__name__) for fault in inner]
            )
            raise ContractMismatch("\n".join(lines[:_MAX_LINES])) from None

    def _adopt(self, hold: Hold | None, shape: Shape, parts: tuple[Any, str, str]) -> object:
        first, kind, text = parts
        if shape.kind == "opaque":
            return Opaque(first, type=kind, repr=text)
        if shape.kind == "pickle" and self._unpickle is not None:
            return self._unpickle(first)
        if shape.kind == "handle" and hold is not None:
            return hold(shape.index, self._reading.handles[shape.index], Kept(first, kind, text))
        raise ValueRefused(f"{shape} has no place here")

    def _parts(self, index: int, parts: Any) -> object:
        record = self._reading.records.get(index)
        if record is None or record.flavour == "namedtuple":
            return self._build(index, parts)
        return parts["root"] if record.flavour == "root" else parts

    def _build_all(self, index: int, rows: list[dict[str, Any]]) -> list[Any]:
        try:
            return self._reading.records[index].build_all(rows)
        except Unmade as unmade:
            self._build(index, rows[unmade.row])  # says what is wrong with it
            return [self._build(index, row) for row in rows]

    def _told(self, error: ValidationError, value: object) -> str:
        if error.error_count() > _MAX_FAULTS:
            return f"the value: differs from {self.shape} in {error.error_count()} places"
        found = list(faults(error))
        lines = [_line(fault, value) for fault in found[:_MAX_LINES]]
        more = len(found) - len(lines)
        return "\n".join([*lines, f"... and {more} more"] if more else lines)


def _mentions(shape: Shape, kind: str) -> bool:
    return shape.kind == kind or any(_mentions(arg, kind) for arg in shape.args)


def _flag(cls: type[enum.Enum], bits: int) -> enum.Enum:
    # enum keeps every combination that it ever made, so only those of declared bits are made.
    known = functools.reduce(operator.or_, (member.value for member in cls.__members__.values()), 0)
    if bits & ~known:
        raise ValueError(f"{bits} has bits that {cls.__name__} does not declare")
    made: Mapping[Any, Any] = cls._value2member_map_
    if bits not in made and len(made) >= _MAX_COMBINATIONS:
        raise ValueError(f"more than {_MAX_COMBINATIONS} combinations of the members of {cls.__name__} were made")
    return cls(bits)


def _without_numpy(value: Any, depth: int = 0) -> Any:
    """Numpy scalars as Python's own, in plain containers: code that computes gives them where it means int or float."""
    numpy: Any = sys.modules["numpy"]
    if isinstance(value, numpy.generic):
        return value.item()
    if depth == _MAX_DEPTH:
        return value
    if type(value) is dict:
        return {_without_numpy(key, depth + 1): _without_numpy(item, depth + 1) for key, item in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_without_numpy(item, depth + 1) for item in value)
    return value


def _line(fault: Fault, value: object, root: str = "") -> str:
    steps, text, found = fault
    path = _path(value, steps)
    where = root + path if root else f"value{path}" if path else "the value"
    kind = type(found).__name__
    shown = short(found)
    return f"{where}: {text[:_MAX_TEXT]} (got {kind if shown == type(found).__qualname__ else f'{kind} {shown}'})"


def _path(value: Any, steps: Sequence[int | str]) -> str:
    """Where a fault is; without the names of a union's arms, which pydantic puts among the steps."""
    path = ""
    for step in steps:
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(step, int):
            value = value[step] if isinstance(value, list | tuple) and step < len(value) else None
        elif value is not None and not isinstance(value, Mapping):
            continue
        path += f"[{step[:60]!r}]" if isinstance(step, str) else f"[{step}]"
    return path


def _fields_shown(record: Record, reading: Reading) -> str:
    fields = [
        f"{name}: {Reading('', True, names=reading.names).read(field.annotation).shape}{'' if field.needed else ' = ...'}"
        for name, field in record.fields.items()
    ]
    if record.flavour == "root":
        return f"{record.cls.__name__}: model of {fields[0].removeprefix('root: ')}"
    return f"{record.cls.__name__}: {record.flavour} with {', '.join(fields) or 'no fields'}"


_SMALL_HEAD = 4096
_LARGE_HEAD = 1 << 16
_MAX_COMBINATIONS = 4096
_MAX_LINES = 20
_MAX_FAULTS = 1000
_MAX_DEPTH = 64
_MAX_TEXT = 500
