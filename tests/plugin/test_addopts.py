"""An ini file's addopts cannot decide what is asked where `--gpuready` was typed; where they give it, that is said."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready import addopts
from pytest_gpuready.asked import specs
from pytest_gpuready.report import html, markdown, terminal
from tests.plugin.conftest import exactly_the_suite
from tests.report.sample import report
from tests.report.sample import run as run_of

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_gpuready.asked import Asked
    from tests.plugin.conftest import Nodes, Pytest, Result

#: One of each kind that is ignored.
HOSTILE = [
    "--collect-only",
    "--co",
    "--fixtures",
    "--funcargs",
    "--fixtures-per-test",
    "--markers",
    "--cache-show",
    "--cache-show=*",
    "--setup-only",
    "--setup-plan",
    "--help",
    "-h",
    "-VV",
    "--version",
    "--nagios",
    "--looponfail",
    "--gpuready-list",
    "--gpuready-explain=containerd.restarted",
    "--gpuready-live",
    "--gpuready-live-idle-only",
    "--gpuready-image=x",
]


def addopts_are(run: Pytest, text: str, name: str = "pytest.ini") -> Path:
    head = {
        "pytest.ini": "pytest",
        "tox.ini": "pytest",
        "setup.cfg": "tool:pytest",
        "pyproject.toml": "tool.pytest.ini_options",
    }
    return run.file(name, f"[{head[name]}]\naddopts = {text}\n")


def flat(result: Result) -> str:
    """Everything printed, unwrapped."""
    return " ".join(result.out.split())


@pytest.mark.parametrize("option", HOSTILE)
def test_an_option_that_would_show_something_else_is_ignored_and_named(
    run: Pytest, plain: dict[str, Any], option: str
) -> None:
    path = addopts_are(run, option)
    result = run.suite()
    exactly_the_suite(result, plain)
    name = option.partition("=")[0]
    assert f"note: addopts of {path}: {name} ignored, because --gpuready was typed" in flat(result)


@pytest.mark.parametrize("name", ["pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml"])
def test_every_kind_of_ini_file_is_held_to_it(run: Pytest, plain: dict[str, Any], name: str) -> None:
    text = "--collect-only --markers"
    path = addopts_are(run, f'"{text}"' if name.endswith("toml") else text, name)
    result = run.suite()
    exactly_the_suite(result, plain)
    assert f"note: addopts of {path}: --collect-only, --markers ignored" in flat(result)


@pytest.mark.parametrize(
    "text", ["--hosts={0}", "--hosts {0}", "--gpuready-hosts-file=hosts", "--gpuready-hosts-file hosts"]
)
def test_nodes_that_an_ini_file_names_are_not_asked(
    run: Pytest, nodes: Nodes, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """This machine is asked, as without the file: what stands for it here is one recorded node."""
    asked: list[list[str]] = []

    def read(config: pytest.Config) -> Asked:
        asked.append(specs(config))
        raise pytest.UsageError("enough was seen")

    monkeypatch.setattr("pytest_gpuready.suite.read", read)
    addopts_are(run, text.format(nodes.bare))
    run.file("hosts", f"{nodes.bare}\n")
    result = run.raw("--gpuready")
    assert result.ret == 4
    assert asked == [[]]


def test_options_beside_the_ignored_ones_hold(run: Pytest, plain: dict[str, Any]) -> None:
    addopts_are(run, "-k 'not restarted' --collect-only -v --gpuready-timeout 7 --hosts snapshot://ready -m gpuready")
    result = run.suite()
    exactly_the_suite(result, plain)
    assert "1 deselected" in result.out
    assert "addopts = --gpuready-timeout 7 in" in flat(result)
    assert "--collect-only, --hosts ignored, because" in flat(result)


def test_an_ini_file_cannot_pass_its_addopts_off_as_typed(run: Pytest, plain: dict[str, Any]) -> None:
    addopts_are(run, "-o addopts= --collect-only")
    result = run.suite()
    exactly_the_suite(result, plain)
    assert "--collect-only ignored" in flat(result)


@pytest.mark.skipif(pytest.version_tuple < (8, 2), reason="@FILE came with pytest 8.2")
def test_options_in_a_file_of_arguments_that_an_ini_file_names_are_ignored(run: Pytest, plain: dict[str, Any]) -> None:
    run.file("arguments", "--markers\n")
    addopts_are(run, "@arguments")
    result = run.suite()
    exactly_the_suite(result, plain)
    assert "@arguments ignored" in flat(result)


def test_what_was_typed_itself_holds(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    addopts_are(run, "--collect-only")
    result = run.suite("--collect-only")
    assert (result.ret, result.report) == (0, None)
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")
    assert run.suite().report is None
    monkeypatch.delenv("PYTEST_ADDOPTS")
    assert run.suite("-o", "addopts=--collect-only").report is None


def test_gpuready_in_the_environment_counts_as_typed(
    run: Pytest, plain: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--gpuready -v")
    addopts_are(run, "--collect-only")
    result = run.raw("--hosts", run.spec, "--gpuready-json", str(run.json))
    exactly_the_suite(result, plain)


def test_without_gpuready_an_ini_file_holds_as_ever(run: Pytest) -> None:
    addopts_are(run, "--collect-only")
    run.file("test_theirs.py", "def test_theirs(): raise RuntimeError\n")
    result = run.raw()
    assert result.ret == 0
    assert "<Function test_theirs>" in result.out


@pytest.mark.parametrize("typed", [(), ("--gpuready",)], ids=["not typed", "typed too"])
def test_hosts_of_an_ini_file_that_gives_gpuready_count_and_the_last_line_names_it(
    run: Pytest, typed: tuple[str, ...]
) -> None:
    path = addopts_are(run, f"--gpuready --hosts={run.spec} --gpuready-json={run.json}")
    for quiet in ((), ("-q",)):
        result = run.raw(*typed, *quiet)
        assert result.ret == 1
        assert result.report is not None
        assert [node["node"] for node in result.report["nodes"]] == [run.spec]
        assert f"; --hosts is from {path}" in flat(result)[-1000:]


def test_hosts_that_were_typed_win(run: Pytest, nodes: Nodes) -> None:
    addopts_are(run, f"--gpuready --hosts={nodes.bare}")
    result = run.suite()
    assert result.report is not None
    assert [node["node"] for node in result.report["nodes"]] == [run.spec]
    assert "--hosts is from" not in flat(result)


def test_routes_of_addopts_are_named_with_their_file(run: Pytest) -> None:
    path = addopts_are(run, "--gpuready-routes=ctr-gpus")
    result = run.suite()
    assert result.report is not None
    because = result.report["nodes"][0]["required_routes"]["because"]
    assert because == f"addopts = --gpuready-routes ctr-gpus in {path}"


def test_it_holds_with_workers(run: Pytest, plain: dict[str, Any]) -> None:
    addopts_are(run, "-n 2 --markers --hosts=snapshot://ready")
    exactly_the_suite(run.suite(process=True), plain)


def test_every_report_says_which_file_named_the_nodes() -> None:
    for nodes in ([report("a")], [report("a"), report("b")]):
        shown = dataclasses.replace(run_of(*nodes), hosts_from="/x/pytest.ini")
        assert terminal.lines(shown, width=300)[-1].text.endswith("; --hosts is from /x/pytest.ini")
        assert markdown.chat(shown)[0].endswith("; --hosts is from `/x/pytest.ini`  ")
        assert "; --hosts is from /x/pytest.ini</p>" in html.page(shown)


def test_the_names_are_of_options_that_there_are(pytestconfig: pytest.Config) -> None:
    there = {*vars(pytestconfig.option), "cacheshow"}  # of a plugin that may be switched off
    assert there >= {*addopts.HOSTS, *addopts.ELSE}
