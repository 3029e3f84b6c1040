from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, NamedTuple

import cloudpickle
import pandas
import pytest

import agex
from agex.entries import MemberSpec, Module
from agex.errors import ConfigurationError
from agex.registry import Registry
from agex_protocol.plan import ModuleGrant

SHOP = '''
"""A shop."""
VAT = 0.19
class Customer:
    def __init__(self, name): self.name = name
    def send_mail(self): return "mail"
    def send_bill(self): return "bill"
    def delete(self): return "gone"
class Order:
    def ship(self): return "shipped"
def price(sku): return 1.0
def drop_all(): return None
def _internal(): return None
'''


class Customer:
    """One who buys."""

    def pay(self, amount: float) -> None:
        """Settle a bill."""


def price(sku: str, quantity: Annotated[int, "pieces"] = 1) -> list[Customer]:
    """Unit price."""
    return []


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a package with a submodule, installed but not imported."""
    package = tmp_path / "agex_test_shop"
    package.mkdir()
    (package / "__init__.py").write_text(SHOP)
    (package / "stock.py").write_text("def count(): return 3\ndef burn(): return 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "agex_test_shop", raising=False)
    monkeypatch.delitem(sys.modules, "agex_test_shop.stock", raising=False)
    return "agex_test_shop"


def test_a_module_is_granted_whole_and_preloaded_under_its_own_name() -> None:
    registry = Registry()
    registry.module(pandas)
    registry.module("json.decoder", include="JSON*", exclude=["*Error"])
    assert registry.grants() == (ModuleGrant("pandas"), ModuleGrant("json.decoder", ("JSON*",), ("*Error",)))
    assert registry.preload() == ("pandas", "json.decoder")


def test_a_module_given_by_name_with_plain_globs_is_not_imported_into_this_process(shop: str) -> None:
    Registry().module(shop, include=["price", "Customer"], exclude="Customer.delete")
    assert shop not in sys.modules


def test_a_callable_include_becomes_explicit_names_and_narrows_classes_it_speaks_of(shop: str) -> None:
    registry = Registry()
    registry.module(
        shop, include=lambda name: name == "price" or name == "Customer" or name.startswith("Customer.send")
    )
    assert registry.grants() == (ModuleGrant(shop, ("Customer", "price"), ("Customer.delete",)),)


def test_a_callable_include_that_names_a_class_alone_gives_all_of_it(shop: str) -> None:
    registry = Registry()
    registry.module(shop, include=lambda name: name == "Customer")
    assert registry.grants() == (ModuleGrant(shop, ("Customer",), ()),)


def test_a_glob_for_members_of_a_class_gives_the_class_with_those_members_only(shop: str) -> None:
    registry = Registry()
    registry.module(shop, include=["Customer.send_*", "Order"])
    assert registry.grants() == (ModuleGrant(shop, ("Customer", "Order"), ("Customer.delete",)),)


def test_a_callable_exclude_becomes_explicit_names_of_members_and_of_members_of_classes(shop: str) -> None:
    registry = Registry()
    registry.module(shop, exclude=lambda name: name.split(".")[-1] in ("drop_all", "delete", "VAT"))
    assert registry.grants() == (ModuleGrant(shop, ("*",), ("Customer.delete", "VAT", "drop_all")),)


def test_a_callable_pattern_on_a_recursive_module_is_asked_about_submodules_too(shop: str) -> None:
    __import__(f"{shop}.stock")
    registry = Registry()
    registry.module(
        shop, include=lambda name: name == "stock.count", exclude=lambda name: "burn" in name, recursive=True
    )
    assert registry.grants() == (ModuleGrant(shop, ("stock", "stock.count"), ("stock.burn",), recursive=True),)


def test_a_glob_in_configure_is_spread_over_what_is_given_and_an_exact_name_counts_before_it() -> None:
    high, low = MemberSpec(visibility="high"), MemberSpec(visibility="low")
    entry = Registry().module(
        json, exclude="dump", configure={"dumps": low, "*": low, "JSONEncoder.*": high, "d*": high, "[l-m]*": high}
    )
    shown = dict(entry.configure)
    assert "dump" not in shown and all(not name.startswith("_") for name in shown)
    assert [shown[name] for name in ("dumps", "loads", "JSONDecoder", "JSONEncoder.encode")] == [low, high, low, high]
    # Of a glob there may be more than there is room for.
    both = {"J*": high, "loads": high}
    assert Registry().module(json, configure=both).configure[0] == ("loads", high)


def test_patterns_are_never_shared_with_the_caller(shop: str) -> None:
    exclude = ["drop_*"]
    registry = Registry()
    registry.module(shop, exclude=exclude)
    exclude.append("price")
    assert registry.grants()[0].exclude == ("drop_*",)


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda r: r.module("agex_no_such_module"), "no module named 'agex_no_such_module' is installed here"),
        (lambda r: r.module("not a name"), "'not a name' is not the dotted name of a module"),
        (lambda r: r.module(json, name="db"), "module 'json' cannot be imported as 'db'"),
        (lambda r: r.module("json", name="db"), "module 'json' cannot be renamed to 'db'"),
        (lambda r: r.module(ModuleType("homemade")), "module 'homemade' cannot be imported as 'homemade'"),
        (lambda r: r.module(sys.modules["__main__"]), "the running script cannot be given as a module"),
        (lambda r: r.module({}), "is a live object, not a module: give name="),
        (lambda r: r.module(price, name="db"), "see agent.fn"),
        (lambda r: r.module({}, name="db", recursive=True), "it has no submodules"),
        (lambda r: r.module({}, name="db", runs="worker"), "runs='worker' is none of 'host'"),
        (lambda r: r.module({}, name="db", include=["gett"]), "include names 'gett', which it does not have"),
        (lambda r: r.module({}, name="db", include=["__class__"]), "__class__ cannot be given"),
        (lambda r: r.module(3, name="db", include=["__len__"]), "include names __len__, which int does not have"),
        (lambda r: r.module({}, name="db", exclude="*"), "nothing of it is left to offer"),
        (lambda r: r.module({}, name="_db"), "'_db' is private to agent code"),
        (lambda r: r.module({}, name="db", configure={"gett": MemberSpec()}), "did you mean 'get'?"),
        (lambda r: r.module(Customer), "classes go to agent.cls"),
        (lambda r: r.module(json, visibility="hidden"), "visibility 'hidden' is none of 'high', 'medium', 'low'"),
        (lambda r: r.module(json, include=[1]), "include holds 1; it takes globs"),
        (lambda r: r.module(json, include=lambda name: False), "`include` leaves nothing of it"),
        (lambda r: r.module(json, runs="cloud"), "runs='cloud' is none of 'worker', 'host'"),
        (lambda r: r.module(json, runs="host", include="JSON*"), "it has no functions that could run here"),
        (lambda r: r.module(json, configure={"__doc__": MemberSpec(runs="host")}), "__doc__"),
        (
            lambda r: r.module(json, configure={"lods": MemberSpec()}),
            "which 'json' does not have; did you mean 'loads'?",
        ),
        (
            lambda r: r.module(json, exclude="loads", configure={"loads": MemberSpec()}),
            "configure names 'loads', which include/exclude take away",
        ),
        (
            lambda r: r.module(json, configure={"loads": MemberSpec(constructable=False)}),
            "json.loads: constructable=False is for classes, and this is function 'loads'",
        ),
        (lambda r: r.module(json, configure={"loads": {"visibility": "high"}}), "takes an agex.MemberSpec"),
        (lambda r: r.cls(price), "functions go to agent.fn"),
        (lambda r: r.cls(Customer, include="send_*"), "nothing of it is left to offer"),
        (lambda r: r.cls(Customer, include="pay", exclude="*"), "nothing of it is left to offer"),
        (lambda r: r.fn(Customer), "classes go to agent.cls"),
        (lambda r: r.fn(3), "fn() takes a function"),
        (lambda r: r.fn(lambda: 1), "has no name of its own; give one with name="),
        (lambda r: r.fn(price, runs="cloud"), "runs='cloud' is none of 'worker', 'host'"),
        (lambda r: r.fn(price, visibility="loud"), "visibility 'loud'"),
    ],
)
def test_a_registration_that_cannot_hold_is_refused_with_the_remedy(
    register: Callable[[Any], object], message: str
) -> None:
    registry = Registry()
    with pytest.raises(ConfigurationError) as caught:
        register(registry)
    assert message in str(caught.value)
    assert registry.grants() == () and registry.bindings() == {} and registry.host_functions() == {}


@pytest.mark.parametrize(
    "name",
    ["inputs", "cache", "task_success", "task_fail", "task_clarify", "view_image", "print", "len", "_x", "if", "a b"],
)
def test_a_name_that_agent_code_cannot_or_must_not_rebind_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="give"):
        Registry().fn(price, name=name)


def test_one_name_for_two_different_objects_is_refused_and_the_first_stays() -> None:
    registry = Registry()
    registry.fn(price)
    with pytest.raises(ConfigurationError) as caught:
        registry.cls(Customer, name="price")
    assert str(caught.value) == "the name 'price' is taken by function 'price'; give name= to one of the two"
    assert list(registry.host_functions()) == ["price"] and registry.bindings() == {}


def test_a_statement_that_is_run_again_replaces_what_it_made_before() -> None:
    cell = """
