"""What is selected, ordered or stopped changes what is shown, never the findings, the verdict or the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.plugin.conftest import Nodes, Pytest

OPTIONS = [
    ["-k", "handler"],
    ["-k", "nothing"],
    ["-m", "gpuready"],
    ["-m", "not gpuready"],
    ["--deselect", "gpuready/containerd.py::handler"],
    ["--lf"],
    ["--ff"],
    ["--nf"],
    ["--sw"],
    ["-x"],
    ["--maxfail=2"],
    ["-p", "no:cacheprovider"],
    ["-p", "no:randomly"],
    ["--noconftest"],
    ["-q"],
    ["-qq"],
    ["-v"],
    ["-vv"],
    ["--tb=short"],
    ["--tb=line"],
    ["-r", "fEs"],
    ["-rA"],
    ["--durations=3"],
    ["-s"],
    ["--capture=sys"],
    ["--color=yes"],
    ["--no-summary"],
    ["--no-header"],
    ["--setup-plan"],
    ["-p", "no:terminal"],
    ["--import-mode=importlib"],
    ["--continue-on-collection-errors"],
    ["--strict-markers", "--strict-config"],
]


@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
def test_an_option_of_pytests_changes_no_finding(run: Pytest, plain: dict[str, Any], options: list[str]) -> None:
    result = run.suite(*options)
    assert result.judged == plain
    assert result.ret == 1
    assert "Traceback" not in result.text


@pytest.mark.skipif(pytest.version_tuple < (9, 0), reason="strict came with pytest 9")
def test_strict_mode(run: Pytest, plain: dict[str, Any]) -> None:
    result = run.suite("-o", "strict=true")
    assert result.judged == plain
    assert result.ret == 1


@pytest.mark.parametrize("again", ["--lf", "--ff", "--sw", "--nf"])
def test_what_failed_before_is_found_again(run: Pytest, plain: dict[str, Any], again: str) -> None:
    """The ids in the cache are the suite's own, in any directory; a run that is stopped early is judged whole."""
    first = run.suite("-p", "no:randomly")
    second = run.suite(again, "-v", "-p", "no:randomly")
    assert second.judged == first.judged == plain
    assert second.ret == 1
    shown = [line for line in second.out.splitlines() if line.startswith("gpuready/")]
    if again == "--lf":
        assert shown
        assert all(" FAILED" in line or " UNKNOWN" in line for line in shown)
    if again == "--ff":
        assert " FAILED" in shown[0] or " UNKNOWN" in shown[0]


def test_a_node_without_a_fault_is_ready_whatever_is_deselected(run: Pytest, all_pass: None) -> None:
    """Exit code 0, where pytest itself would say 5: no tests collected."""
    assert all_pass is None
    for options in (["-k", "nothing"], ["-x"], []):
        result = run.suite(*options)
        assert result.ret == 0, result.text
        assert result.report is not None
        assert result.report["verdict"] == "ready"


def test_collecting_asks_no_node(run: Pytest, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proven by a node that does not exist and an asker that would fail the test."""
    monkeypatch.setattr("pytest_gpuready.runner.Runner.run", lambda _: pytest.fail("a node was asked"))
    for options in (["--collect-only"], ["--co", "-q"], ["--co", "-n2"], ["--fixtures"], ["--markers"], ["--help"]):
        result = run.raw(
            "--gpuready", "--hosts", f"ssh://192.0.2.1,{nodes.bare}", f"--gpuready-json={run.json}", *options
        )
        assert result.ret == 0, result.text
        assert result.report is None
    result = run.raw("--gpuready", "--hosts", "ssh://192.0.2.1", "--co")
    assert "<Suite gpuready>" in result.out
    assert "<Family containerd.py>" in result.out
    assert "<CheckItem handler[ssh://192.0.2.1]>" in result.out


def test_colours_are_the_terminals_affair(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    """--color=yes paints, NO_COLOR and a pipe do not, and the words are the same."""
    painted = run.suite("--color=yes").out
    assert "\x1b[" in painted
    monkeypatch.setenv("NO_COLOR", "1")
    plain_text = run.suite().out
    assert "\x1b[" not in plain_text


@pytest.mark.skipif(pytest.version_tuple < (9, 1), reason="--max-warnings came with pytest 9.1")
def test_a_limit_of_warnings_stays_pytests_own(run: Pytest, all_pass: None) -> None:
    """The suite itself warns of nothing."""
    assert all_pass is None
    assert run.suite("--max-warnings=0").ret == 0
