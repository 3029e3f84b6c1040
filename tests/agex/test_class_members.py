"""Classes in the worker of which code does not have everything: include, exclude and constructable=False."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

import agex
from agex import MemberSpec
from agex.class_members import attributes, class_grant, known_members
from agex.errors import ConfigurationError
from agex.llm import Scripted
from agex_protocol.plan import ClassGrant


@dataclasses.dataclass
class Customer:
    """One who buys."""

    name: str
    email: str = ""
    password: str = "secret"

    def send_mail(self) -> str:
        """Send a mail."""
        return f"mail to {self.email}"

    def send_bill(self) -> str:
        """Send a bill."""
        return f"bill to {self.email}"

    def delete(self) -> str:
        """Be forgotten."""
        return "gone"


class Place(NamedTuple):
    x: int
    y: int


class Old:
    limit = 3

    def __init__(self, a: int) -> None:
        self.a = a
        self._b = self.c = a
        other: Any = self
        other.d = 1

    def act(self) -> None: ...


class New(Old):
    e: int = 0

    def __init__(self) -> None:
        super().__init__(1)
        self.f: int = 2


@pytest.fixture(scope="module")
def pool() -> Iterator[agex.Pool]:
    pool = agex.Pool(max_workers=3)
    yield pool
    pool.close()


def work(pool: agex.Pool, isolation: str, code: str, given: Any, **choices: Any) -> agex.TaskOutcome:
    agent = agex.Agent(isolation=isolation, llm=Scripted([code]), pool=pool, max_actions=1)
    agent.module("dataclasses")
    agent.module("operator")
    agent.cls(Customer, **choices)
    agent.cls(Place, constructable=False)

    @agent.task
    def look(given: Customer, place: Place) -> Any:
        """Look."""
        raise NotImplementedError

    return look.run(given, Place(1, 2))


ANN = Customer("Ann", "ann@example.com")
BOTH = pytest.mark.parametrize("isolation", ["none", "kernel"])


@BOTH
def test_what_is_included_is_there_by_name_and_by_glob(isolation: str, pool: agex.Pool) -> None:
    code = "c = inputs.given\ntask_success([c.name, c.send_mail(), getattr(c, 'send_bill')(), isinstance(c, Customer)])"
    outcome = work(pool, isolation, code, ANN, include=["name", "send_*"], constructable=False)
    assert outcome.unwrap() == ["Ann", "mail to ann@example.com", "bill to ann@example.com", True]


REFUSALS = [
    ("inputs.given.password", "Customer.password is not allowed here: the class is registered without it"),
    ("getattr(inputs.given, 'pass' + 'word')", "Customer.password is not allowed here"),
    ("operator.attrgetter('password')(inputs.given)", "Customer.password is not allowed here"),
    ("'{0.password}'.format(inputs.given)", "Customer.password is not allowed here"),
    ("inputs.given.delete()", "Customer.delete is not allowed here"),
    ("inputs.given.send_bill()", "Customer.send_bill is not allowed here"),
    ("Customer.delete(inputs.given)", "'delete'|Customer.delete is not allowed here"),
    ("Customer('Eve')", r"Customer\(\) is not allowed here: objects of this class come from elsewhere"),
    ("type(inputs.given)('Eve')", r"Customer\(\) is not allowed here"),
    (
        "operator.call(type(inputs.given), 'Eve') if hasattr(operator, 'call') else Customer('Eve')",
        r"Customer\(\) is not",
    ),
    ("dataclasses.replace(inputs.given, name='Eve')", r"replace\(\) is not allowed here"),
    ("Customer.__new__(Customer)", "the attribute __new__ is not allowed here"),
    ("list(map(Customer, ['Eve']))", r"Customer\(\) is not allowed here"),
    ("inputs.place._replace(x=3)", "the attribute _replace of a Place is not allowed here"),
    ("Place._make([1, 2])", "_make"),
]


@BOTH
@pytest.mark.parametrize(("expression", "told"), REFUSALS)
def test_what_is_not_included_and_objects_of_closed_classes_are_not_to_be_had(
    isolation: str, expression: str, told: str, pool: agex.Pool
) -> None:
    code = f"import dataclasses, operator\ntask_success({expression})"
    choices = {"include": ["name", "send_*"], "exclude": "send_bill", "constructable": False}
    outcome = work(pool, isolation, code, ANN, **choices)
    assert outcome.status == "budget"
    with pytest.raises(agex.BudgetExceeded, match=told):
        raise agex.BudgetExceeded(str(outcome.error and outcome.error.last_error))


@BOTH
def test_a_closed_class_is_no_base(isolation: str, pool: agex.Pool) -> None:
    outcome = work(pool, isolation, "class Mine(Customer):\n    pass\ntask_success(1)", ANN, constructable=False)
    assert "a subclass of Customer is not allowed here" in (outcome.error.last_error or "")


@dataclasses.dataclass
class Shop:
    name: str

    def close(self) -> str:
        return "closed"


@BOTH
def test_what_code_adds_in_a_subclass_of_its_own_is_its_own(isolation: str, pool: agex.Pool) -> None:
    code = """
