"""A declared type is kept: on live values, and on what comes back from a worker."""

from __future__ import annotations

import collections
import dataclasses
import enum
import functools
import re
import sys
import threading
import typing
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, Optional, TypeVar

import msgpack
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import typing_extensions
from pydantic import AfterValidator, BaseModel, Field, PrivateAttr, RootModel, field_validator

from agex_protocol.encode import encode
from agex_protocol.errors import NotPortable, ValueRefused
from agex_protocol.shapes import shape_from_bytes
from agex_supervisor.contract import Contract, ContractMismatch, Unportable
from agex_supervisor.handle import Handle


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


@dataclasses.dataclass(frozen=True)
class Range:
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"{self.low} is above {self.high}")


@dataclasses.dataclass
class Tree:
    name: str
    children: list[Tree] = dataclasses.field(default_factory=list)


class Line(BaseModel):
    price: float = Field(gt=0)
    amount: int = 1

    @field_validator("amount")
    @classmethod
    def is_even_or_one(cls, amount: int) -> int:
        if amount != 1 and amount % 2:
            raise ValueError("odd amounts are sold by one")
        return amount


class Invoice(BaseModel):
    number: str = Field(alias="invoiceNumber", default="-")
    lines: list[Line] = []
    previous: Optional[Invoice] = None  # noqa: UP045 (as people write it)


class Open(BaseModel, extra="allow"):
    a: int


class Closed(BaseModel, extra="forbid"):
    a: int


class Numbers(RootModel[list[int]]):
    pass


class Pair(NamedTuple):
    left: int
    right: str = "x"


class Options(typing_extensions.TypedDict):
    size: int
    ratio: typing_extensions.NotRequired[float]


@dataclasses.dataclass
class Cloud:
    points: np.ndarray
    table: pd.DataFrame | None = None


T = TypeVar("T")


@dataclasses.dataclass
class Box(Generic[T]):
    content: T
    more: list[T] = dataclasses.field(default_factory=list)


Json = typing_extensions.TypeAliasType("Json", "dict[str, Json] | list[Json] | str | int | float | bool | None")


def sent(annotation: Any, value: Any) -> Any:
    """The value as it comes back from a worker that encodes it by the same annotation's shape."""
    contract = Contract.of(annotation, where="here")
    head, buffers = encode(value, shape_from_bytes(contract.shape.to_bytes()))
    return contract.decode(head, [memoryview(bytes(buffer)) for buffer in buffers])


def family(depth: int) -> Tree:
    return Tree(str(depth), [family(depth - 1) for _ in range(2)] if depth else [])


