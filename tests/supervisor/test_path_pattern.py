"""Patterns of paths, whatever paths and patterns code of a worker chooses."""

from __future__ import annotations

import itertools
import re

import pytest

from agex_supervisor.path_pattern import MAX_PATTERN_CHARS, like

PIECES = {"a": "a", "/": "/", ".": r"\.", "?": "[^/]", "*": "[^/]*", "**": "(?s:.*)", "**/": "(?:[^/]+/)*"}


def test_a_path_fits_as_the_expression_says_that_its_pattern_stands_for() -> None:
    paths = ["".join(each) for size in range(6) for each in itertools.product("ab/", repeat=size)] + ["a.", "\n/a", "é"]
    fitted = 0
    for pieces in itertools.product(["a", "/", "?", "*", "**", "**/"], repeat=3):
        if any(one.endswith("*") and other[0] in "*/" for one, other in itertools.pairwise(pieces)):
            continue  # read as other pieces than these
        expression = re.compile("".join(PIECES[each] for each in pieces))
        fits = like("".join(pieces))
        for path in paths:
            assert fits(path) == (expression.fullmatch(path) is not None), (pieces, path)
            fitted += fits(path)
    assert fitted > 1_000


@pytest.mark.parametrize(
    ("pattern", "path"), [("**/" * 300 + "x", "a/" * 500 + "b"), ("*a" * 400 + "?x", "a" * 4_000 + "yy")]
)
def test_a_pattern_of_many_stars_is_answered_for_the_longest_of_paths(pattern: str, path: str) -> None:
    assert not like(pattern)(path)
    assert like(pattern[:-1] + "**")(path)


def test_a_pattern_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="a pattern of 1001 characters; it has at most 1000"):
        like("*" * (MAX_PATTERN_CHARS + 1))
