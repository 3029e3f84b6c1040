import html
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agex_supervisor.display import display, display_html

any_text = st.text(st.characters(exclude_categories=()))
acting_text = st.text(
    st.one_of(
        st.characters(categories=("Cc", "Cf", "Cs", "Zl", "Zp")),
        st.sampled_from("\x1b[31m\r\n\t\x7f\x9b\u202e\u2066\u200b\u2028\ud800\U000e0041<>&\"'a "),
    )
)


@given(st.one_of(any_text, acting_text))
def test_what_is_displayed_has_nothing_that_acts_or_hides(text: str) -> None:
    acting = {"Cc", "Cf", "Cs", "Zl", "Zp", "Cn", "Co"}
    assert [c for c in display(text) if unicodedata.category(c) in acting and c not in "\n\t"] == []


@given(st.one_of(any_text, acting_text))
def test_one_line_is_one_line_however_lines_are_counted(text: str) -> None:
    shown = display(text, one_line=True)
    assert len(shown.splitlines()) <= 1
    assert "\t" not in shown


@given(st.one_of(any_text, acting_text), st.integers(0, 200), st.booleans())
def test_the_limit_is_never_exceeded(text: str, limit: int, one_line: bool) -> None:
    assert len(display(text * 3, limit=limit, one_line=one_line)) <= limit


@given(st.one_of(any_text, acting_text))
def test_what_is_displayed_can_be_encoded_and_displayed_again(text: str) -> None:
    shown = display(text)
    shown.encode("utf-8")
    assert display(shown) == shown


@given(st.one_of(any_text, acting_text))
def test_html_holds_no_markup_and_reads_as_the_displayed_text(text: str) -> None:
    shown = display_html(text)
    assert not set(shown) & set("<>\"'")
    assert html.unescape(shown) == display(text)


@given(st.text("abc déf 漢字\n\t", max_size=50))
def test_plain_text_is_left_as_it_is(text: str) -> None:
    assert display(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;owned\x07", r"\x1b[2J\x1b]0;owned\x07"),
        ("safe\rEVIL", r"safe\x0dEVIL"),
        ("\x9b31m\x7f\x00", r"\x9b31m\x7f\x00"),
        ("user\u202etxt.exe\u2066", r"user\u202etxt.exe\u2066"),
        ("a\u200bb\ufeffc\u00add", r"a\u200bb\ufeffc\xadd"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("\ud800", r"\ud800"),
        ("\U000e0041\U000e01ef", r"\U000e0041\U000e01ef"),
        ("\u3164\u2800\u115f", r"\u3164\u2800\u115f"),
        ("1\xa0000\u3000,", "1\xa0000\u3000,"),
    ],
)
def test_known_tricks_are_written_out(text: str, shown: str) -> None:
    assert display(text) == shown


def test_one_line_writes_newlines_and_tabs_out() -> None:
    assert display("a\n\tb", one_line=True) == r"a\n\tb"
    assert display("a\n\tb") == "a\n\tb"


def test_long_text_keeps_its_beginning_and_its_end_and_counts_the_rest() -> None:
    text = "a" * 500 + "b" * 500
    shown = display(text, limit=100)
    assert shown == "a" * 32 + " [... 936 characters left out ...] " + "b" * 32


def test_an_escape_is_not_cut_in_two() -> None:
    assert display("\x1b" * 3, limit=10) == r"\x1b\x1b"


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="limit is -1; it counts characters and cannot be negative"):
        display("a", limit=-1)