ACCEPTED: list[tuple[Any, Any, Any]] = [
    (int, 3, 3),
    (int, np.int64(3), 3),
    (float, 3, 3.0),
    (float, np.float64(1.5), 1.5),
    (bool, np.bool_(True), True),
    (complex, 1j, 1j),
    (None, None, None),
    (Any, [1, (2,)], [1, (2,)]),
    (list, [1, "a"], [1, "a"]),
    (list[int], [1, 2**80], [1, 2**80]),
    (list[float], [np.float32(1.5), 2], [1.5, 2.0]),
    (dict[str, float], {"a": 1}, {"a": 1.0}),
    (dict[str, int], OrderedDict(a=1), {"a": 1}),
    (dict[tuple[int, str], Point], {(1, "a"): Point(1)}, {(1, "a"): Point(1)}),
    (Mapping[str, Sequence[int]], {"a": (1,)}, {"a": (1,)}),
    (tuple[()], (), ()),
    (tuple[int, str], (1, "a"), (1, "a")),
    (tuple[int, ...], (1, 2), (1, 2)),
    (set[Color], {Color.RED}, {Color.RED}),
    (deque[int], deque([1], 2), deque([1], 2)),
    (int | str | None, "x", "x"),
    (Optional[Point], None, None),  # noqa: UP045
    (float | None, 1, 1.0),
    (Literal["a", 1, None], 1, 1),
    (Literal[Color.RED, "x"], Color.RED, Color.RED),
    (Access, Access.READ | Access.WRITE, Access.READ | Access.WRITE),
    (Annotated[int, Field(gt=2)], 3, 3),
    (range, range(3), range(3)),
    (slice, slice(1, None), slice(1, None)),
    (Fraction, Fraction(1, 3), Fraction(1, 3)),
    (Decimal, Decimal("1.50"), Decimal("1.50")),
    (Path, Path("a"), Path("a")),
    (re.Pattern[str], re.compile("a"), re.compile("a")),
    (datetime, datetime(2020, 1, 1), datetime(2020, 1, 1)),
    (Point, Point(1), Point(1)),
    (Point, {"x": 1, "y": 2}, Point(1, 2.0)),
    (list[Point], [Point(i) for i in range(50)], [Point(i) for i in range(50)]),
    (list[Point], [{"x": i} for i in range(50)], [Point(i) for i in range(50)]),
    (Tree, family(5), family(5)),
    (Tree, {"name": "a", "children": [{"name": "b"}]}, Tree("a", [Tree("b")])),
    (Invoice, {"lines": [{"price": 1}], "previous": {}}, Invoice(lines=[Line(price=1)], previous=Invoice())),
    (Invoice, Invoice(invoiceNumber="7"), Invoice(invoiceNumber="7")),
    (Open, Open(a=1, b=[2]), Open(a=1, b=[2])),
    (Numbers, Numbers([1, 2]), Numbers([1, 2])),
    (Pair, Pair(1), Pair(1)),
    (Options, {"size": 1, "ratio": 2}, {"size": 1, "ratio": 2.0}),
    (Options, {"size": 1}, {"size": 1}),
    (Box[int], Box(3, [4]), Box(3, [4])),
    (Box[Point], {"content": {"x": 1}}, Box(Point(1))),
    (Point | Line, Line(price=1), Line(price=1)),
    (Point | Line, {"price": 2}, Line(price=2)),
    (Json, {"a": [1, {"b": None}], "c": 1.5}, {"a": [1, {"b": None}], "c": 1.5}),
]


@pytest.mark.parametrize(("annotation", "value", "expected"), ACCEPTED)
def test_a_value_that_fits_is_given_as_declared_whether_it_is_live_or_sent(
    annotation: Any, value: Any, expected: Any
) -> None:
    for got in (Contract.of(annotation, where="here").check(value), sent(annotation, value)):
        assert got == expected
        assert type(got) is type(expected)


REFUSED: list[tuple[Any, Any, str]] = [
    (int, "3", "the value: Input should be a valid integer (got str '3')"),
    (int, True, "the value: Input should be a valid integer (got bool True)"),
    (int, 3.0, "the value: Input should be a valid integer (got float 3.0)"),
    (bool, 1, "the value: Input should be a valid boolean (got int 1)"),
    (str, b"x", "the value: Input should be a valid string (got bytes b'x')"),
    (tuple[int, ...], [1], "the value: Input should be a valid tuple (got list)"),
    (list[int], (1,), "the value: Input should be a valid list (got tuple)"),
    (list[int], [*range(500), "x"], "value[500]: Input should be a valid integer (got str 'x')"),
    (dict[str, list[int]], {"a": [1, None]}, "value['a'][1]: Input should be a valid integer (got NoneType None)"),
    (Literal[1], True, "the value: Input should be one of 1 (got bool True)"),
    (Color, 1, "the value: Input should be an instance of Color (got int 1)"),
    (Point, {"x": "1"}, "value['x']: Input should be a valid integer (got str '1')"),
    (Point, [1], "the value: Input should be a Point or a mapping of its fields (got list)"),
    (Pair, {"left": 1}, "the value: Input should be a Pair (got dict)"),
    (Options, {}, "value['size']: Field required (got dict)"),
    (Closed, {"a": 1, "b": 2}, "value['b']: Extra inputs are not permitted (got int 2)"),
    (
        Tree,
        {"name": "a", "children": [{"name": 3}]},
        "value['children'][0]['name']: Input should be a valid string (got int 3)",
    ),
    (npt.NDArray[np.float64], np.ones(3, int), "the value: Input should be an array of float64 (got ndarray)"),
    (pd.DataFrame, [1], "the value: Input should be an instance of DataFrame (got list)"),
]


