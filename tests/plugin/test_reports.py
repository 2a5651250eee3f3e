"""The reports as pytest writes them: HTML in pytest-html's frame, Markdown, a step's summary, an older report."""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.html_frame import ROWS_LIMIT, Frame
from tests.report.hostile import CONTROLS, PAYLOAD

if TYPE_CHECKING:
    from tests.plugin.conftest import Nodes, Pytest

SNAPSHOTS = Path(__file__).parents[2] / "pytest_gpuready" / "snapshots"
READY = "snapshot://ready"
BROKEN = "snapshot://not-restarted"


def page_of(run: Pytest) -> str:
    return (run.path / "report.html").read_text("utf-8")


def test_html_is_one_file_with_the_verdict_before_the_frame(run: Pytest) -> None:
    result = run.suite("--html=report.html", hosts=BROKEN)
    assert result.ret == 1
    page = page_of(run)
    assert not (run.path / "assets").exists()
    assert page.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert page.index("<main") < page.index("sudo systemctl restart containerd") < page.index('id="results-table"')
    assert page.count("<h1") == 1
    assert '<title id="head-title">gpu01 is not ready</title>' in page
    assert re.search(r"(?:src|href)=\"(?!#)[^\"]", page.split("<section aria-label")[0]) is None


def test_a_ready_node_says_how_that_is_proven(run: Pytest) -> None:
    assert run.suite("--html=report.html", hosts=READY).ret == 0
    assert "READY<small> (configuration; no container was run)</small>" in page_of(run)


def test_two_reports_of_the_same_snapshot_differ_in_times_alone(run: Pytest) -> None:
    """HTML, Markdown and JSON; dates, durations and the hash of nothing else."""
    made = []
    for _ in range(2):
        run.suite("--html=report.html", "--gpuready-md=report.md", hosts=f"{BROKEN},snapshot://h200")
        texts = [page_of(run), (run.path / "report.md").read_text("utf-8"), run.json.read_text("utf-8")]
        made.append([timeless(text) for text in texts])
    assert made[0] == made[1]


