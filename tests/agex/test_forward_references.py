"""Annotations that name what is defined later, or within a function: all of them are text here."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import pytest
from pydantic import BaseModel, RootModel
from typing_extensions import TypedDict

import agex
from agex.llm import Scripted

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
ISOLATIONS = ["none", "kernel"]


def agent_of(isolation: str, *script: str) -> agex.Agent:
    return agex.Agent(isolation=isolation, llm=Scripted(script))


# --- at module level ---


@dataclass
class Letter:
    stamp: Stamp


class Envelope(BaseModel):
    stamp: Stamp
    within: list[Envelope] = []


class Pair(NamedTuple):
    first: Stamp


def tasks(isolation: str) -> list[Callable[[], Any]]:
    agent = agent_of(
        isolation,
        "task_success(Letter(Stamp(1)))",
        "task_success(Envelope(stamp=Stamp(1), within=[Envelope(stamp=Stamp(2))]))",
        "task_success(Pair(Stamp(3)))",
    )

    @agent.task
    def letter() -> Letter:
        """Write."""
        raise NotImplementedError

    @agent.task
    def envelope() -> Envelope:
        """Fold."""
        raise NotImplementedError

    @agent.task
    def pair() -> Pair:
        """Pair."""
        raise NotImplementedError

    return [letter, envelope, pair]


EARLY = {isolation: tasks(isolation) for isolation in ISOLATIONS}


@dataclass
class Stamp:
    cents: int


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_what_a_field_of_a_declared_class_names_may_be_defined_after_the_task(isolation: str) -> None:
    letter, envelope, pair = EARLY[isolation]

    assert letter() == Letter(Stamp(1))
    assert envelope() == Envelope(stamp=Stamp(1), within=[Envelope(stamp=Stamp(2))])
    assert pair() == Pair(Stamp(3))


# --- within functions ---


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_classes_within_a_function_contain_themselves_and_each_other(isolation: str) -> None:
    @dataclass
    class Leaf:
        n: int

    @dataclass
    class Branch:
        leaf: Leaf
        more: list[Branch] = field(default_factory=list)

    class Tree(BaseModel):
        trunk: Trunk
        beside: list[Tree] = []

    class Trunk(BaseModel):
        n: int

    class Row(NamedTuple):
        leaf: Leaf

    class Shown(TypedDict):
        leaf: Leaf

    script = {
        Branch: "task_success(Branch(Leaf(1), [Branch(Leaf(2))]))",
        Tree: "task_success(Tree(trunk=Trunk(n=1), beside=[Tree(trunk=Trunk(n=2))]))",
        Row: "task_success(Row(Leaf(3)))",
        Shown: "task_success({'leaf': Leaf(4)})",
    }
    agent = agent_of(isolation, *script.values())
    made: list[Any] = []
    for cls in script:

        @agent.task
        def make() -> cls:  # type: ignore[valid-type]
            """Make."""
            raise NotImplementedError

        made.append(make())

    assert made == [
        Branch(Leaf(1), [Branch(Leaf(2))]),
        Tree(trunk=Trunk(n=1), beside=[Tree(trunk=Trunk(n=2))]),
        Row(Leaf(3)),
        {"leaf": Leaf(4)},
    ]


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_class_of_the_same_block_may_follow_the_task_and_is_kept_alive_until_the_first_call_only(
    isolation: str,
) -> None:
    agent = agent_of(isolation, "task_success(Note(text=inputs.other.text))", "task_success(Note(text='again'))")

    class Witness:
        pass

    def defined() -> tuple[Any, type[BaseModel], weakref.ref[Witness]]:
        beside = Witness()

        @agent.task
        def note(other: Note) -> Note:
            """Note."""
            raise NotImplementedError

        class Note(BaseModel):
            text: str

        return note, Note, weakref.ref(beside)

    note, cls, beside = defined()

    assert note.with_options(session="a")(cls(text="x")) == cls(text="x")
    assert note(cls(text="x")) == cls(text="again")
    gc.collect()
    assert beside() is None


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_method_names_what_its_class_has_below_it_and_the_class_itself(isolation: str) -> None:
    agent = agent_of(isolation, "task_success(Line(n=inputs.line.n + 1))", "task_success(inputs.service.name)")

    @dataclass
    class Service:
        name: str

        @agent.task
        def next(self, line: Line) -> Line:
            """Next."""
            raise NotImplementedError

        class Line(BaseModel):
            n: int

        @agent.task
        def called(self, service: Service) -> str:
            """Called."""
            raise NotImplementedError

    assert Service("a").next(Service.Line(n=1)) == Service.Line(n=2)
    assert Service("a").called(Service("b")) == "b"


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_function_takes_a_class_of_the_block_in_which_it_is_registered(isolation: str) -> None:
    agent = agent_of(isolation, "task_success(twice({'n': 2}) + thrice({'n': 3}))")

    class Order(BaseModel):
        n: int

    @agent.fn
    def twice(order: Order) -> int:
        return 2 * order.n

    @agent.fn(visibility="medium")
    def thrice(order: Order) -> int:
        return 3 * order.n

    @agent.task
    def add() -> int:
        """Add."""
        raise NotImplementedError

    assert add() == 13


# --- generic models that contain themselves ---


class Page(BaseModel, Generic[T]):
    items: list[T]
    next: Page[T] | None = None
    by_name: dict[str, Page[T]] = {}


class Pages(Page[int]):
    title: str = ""


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_generic_model_that_contains_itself_crosses_with_its_arguments_checked(isolation: str) -> None:
    agent = agent_of(
        isolation,
        "task_success({'items': [1], 'next': {'items': ['x']}})",
        "task_success({'items': [1], 'by_name': {'a': {'items': [2], 'next': {'items': ['x']}}}})",
        "task_success(Page[int](items=[1], next=Page[int](items=[2]), by_name={'a': inputs.page}))",
    )

    @agent.task
    def page(page: Page[int]) -> Page[int]:
        """Page."""
        raise NotImplementedError

    given = Page[int](items=[3])
    assert page(given) == Page[int](items=[1], next=Page[int](items=[2]), by_name={"a": given})
    assert len(agent.model.requests) == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_any_model_is_an_input_where_the_base_of_all_is_declared(isolation: str) -> None:
    agent = agent_of(isolation, "task_success(inputs.one.items + inputs.other.root)")

    class Numbers(RootModel[list[int]]):
        pass

    class Letters(BaseModel):
        items: list[int]

    @agent.task
    def joined(one: M, other: M) -> list[int]:
        """Join."""
        raise NotImplementedError

    assert joined(Letters(items=[1]), Numbers([2])) == [1, 2]


@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_a_model_that_pydantic_cannot_complete_is_refused_before_the_model_is_asked(isolation: str) -> None:
    agent = agent_of(isolation)

    @agent.task
    def pages() -> Pages:
        """Pages."""
        raise NotImplementedError

    with pytest.raises(agex.ContractError) as caught:
        pages()
    assert str(caught.value) == (
        "the result of pages: Pages cannot be declared: a hint cannot be resolved (pydantic cannot complete Pages);"
        " define it at the top of its module"
    )
