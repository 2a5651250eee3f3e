"""The judge at its edges: what blocks, what is chosen to be shown, what is left out."""

from __future__ import annotations

import re
from typing import Any

import pytest

from pytest_gpuready.checks.catalogue import make
from pytest_gpuready.judge import clean_outcome, judge
from pytest_gpuready.model import (
    Consequence,
    Denied,
    Edit,
    Remedy,
    Settings,
    Undetermined,
    Where,
    failed,
    not_applicable,
    passed,
    unknown,
    warned,
)
from pytest_gpuready.node.facts import LATE, Fact, Facts
from pytest_gpuready.routes import ROUTES, Route
from tests.support.simnode import SimNode
from tests.test_judge import BAD, BOTH, OK, ONE, node, report, small


def test_what_is_unknown_blocks_and_what_warns_or_does_not_apply_does_not() -> None:
    for answer, status in ((Undetermined("x"), "blocked"), (warned("x"), "pass"), (not_applicable("x"), "pass")):
        result = report(
            {"containerd.installed": answer, "containerd.running": OK},
            needs={"containerd.running": ("containerd.installed",)},
        )
        assert result.findings["containerd.running"].status == status


def test_a_blocked_finding_says_by_what_and_names_it_once() -> None:
    result = report(
        {"containerd.installed": BAD, "containerd.running": OK, "containerd.selected": OK},
        needs={
            "containerd.running": ("containerd.installed",),
            "containerd.selected": ("containerd.running", "containerd.installed"),
        },
    )
    found = result.findings["containerd.selected"]
    assert (found.blocked_by, found.outcome.found) == (("containerd.installed",), "blocked by containerd.installed")
    assert result.findings["containerd.installed"].blocked_by == ()


def test_which_routes_a_finding_counts_for_and_which_it_keeps_from_being_ready() -> None:
    result = report({"containerd.installed": OK, "containerd.handler": BAD})
    found = result.findings["containerd.handler"]
    assert (found.routes, found.keeps) == (("cri-handler", "cri-default"), ("cri-handler",))
    assert (result.routes["ctr-gpus"].verdict, result.routes["cri-handler"].verdict) == ("ready", "not-ready")
    assert result.routes["cri-handler"].roots == ("containerd.handler",)
    assert {route for route, one in result.routes.items() if one.required} == {"ctr-gpus", "cri-handler"}


def test_a_check_that_no_required_route_needs_is_shown_by_the_routes_that_do() -> None:
    answer = {"ctr-cdi": BAD, "ctr-gpus": OK}
    result = report(
        {"containerd.installed": OK, "cdi.spec-present": answer},
    )
    assert result.findings["cdi.spec-present"].status == "fail"
    assert result.findings["cdi.spec-present"].keeps == ()


def test_what_routes_say_that_do_not_need_a_check_is_not_its_status() -> None:
    result = report({"containerd.installed": OK, "cdi.spec-present": {"ctr-cdi": OK, "ctr-gpus": BAD}})
    assert result.findings["cdi.spec-present"].status == "pass"


def test_a_check_that_is_blocked_is_so_for_each_route_that_it_would_have_answered() -> None:
    result = report(
        {"containerd.installed": BAD, "containerd.ctr": {"ctr-gpus": OK}},
        needs={"containerd.ctr": ("containerd.installed",)},
    )
    assert set(result.findings["containerd.ctr"].per_route.values()) == {"blocked"}


def test_a_check_of_no_route_is_shown_by_all_of_them() -> None:
    result = report({"site.own": {"ctr-gpus": OK, "nerdctl": BAD}})
    found = result.findings["site.own"]
    assert (found.status, found.routes) == ("fail", ())
    assert found.per_route["nerdctl"] == "fail"