def timeless(text: str) -> str:
    text = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:Z| UTC)?", "TIME", text)
    text = re.sub(r"\d\d-\w{3}-\d{4} at \d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r"\d\d:\d\d:\d\d|\b\d+ ms\b|\b\d+\.\d s\b", "DURATION", text)
    return re.sub(r'"duration_s": [\d.]+', "DURATION", text)


THEIRS = """
import pytest, pytest_html

@pytest.mark.parametrize("name", ["<img src=x onerror=alert(1)>"])
def test_own(name, extras):
    extras.append(pytest_html.extras.url("javascript:alert(2)", name="<svg onload=alert(3)>"))
    extras.append(pytest_html.extras.url("https://ci.example/?a=1&b=2", name="log"))
"""


def test_what_pytest_html_does_not_escape_is_escaped(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids, the environment, names and links of attachments; people's own rows are in sight."""
    run.file("test_own.py", THEIRS)
    monkeypatch.setenv("BUILD_TAG", "<b>bold</b>")
    monkeypatch.setenv("CI", "true")
    args = ["--metadata", "proxy", "http://user:S3cretValue99@proxy:3128", "--metadata", "odd", "<u>x</u>"]
    result = run.suite("--html=report.html", *args, "test_own.py", hosts=READY)
    assert result.ret == 0
    page = page_of(run)
    blob = re.search(r"data-jsonblob='([^']*)'", page)
    assert blob is not None
    data = json.loads(html.unescape(blob[1]))
    rows = [cell for tests in data["tests"].values() for test in tests for cell in test["resultsTableRow"]]
    drawn = json.dumps([rows, data["environment"]])  # what the frame's script makes markup of
    for bad in ("<img src=x", "<svg", "javascript:alert", "<u>x", "S3cretValue99"):
        assert bad not in page
        assert bad not in drawn
    assert "https://ci.example/?a=1&amp;b=2" in drawn
    assert '<details class="frame" open>' in page
    assert "Content-Security-Policy" not in page


def test_rows_say_our_statuses(run: Pytest) -> None:
    run.suite("--html=report.html", hosts=BROKEN)
    blob = page_of(run).split("data-jsonblob='")[1]
    for status in ("pass", "fail", "blocked", "not-applicable"):
        assert f'col-status\\"&gt;{status}&lt;' in blob


def test_rows_that_passed_are_left_to_the_counts_where_there_are_too_many(
    run: Pytest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_gpuready.html_frame.ROWS_LIMIT", 20)
    run.suite("--html=report.html", hosts=BROKEN)
    page = page_of(run)
    assert "; left to the counts: " in page
    assert "47 pass" in page
    assert 'col-status\\"&gt;pass&lt;' not in page
    assert 'col-status\\"&gt;fail&lt;' in page
    assert re.search(r'class="passed">47 Passed', page)
    assert ROWS_LIMIT == 3000


def test_a_page_that_cannot_be_written_is_a_sentence(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pytest_gpuready.report_guard.write", refuse)
    result = run.suite("--html=report.html", hosts=READY)
    assert result.ret == 1
    assert "the HTML report could not be written" in result.text
    assert "No space left on device" in result.text
    assert "is READY" in " ".join(result.text.split())
    assert not (run.path / "report.html").exists()


def test_an_error_of_ours_in_the_html_report_is_a_sentence(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_gpuready.report.html.render", lambda _: 1 / 0)
    result = run.suite("--html=report.html", hosts=READY)
    assert result.ret == 1
    assert "pytest-gpuready itself failed: ZeroDivisionError" in result.text
    assert "Traceback" not in result.text


def test_markdown_goes_to_a_file_and_to_standard_output(run: Pytest) -> None:
    run.suite("--gpuready-md=report.md", hosts=BROKEN)
    said = (run.path / "report.md").read_text("utf-8")
    assert said.startswith("**NOT READY**: `gpu01`")
    result = run.suite("--gpuready-md=-", hosts=BROKEN, process=True)
    assert timeless(result.out.strip()) == timeless(said.replace("report.md", "-").strip())


def hostile_snapshot(run: Pytest) -> str:
    """A shipped node whose host name, GPUs, files, answers and errors hold every payload there is."""
    text = (SNAPSHOTS / "not-restarted.json").read_text("utf-8")
    document = json.loads(text.replace("NVIDIA H100 80GB HBM3", "]]&gt;&lt;img src=x onerror=alert(1)&gt;"))
    payload = PAYLOAD[:5000].replace("\ud800", "")
    for fact in document["facts"]:
        lines = fact.get("text", [])
        fact["text"] = [f"hostname {payload}" if line.startswith("hostname ") else line for line in lines]
        if fact["arg"][0].endswith(".toml"):
            fact["text"] += ["# " + line for line in payload.split("\n")] + ["# " + "x" * 100_000]
        if fact["kind"] in ("run", "script"):
            fact["note"] = payload
    path = run.path / "<b>]]>&.json"
    path.write_text(json.dumps(document), "utf-8")
    return f"snapshot://{path}"


def test_junit_and_all_other_forms_of_a_hostile_node_hold_text_alone(run: Pytest) -> None:
    """As pytest writes them; what is in them stays well-formed and without controls."""
    args = ["--junitxml=junit.xml", "--html=report.html", "--gpuready-md=report.md", "-rA", "-v"]
    result = run.suite(*args, hosts=hostile_snapshot(run))
    assert result.report is not None
    tree = ET.parse(run.path / "junit.xml").getroot()  # noqa: S314 - our own file
    assert {case.tag for case in tree.iter()} <= {
        "testsuites",
        "testsuite",
        "testcase",
        "properties",
        "property",
        "failure",
        "skipped",
    }
    page = page_of(run)
    assert "<img" not in page.split('<section aria-label="The rows')[0]
    assert "&lt;script&gt;window.pwned=1&lt;/script&gt;" in page
    assert "<script>window.pwned" not in page
    texts = [result.out, page, (run.path / "report.md").read_text("utf-8"), (run.path / "junit.xml").read_text("utf-8")]
    for text in texts:
        assert [control for control in CONTROLS if control in text] == []


def test_only_one_report_can_be_standard_output(run: Pytest) -> None:
    result = run.raw("--gpuready", "--hosts", READY, "--gpuready-json=-", "--gpuready-md=-")
    assert result.ret == 4
    assert "only one report can be standard output" in result.text


def test_a_steps_summary_is_appended_to(run: Pytest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", "utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run.suite(hosts=BROKEN)
    assert summary.read_text("utf-8").startswith("before\n**NOT READY**: `gpu01`")
    assert "sudo systemctl restart containerd" in summary.read_text("utf-8")


def test_a_summary_that_cannot_be_written_changes_no_exit_status(
    run: Pytest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    result = run.suite(hosts=READY)
    assert result.ret == 0
    assert "the step summary could not be written: Is a directory" in result.text


def test_what_changed_since_an_older_report_is_in_every_report(run: Pytest) -> None:
    run.suite(hosts=READY)
    old = run.file(
        "old.json", run.json.read_text("utf-8").replace("snapshot://ready", BROKEN).replace("2.1.9", "2.1.8")
    )
    args = ["--gpuready-baseline", str(old), "--html=report.html", "--gpuready-md=report.md"]
    result = run.suite(*args, hosts=BROKEN)
    assert result.report is not None
    changes = result.report["nodes"][0]["changes"]
    assert changes["verdict"] == {"was": "ready", "now": "not-ready"}
    assert {"check": "containerd.restarted", "was": "pass", "now": "fail"} in changes["newly_broken"]
    assert {"key": "containerd", "was": "2.1.8", "now": "2.1.9"} in changes["inventory"]
    assert result.report["baseline"]["missing"] == []
    for text in (result.text, page_of(run), (run.path / "report.md").read_text("utf-8")):
        assert "newly broken: containerd.restarted (was pass, now fail)" in text
        assert "changed: containerd 2.1.8, now 2.1.9" in text


def test_an_older_report_that_is_none_is_a_usage_error_before_anything_runs(run: Pytest) -> None:
    bad = run.file("old.json", json.dumps({"schema": 1}))
    result = run.suite("--gpuready-baseline", str(bad), hosts=READY)
    assert result.ret == 4
    assert "old.json is no JSON report of pytest-gpuready" in result.text


def test_with_xdist_the_page_is_the_same(run: Pytest, nodes: Nodes) -> None:
    pytest.importorskip("xdist")
    del nodes
    run.suite("--html=report.html", "-n1", "--gpuready-md=report.md", hosts=BROKEN)
    assert page_of(run).index("<main") < page_of(run).index("sudo systemctl restart containerd")


def test_a_run_that_never_came_to_a_verdict_leaves_the_frame_alone() -> None:
    frame = Frame(lambda: None, Counter, lambda _: None)
    prefix: list[str] = []
    frame.pytest_html_results_summary(prefix)
    assert prefix == []
    assert frame._leaving() == frozenset()
    assert frame.page("<html>as it is") == "<html>as it is"
