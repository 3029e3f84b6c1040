from __future__ import annotations

import enum
import importlib
import re
import sys
from pathlib import Path

import numpy
import pandas
import pytest

import agex
from agex.catalogue import render_registry
from agex.entries import MemberSpec
from agex.errors import ConfigurationError
from agex.registry import Registry
from agex.tokens import estimated_tokens


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Customer:
    """One who buys."""

    def __init__(self, name: str) -> None:
        self.name = name

    def pay(self, amount: float) -> None:
        """Settle a bill.

        In full.
        """

    def hide(self) -> None: ...


def price(sku: str, quantity: int = 1) -> float:
    """Unit price."""
    return 1.0


def refund(sku: str) -> None:
    """Money back."""


def secret_door() -> None:
    """Not to be praised."""


def test_nothing_registered_is_nothing_to_read() -> None:
    assert render_registry(Registry()) == ""


def test_functions_and_classes_of_the_developer_are_shown_by_their_visibility() -> None:
    registry = Registry()
    registry.fn(price)
    registry.fn(refund, visibility="medium")
    registry.fn(secret_door, visibility="low")
    registry.cls(Customer, configure={"hide": MemberSpec(visibility="low")})
    registry.cls(Color)
    assert render_registry(registry).splitlines() == [
        "Functions, called by their bare names:",
        "price(sku: str, quantity: int = 1) -> float",
        "    Unit price.",
        "refund(sku: str) -> None",
        "also: secret_door",
        "",
        "Classes, known by their bare names:",
        "Customer(name: str)",
        "    One who buys.",
        "    attributes: name",
        "    .pay(self, amount: float) -> None",
        "        Settle a bill.",
        "Color: one of RED, BLUE",
    ]


def test_a_quiet_module_is_named_and_its_configured_members_are_still_shown() -> None:
    registry = Registry()
    registry.module("json", visibility="low")
    registry.module("math", visibility="low", configure={"sqrt": MemberSpec(visibility="high", docstring="The root.")})
    registry.module("statistics", include="fmean", visibility="high")
    text = render_registry(registry).splitlines()
    assert text[:6] == ["Also available to import: json", "", "import math", "sqrt(x, /)", "    The root.", ""]
    assert text[6].startswith("import statistics  # ") and text[7] == "fmean(data, weights=None)"


def test_what_a_registration_takes_away_is_not_shown() -> None:
    registry = Registry()
    registry.module(pandas, include=["DataFrame", "read_*"], exclude="read_pickle")
    text = render_registry(registry, 6000)
    assert "DataFrame(" in text and "read_csv(" in text
    assert "read_pickle" not in text and "concat" not in text


def test_pandas_fits_and_what_is_used_most_has_its_signature() -> None:
    registry = Registry()
    registry.module(pandas)
    text = render_registry(registry)
    assert len(text) <= 3000
    lines = text.splitlines()
    assert lines[0] == "import pandas"
    assert {"DataFrame", "Series", "concat", "to_datetime"} <= {line.partition("(")[0] for line in lines}
    assert lines[-1].startswith("also: ") and "pivot_table" in lines[-1]


@pytest.mark.parametrize("budget", [0, 3, 30, 150, 450, 1400, 6000])
def test_the_whole_text_never_exceeds_its_budget(budget: int) -> None:
    registry = Registry()
    for module in (pandas, numpy, "math", "json", "statistics"):
        registry.module(module, visibility="high")
    registry.module("itertools", visibility="low")
    for number in range(60):
        registry.fn(price, name=f"price_{number}", docstring="Long words. " * 40)
        registry.cls(Customer, name=f"Customer{number}")
    assert estimated_tokens(render_registry(registry, budget)) <= budget


def test_each_library_gets_its_part_when_many_are_registered() -> None:
    registry = Registry()
    names = ["pandas", "numpy", "math", "json", "statistics", "itertools", "datetime", "collections"]
    for name in names:
        registry.module(name)
    shown = [
        line.removeprefix("import ") for line in render_registry(registry).splitlines() if line.startswith("import ")
    ]
    assert shown == names