def test_the_answer_that_is_shown_is_the_worst_ones() -> None:
    result = report(
        {"driver.library-present": {"ctr-gpus": passed("good"), "cri-handler": failed("worse", expected="x")}}
    )
    assert result.findings["driver.library-present"].outcome.found == "worse"
    mixed = report({"driver.library-present": {"ctr-gpus": passed("good"), "cri-handler": unknown("hm")}})
    assert mixed.findings["driver.library-present"].outcome.found == "hm"


def test_one_answer_for_all_has_none_per_route() -> None:
    assert report({"containerd.installed": OK}).findings["containerd.installed"].per_route == {}


def test_an_unknown_root_beside_a_failed_one_is_a_root_too_and_the_route_is_not_ready() -> None:
    result = report({"containerd.installed": BAD, "containerd.selected": unknown("hm")}, settings=ONE)
    assert result.verdict == "not-ready"
    assert set(result.routes["cri-handler"].roots) == {"containerd.installed", "containerd.selected"}


def test_a_need_that_is_blocked_by_privileges_passes_that_on() -> None:
    result = report(
        {"node.privileges": BAD, "containerd.installed": Denied("/x"), "containerd.running": OK},
        needs={"containerd.running": ("containerd.installed",)},
    )
    assert result.findings["containerd.running"].blocked_by == ("node.privileges",)
    assert result.findings["containerd.installed"].blocked_by == ("node.privileges",)


def test_what_was_denied_twice_is_named_with_both_who_needed_it() -> None:
    seen: dict[str, list[str]] = {}

    def privileges(denials: dict[str, list[str]]) -> Any:
        """Look."""
        seen.update(denials)
        return OK

    checks = small({"containerd.installed": Denied("/x"), "containerd.running": Denied("/x")})
    checks["node.privileges"] = make("node.privileges", title="x", func=privileges)
    judge(node().facts(BOTH), BOTH, checks=checks)
    assert seen == {"/x": ["containerd.installed", "containerd.running"]}


def test_an_unknown_need_is_an_error_when_the_judge_is_built() -> None:
    checks = small({"containerd.installed": OK}, needs={"containerd.installed": ("driver.module-loded",)})
    message = "check containerd.installed needs the unknown check 'driver.module-loded': did you mean 'driver.module-lo"
    with pytest.raises(ValueError, match=re.escape(message)):
        judge(node().facts(BOTH), BOTH, checks=checks)


def test_a_route_that_requires_an_unknown_check_is_an_error_when_the_judge_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    route = Route("nerdctl", "x", lambda _: frozenset({"contanerd.ctr"}))
    monkeypatch.setitem(ROUTES, "nerdctl", route)
    message = "route nerdctl requires the unknown check 'contanerd.ctr': did you mean 'containerd.ctr'?"
    with pytest.raises(ValueError, match=re.escape(message)):
        report({"containerd.running": OK})


def test_an_answer_for_an_unknown_route_is_unknown_and_says_so() -> None:
    found = report({"containerd.running": {"cri-handeler": OK}}).findings["containerd.running"].outcome
    assert found.status == "unknown"
    assert found.found.endswith(
        "ValueError: check containerd.running answers for the unknown route 'cri-handeler': did you mean 'cri-handler'?"
    )


def test_a_consequence_and_a_need_that_fails_are_both_roots() -> None:
    result = report(
        {
            "containerd.installed": BAD,
            "containerd.selected": BAD,
            "containerd.running": Consequence("containerd.selected"),
        },
        needs={"containerd.running": ("containerd.installed",)},
    )
    assert set(result.findings["containerd.running"].blocked_by) == {"containerd.installed", "containerd.selected"}


def test_what_the_words_of_an_error_of_ours_are_is_told() -> None:
    found = report({"containerd.installed": ValueError("boom")}).findings["containerd.installed"].outcome.found
    assert found.startswith("pytest-gpuready itself failed at test_judge.py:")
    assert found.endswith(": ValueError: boom")


