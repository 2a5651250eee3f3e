"""The words that checks and views answer with."""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Consequence, Denied, Where, failed, not_applicable, passed, unknown, warned, worst


def test_of_several_answers_a_failure_is_the_worst() -> None:
    """No answer at all is unknown."""
    assert worst(["pass", "unknown", "fail", "blocked"]) == "fail"
    assert worst(["pass", "blocked", "unknown"]) == "unknown"
    assert worst(["not-applicable", "pass", "warn"]) == "warn"
    assert worst(["not-applicable"]) == "not-applicable"
    assert worst([]) == "unknown"


def test_each_helper_has_its_status() -> None:
    assert [passed("x").status, failed("x", expected="y").status, warned("x").status] == ["pass", "fail", "warn"]
    assert [unknown("x").status, not_applicable("x").status] == ["unknown", "not-applicable"]


def test_a_place_reads_as_editors_take_it() -> None:
    assert (str(Where("/a", 3)), str(Where("/a"))) == ("/a:3", "/a")


def test_an_outcome_can_be_had_with_another_status() -> None:
    assert failed("x", expected="y").but(status="warn").status == "warn"


def test_the_ways_not_to_know_name_their_cause() -> None:
    with pytest.raises(Denied, match="/x: permission denied"):
        raise Denied("/x")
    assert Consequence("containerd.running").check == "containerd.running"