def test_the_text_is_the_same_for_the_same_registrations() -> None:
    def text() -> str:
        registry = Registry()
        registry.module(pandas)
        registry.fn(price)
        return render_registry(registry)

    assert text() == text()


def test_a_module_is_read_once_for_all_agents_that_register_it_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "agex_test_once.py").write_text("def first(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)

    def text(exclude: str | None = None) -> str:
        registry = Registry()
        registry.module("agex_test_once", exclude=exclude)
        return render_registry(registry)

    before = text()
    vars(sys.modules["agex_test_once"])["second"] = len
    assert before == text() == "import agex_test_once\nfirst()"
    assert text(exclude="first") == "import agex_test_once\nalso: second"


def test_lazy_attributes_of_a_module_are_not_woken_to_be_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (
        "def eager(): ...\ndef __dir__(): return ['eager', 'lazy']\ndef __getattr__(name): raise SystemExit(name)\n"
    )
    (tmp_path / "agex_test_lazy.py").write_text(
        source.replace("def __getattr__", "__all__ = ['eager', 'lazy']\ndef __getattr__")
    )
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry()
    registry.module("agex_test_lazy")
    try:
        assert render_registry(registry) == "import agex_test_lazy\neager()"
    finally:
        sys.modules.pop("agex_test_lazy", None)  # whoever looks through all modules would wake it


def test_submodules_are_shown_only_where_they_can_be_reached() -> None:
    plain, deep = Registry(), Registry()
    plain.module(numpy)
    deep.module(numpy, recursive=True, configure={"linalg.norm": MemberSpec(visibility="high")})
    assert "linalg" not in render_registry(plain, 20_000)
    assert "linalg.norm(x, ord=None, axis=None, keepdims=False)" in render_registry(deep, 20_000)


def test_a_module_that_fails_to_import_is_named_with_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agex_test_broken.py").write_text("raise RuntimeError('no key file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry()
    registry.module("agex_test_broken")
    with pytest.raises(ConfigurationError) as caught:
        render_registry(registry)
    assert str(caught.value) == (
        "module 'agex_test_broken' was registered but importing it fails: RuntimeError: no key file"
    )


def test_what_the_sandbox_keeps_back_is_not_shown_unless_the_registration_names_it() -> None:
    registry = Registry()
    registry.module(pandas)
    shown = render_registry(registry, 20_000)
    assert "read_csv(" in shown
    assert not {"read_pickle", "read_sql", "HDFStore", "ExcelWriter", "eval"} & set(re.split(r"[\s,(]+", shown))
    registry.module(pandas, include=["read_*", "read_pickle"])
    assert "read_pickle(" in render_registry(registry, 20_000)


def test_a_default_that_cannot_be_hashed_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agex_test_default.py").write_text("def many(names: list = []): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry()
    registry.module("agex_test_default", runs="host")
    assert render_registry(registry) == "import agex_test_default\nmany(names: list = ...)"


def test_a_module_that_was_replaced_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    registry = Registry()
    (tmp_path / "agex_test_replaced.py").write_text("def one(): ...\n")
    registry.module("agex_test_replaced")
    assert render_registry(registry) == "import agex_test_replaced\none()"
    monkeypatch.delitem(sys.modules, "agex_test_replaced")
    (tmp_path / "agex_test_replaced.py").write_text("def another(): ...\n")
    importlib.invalidate_caches()
    assert render_registry(registry) == "import agex_test_replaced\nanother()"


def test_a_sub_agents_task_is_shown_as_a_plain_function() -> None:
    specialist, boss = agex.Agent(), agex.Agent()

    @boss.fn
    @specialist.task
    def plot(prompt: str, points: list[float]) -> str:
        """Draw points."""
        raise NotImplementedError

    assert "\nplot(prompt: str, points: list[float]) -> str\n    Draw points.\n" in boss.system_prompt(()) + "\n"