@agent.fn
def rate() -> int:
    return {0}

@agent.cls
class Plain:
    def number(self) -> int:
        return {0}

@agent.fn
@other.task
def asked() -> int:
    "Ask."

class Desk:
    @other.task
    def asked(self) -> int:
        "Ask."
"""
    agent = agex.Agent(llm=agex.llm.Scripted(["task_success(rate() + Plain().number())"] * 2))
    other = agex.Agent(llm=agex.llm.Scripted([]))
    scope: dict[str, Any] = {"agent": agent, "other": other, "__name__": "__main__"}

    @agent.task
    def add() -> int:
        """Add."""
        raise NotImplementedError

    for number in (1, 20):
        exec(cell.format(number), scope)
        assert add() == 2 * number
    agent.fn(scope["Desk"]().asked, name="desk")
    for another in (scope["Desk"]().asked, scope["rate"], scope["Plain"]().number):
        with pytest.raises(ConfigurationError, match="the name 'desk' is taken"):
            agent.fn(another, name="desk")
    with pytest.raises(ConfigurationError, match="the name 'rate' is taken"):
        agent.cls(scope["Plain"], name="rate")


def test_registering_the_same_object_again_replaces_what_was_said_of_it() -> None:
    registry = Registry()
    registry.module(json)
    registry.module("json", exclude="load")
    assert registry.grants() == (ModuleGrant("json", ("*",), ("load",)),)


def test_a_function_runs_in_the_host_with_its_annotations_as_objects() -> None:
    registry = Registry()
    entry = registry.fn(price)
    assert registry.host_functions() == {"price": entry} and registry.bindings() == {}
    assert entry.signature.parameters["quantity"].annotation == Annotated[int, "pieces"]
    assert entry.signature.return_annotation == list[Customer]
    assert entry.docstring == "Unit price."


def test_a_bound_method_can_be_registered_and_is_the_same_object_each_time() -> None:
    buyer, registry = Customer(), Registry()
    registry.fn(buyer.pay)
    entry = registry.fn(buyer.pay, visibility="low")
    assert list(entry.signature.parameters) == ["amount"] and list(registry.host_functions()) == ["pay"]


def test_an_annotation_that_does_not_resolve_is_named() -> None:
    def lookup(key: NoSuchType) -> str:  # type: ignore[name-defined]  # noqa: F821 - what the test is about
        return ""

    with pytest.raises(ConfigurationError, match="function 'lookup' cannot be registered: .*NoSuchType"):
        Registry().fn(lookup)


def test_a_callable_without_a_signature_asks_for_a_def() -> None:
    with pytest.raises(ConfigurationError, match="Wrap it in a def with annotations"):
        Registry().fn(max, name="biggest")


def test_classes_and_worker_functions_are_sent_and_the_modules_they_live_in_are_preloaded() -> None:
    registry = Registry()
    registry.cls(pandas.DataFrame, name="Frame")
    registry.fn(inspect.cleandoc, runs="worker")
    assert registry.bindings() == {"Frame": pandas.DataFrame, "cleandoc": inspect.cleandoc}
    assert registry.preload() == ("pandas", "inspect") and registry.host_functions() == {}


def test_a_worker_function_that_would_carry_a_secret_along_is_refused_by_name() -> None:
    key, factor = "sk-123", 2

    def helper() -> str:
        return key

    def signed(text: str) -> str:
        return text + helper()

    def scaled(value: int) -> int:
        return value * factor

    registry = Registry()
    registry.fn(scaled, runs="worker")
    with pytest.raises(ConfigurationError) as caught:
        registry.fn(signed, runs="worker")
    assert "function 'signed' would carry the variable `key` of an outer function (a str)" in str(caught.value)
    assert cloudpickle.loads(cloudpickle.dumps(registry.bindings()))["scaled"](3) == 6


def test_a_method_or_a_default_that_would_carry_an_object_along_is_refused() -> None:
    def charge(amount: float, client: Customer = Customer()) -> None: ...  # noqa: B008 - the object that rides along

    def collect() -> None:
        found.append(1)

    found: list[int] = []
    append = found.append
    carried: list[tuple[Callable[..., Any], str]] = [
        (Customer().pay, "the object behind it (a method)"),
        (functools.partial(price, "a"), "the object behind it (a partial)"),
        (charge, "the default of a parameter (a Customer)"),
        (collect, "the variable `found` of an outer function (a list)"),
        (lambda: append(1), "the variable `append` of an outer function (a builtin_function_or_method)"),
    ]
    for function, named in carried:
        with pytest.raises(ConfigurationError) as caught:
            Registry().fn(function, name="sent", runs="worker")
        assert f"function 'sent' would carry {named}" in str(caught.value)


def test_a_class_whose_methods_would_carry_a_secret_along_is_refused() -> None:
    key = "sk-123"

    class Base:
        @property
        def token(self) -> str:
            return key

    class Client(Base):
        pass

    with pytest.raises(ConfigurationError, match="class 'Client' would carry the variable `key`"):
        Registry().cls(Client)


def test_defaults_of_fields_and_plain_defaults_travel_and_what_a_factory_reads_is_refused() -> None:
    class Kind(enum.Enum):
        A = "a"

    @dataclasses.dataclass(slots=True)
    class Line:
        tags: list[str] = dataclasses.field(default_factory=list)
        kind: Kind = Kind.A
        day: datetime.date = datetime.date(2024, 2, 29)

    class Row(NamedTuple):
        kind: Kind = Kind.A
        line: Line = Line()  # noqa: RUF009 - an object, and the class's own

    class Page:
        def find(self, kind: Kind = Kind.A, price: Decimal = Decimal("1.5")) -> None: ...

    key = "sk-123"

    @dataclasses.dataclass
    class Signed:
        by: str = dataclasses.field(default_factory=lambda: key)

    sent = Registry()
    for cls in (Line, Row, Page):
        sent.cls(cls)
    made = cloudpickle.loads(cloudpickle.dumps(sent.bindings()))["Line"]()
    assert (made.tags, made.kind.value, made.day) == ([], "a", datetime.date(2024, 2, 29))
    with pytest.raises(ConfigurationError, match="class 'Signed' would carry the variable `key`"):
        Registry().cls(Signed)


MAIN = """
import json
from agex.registry import Registry
from agex.errors import ConfigurationError