@pytest.mark.parametrize(("annotation", "value", "text"), REFUSED)
def test_a_value_that_does_not_fit_is_refused_live_and_sent(annotation: Any, value: Any, text: str) -> None:
    with pytest.raises(ContractMismatch) as caught:
        Contract.of(annotation, where="here").check(value)
    assert str(caught.value) == text
    with pytest.raises((ContractMismatch, NotPortable)):
        sent(annotation, value)


def test_what_a_class_itself_refuses_is_a_mismatch_not_a_fault_of_the_wire() -> None:
    with pytest.raises(
        ContractMismatch, match="^the value: Range or .* refused|Range .* refused it: ValueError: 2 is above 1"
    ):
        sent(Range, {"low": 2, "high": 1})
    with pytest.raises(ContractMismatch) as caught:
        sent(list[Line], [{"price": -1}])
    assert str(caught.value) == "value[0]['price']: Input should be greater than 0 (got float -1.0)"
    with pytest.raises(ContractMismatch, match="odd amounts are sold by one"):
        sent(Line, {"price": 1, "amount": 3})


def test_a_flag_of_bits_that_are_not_declared_is_refused() -> None:
    with pytest.raises(ContractMismatch, match="^the value: 4 has bits that Access does not declare$"):
        Contract.of(Access, where="here").decode(msgpack.packb(4), [])


def test_every_fault_has_its_line_up_to_a_limit() -> None:
    with pytest.raises(ContractMismatch) as caught:
        Contract.of(list[int], where="here").check(["x"] * 25)
    lines = str(caught.value).splitlines()
    assert lines[0] == "value[0]: Input should be a valid integer (got str 'x')"
    assert (len(lines), lines[-1]) == (21, "... and 5 more")
    with pytest.raises(ContractMismatch) as caught:
        Contract.of(list[int], where="here").check(["x"] * 5000)
    assert str(caught.value) == "the value: differs from list[int] in 5000 places"


class Odd(typing_extensions.TypedDict):
    type: list[Annotated[int, Field(gt=3)]]
    metadata: str


@pytest.mark.parametrize(
    ("annotation", "value", "path"),
    [
        (list[Annotated[int, Field(gt=3)]], [5, *[1] * 20_000], "[1]"),
        (list[tuple[Annotated[int, Field(gt=3)], ...]], [(5,) * 101] * 100 + [(5, 1)] * 100, "[100][1]"),
        (dict[int, list[Annotated[int, Field(gt=3)]]], {1: [5] * 20_000, 2: [1, 1]}, "[2][0]"),
        (deque[Annotated[int, Field(gt=3)]], deque([1] * 20_000), "[0]"),
        (Odd, {"type": [5, *[1] * 20_000], "metadata": ""}, "['type'][1]"),
    ],
)
def test_of_a_large_value_the_first_fault_is_told_and_the_rest_is_not_looked_for(
    annotation: Any, value: Any, path: str
) -> None:
    with pytest.raises(ContractMismatch) as caught:
        Contract.of(annotation, where="here").check(value)
    assert str(caught.value) == f"value{path}: Input should be greater than 3 (got int 1)"


def test_a_large_value_without_a_fault_passes_whole() -> None:
    value: Any = {"type": [5] * 20_000, "metadata": "x"}
    assert Contract.of(Odd, where="here").check(value) == value


def test_no_more_combinations_of_a_flag_are_made_than_can_be_kept() -> None:
    many = enum.Flag("many", [f"F{number}" for number in range(20)])
    contract = Contract.of(list[many], where="here")
    contract.decode(msgpack.packb(list(range(4000))), [])
    with pytest.raises(ContractMismatch, match="more than 4096 combinations of the members of many were made"):
        contract.decode(msgpack.packb(list(range(5000))), [])


def test_instances_and_frames_pass_as_themselves_and_containers_are_new() -> None:
    point, frame, values = Point(1), pd.DataFrame({"a": [1]}), [1, 2]
    assert Contract.of(Point, where="here").check(point) is point
    assert Contract.of(dict[str, pd.DataFrame], where="here").check({"a": frame})["a"] is frame
    checked = Contract.of(list[int], where="here").check(values)
    assert checked == values
    assert checked is not values


