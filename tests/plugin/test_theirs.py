"""People's own tests beside the suite: run, counted apart, and unable to touch what the suite found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.checks.catalogue import suite

if TYPE_CHECKING:
    from tests.plugin.conftest import Pytest

FAILING = "def test_theirs():\n    assert 1 == 2\n\ndef test_fine():\n    pass\n"


@pytest.mark.parametrize("more", [(), ("-n2",), ("-n2", "--dist=loadfile"), ("-n2", "--dist=loadscope")], ids=" ".join)
def test_the_suite_and_theirs(run: Pytest, plain: dict[str, Any], more: tuple[str, ...]) -> None:
    """With and without xdist, whose workers are handed the findings: the controller asks once."""
    run.file("test_theirs.py", FAILING)
    result = run.suite("test_theirs.py", "-v", *more)
    assert result.judged == plain
    assert result.ret == 1
    shown = {
        line.rpartition("gpuready/")[2].partition(" ")[0] for line in result.out.splitlines() if f"[{run.spec}]" in line
    }
    assert len({one for one in shown if "::" in one}) == len(suite(live=False))
    assert "test_theirs.py::test_fine" in result.out
    assert "1 of your own tests failed: this sets the exit status, not the verdict" in result.out


def test_their_failure_alone_is_exit_code_1(run: Pytest, all_pass: None) -> None:
    """The verdict stays: the summary keeps the two apart."""
    assert all_pass is None
    run.file("test_theirs.py", FAILING)
    result = run.suite("test_theirs.py")
    assert result.ret == 1
    assert result.report is not None
    assert result.report["verdict"] == "ready"
    assert "is READY (configuration; no container was run)" in " ".join(result.out.split())
    assert "1 of your own tests failed" in result.out
    assert "def test_theirs" in result.out  # their FAILURES are shown as ever
    run.file("test_theirs.py", "def test_fine():\n    pass\n")
    result = run.suite("test_theirs.py")
    assert result.ret == 0
    assert "of your own tests" not in result.out


@pytest.mark.parametrize("more", [(), ("-x",), ("--maxfail=1",), ("-n1",), ("--sw",)], ids=" ".join)
def test_a_module_of_theirs_that_cannot_be_collected_loses_no_result(
    run: Pytest, plain: dict[str, Any], more: tuple[str, ...]
) -> None:
    run.file("test_broken.py", "import no_such_module\n")
    run.file("test_theirs.py", "def test_fine():\n    pass\n")
    result = run.suite("test_broken.py", "test_theirs.py", *more)
    assert result.judged == plain
    assert result.ret == 1
    assert "1 of your own tests failed" in result.out
    if not more:
        assert f"collected {len(suite(live=False)) + 1} items / 1 error" in result.out


def test_all_passing_beside_a_module_that_cannot_be_collected(run: Pytest, all_pass: None) -> None:
    assert all_pass is None
    run.file("test_broken.py", "import no_such_module\n")
    result = run.suite("test_broken.py")
    assert (result.ret, result.report is not None and result.report["verdict"]) == (1, "ready")


HOSTILE = """
import pytest

@pytest.fixture(autouse=True)
def nothing_runs():
    pytest.skip("not today")

@pytest.fixture
def host():
    class Fake:
        backend = None
    return Fake()

def pytest_runtest_setup(item):
    if item.nodeid.startswith("gpuready"):
        pytest.skip("hijacked")

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    pass

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    report.outcome = "passed"
    return report

def pytest_sessionfinish(session):
    session.exitstatus = 0
"""


def test_their_conftest_reaches_no_finding(run: Pytest, plain: dict[str, Any]) -> None:
    """With a path of theirs it is loaded; autouse fixtures, a fake host and hooks are for their tests."""
    run.file("conftest.py", HOSTILE)
    run.file("test_theirs.py", FAILING)
    result = run.suite("test_theirs.py", "-v")
    assert result.judged == plain
    assert result.report is not None
    assert result.report["verdict"] != "ready"


def test_theirs_alone_without_the_suite(run: Pytest) -> None:
    run.file("test_theirs.py", FAILING)
    result = run.raw("test_theirs.py")
    assert result.ret == 1
    assert "gpuready/" not in result.out


def test_arguments_may_come_from_a_file(run: Pytest, all_pass: None) -> None:
    """`@FILE` is pytest's: paths in it were typed by the user."""
    assert all_pass is None
    if pytest.version_tuple < (8, 2):
        pytest.skip("@FILE came with pytest 8.2")
    run.file("test_theirs.py", FAILING)
    run.file("arguments", "test_theirs.py\n")
    assert "1 of your own tests failed" in run.suite("@arguments").out
