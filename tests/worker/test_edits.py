"""Edits of a text: what a piece means when it is there, nearly there, more than once, or not at all."""

from __future__ import annotations

import pytest

from agex_worker.edits import Edited, EditRefused, edited

CODE = "def f(x):\n    if x:\n        return 1\n    return 2\n"


def test_an_exact_piece_is_replaced_wherever_in_a_line_it_stands() -> None:
    assert edited("a b c", "b", "B", all=False) == Edited("a B c", "replaced 1 place")


def test_a_piece_that_is_there_twice_is_refused_with_its_lines_and_replaced_twice_on_demand() -> None:
    with pytest.raises(EditRefused) as caught:
        edited("x = 1\ny = 2\nx = 1\n", "x = 1", "x = 3", all=False)
    assert str(caught.value) == (
        "search is there 2 times (at lines 1, 3): add lines around it so that it is there once, or say all=true"
    )
    assert edited("x = 1\ny = 2\nx = 1\n", "x = 1", "x = 3", all=True) == Edited(
        "x = 3\ny = 2\nx = 3\n", "replaced 2 places"
    )


def test_spaces_at_the_ends_of_lines_do_not_matter() -> None:
    assert edited("one  \ntwo\t\nthree\n", "one\ntwo  \n", "1\n2\n", all=False) == Edited(
        "1\n2\nthree\n", "replaced 1 place (matched spaces at line ends aside)"
    )


def test_a_piece_that_is_indented_otherwise_is_found_and_the_replacement_moved_with_it() -> None:
    made = edited(CODE, "if x:\n    return 1\n", "if not x:\n\n    return 0\n", all=False)
    assert made.text == "def f(x):\n    if not x:\n\n        return 0\n    return 2\n"
    assert made.note == "replaced 1 place (matched indented)"


def test_a_piece_that_is_indented_too_deep_is_moved_back() -> None:
    assert edited(CODE, "            return 2", "            return 3", all=False).text.endswith("\n    return 3\n")


def test_a_piece_whose_lines_are_indented_in_another_shape_is_not_found() -> None:
    with pytest.raises(EditRefused, match="search was not found"):
        edited(CODE, "if x:\nreturn 1", "", all=False)


def test_two_nearly_fitting_pieces_are_ambiguous_as_well() -> None:
    with pytest.raises(EditRefused, match=r"2 times \(at lines 1, 3\)"):
        edited("  a \n  b\n  a \n", "a\n", "c\n", all=False)


def test_what_was_replaced_before_is_no_error() -> None:
    assert edited("x = 2\n", "x = 1", "x = 2", all=False) == Edited(
        "x = 2\n", "nothing changed: search is not there, and replace is already (line 1)"
    )


def test_what_is_not_there_is_refused_with_the_nearest_lines_numbered() -> None:
    with pytest.raises(EditRefused) as caught:
        edited(CODE, "return 11", "return 3", all=False)
    assert str(caught.value).splitlines() == [
        "search was not found. The nearest lines:",
        "3:         return 1",
        "4:     return 2",
    ]


def test_nothing_like_it_says_so() -> None:
    with pytest.raises(EditRefused, match=r"The file has 1 lines, and none is like 'zzzz'; read it first"):
        edited("abc", "zzzz", "y", all=False)


@pytest.mark.parametrize("search", ["", " \n\t"])
def test_an_empty_search_is_refused(search: str) -> None:
    with pytest.raises(EditRefused, match="search is empty"):
        edited("abc", search, "y", all=False)


def test_a_file_of_crlf_lines_keeps_them_whatever_the_pieces_have() -> None:
    assert edited("a\r\nb\r\nc\r\n", "a\nb\n", "x\ny\n", all=False).text == "x\r\ny\r\nc\r\n"
    assert edited("a\r\nb\r\nc\r\n", "a\r\nb", "x", all=False).text == "x\r\nc\r\n"


def test_a_file_of_mixed_lines_is_changed_where_it_is_meant_and_nowhere_else() -> None:
    assert edited("a\r\nb\nc\r\n", "b", "x", all=False).text == "a\r\nx\nc\r\n"


def test_an_empty_replacement_takes_the_lines_away() -> None:
    assert edited(CODE, "if x:\n    return 1\n", "", all=False).text == "def f(x):\n    return 2\n"


def test_a_replacement_that_stands_somewhere_by_chance_is_no_edit_that_was_made() -> None:
    with pytest.raises(EditRefused, match="search was not found"):
        edited("return x * 2\n", "nowhere", "x", all=False)
    assert "already" in edited("    x\nreturn x\n", "nowhere", "x", all=False).note


TABBED = "def f():\n\tif x:\n\t\treturn 1\n\treturn 2\n"


@pytest.mark.parametrize(
    ("text", "search", "replace", "made"),
    [
        (
            TABBED,
            "    if x:\n        return 1\n",
            "    if x:\n        if y:\n            return 7\n\n        return 1\n",
            "def f():\n\tif x:\n\t\tif y:\n\t\t\treturn 7\n\n\t\treturn 1\n\treturn 2\n",
        ),
        (TABBED, "if x:\n  return 1", "if x:\n  return 3", "def f():\n\tif x:\n\t\treturn 3\n\treturn 2\n"),
        (CODE, "\tif x:\n\t\treturn 1", "\tif x:\n\t\treturn 3", CODE.replace("return 1", "return 3")),
        (CODE, "if x:\n  return 1", "if x:\n  return 3", CODE.replace("return 1", "return 3")),
        (TABBED, "    return 2", "    if z:\n        return 2", TABBED.replace("\treturn 2", "\tif z:\n\t\treturn 2")),
    ],
)
def test_tabs_and_spaces_may_differ_as_long_as_the_levels_are_the_same(
    text: str, search: str, replace: str, made: str
) -> None:
    edit = edited(text, search, replace, all=False)
    assert (edit.text, edit.note) == (made, "replaced 1 place (matched tabs and spaces aside)")


@pytest.mark.parametrize(
    ("text", "search"),
    [
        ("if x:\n\ta = 1\n\tb = 2\n", "if x:\n    a = 1\nb = 2"),
        ("if x:\n\ta = 1\nb = 2\n", "if x:\n    a = 1\n    b = 2"),
        ("\tif x:\n\ta = 1\n", "if x:\n    a = 1"),
    ],
)
def test_lines_of_other_levels_are_no_match_whatever_they_are_made_of(text: str, search: str) -> None:
    with pytest.raises(EditRefused, match="search was not found"):
        edited(text, search, "pass", all=False)


def test_a_file_of_plain_lines_keeps_them_whatever_the_pieces_have() -> None:
    assert edited("a\nb\nc\n", "a\r\nb\r\n", "x\r\ny\r\n", all=False) == Edited("x\ny\nc\n", "replaced 1 place")


def test_an_empty_file_has_no_nearest_lines() -> None:
    with pytest.raises(EditRefused, match=r"^search was not found\. The file is empty\.$"):
        edited("", "a", "b", all=False)