def test_classes_with_arrays_and_frames_in_them_cross() -> None:
    back = sent(Cloud, Cloud(np.ones(3), pd.DataFrame({"a": [1]})))
    assert type(back) is Cloud
    assert back.points.tolist() == [1, 1, 1]
    pd.testing.assert_frame_equal(back.table, pd.DataFrame({"a": [1]}))


@dataclasses.dataclass
class Child(Point):
    z: int = 0


def test_a_subclass_is_not_cut_down_to_its_base() -> None:
    with pytest.raises(NotPortable) as caught:
        sent(Point, Child(1))
    assert str(caught.value) == "result: a Child, wanted Point; a subclass would lose its own fields"


NO_FORM = (
    "has no form in which it can cross between a worker and your process. Declare a type of plain data, a dataclass or a"
    " pydantic model. Or choose "
)


@pytest.mark.parametrize("annotation", [threading.Thread, list[threading.Thread], dict[str, threading.Thread | None]])
def test_a_class_without_a_form_on_the_wire_is_refused_as_a_result_with_the_choices(annotation: Any) -> None:
    with pytest.raises(Unportable) as caught:
        Contract.of(annotation, where="the result of f", result=True)
    assert str(caught.value) == (
        f"the result of f: Thread {NO_FORM}`-> agex.Handle[Thread]` (the object stays in its worker),"
        " `-> agex.Opaque[Thread]` (bytes that only workers open),"
        ' `trust="unpickle"` on the task (the agent can then run code in your process), or `isolation="none"`.'
    )


@pytest.mark.parametrize(("annotation", "name"), [(threading.Thread, "Thread"), (Callable[[int], int], "Callable")])
def test_what_a_host_function_takes_is_no_object_of_a_worker_unless_it_says_so(annotation: Any, name: str) -> None:
    with pytest.raises(Unportable) as caught:
        Contract.of(annotation, where="f(x)", taken=True)
    assert str(caught.value) == (
        f"f(x): {name} {NO_FORM}`agex.Handle[{name}]` (the object stays in its worker, where it can be used after the call),"
        f' `agex.Opaque[{name}]` (bytes that only workers open), or `isolation="none"`.'
    )
    assert Contract.of(Handle[annotation], where="f(x)", taken=True).has_handles


def test_what_is_neither_given_nor_taken_by_anybody_has_no_handle() -> None:
    with pytest.raises(Unportable, match=r"^x: Handle cannot be declared: no object stays in its worker for this$"):
        Contract.of(Handle[int], where="x")


def test_a_generator_is_refused_as_a_result() -> None:
    with pytest.raises(Unportable):
        Contract.of(Generator[int, None, None], where="the result of f", result=True)


def test_any_class_is_checked_by_isinstance_where_nothing_has_to_cross() -> None:
    thread = threading.current_thread()
    assert Contract.of(threading.Thread, where="f(x)", local=True).check(thread) is thread
    assert Contract.of(Callable[[int], int], where="f(x)", local=True).check(abs) is abs
    with pytest.raises(ContractMismatch):
        Contract.of(threading.Thread, where="f(x)", local=True).check(1)


def test_an_unresolved_name_is_refused_with_the_remedy() -> None:
    with pytest.raises(Unportable, match="^f\\(x\\): Nope cannot be declared: its name cannot be resolved"):
        Contract.of("Nope", where="f(x)")


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="typing.TypedDict keeps its keys from 3.12 on")
def test_a_typed_dict_of_typing_is_refused_with_the_remedy() -> None:
    kind: Any = typing.TypedDict("kind", {"a": int})  # noqa: UP013
    with pytest.raises(Unportable, match="take TypedDict from typing_extensions"):
        Contract.of(kind, where="f(x)")


def test_a_type_is_described_with_the_fields_of_its_classes() -> None:
    assert Contract.of(dict[str, float] | None, where="here").describe() == "dict[str, float] | None"
    assert Contract.of(list[Tree], where="here").describe() == (
        "list[Tree]\nTree: dataclass with name: str, children: list[Tree] = ..."
    )
    assert Contract.of(Color, where="here").describe() == "Color\nColor: one of RED, BLUE"


