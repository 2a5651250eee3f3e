"""What is answered rightly stays so. The other cases are known, and not yet right."""

from __future__ import annotations

import pytest

from tests.field.judging import CASES, RIGHT, wrong


@pytest.mark.parametrize("case", RIGHT.read_text("utf-8").split())
def test_a_case_of_the_field_is_answered_rightly(case: str) -> None:
    assert wrong(case) == []


def test_every_right_case_is_here() -> None:
    assert set(RIGHT.read_text("utf-8").split()) <= set(CASES)
