"""What changed since an older report; one that cannot be used is one sentence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.report.baseline import Baseline, BaselineError, Change, NodeChanges, compare, read, summary
from pytest_gpuready.report.json import render
from tests.report.sample import CHECKS, INVENTORY, NO_HANDLER, NO_MODULE, NOT_RESTARTED, report, run, unreachable

if TYPE_CHECKING:
    from pathlib import Path

NODE = "ssh://root@n1"


def old(*nodes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(render(run(*nodes), checks=CHECKS)))
    return found


def changed(now: Any, before: dict[str, Any]) -> NodeChanges:
    return compare(run(now), before).nodes[now.node]


def test_nothing_changed_is_nothing() -> None:
    node = report(NODE, {"containerd.handler": NO_HANDLER})
    found = changed(node, old(node))
    assert found == NodeChanges()
    assert not found
    assert summary(found) == []


def test_what_broke_what_was_mended_and_what_is_another_version() -> None:
    before = old(report(NODE, {"containerd.handler": NO_HANDLER}, inventory={**INVENTORY, "driver": "570.86"}))
    found = changed(report(NODE, {"containerd.restarted": NOT_RESTARTED}), before)
    assert found == NodeChanges(
        newly_broken=(Change("containerd.restarted", "pass", "fail"),),
        fixed=(Change("containerd.handler", "fail", "pass"),),
        inventory=(Change("driver", "570.86", "580.159.04"),),
    )
    assert summary(found) == [
        "newly broken: containerd.restarted (was pass, now fail)",
        "mended: containerd.handler (was fail, now pass)",
        "changed: driver 570.86, now 580.159.04",
    ]


def test_what_was_blocked_and_fails_now_says_that_it_was_blocked() -> None:
    """A fault that was hidden behind another is not one that came up since."""
    before = old(report(NODE, {"driver.module-loaded": NO_MODULE}))
    found = changed(report(NODE, {"driver.nvml-answers": NO_MODULE}), before)
    assert found.newly_broken == (Change("driver.nvml-answers", "blocked", "fail"),)


def test_what_is_blocked_now_is_not_mended() -> None:
    before = old(report(NODE, {"driver.nvml-answers": NO_MODULE}))
    assert changed(report(NODE, {"driver.module-loaded": NO_MODULE}), before).fixed == ()


def test_verdicts_are_compared_and_a_silent_node_changes_no_inventory() -> None:
    found = changed(unreachable(NODE), old(report(NODE)))
    assert found.verdict == Change("verdict", "ready", "unreachable")
    assert found.inventory == ()
    assert changed(report(NODE), old(unreachable(NODE))).inventory == ()


def test_nodes_that_only_one_of_both_reports_knows_are_named() -> None:
    found = compare(run(report("ssh://new")), old(report("ssh://gone")))
    assert found == Baseline(
        "2026-11-22T09:00:00Z", "pytest-gpuready 0.1.0", {"ssh://new": NodeChanges(known=False)}, ("ssh://gone",)
    )
    assert summary(found.nodes["ssh://new"]) == ["not in the older report"]


def test_gpus_are_compared_one_by_one() -> None:
    before = old(report(NODE, inventory={**INVENTORY, "gpus": [{"name": "H100", "uuid": "GPU-1"}]}))
    (change,) = changed(report(NODE), before).inventory
    assert (change.what, change.was) == ("gpus", "H100 GPU-1")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "is no JSON report"),
        (b"\xff", "is no JSON report"),
        (b"[" * 100_000, "is no JSON report"),
        (b"[]", "is no JSON report of pytest-gpuready"),
        (b'{"nodes": 1}', "is no JSON report of pytest-gpuready"),
        (b'{"nodes": [], "schema": "2\\u001b[31m"}', "has schema '2\\x1b[31m'; this pytest-gpuready reads 1"),
    ],
)
def test_a_file_that_is_no_report_is_one_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "old.json"
    path.write_bytes(content)
    with pytest.raises(BaselineError, match=r"old\.json") as error:
        read(str(path))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["none.json", "no\0name", "."])
def test_a_file_that_cannot_be_read_is_one_sentence(path: str) -> None:
    with pytest.raises(BaselineError):
        read(path)


def test_what_an_older_report_says_amiss_is_left_out() -> None:
    """Hand-edited, or of a release to come: it only accompanies the verdict."""
    before = {
        "schema": 1,
        "nodes": [
            1,
            {"node": 2},
            {
                "node": NODE,
                "checks": [1, {}, {"check": "containerd.handler", "status": ["odd"]}],
                "inventory": {"gpus": 3},
            },
        ],
    }
    found = changed(report(NODE), before)
    assert found.fixed == ()
    assert [change.what for change in found.inventory] == ["gpus"]
    assert changed(report(NODE), {**before, "nodes": [{"node": NODE, "checks": 1, "inventory": 1}]}).inventory == ()