def test_bytes_that_are_not_of_the_shape_are_a_fault_of_the_wire() -> None:
    contract = Contract.of(list[Point], where="here")
    for wire in (1, [1], [[["x"], ["a"]]], [[["y"], [1.0]]], [[["__class__"], [1]]]):
        with pytest.raises(ValueRefused):
            contract.decode(msgpack.packb(wire), [])


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ContractMismatch):
        Contract.of(Json, where="here").check(loop)


class Patch(BaseModel):
    name: str | None = None
    tags: list[str] = []
    made: float = Field(default_factory=lambda: 0.5)
    broken: int = None  # type: ignore[assignment]  # as people write it


def test_fields_that_nobody_set_stay_unset_and_need_not_fit() -> None:
    for model in (Patch(), Patch(name="x"), Patch(name=None, tags=[])):
        back = sent(Patch, model)
        assert back == model
        assert back.model_fields_set - {"made"} == model.model_fields_set
    changed = Patch()
    changed.tags.append("a")
    assert sent(Patch, changed).tags == ["a"]


class Counter(BaseModel):
    name: str
    _count: int = PrivateAttr(default=0)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)


@dataclasses.dataclass
class Sum:
    left: int
    total: int = dataclasses.field(init=False, default=0)

    @functools.cached_property
    def twice(self) -> int:
        return self.left * 2

    def __post_init__(self) -> None:
        self.total = self.left


@dataclasses.dataclass
class Shifted:
    at: int
    by: dataclasses.InitVar[int] = 3

    def __post_init__(self, by: int) -> None:
        self.at += by


def test_what_an_instance_would_lose_is_refused_and_what_comes_back_by_itself_is_not() -> None:
    counter, total, noted = Counter(name="a"), Sum(3), Sum(3)
    assert total.twice == 6
    assert (sent(Counter, counter).name, sent(Counter, counter)._count) == ("a", 0)
    assert sent(Sum, total) == total
    counter._count, total.total = 5, 9
    noted.note = "x"  # type: ignore[attr-defined]  # which Python allows
    for annotation, value, lost in ((Counter, counter, "'_count'"), (Sum, total, "'total'"), (Sum, noted, "'note'")):
        with pytest.raises(NotPortable) as caught:
            sent(annotation, value)
        assert str(caught.value) == (
            f"result: a {annotation.__name__} would lose {lost}, as only the fields of its constructor cross; "
            "give a dict of all that is wanted, or leave it as it was made"
        )
    with pytest.raises(NotPortable, match="^result: a Shifted would lose 'at'"):
        sent(Shifted, Shifted(1))


def test_a_mapping_may_name_a_field_or_its_alias_but_not_both() -> None:
    for given in ({"invoiceNumber": "7"}, {"number": "7"}):
        for got in (Contract.of(Invoice, where="here").check(given), sent(Invoice, given)):
            assert got == Invoice(invoiceNumber="7")
    both = {"invoiceNumber": "7", "number": "8"}
    with pytest.raises(ContractMismatch, match="'number' of Invoice is given twice, by its name and by an alias"):
        Contract.of(Invoice, where="here").check(both)
    with pytest.raises(NotPortable, match="'number' of Invoice is given twice, by its name and by an alias"):
        sent(Invoice, both)


class Named(typing_extensions.TypedDict):
    x: int


@pytest.mark.parametrize("annotation", [Point, Named, list[Point]])
def test_a_key_that_is_no_field_is_refused_and_not_lost(annotation: Any) -> None:
    surplus = {"x": 1, "colour": "red"}
    value = [surplus] if annotation == list[Point] else surplus
    with pytest.raises(ContractMismatch, match="colour"):
        Contract.of(annotation, where="here").check(value)
    with pytest.raises(NotPortable, match="a dict with unknown 'colour', wanted"):
        sent(annotation, value)