API_KEY = "sk-123"
class Point:
    def __init__(self, x: int): self.x = x
def double(p: "Point") -> int: return p.x * 2
def call() -> str: return (lambda: API_KEY)()

registry = Registry()
registry.cls(Point); registry.fn(double); registry.fn(double, name="there", runs="worker"); registry.module("json")
try:
    registry.fn(call, runs="worker")
except ConfigurationError as error:
    refused = str(error)
import cloudpickle
sent = cloudpickle.loads(cloudpickle.dumps(registry.bindings()))
print(json.dumps({
    "preload": registry.preload(), "value": sent["there"](sent["Point"](4)), "refused": refused,
    "hint": registry.host_functions()["double"].signature.parameters["p"].annotation is Point,
    "fingerprint": registry.fingerprint,
}))
"""


def test_what_a_script_defines_can_be_registered_and_its_globals_stay_at_home(tmp_path: Path) -> None:
    report = _run_script(tmp_path, seed="1")
    assert (report["preload"], report["value"], report["hint"]) == (["json"], 8, True)
    assert "function 'call' would carry the global `API_KEY` (a str) of this process" in report["refused"]


def test_the_fingerprint_is_the_same_in_every_process_and_differs_for_every_difference(tmp_path: Path) -> None:
    assert _run_script(tmp_path, seed="1")["fingerprint"] == _run_script(tmp_path, seed="2")["fingerprint"]
    registrations: list[Callable[[Registry], object]] = [
        lambda r: r.module(json),
        lambda r: r.module(json, visibility="high"),
        lambda r: r.module(json, exclude="load"),
        lambda r: r.module(json, recursive=True),
        lambda r: r.module(json, configure={"load": MemberSpec(docstring="x")}),
        lambda r: r.fn(price),
        lambda r: r.fn(price, docstring="x"),
        lambda r: r.fn(price, runs="worker"),
        lambda r: r.cls(Customer),
        lambda r: r.cls(Customer, name="Buyer"),
    ]
    prints: list[str] = []
    for register in registrations:
        registry = Registry()
        register(registry)
        prints.append(registry.fingerprint)
    assert len(set(prints)) == len(registrations)


def test_a_sandbox_gets_its_registry_from_names_modules_and_records() -> None:
    registry = Registry.of(["json", pandas, Module("math", include=["s*"])], {"cost": price})
    assert registry.grants() == (ModuleGrant("json"), ModuleGrant("pandas"), ModuleGrant("math", ("s*",)))
    assert list(registry.host_functions()) == ["cost"]


def _run_script(folder: Path, seed: str) -> dict[str, Any]:
    script = folder / "script.py"
    script.write_text(MAIN)
    environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, env=environment)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_what_is_registered_is_not_changed_by_that() -> None:
    class Plain:
        def act(self) -> None: ...

    def function() -> None: ...

    before = (dict(vars(Plain)), dict(vars(function)), dict(vars(json)))
    registry = Registry()
    registry.cls(Plain, include="act", constructable=False)
    registry.fn(function)
    registry.module(json, configure={"JSONDecoder": MemberSpec(constructable=False)})
    assert (dict(vars(Plain)), dict(vars(function)), dict(vars(json))) == before


def test_two_agents_of_one_name_are_no_hindrance_to_each_other() -> None:
    first, second = agex.Agent(name="dup"), agex.Agent(name="dup")
    assert first.name == second.name == "dup"


@pytest.mark.parametrize("what", ["include", "exclude"])
def test_a_pattern_with_the_name_of_its_module_in_front_is_refused_since_it_fits_nothing(what: str) -> None:
    import datetime
    import json

    with pytest.raises(agex.ConfigurationError, match="write 'loads'"):
        agex.Agent().module(json, **{what: ["json.loads"]})
    agex.Agent().module(datetime, **{what: ["datetime.now"]})
