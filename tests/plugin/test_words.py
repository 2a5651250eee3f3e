"""What pytest's output says of findings, and the summary: its place, its width, its words."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

import pytest_gpuready.judge
from pytest_gpuready.model import Outcome, Remedy, failed, not_applicable, passed, unknown, warned

if TYPE_CHECKING:
    from pytest_gpuready.checks.catalogue import Check
    from tests.plugin.conftest import Nodes, Pytest

#: One check of each kind, on a node where everything else passes.
ANSWERS: dict[str, Outcome] = {
    "containerd.config-loads": failed(
        "line 3: <b>no & toml</b>", expected="TOML", remedy=Remedy("Mend it.", ("vi x",))
    ),
    "driver.gpu-health": unknown("no answer within 5 s"),
    "driver.persistence": warned("persistence is off"),
    "node.selinux": not_applicable("no SELinux here"),
    "containerd.default-runtime": failed("runc", expected="nvidia"),
}


@pytest.fixture
def each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of every status stand for a node's. They cannot show that a check gives them."""

    def answer(_: object, check: Check) -> object:
        return pytest_gpuready.judge._Answered(ANSWERS.get(check.id, passed("fine")))

    monkeypatch.setattr(pytest_gpuready.judge.Judge, "answer", answer)


WORDS = {
    "node.py::reachable": "PASSED",
    "containerd.py::config_loads": "FAILED",
    "containerd.py::handler": "BLOCKED (blocked by containerd.config-loads)",
    "driver.py::gpu_health": "UNKNOWN",
    "driver.py::persistence": "WARN",
    "node.py::selinux": "N/A (not applicable: no SELinux here)",
}


