"""Classes that the table of values declares. In a module of their own, so that a worker can import them."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Annotated, Generic, Literal, NamedTuple, NewType, TypeVar

import numpy as np
import typing_extensions
from pydantic import BaseModel, Field, PrivateAttr, RootModel, computed_field

T = TypeVar("T")
Whole = TypeVar("Whole", bound=int)
Narrow = TypeVar("Narrow", int, str)
UserId = NewType("UserId", int)


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Point:
    x: int
    y: float = 0.0


@dataclass(frozen=True, slots=True)
class Cloud:
    points: np.ndarray
    label: str = ""


@dataclass
class Tree:
    name: str
    children: list[Tree] = field(default_factory=list)


@dataclass
class Sum:
    """Its total is made by its constructor."""

    left: int
    right: int
    total: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.total = self.left + self.right


@dataclass
class Box(Generic[T]):
    content: T


class Pair(NamedTuple):
    left: int
    right: str


class Options(typing_extensions.TypedDict):
    size: int
    ratio: typing_extensions.NotRequired[float]


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = Field(default=9, gt=0)


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"


class Home(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    note: str = Field(default="", alias="homeNote")


class Rectangle(BaseModel):
    width: float
    height: float

    @computed_field  # type: ignore[prop-decorator]  # as pydantic's own documents write it
    @property
    def area(self) -> float:
        return self.width * self.height


class Counter(BaseModel):
    name: str
    _count: int = PrivateAttr(default=0)


class Answer(BaseModel, Generic[T]):
    data: T


class Numbers(RootModel[list[int]]):
    pass


class Node(BaseModel):
    value: int
    next: Node | None = None


Json = typing_extensions.TypeAliasType("Json", "dict[str, Json] | list[Json] | str | int | float | bool | None")


class Plain:
    """A class that nothing is known of."""

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"Plain({self.number})"


class Desk:
    """Registered with runs="host"."""

    def __init__(self, number: int) -> None:
        self._number = number

    def drawers(self) -> int:
        return self._number


def counted(name: str, count: int) -> Counter:
    counter = Counter(name=name)
    counter._count = count
    return counter


def altered(left: int, total: int) -> Sum:
    made = Sum(left, 0)
    made.total = total
    return made