def test_a_model_that_says_nothing_of_further_keys_leaves_them_out_as_pydantic_does() -> None:
    for got in (
        Contract.of(Invoice, where="here").check({"number": "7", "x": 1}),
        sent(Invoice, {"number": "7", "x": 1}),
    ):
        assert got == Invoice(invoiceNumber="7")


class Page(BaseModel, Generic[T]):
    items: list[T]


def test_an_instance_of_a_generic_model_without_its_parameter_is_told_how_to_be_made() -> None:
    assert sent(Page[int], Page[int](items=[1])) == Page[int](items=[1])
    with pytest.raises(NotPortable, match=r"a Page, wanted Page\[int\]; make it by Page\[int\]\(...\)$"):
        sent(Page[int], Page(items=[1]))


def test_a_model_of_one_value_is_made_of_that_value() -> None:
    assert Contract.of(Numbers, where="here").check([1, 2]) == Numbers([1, 2])
    assert sent(list[Numbers], [[1], Numbers([2])]) == [Numbers([1]), Numbers([2])]
    with pytest.raises(ContractMismatch) as caught:
        Contract.of(list[Numbers], where="here").check([[1], ["x"]])
    assert str(caught.value) == "value[1][0]: Input should be a valid integer (got str 'x')"
    assert Contract.of(Numbers, where="here").describe() == "Numbers\nNumbers: model of list[int]"


Narrow = TypeVar("Narrow", int, str)


def local(annotation: Any) -> Contract:
    return Contract.of(annotation, where="f(x)", local=True)


def test_keys_and_values_of_mappings_that_are_more_than_a_dict_are_checked_and_they_stay_what_they_are() -> None:
    given = defaultdict(list, a=[1])

    made = local(defaultdict[str, list[float]]).check(given)

    assert made == {"a": [1.0]} and type(made["a"][0]) is float and made["new"] == [] and given == {"a": [1]}
    ordered = local(OrderedDict[str, float]).check(OrderedDict(b=1, a=2))
    assert type(ordered) is OrderedDict and list(ordered.items()) == [("b", 1.0), ("a", 2.0)]
    assert local(collections.Counter[str]).check(collections.Counter("aab")) == {"a": 2, "b": 1}
    wrong: list[tuple[Any, Any, str]] = [
        (defaultdict[str, int], defaultdict(int, a="x"), "value['a']: Input should be a valid integer (got str 'x')"),
        (OrderedDict[str, int], {"a": 1}, "the value: Input should be an instance of OrderedDict (got dict)"),
        (
            collections.Counter[str],
            collections.Counter({"a": 1.5}),
            "value['a']: Input should be a valid integer (got float 1.5)",
        ),
    ]
    for annotation, value, text in wrong:
        with pytest.raises(ContractMismatch) as caught:
            local(annotation).check(value)
        assert str(caught.value) == text


def test_a_type_variable_is_what_it_may_stand_for() -> None:
    assert sent(Narrow, "a") == "a"
    with pytest.raises(ContractMismatch):
        Contract.of(Narrow, where="here").check(1.5)
    with pytest.raises(NotPortable):
        sent(Narrow, 1.5)


@pytest.mark.parametrize(
    ("annotation", "one", "count"),
    [
        (list[Line], Line(price=1.5, amount=2), 100_000),
        (list[Pair], Pair(1), 39_900),
        (list[Point | Pair], Pair(1), 11_500),
    ],
)
def test_as_many_records_cross_as_the_documents_say(annotation: Any, one: Any, count: int) -> None:
    contract = Contract.of(annotation, where="here")
    head, buffers = encode([one] * count, contract.shape)
    assert contract.decode(head, [memoryview(buffer) for buffer in buffers]) == [one] * count


def test_a_check_of_the_annotation_that_fails_in_its_own_way_refuses_the_value() -> None:
    def positive(number: int) -> int:
        return {1: number}[number]

    for annotation, value in (
        (Annotated[int, AfterValidator(positive)], 3),
        (list[Annotated[int, AfterValidator(positive)]], [3]),
    ):
        with pytest.raises(ContractMismatch) as caught:
            Contract.of(annotation, where="here").check(value)
        assert str(caught.value) == "the value: refused by KeyError: 3"