class Mine(Shop):
    def total(self):
        self.sum = 5
        return self.sum
mine = Mine("corner")
try:
    mine.close()
except Exception as error:
    task_success([mine.total(), mine.name, str(error)])
"""
    agent = agex.Agent(isolation=isolation, llm=Scripted([code]), pool=pool, max_actions=1)
    agent.cls(Shop, include="name")

    @agent.task
    def look() -> Any:
        """Look."""
        raise NotImplementedError

    assert look() == [5, "corner", "Shop.close is not allowed here: the class is registered without it"]


@BOTH
def test_a_class_of_a_module_can_be_closed_by_its_member_spec(isolation: str, pool: agex.Pool) -> None:
    code = "import fractions\ntask_success([isinstance(inputs.given, fractions.Fraction), fractions.Fraction(1, 2)])"
    agent = agex.Agent(isolation=isolation, llm=Scripted([code]), pool=pool, max_actions=1)
    agent.module("fractions", configure={"Fraction": MemberSpec(constructable=False)})

    @agent.task
    def look(given: int) -> Any:
        """Look."""
        raise NotImplementedError

    assert "Fraction() is not allowed here" in (look.run(1).error.last_error or "")


def test_nothing_is_taken_away_of_classes_where_nothing_would_hold_it() -> None:
    agent = agex.Agent(isolation="kernel", policy="full-python")
    agent.cls(Customer, constructable=False)
    with pytest.raises(
        ConfigurationError, match="class 'Customer' is registered with include, .* register it with runs"
    ):
        agent.system_prompt(())


def test_members_are_known_from_the_class_its_annotations_and_its_constructor() -> None:
    assert attributes(New) == ["a", "c", "e", "f"]
    assert known_members(New) == ["a", "act", "c", "e", "f", "limit"]


def test_a_callable_pattern_is_asked_once_for_each_member() -> None:
    asked: list[str] = []

    def wanted(name: str) -> bool:
        asked.append(name)
        return name in ("a", "act")

    assert class_grant(New, wanted, None, True, "x") == ClassGrant(__name__, "New", ("a", "act"))
    assert asked == known_members(New)
    assert class_grant(New, None, lambda name: name == "f", True, "x") == ClassGrant(__name__, "New", ("*",), ("f",))
    assert class_grant(New, None, None, True, "x") is None


def test_the_prompt_shows_what_code_has_of_a_class() -> None:
    agent = agex.Agent(isolation="kernel")
    agent.cls(Customer, include=["name", "send_*"], constructable=False, configure={"send_bill": MemberSpec("low")})
    text = agent.system_prompt(())
    shown = text[text.index("Customer: ") :].splitlines()
    assert shown == [
        "Customer: given by inputs and functions",
        "    One who buys.",
        "    attributes: name",
        "    .send_mail(self) -> str",
        "        Send a mail.",
    ]
