"""Several nodes: equal ones are one row, odd ones are named, and no node is the golden one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_gpuready.node.facts import REACH, Fact, Facts, file
from pytest_gpuready.report.files import configuration
from pytest_gpuready.report.fleet import families, matrix, odd_ones
from tests.report.sample import INVENTORY, NO_MODULE, NOT_RESTARTED, NVML_HANGS, PERSISTENCE, report, unreachable

if TYPE_CHECKING:
    from pytest_gpuready.report.model import NodeReport

CONFIG = "/etc/containerd/config.toml"


def made_of(label: str, text: str | None = "a\n", **inventory: object) -> NodeReport:
    node = report(label, inventory={**INVENTORY, **inventory})
    facts = [(REACH, Fact("ok"))]
    if text is not None:
        facts.append((file(CONFIG), Fact("ok", text.encode())))
    return dataclasses.replace(node, facts=Facts(label, facts))


def said(nodes: list[NodeReport]) -> list[str]:
    return [odd.sentence(len(nodes)) for odd in odd_ones(nodes, configuration(nodes))]


def test_the_odd_ones_are_named_beside_what_all_others_say() -> None:
    nodes = [made_of(f"ssh://n{number:03}") for number in range(512)]
    nodes[7:10] = [made_of(f"ssh://n{number:03}", driver="570.86") for number in range(7, 10)]
    assert said(nodes) == ["3 of 512: driver 570.86 (ssh://n[007-009]); all others 580.159.04"]


def test_without_a_majority_every_value_is_listed() -> None:
    nodes = [made_of("ssh://n1", driver="1"), made_of("ssh://n2", driver="2")]
    assert said(nodes) == ["1 of 2: driver 1 (ssh://n1); 1 of 2: driver 2 (ssh://n2)"]


def test_more_values_than_can_be_read_are_counted() -> None:
    nodes = [made_of(f"ssh://n{number}", driver=f"{max(number, 11)}") for number in range(20)]
    assert said(nodes)[0].endswith("; 2 further values; all others 11")


def test_where_nearly_every_node_says_something_of_its_own_nothing_is_odd() -> None:
    assert said([made_of(f"ssh://n{number}", kernel=f"{number}") for number in range(9)]) == []


def test_what_is_not_known_is_a_value_of_its_own() -> None:
    nodes = [made_of("ssh://n1"), made_of("ssh://n2"), made_of("ssh://n3", gpus=None, driver=None)]
    assert said(nodes) == [
        "1 of 3: driver not known (ssh://n3); all others 580.159.04",
        "1 of 3: GPUs not known (ssh://n3); all others 2 x NVIDIA H100 80GB HBM3",
    ]


def test_a_file_that_differs_or_is_absent_is_odd() -> None:
    nodes = [made_of("ssh://n1"), made_of("ssh://n2"), made_of("ssh://n3"), made_of("ssh://n4", "b\n")]
    assert [line.split(";")[0][:40] for line in said(nodes)] == [f"1 of 4: {CONFIG} vers"]
    assert said([*nodes[:3], made_of("ssh://n5", None)])[0].startswith(f"1 of 4: {CONFIG} absent (ssh://n5)")


def test_a_node_that_did_not_answer_is_not_odd() -> None:
    assert said([made_of("ssh://n1"), unreachable()]) == []


def test_equal_nodes_are_one_row_and_cells_say_the_worst_that_counts() -> None:
    nodes = [
        report("ssh://n1"),
        report("ssh://n2"),
        report("ssh://n3", {"containerd.restarted": NOT_RESTARTED}),
        report("ssh://n4", {"driver.module-loaded": NO_MODULE}),
        report("ssh://n5", {"driver.nvml-answers": NVML_HANGS}),
        report("ssh://n6", {"driver.persistence": PERSISTENCE}),
    ]
    assert families(nodes) == ["node", "driver", "toolkit", "containerd", "cdi"]
    shown = [
        ([node.node for node in row.nodes], [f"{cell.status}: {cell.text}" for cell in row.cells][1::2])
        for row in matrix(nodes)
    ]
    assert shown == [
        (["ssh://n3"], ["pass: 3 passed", "fail: restarted"]),
        (["ssh://n4"], ["fail: module-loaded", "pass: 3 passed"]),
        (["ssh://n5"], ["unknown: nvml-answers", "pass: 3 passed"]),
        (["ssh://n1", "ssh://n2"], ["pass: 3 passed", "pass: 3 passed"]),
        (["ssh://n6"], ["warn: 1 warning", "pass: 3 passed"]),
    ]
