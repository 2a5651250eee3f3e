"""docs/troubleshooting.md shows the rows that the tests try, as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bad_input.rows import LOGIN, NODE, Row, table
from tests.lab import messes

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"


@pytest.mark.parametrize("rows", [LOGIN, NODE], ids=["login", "node"])
def test_the_page_has_every_row_with_its_sentence(rows: dict[str, Row]) -> None:
    assert table(rows) in PAGE.read_text("utf-8")


def test_every_row_of_a_node_is_something_that_is_done_to_one() -> None:
    assert [name for name in NODE if not callable(getattr(messes, name, None))] == []


def test_a_sentence_matches_with_its_gaps_and_no_more() -> None:
    row = Row("x", "y", says="a … (b)")
    assert row.pattern.fullmatch("a 1\n2 (b)")
    assert not row.pattern.fullmatch("a 1 (b) c")
