"""Every cell of the table of values: what its row says is what comes of the value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.values.cells import ROWS, Cellar
from tests.values.document import document
from tests.values.object_cells import ObjectCellar
from tests.values.table import OBJECTS, REFUSALS, UNDECLARABLE, ObjectRow, Refusal, Row, Undeclarable

# polars starts threads, and says that a fork would be no good; this process forks nothing that lives on without exec.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*")


@pytest.fixture(scope="module", params=["none", "process", "kernel"])
def cellar(request: pytest.FixtureRequest) -> Iterator[Cellar]:
    made = Cellar(request.param)
    yield made
    made.close()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.declared}: {row.value}"[:60])
def test_a_value_comes_to_what_its_row_says(cellar: Cellar, row: Row) -> None:
    assert cellar.cells(row) == (row.none if cellar.isolation == "none" else row.apart)


@pytest.fixture(scope="module", params=["none", "process", "kernel"])
def object_cellar(request: pytest.FixtureRequest) -> Iterator[ObjectCellar]:
    made = ObjectCellar(request.param)
    yield made
    made.close()


@pytest.mark.parametrize("row", OBJECTS, ids=lambda row: f"{row.declared} {row.trust or ''}")
def test_an_object_that_is_not_data_comes_to_what_its_row_says(object_cellar: ObjectCellar, row: ObjectRow) -> None:
    assert object_cellar.cells(row) == (row.none if object_cellar.isolation == "none" else row.apart)


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: f"{refusal.declared}: {refusal.value}"[:60])
def test_a_value_that_does_not_fit_is_refused_in_the_same_words_everywhere(cellar: Cellar, refusal: Refusal) -> None:
    accepted = cellar.isolation == "none" and refusal.accepted_in_none
    assert cellar.told(refusal) == ("" if accepted else refusal.told)


@pytest.mark.parametrize("undeclarable", UNDECLARABLE, ids=lambda each: each.declared)
def test_a_class_without_a_codec_is_refused_before_anything_runs(cellar: Cellar, undeclarable: Undeclarable) -> None:
    told = cellar.told_at_once(undeclarable.declared)
    if cellar.isolation == "none":
        assert told == ""
    else:
        assert f"Declare {undeclarable.instead}. Or choose " in told and told.endswith('or `isolation="none"`.')


def test_the_document_is_what_the_table_says() -> None:
    path = Path(__file__).parents[2] / "docs" / "values.md"
    assert path.read_text(encoding="utf-8") == document(), "run: python -m tests.values.document"
