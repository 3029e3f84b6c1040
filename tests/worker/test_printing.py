"""What is seen of a printed value: what Python prints, and of one that is too long its head, its tail and its size."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import pandas as pd
import pytest

from agex_worker.printing import MAX_VALUE_CHARS, bounded_print, glimpse, observed


@pytest.mark.parametrize(
    "value",
    [
        None,
        1.5,
        "text\nof two lines",
        "x" * MAX_VALUE_CHARS,
        [1, "a", {"b": (2,)}],
        set(),
        list(range(1000)),
        pd.DataFrame({"a": range(30)}),
        np.arange(10**6),
        deque([1], 3),
    ],
    ids=range(10),
)
def test_what_is_not_too_long_is_printed_as_python_prints_it(value: object) -> None:
    assert observed(value) == str(value)


def test_a_long_text_keeps_its_head_and_its_tail() -> None:
    shown = observed("HEAD" + "x" * 50_000 + "TAIL")
    assert shown.startswith("HEADxxx") and "\n... 46008 characters left out ...\n" in shown
    assert shown.endswith("xxTAIL\n[str, 50008 characters as text]")


def test_a_long_list_keeps_its_first_and_last_items_and_counts_the_others() -> None:
    shown = observed(list(range(100_000)))
    head, _, tail = shown.partition(", ... ")
    assert head.startswith("[0, 1, 2, 3") and tail.endswith("99998, 99999]\n[list of 100000]")
    left = int(tail.split()[0])
    assert left == 100_000 - len(head.split(", ")) - len(tail.partition(" more ..., ")[2].split("]")[0].split(", "))
    assert len(shown) < 6000


def test_a_long_dict_in_a_dict_shows_every_key_that_there_is_room_for() -> None:
    shown = observed({"rows": {number: "x" * 100 for number in range(10_000)}, "total": 3})
    assert shown.startswith("{'rows': {0: 'xxx") and "'total': 3}\n[dict of 2]" in shown and " more ..." in shown


def test_a_frame_that_is_too_wide_to_print_is_told_by_shape_kinds_and_head() -> None:
    frame = pd.DataFrame({f"column_{number}": range(50) for number in range(300)}).assign(text="a")
    with pd.option_context("display.max_columns", None, "display.max_rows", None, "display.width", 10_000):
        shown = observed(frame)
    lines = shown.splitlines()
    assert lines[0] == (
        "DataFrame of 50 rows x 301 columns (int64 x 300, str x 1); its first 5 rows and 12 columns:"
        if str(frame["text"].dtype) == "str"
        else "DataFrame of 50 rows x 301 columns (int64 x 300, object x 1); its first 5 rows and 12 columns:"
    )
    assert lines[1].split()[0] == "column_0" and len(lines) == 7


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ([], "[]"),
        ((1,), "(1,)"),
        ({1: [2, (3,)]}, "{1: [2, (3,)]}"),
        (frozenset({1}), "frozenset({1})"),
        (deque([1, 2]), "deque([1, 2])"),
        ("abc", "'abc'"),
        ("a" * 300, f"{'a' * 50!r}...{'a' * 50!r} (300 in all)"),
        ([[[[[[[1]]]]]]], "[[[[[[[...]]]]]]]"),
    ],
)
def test_a_glimpse_is_the_repr_where_there_is_room(value: object, shown: str) -> None:
    assert glimpse(value, 100) == shown


def test_a_glimpse_never_raises_and_never_grows() -> None:
    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError

    endless: list[Any] = []
    endless.append(endless)
    assert glimpse([1, Bad()], 100) == "<its repr cannot be made: RuntimeError>"
    for value in (endless, [["x" * 1000] * 1000] * 1000, {"k" * 500: "v" * 500}, "x" * 10**6, range(10**9)):
        assert len(glimpse(value, 200)) <= 2 * 200 + 60


def test_print_takes_what_print_takes_and_a_file_gets_everything(tmp_path: Any) -> None:
    told: list[tuple[tuple[object, ...], dict[str, object]]] = []
    seen = bounded_print(lambda *values, **named: told.append((values, named)))
    seen(1, "x" * 20_000, sep="-", end="")
    values, named = told.pop()
    assert values[0] == "1" and len(str(values[1])) < 5000
    assert named == {"sep": "-", "end": "", "file": None, "flush": False}
    with open(tmp_path / "out", "w") as file:
        seen("x" * 20_000, file=file)
    assert told.pop()[0] == ("x" * 20_000,)


def test_a_frame_of_which_pandas_prints_but_some_rows_is_told_with_its_kinds() -> None:
    frame = pd.DataFrame({"a": range(1000), "b": 0.5})
    assert observed(frame) == f"{frame}\n[dtypes: a int64, b float64]"
    assert str(frame).endswith("[1000 rows x 2 columns]")
    wide = pd.DataFrame(np.zeros((2, 300)))
    assert observed(wide) == f"{wide}\n[dtypes: float64 x 300]"
