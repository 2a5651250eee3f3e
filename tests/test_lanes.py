"""Which tests a lane and a shard take: the project's own conftest.py, on a small tree of tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
INI = """[pytest]
testpaths = tests
markers =
    lab
    daemon
    ci
    reference
    slow
"""
TESTS = {
    "tests/test_a.py": """
        import pytest
        def test_fact(): pass
        def test_login(sshd): pass
        @pytest.mark.daemon
        def test_daemon(): pass
        @pytest.mark.slow
        def test_slow(): pass
        @pytest.mark.lab("no-such-program", "sh")
        def test_program(): pass
        @pytest.mark.reference(False)
        def test_no_data(): pass
        @pytest.mark.reference(True)
        def test_data(): pass
        @pytest.fixture
        def sshd(): pass
    """,
    "tests/lab/test_node.py": """
        import pytest
        @pytest.mark.ci
        @pytest.mark.parametrize("number", range(4))
        def test_quick(number): pass
        def test_node(): pass
        @pytest.mark.slow
        def test_slow_node(): pass
    """,
}
FIRST = {"test_fact", "test_data"}
QUICK = {f"test_quick[{number}]" for number in range(4)}
LAB = {"test_login", "test_daemon", "test_program", "test_node", *QUICK}
ALL = {*FIRST, *LAB, "test_slow", "test_slow_node"}


@pytest.fixture
def tree(pytester: pytest.Pytester) -> pytest.Pytester:
    """The small tree, with the project's conftest.py."""
    pytester.makeconftest((ROOT / "conftest.py").read_text("utf-8"))
    pytester.makeini(INI)
    for name, text in TESTS.items():
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(line[8:] + "\n" for line in text.splitlines()), "utf-8")
    return pytester


def collected(tree: pytest.Pytester, *options: str) -> list[str]:
    """Return the names of the tests that a run takes."""
    result = tree.runpytest_inprocess("-p", "no:xdist", "--collect-only", "-q", *options)
    return [line.rpartition("::")[2] for line in result.outlines if "::" in line]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), FIRST),
        (("tests",), FIRST),
        (("--lab",), LAB),
        (("--lab", "-m", "ci"), LAB - {"test_node"}),
        (("--all",), ALL),
        (("tests/lab/test_node.py",), {*QUICK, "test_node", "test_slow_node"}),
        (("tests/test_a.py::test_slow",), {"test_slow"}),
    ],
    ids=["none", "tests", "lab", "lab-ci", "all", "a-file", "a-test"],
)
def test_a_lane_takes_its_tests(tree: pytest.Pytester, options: tuple[str, ...], names: set[str]) -> None:
    assert set(collected(tree, *options)) == names


def test_the_first_lane_does_not_import_the_lab(tree: pytest.Pytester) -> None:
    (tree.path / "tests/lab/test_node.py").write_text("raise ImportError\n", "utf-8")
    assert set(collected(tree)) == FIRST


@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_the_shards_are_the_lane(tree: pytest.Pytester, count: int) -> None:
    shards = [collected(tree, "--all", "--shard", f"{number}/{count}") for number in range(1, count + 1)]
    assert sorted(name for names in shards for name in names) == sorted(ALL)


@pytest.mark.parametrize("shard", ["0/3", "4/3", "3", "a/b", "/"])
def test_a_shard_that_cannot_be_is_a_usage_error(tree: pytest.Pytester, shard: str) -> None:
    result = tree.runpytest_inprocess("-p", "no:xdist", f"--shard={shard}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--shard: '{shard}': expected K/N, for example 2/6"])


def test_left_out_is_deselected_and_a_missing_program_is_named(tree: pytest.Pytester) -> None:
    tree.runpytest_inprocess("-p", "no:xdist").assert_outcomes(passed=2, deselected=5)
    result = tree.runpytest_inprocess("-p", "no:xdist", "--lab", "-rs")
    result.assert_outcomes(passed=7, skipped=1, deselected=5)
    result.stdout.fnmatch_lines(["SKIPPED*: lacks no-such-program"])


@pytest.mark.parametrize(
    ("options", "workers"),
    [
        ((), "auto"),
        (("-n3",), 3),
        (("-n0",), 0),
        (("--lab",), None),
        (("--all",), None),
        (("tests/test_a.py",), None),
    ],
    ids=str,
)
def test_the_whole_first_lane_runs_in_parallel(
    tree: pytest.Pytester, options: tuple[str, ...], workers: str | int | None
) -> None:
    assert workers_of(tree, tree.parseconfig(*options)) == workers


def test_a_run_that_measures_coverage_stays_in_one_process(tree: pytest.Pytester) -> None:
    """The option is set as `--cov` sets it: parsing it would begin a second measurement in this process."""
    config = tree.parseconfig()
    config.option.cov_source = ["pytest_gpuready"]
    assert workers_of(tree, config) is None


def workers_of(tree: pytest.Pytester, config: pytest.Config) -> str | int | None:
    """Let the tree's conftest decide, and return how many workers it asks for."""
    conftest: Any = config.pluginmanager.get_plugin(str(tree.path / "conftest.py"))
    conftest.pytest_cmdline_main(config)
    workers: str | int | None = config.option.numprocesses
    return workers
