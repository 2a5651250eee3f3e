"""Several hundred nodes in pytest: an item is a family then; jobs and workers change nothing."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.checks.catalogue import FAMILIES, catalogue, suite
from tests.support import fleet

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Nodes, Pytest, Result

#: So many nodes of mixed kinds stand for several hundred: where items become families is lowered to fewer.
NODES = 60

#: Families that have checks without --gpuready-live.
PASSIVE = [family for family in FAMILIES if any(check.family == family for check in suite(live=False).values())]


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The spec of the nodes."""
    folder: Path = tmp_path_factory.mktemp("fleet")
    return fleet.write(folder, NODES).replace("snapshot://", f"snapshot://{folder}/")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nodes are too many for an item per check. In this process alone: workers have their own."""
    monkeypatch.setattr("pytest_gpuready.collection.FAMILY_ABOVE", 1)


def without_times(result: Result) -> dict[str, Any]:
    """A JSON report but for what differs between two runs."""
    assert result.report is not None, result.text
    report = json.loads(json.dumps(result.report))
    for one in (report, *report["nodes"]):
        one.pop("duration_s")
    report.pop("started")
    return dict(report)


def shown(result: Result) -> list[str]:
    """The items that were shown, with their words."""
    found = []
    for line in result.out.splitlines():
        match = re.fullmatch(r"\[gw\d+\] \[ *\d+%\] (.+?) (gpuready/\S+) *", line)
        alone = re.fullmatch(r"(gpuready/\S+) (.+?) *\[ *\d+%\]", line)
        if match or alone:
            found.append(f"{match[2]} {match[1]}" if match else alone[0].rpartition("[")[0].rstrip() if alone else "")
    return found


@pytest.mark.slow
def test_results_order_and_reports_are_the_same_with_any_jobs_and_workers(run: Pytest, many: str) -> None:
    first = run.suite("-v", "--gpuready-jobs=1", hosts=many)
    expected = without_times(first)
    assert {node["verdict"] for node in expected["nodes"]} >= {"ready", "not-ready"}
    assert [node["node"] for node in expected["nodes"]] == [many.replace("[001-060]", f"{n:03}") for n in range(1, 61)]
    for more in (["--gpuready-jobs=7"], ["--gpuready-jobs=50"], ["-n2", "--gpuready-jobs=50"], ["-n0"]):
        again = run.suite("-v", *more, hosts=many)
        report = without_times(again)
        # Of all that is told only the command differs.
        assert report == expected | {key: report[key] for key in ("command",) if key in report}
        assert again.ret == first.ret
        if "-n2" not in more:
            assert shown(again) == shown(first)


def test_items_by_family_are_the_same_with_workers(run: Pytest, nodes: Nodes) -> None:
    """Workers are told where items become families by a plugin that all of them load."""
    run.file("lower.py", "import pytest_gpuready.collection as c\nc.FAMILY_ABOVE = 1\n")
    spec = f"{nodes.containerd},{nodes.bare},{nodes.silent}"
    found = [run.suite("-p", "lower", "-v", *more, hosts=spec, process=True) for more in ([], ["-n2"])]
    assert found[0].judged == found[1].judged
    assert sorted(shown(found[0])) == sorted(shown(found[1]))
    assert len(shown(found[1])) == 3 * len(PASSIVE)
    assert found[0].ret == found[1].ret == 1


def test_up_to_so_many_nodes_an_item_is_a_check(run: Pytest, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_gpuready.collection.FAMILY_ABOVE", 2)
    out = run.suite(hosts=f"{nodes.bare},{nodes.silent}").out
    assert f"collected {2 * len(suite(live=False))} items" in out
    assert "family" not in out.partition("collected")[0]


class TestByFamily:
    @pytest.fixture
    def spec(self, few: None, nodes: Nodes) -> str:
        """Three nodes that differ."""
        assert few is None
        return f"{nodes.containerd},{nodes.bare},{nodes.silent}"

    def test_an_item_is_a_node_and_a_family_in_their_order(self, run: Pytest, spec: str) -> None:
        result = run.suite("-v", hosts=spec)
        ids = [line.split(" ", 1)[0] for line in shown(result)]
        assert ids == [f"gpuready/{family}.py::checks[{node}]" for family in PASSIVE for node in spec.split(",")]
        assert "one item per node and family of checks" in result.out

    def test_it_shows_the_worst_and_the_reports_hold_every_check(
        self, run: Pytest, spec: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        by_family = run.suite("-v", "--tb=short", hosts=spec)
        monkeypatch.undo()
        monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
        by_check = run.suite("-v", "--tb=short", hosts=spec)
        assert by_family.judged == by_check.judged
        assert by_family.ret == by_check.ret == 1
        failed = {line.split(" ")[0] for line in shown(by_check) if " FAILED" in line or " UNKNOWN" in line}
        wanted = {re.sub(r"::\w+\[", "::checks[", one) for one in failed}
        assert {line.split(" ")[0] for line in shown(by_family) if " FAILED" in line or " UNKNOWN" in line} == wanted
        # Each finding that counts is told in full, in pytest's own FAILURES too.
        assert by_family.report is not None
        for node in by_family.report["nodes"]:
            for root in node["root_causes"]:
                if root["routes"]:
                    assert f"{root['check']}: {root['found']}" in by_family.out

    @pytest.mark.parametrize("also", [(), ("-n1",)], ids=["alone", "xdist"])
    def test_the_id_of_an_item_or_of_one_of_its_checks_shows_the_item(
        self, run: Pytest, spec: str, also: tuple[str, ...]
    ) -> None:
        node = spec.split(",")[1]
        item = f"gpuready/containerd.py::checks[{node}]"
        everything = run.suite(hosts=spec).judged
        for wanted in (item, f"gpuready/containerd.py::handler[{node}]"):
            result = run.suite(wanted, "-v", *also, hosts=spec)
            assert result.judged == everything
            if not also:  # a worker has its own idea of how many are many
                assert [line.split(" ")[0] for line in shown(result)] == [item]

    def test_an_id_that_is_none_is_a_usage_error(self, run: Pytest, spec: str) -> None:
        result = run.suite("gpuready/containerd.py::cheks", hosts=spec)
        assert result.ret == 4
        assert "no such check or node: gpuready/containerd.py::cheks" in result.text

    def test_a_check_is_found_by_k_and_what_failed_before_by_lf(self, run: Pytest, spec: str) -> None:
        chosen = shown(run.suite("-v", "-k", "restarted", hosts=spec))
        assert [line.split(" ")[0] for line in chosen] == [
            f"gpuready/containerd.py::checks[{node}]" for node in spec.split(",")
        ]
        first = shown(run.suite("-v", "-p", "no:randomly", hosts=spec))
        again = shown(run.suite("-v", "--lf", "-p", "no:randomly", hosts=spec))
        assert again == [line for line in first if " FAILED" in line or " UNKNOWN" in line]
        assert again

    def test_junit_and_html_have_the_items(self, run: Pytest, spec: str) -> None:
        result = run.suite("--junitxml=j.xml", "--html=h.html", hosts=spec)
        cases = ET.parse(run.path / "j.xml").getroot().iter("testcase")  # noqa: S314 - our own
        found = {(case.get("classname"), case.get("name")): case for case in cases}
        assert len(found) == 3 * len(PASSIVE)
        bare = spec.split(",")[1]
        case = found["gpuready.containerd", f"checks[{bare}]"]
        properties = [(one.get("name"), one.get("value")) for one in case.iter("property")]
        assert ("family", "containerd") in properties
        assert ("node", bare) in properties
        assert ("status", "fail") in properties
        assert ("check_id", "containerd.installed") in properties
        page = (run.path / "h.html").read_text("utf-8")
        assert f"{3 * len(PASSIVE)} rows, as pytest-html draws them" in page
        assert result.report is not None
        assert "Traceback" not in page


def test_an_items_id_of_a_family_chooses_its_checks_where_nodes_are_few(run: Pytest, nodes: Nodes) -> None:
    result = run.suite(f"gpuready/cdi.py::checks[{nodes.bare}]", "-v", hosts=f"{nodes.bare},{nodes.silent}")
    names = [check.name for check in catalogue().values() if check.family == "cdi"]
    assert [line.split(" ")[0] for line in shown(result)] == [f"gpuready/cdi.py::{n}[{nodes.bare}]" for n in names]
