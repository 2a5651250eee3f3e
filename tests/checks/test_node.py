"""The node's own checks: reached, readable, and SELinux."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.checks.catalogue import catalogue
from pytest_gpuready.judge import judge
from pytest_gpuready.model import Outcome, Settings
from pytest_gpuready.node.facts import BROKE_OFF, LATE, REACH, Fact, Facts
from pytest_gpuready.remedies import Remedies
from pytest_gpuready.views import Views
from tests.support.containerd import CONFIG, V2, config, healthy, says
from tests.support.nodes import ready
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from pytest_gpuready.report.model import Finding, NodeReport

LABELS = config("1.7.24") + f"[{V2}]\n  enable_selinux = true\n"
SWITCH = "/sys/fs/selinux/booleans/container_use_devices"


def finding(node: SimNode, name: str) -> Finding:
    return node.judge().findings[f"node.{name}"]


def late(tenths: int, *, without: str = "") -> NodeReport:
    """A node whose deadline passed when it had given so much of its answers, while the next was on its way."""
    node = ready()
    if without:
        node.remove(without)
    facts = Facts(node.label)
    answers = list(node.facts())
    hung = ""
    for number, (request, fact) in enumerate(answers):
        if request.kind == "node" or number < tenths * len(answers) // 10:
            facts.add(request, fact)
        elif not hung:
            hung = str(request)
            facts.add(request, Fact("timeout", note="no answer within the deadline"))
        else:
            facts.add(request, Fact("timeout", note="not reached: no answer within the deadline"))
    facts.add(LATE, Fact("timeout", note=f"no answer within the deadline: it was at {hung}"))
    return judge(facts, Settings())


# ---------------------------------------------------------------------- reachable


def test_a_node_whose_shell_answered_is_reachable() -> None:
    assert finding(healthy(SimNode()), "reachable").status == "pass"


@pytest.mark.parametrize("note", ["ssh: connect to host n1 port 22: Connection refused", ""])
def test_one_that_did_not_answer_is_not_and_says_why(note: str) -> None:
    found = finding(SimNode(label="ssh://root@n1:2222", reach=Fact("cut", note=note)), "reachable")
    assert found.status == "fail"
    assert found.outcome.found == (note or "nothing answered")
    assert found.outcome.remedy is not None
    assert found.outcome.remedy.commands == ("ssh -o BatchMode=yes -p 2222 root@n1 true",)


def test_a_node_that_was_never_asked_is_named_in_the_evidence() -> None:
    found = judge(Facts("ssh://n1"), Settings()).findings["node.reachable"]
    assert (found.status, found.outcome.found) == ("fail", "nothing answered")
    assert [item.source for item in found.outcome.evidence] == ["ssh://n1"]


def test_answers_that_broke_off_are_the_only_root() -> None:
    node = healthy(SimNode(label="ssh://n1"))
    facts = node.facts()
    facts.add(BROKE_OFF, Fact("cut", note="the connection ended (exit status 255)"))
    report = judge(facts, Settings())
    found = report.findings["node.reachable"]
    assert (found.status, found.outcome.found) == (
        "unknown",
        "the answers broke off: the connection ended (exit status 255)",
    )
    assert found.outcome.remedy is not None
    assert found.outcome.remedy.summary.startswith("Ask again.")
    assert {other.status for name, other in report.findings.items() if name != "node.reachable"} == {"blocked"}
    assert report.verdict == "unknown"


@pytest.mark.parametrize("tenths", range(10))
def test_a_late_node_has_one_root_for_all_unasked(tenths: int) -> None:
    report = late(tenths)
    found = report.findings["node.reachable"]
    assert found.status == "unknown"
    assert found.outcome.found.startswith("not everything was asked: no answer within the deadline: it was at ")
    assert found.outcome.remedy is not None
    assert "--gpuready-timeout" in found.outcome.remedy.summary
    assert [root.check.id for root in report.roots if root.keeps] == ["node.reachable"]
    assert report.verdict == "unknown"


def test_what_came_before_the_deadline_is_judged() -> None:
    report = late(9, without="/dev/nvidia-uvm")
    assert {"node.reachable", "driver.uvm-node"} <= {root.check.id for root in report.roots}
    assert report.verdict == "not-ready"


# ---------------------------------------------------------------------- privileges


def test_privileges_pass_where_nothing_was_refused() -> None:
    assert finding(healthy(SimNode()), "privileges").outcome.found == "read as root, nothing was refused"


def test_privileges_fail_by_name_where_something_was() -> None:
    found = finding(healthy(SimNode(uid=1000)).deny(CONFIG), "privileges")
    assert found.status == "fail"
    assert CONFIG in found.outcome.found
    assert found.outcome.where is not None
    assert any("containerd.config-loads" in item.text for item in found.outcome.evidence)
    assert "cri-handler" in found.keeps


def test_sudo_that_refuses_is_privileges_and_sudo_that_hangs_is_unknown() -> None:
    refused = finding(SimNode(uid=1000, sudo=Fact("denied", note="sudo: a password is required")), "privileges")
    assert (refused.status, refused.outcome.found) == ("fail", "sudo refused: sudo: a password is required")
    assert finding(SimNode(uid=1000, sudo=Fact("timeout")), "privileges").status == "unknown"


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


# ---------------------------------------------------------------------- selinux


def test_selinux_that_does_not_enforce_passes() -> None:
    for state in (None, "0"):
        assert finding(healthy(SimNode(selinux=state), text=LABELS), "selinux").status == "pass"


def test_containerd_that_labels_nothing_passes() -> None:
    assert finding(healthy(SimNode(selinux="1")), "selinux").per_route["cri-handler"] == "pass"


@pytest.mark.parametrize(("switch", "status"), [("1 1", "pass"), ("0 0", "fail"), (None, "unknown")])
def test_where_containers_are_labelled_the_policy_must_let_them(switch: str | None, status: str) -> None:
    node = healthy(SimNode(selinux="1"), text=LABELS)
    if switch is not None:
        node.put(SWITCH, switch)
    found = finding(node, "selinux")
    assert found.per_route["cri-handler"] == status
    assert found.per_route["ctr-gpus"] == "pass"
    if status != "pass":
        assert found.outcome.remedy is not None
        assert found.outcome.remedy.commands == ("sudo setsebool -P container_use_devices on",)
        assert found.outcome.where is not None
        assert found.outcome.where.path == CONFIG


def test_what_cannot_be_read_of_it_is_unknown_for_pods_only() -> None:
    node = says(healthy(SimNode(selinux="1")), b"via=none\nsocket=ok\n")
    node.answer(lambda request: request.arg == (CONFIG,) and request.kind == "file", state="timeout")
    found = finding(node, "selinux")
    assert (found.per_route["cri-handler"], found.per_route["ctr-gpus"]) == ("unknown", "pass")


def test_the_switch_that_is_off_is_the_evidence() -> None:
    found = finding(healthy(SimNode(selinux="1"), text=LABELS).put(SWITCH, "0 0"), "selinux").outcome
    assert [(item.source, item.text) for item in found.evidence] == [(SWITCH, "off")]
    assert found.where is not None
    assert found.where.path == CONFIG
