"""The table of known vulnerabilities: release lines, floors, and its date."""

from __future__ import annotations

import datetime as dt

import pytest

from pytest_gpuready.advisories import CONTAINERD, DATE, TOOLKIT, hits


def test_the_table_has_a_date_and_every_row_a_source() -> None:
    assert dt.date.fromisoformat(DATE)
    assert all(row.id.startswith("CVE-") and row.source and row.what and row.fixed for row in (*TOOLKIT, *CONTAINERD))


@pytest.mark.parametrize(
    ("version", "hit"),
    [((1, 16, 1), True), ((1, 16, 2), False), ((1, 17, 0), False), ((1, 5, 1), True), ((2, 0, 0), False)],
)
def test_the_toolkit_has_one_line(version: tuple[int, ...], *, hit: bool) -> None:
    assert any("CVE-2024-0132" in row.id for row in hits(TOOLKIT, version)) == hit


@pytest.mark.parametrize(
    ("version", "hit"),
    [
        ((1, 7, 26), True),
        ((1, 7, 27), False),
        ((2, 0, 3), True),
        ((2, 0, 4), False),
        ((2, 1, 0), False),
        ((1, 6, 20), False),
    ],
)
def test_containerd_is_judged_within_its_release_line(version: tuple[int, ...], *, hit: bool) -> None:
    assert any("CVE-2024-40635" in row.id for row in hits(CONTAINERD, version)) == hit