def test_every_status_has_its_word(run: Pytest, each_kind: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert each_kind is None
    monkeypatch.setenv("COLUMNS", "200")
    result = run.suite("-v", "-p", "no:randomly", "gpuready", "--gpuready-routes=ctr-gpus,cri-handler")
    for place, word in WORDS.items():
        (line,) = result.lines(f"gpuready/{place}[")
        assert line.partition("] ")[2].startswith(word), line
    assert "1 warn" in result.out.splitlines()[-1]
    assert " blocked" in result.out.splitlines()[-1]
    assert "2 failed" in result.out.splitlines()[-1]


def test_what_no_required_route_needs_is_not_counted(run: Pytest, each_kind: None) -> None:
    """A failed check of another route is shown as such, and does not fail the run's items."""
    assert each_kind is None
    result = run.suite("-v", "--gpuready-routes=ctr-gpus", "gpuready/containerd.py::config_loads")
    assert " NOT COUNTED" in result.out
    assert "1 not counted" in result.out.splitlines()[-1]


def test_another_route_is_enough(run: Pytest, each_kind: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `any`, what fails on the other routes does not count once one is ready."""
    assert each_kind is None
    monkeypatch.setitem(ANSWERS, "driver.gpu-health", passed("fine"))
    monkeypatch.setattr("pytest_gpuready.routes.offered", lambda _: ("ctr-gpus", "cri-handler"))
    monkeypatch.setenv("COLUMNS", "200")
    result = run.suite("-vv", "--gpuready-routes=any", "gpuready/containerd.py::config_loads")
    assert result.ret == 0
    assert "another route is enough" in " ".join(result.out.split())


def test_the_short_letters(run: Pytest, each_kind: None) -> None:
    assert each_kind is None
    out = run.suite("-p", "no:randomly").out
    letters = "".join(line.split()[1] for line in out.splitlines() if line.startswith("gpuready/"))
    assert set("FUwb-.") <= set(letters)


def test_the_summary_is_the_last_thing_before_the_closing_line(run: Pytest, nodes: Nodes) -> None:
    """And at most 80 columns wide, but for what is there to be copied: commands, paths, ids."""
    run.file("test_theirs.py", "import warnings\ndef test_one():\n    warnings.warn('x')\n    assert 0\n")
    result = run.suite("test_theirs.py", hosts=nodes.bare)
    lines = result.out.rstrip().splitlines()
    start = next(number for number, line in enumerate(lines) if set(line) <= set("= gpuready") and " gpuready " in line)
    assert any("short test summary info" in line for line in lines[:start])
    assert not any(line.startswith("====") for line in lines[start + 1 : -1])
    assert re.fullmatch(r"=+ \d+ failed, .* =+", lines[-1])
    assert any(line.startswith("gpuready:") for line in lines[-8:-1])
    wide = [line for line in lines[start:-1] if len(line) > 80 and "/" not in line and " run " not in line]
    assert not wide


def test_failures_are_told_once(run: Pytest, each_kind: None) -> None:
    """The summary tells them in full; FAILURES are left to --tb, the short summary names ids to paste."""
    assert each_kind is None
    result = run.suite()
    assert "= FAILURES =" not in result.out
    assert result.out.count("found     line 3: <b>no & toml</b>") == 1
    assert f"FAILED gpuready/containerd.py::config_loads[{run.spec}]"[:60] in result.out
    long = run.suite("--tb=short")
    assert "= FAILURES =" in long.out
    assert "containerd.config-loads: line 3: <b>no & toml</b>" in long.out
    assert "suite.py" not in long.out
    assert "= FAILURES =" not in run.suite("--tb=no").out


def test_quiet_is_a_line_per_root_and_one_to_end_on(run: Pytest, each_kind: None) -> None:
    assert each_kind is None
    out = run.suite("-q").out
    assert "vi x" in out
    assert "= gpuready =" not in out
    assert "gpuready: " in " ".join(out.splitlines()[-4:-1])
    assert "is NOT READY: containerd.config-loads and 1 more" in " ".join(out.splitlines()[-4:-1])


# ---------------------------------------------------------------------------------------------------- JUnit, HTML


@pytest.mark.parametrize("more", [(), ("-n1",)], ids=["alone", "xdist"])
def test_junit_has_properties_and_blocked_is_skipped_with_its_roots(run: Pytest, more: tuple[str, ...]) -> None:
    """Well-formed, with check_id, node, status and what blocks it, for every check."""
    result = run.suite("--junitxml=junit.xml", *more)
    assert result.report is not None
    cases = {}
    for case in ET.parse(run.path / "junit.xml").getroot().iter("testcase"):  # noqa: S314 - our own file
        properties = [(one.get("name"), one.get("value")) for one in case.iter("property")]
        cases[dict(properties)["check_id"]] = (case, properties)
    checks = {check["check"]: check for check in result.report["nodes"][0]["checks"]}
    assert cases.keys() == checks.keys()
    remedies = {
        root["check"]: [("remedy", said["summary"]), *(("command", command) for command in said["commands"])]
        for root in result.report["nodes"][0]["root_causes"]
        if (said := root["remedy"]) is not None
    }
    assert remedies
    for check_id, (case, properties) in cases.items():
        check = checks[check_id]
        assert properties == [
            ("check_id", check_id),
            ("node", run.spec),
            ("status", check["status"]),
            *(("blocked_by", root) for root in check["blocked_by"]),
            *remedies.get(check_id, ()),
        ]
        assert case.get("classname") == f"gpuready.{check['family']}"
        if check["status"] == "blocked":
            skipped = case.find("skipped")
            assert skipped is not None
            assert skipped.get("message") == f"blocked by {', '.join(check['blocked_by'])}"


def test_html_is_one_file_in_which_ids_are_harmless(run: Pytest, nodes: Nodes) -> None:
    """pytest-html does not escape ids: a node's label must not become markup."""
    name = "<img src=x onerror=alert(1)>.json"
    (nodes.folder / name).write_bytes((nodes.folder / "bare.json").read_bytes())
    result = run.suite("--html=report.html", hosts=f"snapshot://{nodes.folder}/{name}")
    assert result.ret == 1
    html = (run.path / "report.html").read_text("utf-8")
    assert not (run.path / "assets").exists()
    assert "<img src=x" not in html
    assert "_img_src_x_onerror_alert_1__.json" in html
