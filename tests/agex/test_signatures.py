from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal, Optional

import pandas
import pytest

from agex.signatures import annotation_text, render_signature, resolved_signature


def every_kind(a: int, /, b: str = "x", *rest: float, flag: bool = False, **others: Any) -> dict[str, int]:
    """Do it.

    At length.
    """
    return {}


def keyword_only(a, *, key=object()):  # type: ignore[no-untyped-def]  # noqa: B008 - a default that is no constant
    return a


def test_a_signature_is_written_as_one_would_write_it() -> None:
    signature = resolved_signature(every_kind, "every_kind")
    written = "every_kind(a: int, /, b: str = 'x', *rest: float, flag: bool = False, **others: Any) -> dict[str, int]"
    assert render_signature("every_kind", signature) == written
    assert render_signature("f", signature, every_kind.__doc__).splitlines()[1:] == ["    Do it.", "", "    At length."]


def test_a_default_that_is_no_constant_is_not_printed() -> None:
    assert render_signature("f", inspect.signature(keyword_only)) == "f(a, *, key=...)"


def test_a_signature_gives_up_types_of_options_then_types_then_parameters_to_stay_short() -> None:
    signature = resolved_signature(every_kind, "every_kind")
    assert render_signature("f", signature, max_chars=80) == (
        "f(a: int, /, b='x', *rest: float, flag=False, **others: Any) -> dict[str, int]"
    )
    assert render_signature("f", signature, max_chars=50) == "f(a, /, b='x', *rest, flag=False, **others)"
    assert render_signature("f", signature, max_chars=20) == "f(a, /, b='x', ...)"


@pytest.mark.parametrize("max_chars", [1, 10, 40, 120])
def test_no_signature_of_pandas_is_longer_than_asked(max_chars: int) -> None:
    for function in (pandas.read_csv, pandas.merge, pandas.concat, pandas.DataFrame):
        assert len(render_signature("name", inspect.signature(function), max_chars=max_chars)) <= max_chars


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (None, "None"),
        (pandas.DataFrame, "DataFrame"),
        (dict[str, pandas.DataFrame], "dict[str, DataFrame]"),
        (Annotated[list[int], "sorted"], "list[int]"),
        (list[Optional[int]], "list[int | None]"),  # noqa: UP045 - the older spelling reads the same
        (tuple[int, ...], "tuple[int, ...]"),
        (Callable[..., None], "Callable[..., None]"),
        (dict[str, Any], "dict[str, Any]"),
        (int | None, "int | None"),
        (Optional[pandas.Series], "Series | None"),  # noqa: UP045 - the older spelling reads the same
        (Callable[[int], bool], "Callable[[int], bool]"),
        (Literal["a", "b"], "Literal['a', 'b']"),
        (Any, "Any"),
        ("pandas.DataFrame", "pandas.DataFrame"),
    ],
)
def test_a_type_is_written_without_the_modules_it_lives_in(annotation: object, text: str) -> None:
    assert annotation_text(annotation) == text