def test_a_node_that_was_not_reached_shows_what_would_be_required() -> None:
    for routes, names in (
        ((), ("ctr-gpus", "cri-handler")),
        (("any",), ("ctr-gpus", "cri-handler")),
        (("all",), ("ctr-gpus", "cri-handler")),
        (("nerdctl",), ("nerdctl",)),
    ):
        result = judge(Facts("n"), Settings(routes=routes))
        assert (result.verdict, result.required.names) == ("unreachable", names)
        assert result.required.because == "the node could not be asked"
    cut = judge(SimNode(reach=Fact("cut")).facts(), Settings())
    assert cut.verdict == "unreachable"


def test_a_route_whose_offer_fails_is_not_offered_and_the_others_are() -> None:
    result = report({"containerd.supports-route": {"nerdctl": BAD, "ctr-gpus": unknown("hm")}})
    assert not result.routes["nerdctl"].offered
    assert result.routes["ctr-gpus"].offered
    assert report({"containerd.installed": OK}).routes["nerdctl"].offered


def test_with_any_an_unknown_route_is_better_than_one_that_is_not_ready() -> None:
    settings = Settings(routes=("any",))
    answer = dict.fromkeys(ROUTES, BAD) | {"ctr-gpus": unknown("hm")}
    checks = small({"driver.gpu-on-bus": answer})
    assert judge(node().facts(settings), settings, checks=checks).verdict == "unknown"
    none = small({"driver.gpu-on-bus": BAD})
    assert judge(node().facts(settings), settings, checks=none).verdict == "not-ready"


def test_a_warning_of_an_advisory_check_stays_one_and_its_pass_a_pass() -> None:
    for answer, status in ((BAD, "warn"), (OK, "pass"), (unknown("x"), "unknown")):
        result = report(
            {"containerd.deprecations": answer, "containerd.installed": OK}, advisory="containerd.deprecations"
        )
        assert result.findings["containerd.deprecations"].status == status
    own = report({"site.own": {"ctr-gpus": BAD}}, advisory="site.own")
    assert own.findings["site.own"].status == "warn"


def test_every_part_of_an_outcome_that_is_there_is_kept() -> None:
    remedy = Remedy("do", ("a", "b"), (Edit("/x", "-1\n+2\n"),))
    outcome = failed("bad", expected="good", where=Where("/x", 3), remedy=remedy)
    assert clean_outcome(outcome) == outcome
    bare = passed("ok")
    assert clean_outcome(bare) == bare
    hidden = clean_outcome(failed("bad", expected="good", remedy=Remedy("do", ("a", "b\x1b[2J"))))
    assert hidden.remedy is not None
    assert hidden.remedy.commands == ()
    assert hidden.remedy.summary.startswith("do A name in it")


LACKS = "stat /x: no answer within the deadline"


@pytest.mark.parametrize(
    ("answer", "late", "status"),
    [
        (Undetermined(LACKS, "deadline"), True, "blocked"),
        (Undetermined("file /x: not reached: interrupted", "not-asked"), True, "blocked"),
        (Undetermined("file /x was not looked at", "not-asked"), True, "blocked"),
        (Undetermined("its version cannot be had"), True, "unknown"),
        (Undetermined("the disk was not looked at"), True, "unknown"),
        (Undetermined(LACKS, "timeout"), True, "unknown"),
        (Undetermined("longer than 3 bytes", "truncated"), True, "unknown"),
        (failed(LACKS, expected="x"), True, "fail"),
        (passed(LACKS), True, "pass"),
        (Undetermined(LACKS, "deadline"), False, "unknown"),
    ],
)
def test_on_a_node_that_was_late_what_lacks_answers_for_that_has_one_root(answer: Any, late: bool, status: str) -> None:  # noqa: FBT001
    facts = node().facts(BOTH)
    if late:
        facts.add(LATE, Fact("timeout", note="it was at x"))
    found = judge(facts, BOTH, checks=small({"containerd.running": answer})).findings["containerd.running"]
    assert (found.status, found.blocked_by) == (status, ("node.reachable",) if status == "blocked" else ())
