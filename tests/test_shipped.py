"""The shipped snapshots: made of the tests' simulated nodes, and judged as the README says."""

from __future__ import annotations

import pytest

from pytest_gpuready.judge import judge
from pytest_gpuready.model import Settings
from pytest_gpuready.node.snapshot import SnapshotError, read, shipped
from tests.support import nodes

ROOTS = {"not-restarted": "containerd.restarted", "wrong-table": "containerd.handler"}


@pytest.mark.parametrize("name", sorted(nodes.SNAPSHOTS))
def test_a_shipped_snapshot_is_what_its_node_says(name: str) -> None:
    """`python -m tests.support.nodes` makes them anew."""
    assert shipped()[name].read_text("utf-8") == nodes.text(name)


def test_a_real_machine_with_a_spec_is_ready_for_cdi_routes() -> None:
    """The snapshot of a real H200 with Debian's containerd and no toolkit: what needs the toolkit is not ready."""
    facts = read("h200")[0]
    report = judge(facts, Settings(routes=("ctr-cdi", "cri-cdi")))
    assert report.verdict == "ready"
    assert report.findings["driver.nvml-answers"].status == "pass"
    assert report.routes["ctr-gpus"].roots == ("toolkit.container-cli",)
    assert judge(facts, Settings()).verdict == "not-ready"


def test_the_ready_node_is_ready() -> None:
    assert judge(read("ready")[0], Settings()).verdict == "ready"


@pytest.mark.parametrize("name", sorted(ROOTS))
def test_each_broken_node_has_the_one_root_that_its_name_says(name: str) -> None:
    report = judge(read(name)[0], Settings())
    assert report.verdict == "not-ready"
    assert [finding.check.id for finding in report.roots if finding.keeps] == [ROOTS[name]]


def test_a_name_that_is_neither_file_nor_shipped_names_those_that_are() -> None:
    with pytest.raises(SnapshotError, match=r"no such file, and no snapshot of that name is shipped .*not-restarted"):
        read("no-such-node")
