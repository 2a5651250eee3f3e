"""The judge: the rules of the verdict, on tiny catalogues made by hand and on the real one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.checks.catalogue import Check, catalogue, make, suite
from pytest_gpuready.judge import Judge, clean_outcome, judge
from pytest_gpuready.model import (
    Answer,
    Consequence,
    Denied,
    Edit,
    Evidence,
    NotApplicable,
    Outcome,
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
from pytest_gpuready.views import Views
from tests.support.containerd import healthy
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_gpuready.report.model import NodeReport

BOTH = Settings(routes=("ctr-gpus", "cri-handler"))
OK = passed("ok")
BAD = failed("bad", expected="good")
ONE = Settings(routes=("cri-handler",))
LACKS = "stat /x: no answer within the deadline"


def says(answer: Answer | Exception) -> Callable[[], Answer]:
    def func() -> Answer:
        """Say it."""
        if isinstance(answer, Exception):
            raise answer
        return answer

    return func


def small(
    answers: Mapping[str, Any], needs: Mapping[str, tuple[str, ...]] | None = None, advisory: str = ""
) -> dict[str, Check]:
    """A catalogue of checks that say what they are told to."""
    checks = {
        name: make(name, title=name, func=says(answer), needs=(needs or {}).get(name, ()), advisory=name == advisory)
        for name, answer in answers.items()
    }
    return {"node.reachable": make("node.reachable", title="x", func=says(OK)), **checks}


def node() -> SimNode:
    return SimNode().program("/usr/bin/ctr").answer(("ctr", "--version"), "ctr containerd.io 1.7.24\n")


def report(answers: Mapping[str, Any], settings: Settings = BOTH, **more: Any) -> NodeReport:
    return judge(node().facts(settings), settings, checks=small(answers, **more))


# ---------------------------------------------------------------------- the verdict


def test_every_required_check_passing_is_ready() -> None:
    result = report({"containerd.installed": OK, "containerd.running": OK})
    assert result.verdict == "ready"
    assert {result.routes[name].proof for name in ROUTES} == {"configured"}


def test_nothing_looked_at_is_never_ready() -> None:
    assert report({}).verdict == "unknown"
    assert report({"containerd.running": not_applicable("no")}).verdict == "unknown"
    assert report({"containerd.running": warned("hm")}).verdict == "unknown"


def test_that_a_shell_answers_is_not_looking_at_a_route() -> None:
    assert report({"node.selinux": OK}).verdict == "unknown"


def test_a_failure_is_not_ready_and_an_unknown_is_unknown() -> None:
    assert report({"containerd.running": BAD, "containerd.installed": OK}).verdict == "not-ready"
    assert report({"containerd.running": unknown("?"), "containerd.installed": OK}).verdict == "unknown"
    assert report({"containerd.running": BAD, "containerd.installed": unknown("?")}).verdict == "not-ready"


def test_any_takes_the_best_of_the_offered_routes_and_all_the_worst() -> None:
    answers = {"containerd.supports-route": {"ctr-gpus": BAD, "cri-handler": OK}, "containerd.cri-enabled": OK}
    assert report(answers, Settings(routes=("any",))).verdict == "ready"
    assert report(answers, Settings(routes=("all",))).verdict == "not-ready"
    assert report({"containerd.running": unknown("?")}, Settings(routes=("any",))).verdict == "unknown"


def test_no_required_route_is_unknown() -> None:
    cos = node().put("/etc/os-release", "ID=cos\n")
    assert judge(cos.facts(), Settings(), checks=small({"containerd.running": OK})).verdict == "unknown"


def test_a_required_route_without_offer_is_not_ready_by_that_root() -> None:
    settings = Settings(routes=("ctr-cdi",))
    result = healthy(SimNode(), "1.7.24").judge(settings)
    assert result.verdict == "not-ready"
    assert "containerd.supports-route" in result.routes["ctr-cdi"].roots
    assert not result.routes["ctr-cdi"].offered
    assert result.routes["ctr-gpus"].offered


def test_with_any_an_unknown_route_beats_a_failed_one() -> None:
    settings = Settings(routes=("any",))
    answer = dict.fromkeys(ROUTES, BAD) | {"ctr-gpus": unknown("hm")}
    checks = small({"driver.gpu-on-bus": answer})
    assert judge(node().facts(settings), settings, checks=checks).verdict == "unknown"
    none = small({"driver.gpu-on-bus": BAD})
    assert judge(node().facts(settings), settings, checks=none).verdict == "not-ready"


# ---------------------------------------------------------------------- what blocks, and roots


def test_unknown_blocks_and_a_warning_does_not() -> None:
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


def test_a_blocked_check_is_blocked_for_each_of_its_routes() -> None:
    result = report(
        {"containerd.installed": BAD, "containerd.ctr": {"ctr-gpus": OK}},
        needs={"containerd.ctr": ("containerd.installed",)},
    )
    assert set(result.findings["containerd.ctr"].per_route.values()) == {"blocked"}


def test_a_chain_of_blocked_checks_names_the_root_and_no_check_between() -> None:
    chain = {"containerd.handler": ("containerd.cri-enabled",), "containerd.cri-enabled": ("containerd.config-loads",)}
    result = report(
        {"containerd.handler": BAD, "containerd.cri-enabled": OK, "containerd.config-loads": BAD}, needs=chain
    )
    assert result.findings["containerd.handler"].blocked_by == ("containerd.config-loads",)
    assert result.findings["containerd.handler"].status == "blocked"
    assert result.routes["cri-handler"].roots == ("containerd.config-loads",)
    assert set(result.blocks("containerd.config-loads")) == {"containerd.cri-enabled", "containerd.handler"}
    assert [finding.check.id for finding in result.roots] == ["containerd.config-loads"]


def test_two_roots_are_both_named() -> None:
    result = report(
        {"containerd.handler": OK, "containerd.running": BAD, "containerd.config-loads": unknown("?")},
        ONE,
        needs={"containerd.handler": ("containerd.running", "containerd.config-loads")},
    )
    assert set(result.findings["containerd.handler"].blocked_by) == {"containerd.running", "containerd.config-loads"}
    assert [finding.status for finding in result.roots] == ["fail", "unknown"]


def test_an_unknown_root_beside_a_failed_one_counts_too() -> None:
    result = report({"containerd.installed": BAD, "containerd.selected": unknown("hm")}, settings=ONE)
    assert result.verdict == "not-ready"
    assert set(result.routes["cri-handler"].roots) == {"containerd.installed", "containerd.selected"}


def test_a_need_that_is_left_out_blocks_nothing() -> None:
    """The suite has it; one that no suite has is an error."""
    assert (
        report({"containerd.running": OK}, needs={"containerd.running": ("containerd.installed",)}).verdict == "ready"
    )


def test_a_closure_holds_all_needs_of_what_the_route_requires() -> None:
    made = Judge(Views(healthy(SimNode()).facts(), Settings()), catalogue())
    closure = made.closures["cri-handler"]
    for check_id in closure:
        assert {need for need in catalogue()[check_id].needs if need in catalogue()} <= closure
    assert "containerd.handler" not in made.closures["ctr-gpus"]
    assert "containerd.restarted" not in made.closures["ctr-gpus"]
    assert "containerd.ctr" not in closure


# ---------------------------------------------------------------------- what may not be read


def test_a_denied_read_is_blocked_by_privileges_which_names_it() -> None:
    checks = {**small({"containerd.running": Denied("/run/x.sock")}), "node.privileges": catalogue()["node.privileges"]}
    result = judge(node().facts(), BOTH, checks=checks)
    assert result.findings["containerd.running"].blocked_by == ("node.privileges",)
    assert "/run/x.sock" in result.findings["node.privileges"].outcome.found
    assert result.routes["ctr-gpus"].roots == ("node.privileges",)
    assert result.findings["node.privileges"].keeps == ("ctr-gpus", "cri-handler")
    assert result.verdict == "not-ready"


def test_a_denied_read_whose_need_failed_is_that_needs_and_not_privileges() -> None:
    checks = small(
        {"containerd.restarted": Denied("/x"), "containerd.running": BAD},
        needs={"containerd.restarted": ("containerd.running",)},
    )
    result = judge(node().facts(), BOTH, checks={**checks, "node.privileges": catalogue()["node.privileges"]})
    assert result.findings["containerd.restarted"].blocked_by == ("containerd.running",)
    assert result.routes["cri-handler"].roots == ("containerd.running",)


def test_a_denied_read_without_that_check_is_unknown() -> None:
    assert report({"containerd.running": Denied("/x")}).findings["containerd.running"].status == "unknown"


def test_privileges_that_are_denied_themselves_do_not_block_themselves() -> None:
    result = report({"node.privileges": Denied("/x"), "containerd.running": OK})
    assert (result.findings["node.privileges"].status, result.verdict) == ("unknown", "ready")


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


# ---------------------------------------------------------------------- consequences


def test_a_consequence_is_blocked_by_its_cause_even_outside_the_route() -> None:
    result = report({"containerd.running": Consequence("containerd.config-loads"), "containerd.config-loads": BAD})
    assert result.findings["containerd.running"].blocked_by == ("containerd.config-loads",)
    # ctr-gpus does not require the configuration; the daemon that is down because of it does.
    assert result.routes["ctr-gpus"].roots == ("containerd.config-loads",)


def test_a_consequence_whose_cause_holds_or_is_not_there_is_unknown() -> None:
    for answers in ({"containerd.config-loads": OK}, {}):
        result = report({"containerd.running": Consequence("containerd.config-loads"), **answers})
        assert result.findings["containerd.running"].status == "unknown"


def test_two_consequences_of_each_other_end_and_are_not_ready() -> None:
    result = report(
        {
            "containerd.running": Consequence("containerd.selected"),
            "containerd.selected": Consequence("containerd.running"),
        }
    )
    assert result.verdict == "unknown"


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


# ---------------------------------------------------------------------- answers per route


def test_an_answer_per_route_counts_for_that_route_only() -> None:
    result = report({"containerd.ctr": OK, "containerd.supports-route": {"ctr-gpus": BAD, "cri-handler": OK}})
    assert (result.routes["ctr-gpus"].verdict, result.routes["cri-handler"].verdict) == ("not-ready", "ready")
    finding = result.findings["containerd.supports-route"]
    assert finding.status == "fail"
    assert finding.keeps == ("ctr-gpus",)
    assert finding.per_route["cri-handler"] == "pass"
    assert finding.per_route["ctr-cdi"] == "not-applicable"


def test_the_status_is_the_worst_over_the_required_routes_only() -> None:
    result = report({"containerd.supports-route": {"ctr-gpus": BAD, "cri-handler": OK}}, ONE)
    assert result.findings["containerd.supports-route"].status == "pass"
    assert result.verdict == "ready"


def test_what_needs_a_check_sees_that_checks_answer_for_its_route() -> None:
    result = report(
        {"containerd.running": {"ctr-gpus": BAD, "cri-handler": OK}, "containerd.selected": OK},
        needs={"containerd.selected": ("containerd.running",)},
    )
    assert result.findings["containerd.selected"].status == "blocked"
    assert result.routes["cri-handler"].verdict == "ready"


def test_a_check_without_an_answer_for_any_route_is_not_applicable() -> None:
    result = report({"containerd.ctr": {}})
    assert result.findings["containerd.ctr"].outcome.found == "no route of this node asks for it"


def test_all_checks_have_a_finding_with_its_routes() -> None:
    result = healthy(SimNode()).judge()
    assert set(result.findings) == set(suite(live=False))
    assert "cri-handler" in result.findings["containerd.handler"].routes
    assert "ctr-gpus" not in result.findings["containerd.handler"].routes


def test_a_finding_keeps_the_required_routes_it_counts_for() -> None:
    result = report({"containerd.installed": OK, "containerd.handler": BAD})
    found = result.findings["containerd.handler"]
    assert (found.routes, found.keeps) == (("cri-handler", "cri-default"), ("cri-handler",))
    assert (result.routes["ctr-gpus"].verdict, result.routes["cri-handler"].verdict) == ("ready", "not-ready")
    assert result.routes["cri-handler"].roots == ("containerd.handler",)
    assert {route for route, one in result.routes.items() if one.required} == {"ctr-gpus", "cri-handler"}


def test_a_check_is_shown_by_unrequired_routes_that_need_it() -> None:
    answer = {"ctr-cdi": BAD, "ctr-gpus": OK}
    result = report(
        {"containerd.installed": OK, "cdi.spec-present": answer},
    )
    assert result.findings["cdi.spec-present"].status == "fail"
    assert result.findings["cdi.spec-present"].keeps == ()


def test_answers_of_routes_without_the_check_are_not_its_status() -> None:
    result = report({"containerd.installed": OK, "cdi.spec-present": {"ctr-cdi": OK, "ctr-gpus": BAD}})
    assert result.findings["cdi.spec-present"].status == "pass"


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


def test_a_route_whose_offer_fails_is_not_offered_and_the_others_are() -> None:
    result = report({"containerd.supports-route": {"nerdctl": BAD, "ctr-gpus": unknown("hm")}})
    assert not result.routes["nerdctl"].offered
    assert result.routes["ctr-gpus"].offered
    assert report({"containerd.installed": OK}).routes["nerdctl"].offered


# ---------------------------------------------------------------------- other answers


def test_undetermined_is_unknown_and_not_applicable_says_why() -> None:
    result = report({"containerd.running": Undetermined("too slow"), "containerd.installed": NotApplicable("none")})
    assert (result.findings["containerd.running"].status, result.verdict) == ("unknown", "unknown")
    assert result.findings["containerd.running"].outcome.found == "too slow"
    assert result.findings["containerd.installed"].outcome == not_applicable("none")


def test_an_internal_error_is_unknown_with_its_place_and_words() -> None:
    result = report({"containerd.running": ZeroDivisionError("oh\x1b[2J"), "containerd.installed": ValueError("boom")})
    assert result.findings["containerd.installed"].outcome.found.endswith(": ValueError: boom")
    found = result.findings["containerd.running"].outcome.found
    assert result.verdict == "unknown"
    assert found.startswith("pytest-gpuready itself failed at test_judge.py:")
    assert "ZeroDivisionError: oh" in found
    assert "\x1b" not in found


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


# ---------------------------------------------------------------------- advice


def test_an_advisory_check_warns_at_most_blocks_nothing_and_never_counts() -> None:
    for answer in (BAD, unknown("?"), warned("hm")):
        result = report(
            {"containerd.deprecations": answer, "containerd.running": OK},
            needs={"containerd.running": ("containerd.deprecations",)},
            advisory="containerd.deprecations",
        )
        assert result.verdict == "ready"
        assert result.findings["containerd.deprecations"].status in ("warn", "unknown")
        assert result.findings["containerd.deprecations"].keeps == ()
    assert [finding.check.id for finding in result.warnings] == ["containerd.deprecations"]


def test_an_advisory_check_fails_as_a_warning_and_passes_as_pass() -> None:
    for answer, status in ((BAD, "warn"), (OK, "pass"), (unknown("x"), "unknown")):
        result = report(
            {"containerd.deprecations": answer, "containerd.installed": OK}, advisory="containerd.deprecations"
        )
        assert result.findings["containerd.deprecations"].status == status
    own = report({"site.own": {"ctr-gpus": BAD}}, advisory="site.own")
    assert own.findings["site.own"].status == "warn"


# ---------------------------------------------------------------------- nodes that were not reached, refused, or late


def test_an_unreachable_node_is_unreachable_and_everything_is_blocked_by_that() -> None:
    away = SimNode(label="ssh://n1", reach=Fact("cut", note="Connection refused"))
    result = away.judge()
    assert result.verdict == "unreachable"
    assert not result.reached
    assert {f.blocked_by for f in result.findings.values() if f.check.id != "node.reachable"} == {("node.reachable",)}
    assert result.required.names == ("ctr-gpus", "cri-handler")
    assert away.judge(Settings(routes=("ctr-cdi",))).required.names == ("ctr-cdi",)
    assert away.judge(Settings(routes=("any",))).verdict == "unreachable"


@pytest.mark.parametrize("state", ["denied", "timeout"])
def test_where_sudo_refuses_only_privileges_is_a_root(state: Any) -> None:
    result = SimNode(label="ssh://n1", uid=1000, sudo=Fact(state, note="sudo: a password is required")).judge()
    assert [finding.check.id for finding in result.roots] == ["node.privileges"]
    assert result.findings["node.reachable"].status == "pass"
    assert result.verdict == ("not-ready" if state == "denied" else "unknown")


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
def test_on_a_late_node_checks_without_answers_have_one_root(answer: Any, late: bool, status: str) -> None:  # noqa: FBT001
    facts = node().facts(BOTH)
    if late:
        facts.add(LATE, Fact("timeout", note="it was at x"))
    found = judge(facts, BOTH, checks=small({"containerd.running": answer})).findings["containerd.running"]
    assert (found.status, found.blocked_by) == (status, ("node.reachable",) if status == "blocked" else ())


# ---------------------------------------------------------------------- what is shown


def test_every_string_of_an_outcome_is_cleaned_and_bounded() -> None:
    evil = "a\x1b]0;x\x07b\u202ec\x00" + "z" * 9000
    remedy = Remedy(evil, ("sudo true",), (Edit(f"/x{evil}", evil),))
    tidy = clean_outcome(Outcome("fail", evil, evil, Where(evil, 1), (Evidence(evil, evil),), remedy))
    assert tidy.where is not None
    assert tidy.remedy is not None
    texts = [tidy.found, tidy.expected or "", tidy.where.path, tidy.evidence[0].source, tidy.evidence[0].text]
    texts += [tidy.remedy.summary, tidy.remedy.edits[0].path]
    for text in texts:
        assert not set(text) & set("\x1b\x07\u202e\x00")
        assert len(text) <= 4100
    assert "\x1b" not in tidy.remedy.edits[0].diff
    assert tidy.remedy.commands == ("sudo true",)


def test_why_routes_are_required_is_cleaned_too() -> None:
    runtimes = 'plugins."io.containerd.cri.v1.runtime".containerd.runtimes."g\\u001bx"'
    text = 'version = 3\n[plugins."io.containerd.cri.v1.runtime".containerd]\ndefault_runtime_name = "g\\u001bx"\n'
    text += f'[{runtimes}]\nruntime_type = "io.containerd.runc.v2"\n'
    text += f'[{runtimes}.options]\nBinaryName = "/usr/bin/nvidia-container-runtime"\n'
    result = healthy(SimNode(), "2.1.9", text=text).judge()
    assert result.required.names == ("ctr-gpus", "cri-default")
    assert "\x1b" not in result.required.because


def test_every_part_of_an_outcome_that_is_there_is_kept() -> None:
    remedy = Remedy("do", ("a", "b"), (Edit("/x", "-1\n+2\n"),))
    outcome = failed("bad", expected="good", where=Where("/x", 3), remedy=remedy)
    assert clean_outcome(outcome) == outcome
    bare = passed("ok")
    assert clean_outcome(bare) == bare


@pytest.mark.parametrize(
    "command", ["rm 'a\x1bb'", "b\x1b[2J", "rm 'a\u202eb'", "rm 'a\tb'", "tee x <<'EOF'\n\ta\nEOF"]
)
def test_a_command_that_cleaning_would_change_is_left_out(command: str) -> None:
    tidy = clean_outcome(BAD.but(remedy=Remedy("do", (command, "true"))))
    assert tidy.remedy is not None
    assert tidy.remedy.commands == ()
    assert tidy.remedy.summary.startswith("do A name in it")
    assert "by hand" in tidy.remedy.summary
