"""What a handle reaches: decided by this side's own class, without asking the worker."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import pytest

from agex_supervisor.errors import ContractError
from agex_supervisor.reach import Reach


class Plain:
    """No plain data."""


class Model:
    """Some of everything."""

    declared: int
    plain = 3
    other: Plain

    def method(self) -> dict[str, int]:
        return {}

    def bare(self):  # type: ignore[no-untyped-def]
        return 1

    def again(self) -> Self:
        return self

    def object(self) -> Plain:
        return Plain()

    def unresolved(self) -> Missing:  # type: ignore[name-defined]  # noqa: F821
        return 1

    @property
    def prop(self) -> float:
        return 1.0

    @functools.cached_property
    def cached(self) -> str:
        return ""

    @classmethod
    def made(cls) -> bytes:
        return b""

    @staticmethod
    def static() -> bool:
        return True

    def _private(self) -> int:
        return 1

    def __getitem__(self, key: str) -> int:
        return 1


@dataclass
class Fielded:
    """Its fields are no members of the class."""

    field: int


def shape(reach: Reach, name: str) -> str:
    contract = reach.of_member(name)
    return "undeclared" if contract is None else str(contract.shape)


def test_each_member_is_a_method_or_an_attribute_and_gives_what_it_declares() -> None:
    reach = Reach(Model)
    found = {name: (reach.is_method(name), shape(reach, name)) for name in reach.names()}
    assert found == {
        "again": (True, "Model"),
        "bare": (True, "undeclared"),
        "cached": (False, "str"),
        "declared": (False, "int"),
        "made": (True, "bytes"),
        "method": (True, "dict[str, int]"),
        "object": (True, "Plain"),
        "other": (False, "Plain"),
        "plain": (False, "undeclared"),
        "prop": (False, "float"),
        "static": (True, "bool"),
        "unresolved": (True, "undeclared"),
    }


def test_annotations_that_resolve_give_attributes_their_types() -> None:
    assert shape(Reach(Fielded), "field") == "int"
    assert not Reach(Fielded).is_method("field")


def test_a_result_that_cannot_cross_is_a_handle_again() -> None:
    contract = Reach(Model).of_member("object")
    assert contract is not None and contract.has_handles


def test_what_the_class_does_not_declare_is_not_reached() -> None:
    with pytest.raises(AttributeError) as caught:
        Reach(Model).is_method("predict")
    assert str(caught.value) == (
        "Model declares no public 'predict', so a handle does not reach it;"
        " declare the result as Handle[Any] to reach whatever the object has"
    )
    assert Reach(Any).is_method("predict") is None
    assert Reach(Any).of_member("predict") is None


def test_what_the_class_cannot_do_is_not_tried() -> None:
    reach = Reach(Model)
    assert str(reach.of_item().shape) == "int"
    with pytest.raises(TypeError) as caught:
        reach.of_length()
    assert str(caught.value) == "the object of this handle is declared as Model, which cannot be measured by len()"
    with pytest.raises(TypeError):
        reach.checked(())
    assert str(Reach(Any).of_length().shape) == "int"
    assert Reach(Any).of_item() is None
    assert Reach(Any).checked((1,)) == (1,)


def test_a_callable_is_called_with_what_it_declares_and_gives_what_it_declares() -> None:
    reach = Reach(Callable[[int, list[str]], float])
    assert reach.checked((1, ["a"])) == [1, ["a"]]
    assert str(reach.of_call().shape) == "float"
    with pytest.raises(ContractError) as caught:
        reach.checked((1, [2]))
    assert str(caught.value) == "argument 2: value[0]: Input should be a valid string (got int 2)"
    with pytest.raises(ContractError) as caught:
        reach.checked((1,))
    assert str(caught.value) == "it takes 2 arguments by position, and got 1"
    with pytest.raises(AttributeError):
        reach.is_method("__code__")
    with pytest.raises(TypeError):
        reach.of_length()


@pytest.mark.parametrize("annotation", [Callable, Callable[..., Any]])
def test_a_callable_that_declares_nothing_takes_anything(annotation: Any) -> None:
    reach = Reach(annotation)
    assert reach.checked((1, "a")) == (1, "a")
    assert reach.of_call() is None
