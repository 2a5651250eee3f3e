"""The node's own checks where least is known, and what they show beside their words."""

from __future__ import annotations

import pytest

from pytest_gpuready.checks.catalogue import catalogue
from pytest_gpuready.judge import judge
from pytest_gpuready.model import Outcome, Settings
from pytest_gpuready.node.facts import REACH, Fact, Facts
from pytest_gpuready.remedies import Remedies
from pytest_gpuready.views import Views
from tests.checks.test_node import LABELS, SWITCH, finding
from tests.support.containerd import CONFIG, healthy
from tests.support.simnode import SimNode


def test_a_node_that_was_never_asked_is_not_reachable_and_the_evidence_names_it() -> None:
    found = judge(Facts("ssh://n1"), Settings()).findings["node.reachable"]
    assert (found.status, found.outcome.found) == ("fail", "nothing answered")
    assert [item.source for item in found.outcome.evidence] == ["ssh://n1"]


def test_where_sudo_was_not_asked_for_nothing_is_refused() -> None:
    whole = healthy(SimNode()).facts()
    facts = Facts(whole.node, [(request, fact) for request, fact in whole if request.kind != "node"])
    facts.add(REACH, Fact("ok"))
    found = judge(facts, Settings()).findings["node.privileges"]
    assert (found.status, found.outcome.found) == ("pass", "read as root, nothing was refused")


@pytest.mark.parametrize("sudo", [Fact("denied", note="sudo: a password is required"), Fact("timeout")])
def test_sudo_that_refuses_or_hangs_gets_its_rule(sudo: Fact) -> None:
    found = finding(SimNode(uid=1000, sudo=sudo), "privileges").outcome
    assert found.remedy is not None
    assert "NOPASSWD" in found.remedy.commands[0]
    assert "visudo -c" in found.remedy.commands[1]
    if sudo.state == "denied":
        assert [(item.source, item.text) for item in found.evidence] == [("sudo -n sh -s", sudo.note)]


def test_what_was_refused_is_named_up_to_six_and_counted_beyond() -> None:
    views = Views(healthy(SimNode(uid=1000)).facts())
    check = catalogue()["node.privileges"].func
    for count, told in ((6, "permission denied: n0, n1, n2, n3, n4, n5"), (8, "n4, n5 and 2 more")):
        denials = {f"n{number}": ["containerd.running"] for number in range(count)}
        outcome = check(views.named("platform"), denials, Remedies(views))
        assert isinstance(outcome, Outcome)
        assert outcome.found.endswith(told)
        assert len(outcome.evidence) == count
        assert outcome.where is None
        assert outcome.remedy is not None
        assert outcome.remedy.commands == ("pytest --gpuready --sudo",)
    words = {"/a command with words": ["x"], "relative": ["x"], "/b": ["y", "x"]}
    outcome = check(views.named("platform"), words, Remedies(views))
    assert isinstance(outcome, Outcome)
    assert str(outcome.where) == "/b"
    assert outcome.evidence[1].text == "needed by x, y"


def test_the_switch_that_is_off_is_the_evidence() -> None:
    found = finding(healthy(SimNode(selinux="1"), text=LABELS).put(SWITCH, "0 0"), "selinux").outcome
    assert [(item.source, item.text) for item in found.evidence] == [(SWITCH, "off")]
    assert found.where is not None
    assert found.where.path == CONFIG
