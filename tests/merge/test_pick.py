"""Which result counts for which node: none is lost, none is another's, the newest counts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.inputs import InputError
from pytest_gpuready.merge.pick import NO_RESULT, Merged, Picking, merged, wanted
from pytest_gpuready.merge.work import Lost, Result
from pytest_gpuready.model import Settings, failed
from tests.report.sample import report

if TYPE_CHECKING:
    from pytest_gpuready.report.model import NodeReport

NOT_READY = {"containerd.handler": failed("no handler", expected="one")}


def result(
    node: NodeReport,
    shown: str = "n.json",
    began: float = 1000.0,
    *,
    duration: float = 0.0,
    judged_here: bool = True,
    own: bool = False,
) -> Result:
    return Result(node, shown, began, began + duration, judged_here, own, live=False)


def local(hostname: str | None, gpus: str = "", *, broken: bool = False, label: str = "local") -> NodeReport:
    inventory: dict[str, object] = {"gpus": [{"name": "H100", "uuid": uuid} for uuid in gpus.split()] or None}
    return report(label, NOT_READY if broken else None, hostname=hostname, inventory=inventory)


def picked(*results: Result, names: str | None = None, lost: tuple[Lost, ...] = ()) -> Merged:
    picking = Picking(lost=list(lost))
    for one in results:
        picking.add(one)
    return merged(picking, None if names is None else wanted([names]), Settings())


def told(made: Merged) -> dict[str, str]:
    return {node.node: node.verdict for node in made.nodes}


def test_of_a_nodes_results_the_newest_counts_and_a_note_says_so() -> None:
    old = result(report("ssh://n1", NOT_READY), "a.json", 1000)
    new = result(report("ssh://n1"), "b.json", 2000)
    for order in ((old, new), (new, old)):
        made = picked(*order)
        assert told(made) == {"ssh://n1": "ready"}
        assert "1 result not counted, there being newer ones of the same nodes: a.json" in made.notes
    worse = dataclasses.replace(old, began=3000.0)
    assert told(picked(new, worse)) == {"ssh://n1": "not-ready"}


def test_of_one_run_the_snapshot_counts_since_todays_checks_judge_it() -> None:
    told_then = result(report("ssh://n1"), "r.json", 1000, duration=10, judged_here=False)
    judged_now = result(report("ssh://n1", NOT_READY), "s.json", 1011)
    assert told(picked(told_then, judged_now)) == {"ssh://n1": "not-ready"}
    assert told(picked(judged_now, told_then)) == {"ssh://n1": "not-ready"}


def test_of_one_run_the_report_counts_that_holds_a_sites_own_checks() -> None:
    told_then = result(report("ssh://n1", NOT_READY), "r.json", 1000, duration=10, judged_here=False, own=True)
    judged_now = result(report("ssh://n1"), "s.json", 1005)
    assert told(picked(told_then, judged_now)) == {"ssh://n1": "not-ready"}
    later = dataclasses.replace(judged_now, began=1013.0)
    assert told(picked(told_then, later)) == {"ssh://n1": "ready"}, "another run's"


def test_nodes_that_judged_themselves_are_told_apart_by_host_name() -> None:
    made = picked(result(local("gpu002", "B")), result(local("gpu001", "A", broken=True)))
    assert told(made) == {"local://gpu001": "not-ready", "local://gpu002": "ready"}


def test_pods_that_judged_the_root_below_host_are_told_apart_too() -> None:
    made = picked(*(result(local(name, name, label="chroot:///host")) for name in ("gpu002", "gpu001")))
    assert told(made) == {"chroot://gpu001/host": "ready", "chroot://gpu002/host": "ready"}


def test_one_machine_by_its_gpus_is_one_node_and_the_newest_counts() -> None:
    made = picked(
        result(local("gpu001", "A B", broken=True), "day1/local.json", 1000),
        result(local("gpu001", "A B"), "day2/local.json", 2000),
    )
    assert told(made) == {"local://gpu001": "ready"}


def test_nodes_that_share_a_host_name_are_each_shown_by_their_file() -> None:
    made = picked(
        result(local("localhost", "A"), "a.json", 1000), result(local("localhost", "B", broken=True), "b.json", 2000)
    )
    assert told(made) == {"local://localhost (a.json)": "ready", "local://localhost (b.json)": "not-ready"}
    assert any(note.startswith("2 results are called local://localhost") for note in made.notes)


def test_where_no_gpu_is_known_no_result_is_taken_for_another_nodes() -> None:
    broken = [result(local("localhost", broken=True), f"{name}/local.json") for name in "abc"]
    made = picked(result(local("localhost", "A"), "z/local.json", 9000), *broken)
    assert list(told(made).values()).count("not-ready") == 3


def test_snapshot_and_report_of_one_run_in_one_folder_are_one_node_though_no_gpu_is_known() -> None:
    made = picked(
        result(local("gpu001", broken=True), "gpu001/local.json", 1001),
        result(local("gpu001", broken=True), "gpu001/report.json", 1000, duration=1, judged_here=False),
        result(local("gpu001", broken=True), "other/report.json", 1000, duration=1, judged_here=False),
    )
    assert list(told(made)) == ["local://gpu001 (gpu001/local.json)", "local://gpu001 (other/report.json)"]


def test_a_node_without_a_host_name_is_known_by_its_file() -> None:
    assert list(told(picked(result(local(None), "x/local.json")))) == ["local (x/local.json)"]


def test_nodes_stand_in_the_order_asked_for_then_in_that_of_their_numbers() -> None:
    there = [result(report(f"ssh://n{number}", hostname=f"n{number}")) for number in (10, 9, 2, 1)]
    assert list(told(picked(*there))) == ["ssh://n1", "ssh://n2", "ssh://n9", "ssh://n10"]
    made = picked(*there, names="ssh://n9,ssh://n2")
    assert list(told(made)) == ["ssh://n9", "ssh://n2", "ssh://n1", "ssh://n10"]
    assert "not among those expected: ssh://n[1,10]" in made.notes


def test_an_expected_node_that_brought_nothing_is_incomplete() -> None:
    made = picked(result(local("gpu001")), names="gpu[001-003]")
    assert told(made) == {"local://gpu001": "ready", "gpu002": "incomplete", "gpu003": "incomplete"}
    assert made.nodes[1].reason == NO_RESULT
    (root,) = made.nodes[1].roots
    assert (root.check.id, root.status, root.outcome.found) == ("node.reachable", "unknown", NO_RESULT)
    assert {route.verdict for route in made.nodes[1].routes.values()} == {"unknown"}


def test_without_expected_nodes_the_note_says_what_cannot_be_known() -> None:
    assert any("a node that brought no result is not known of" in note for note in picked(result(local("a"))).notes)
    assert not any("not known of" in note for note in picked(result(local("a")), names="a").notes)


@pytest.mark.parametrize(
    ("names", "node"),
    [
        ("gpu001", local("gpu001")),
        ("gpu001", local("gpu001.example.org")),
        ("gpu001.example.org", local("gpu001")),
        ("gpu001", report("ssh://root@gpu001:2222", hostname="something")),
        ("gpu001", report("ssh://root@10.0.0.1", hostname="gpu001")),
        ("10.0.0.1", report("ssh://root@10.0.0.1", hostname="gpu001")),
        ("local://gpu001", local("gpu001")),
        ("ssh://root@gpu001", report("ssh://root@gpu001", hostname="x")),
        ("ssh://root@gpu001", local("gpu001")),
        ("ssh://root@gpu001", local("gpu001", label="chroot:///host")),
    ],
)
def test_an_expected_node_is_found_by_its_spec_or_its_name(names: str, node: NodeReport) -> None:
    assert list(told(picked(result(node), names=names)).values()) == ["ready"]


@pytest.mark.parametrize("shown", ["r/rack1-a.json", "r/rack1-a/local.json"])
def test_an_expected_node_is_found_by_the_name_of_its_file_or_folder(shown: str) -> None:
    """A scheduler's or an inventory's name for a node may be another than its own."""
    assert told(picked(result(local("x7"), shown), names="rack1-a")) == {"local://x7": "ready"}
    by_label = picked(result(report("ssh://n1", hostname="x7"), shown), names="rack1-a")
    assert "incomplete" in told(by_label).values()


@pytest.mark.parametrize(
    ("names", "node"),
    [
        ("ssh://root@gpu001", report("ssh://admin@gpu001", hostname="gpu001")),
        ("10.0.0.2", report("ssh://root@10.0.0.1", hostname="x")),
        ("10", report("ssh://root@10.0.0.1", hostname="x")),
        ("gpu001.a.example", local("gpu001.b.example")),
    ],
)
def test_an_expected_node_is_not_found_in_anothers_result(names: str, node: NodeReport) -> None:
    assert "incomplete" in told(picked(result(node), names=names)).values()


def test_a_file_that_cannot_be_used_is_a_node_of_which_nothing_is_known() -> None:
    lost = (Lost("r/gpu007.json", "is empty"), Lost("r/x.json", "is empty"), Lost("r/y.json", "is none", ours=False))
    made = picked(result(local("gpu001")), lost=lost)
    assert told(made) == {"local://gpu001": "ready", "r/gpu007.json": "incomplete", "r/x.json": "incomplete"}
    assert made.nodes[1].reason == "the file is empty"
    assert "no results, and left aside: r/y.json" in made.notes


def test_a_damaged_file_that_is_named_as_an_expected_node_is_why_it_is_incomplete() -> None:
    lost = (Lost("r/gpu007.json", "is empty"), Lost("r/gpu008/local.json", "is no JSON"))
    made = picked(names="gpu[007-009]", lost=lost)
    assert [node.reason for node in made.nodes] == [
        "r/gpu007.json is empty",
        "r/gpu008/local.json is no JSON",
        NO_RESULT,
    ]


def test_several_damaged_nodes_of_one_file_are_several_nodes() -> None:
    made = picked(
        lost=(Lost("r.json", "is damaged: its node 1 names no node"), Lost("r.json", "is damaged: its node 2"))
    )
    assert list(told(made)) == ["r.json", "r.json (2)"]


def test_options_that_json_reports_cannot_obey_are_noted() -> None:
    picking = Picking()
    picking.add(result(report("ssh://n1"), judged_here=False))
    settings = Settings(handler="gpu", sources={"handler": "--gpuready-handler gpu"})
    assert (
        "--gpuready-handler gpu: not for what JSON reports tell, which was judged before"
        in merged(picking, None, settings).notes
    )


def test_times_that_no_calendar_has_are_no_error() -> None:
    assert (
        "9999-12-31" in picked(result(report("ssh://n1"), began=1e300), result(report("ssh://n2"), began=-1e9)).notes[0]
    )


@pytest.mark.parametrize(
    ("names", "why"),
    [
        ("gpu[1-", "is neither a host name nor a host spec"),
        ("a b", "is neither"),
        ("user:secret@gpu1", "is neither"),
        ("http://gpu1", "unknown transport"),
        ("local://gpu[3-1]", "runs backwards"),
    ],
)
def test_hosts_that_cannot_be_understood_are_a_usage_error_without_a_password(names: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as caught:
        wanted([names])
    assert "secret" not in str(caught.value)


def test_equal_parts_of_results_are_held_once() -> None:
    picking = Picking()
    for number in range(3):
        picking.add(result(report(f"ssh://n{number}", NOT_READY)))
    one, two, three = (found.report for found in picking.nodes().values())
    assert one.findings is two.findings is three.findings
    assert one.routes is two.routes
    assert one.findings["containerd.handler"].outcome == NOT_READY["containerd.handler"]
