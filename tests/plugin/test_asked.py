"""What is asked for is checked before anything runs: usage errors are exit code 4, one sentence, and no password."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.asked import command
from pytest_gpuready.inputs import hidden
from tests.plugin.conftest import QUICK

if TYPE_CHECKING:
    from tests.plugin.conftest import Nodes, Pytest

USAGE = pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--hosts=node1"], "'node1' names no transport; for a login over SSH write ssh://node1"),
        (["--hosts=shh://node1"], "unknown transport 'shh'"),
        (["--hosts=ssh://gpu[9-1]"], "the range '9-1' runs backwards"),
        (["--hosts=ssh://gpu[a-b]"], "no number or range"),
        (["--hosts=,"], "--hosts names no node"),
        (["--gpuready-routes=ctr-gpu"], "--gpuready-routes ctr-gpu: ctr-gpu: no such route; there are ctr-gpus, "),
        (["--gpuready-routes=any,ctr-gpus"], "any, or all alone"),
        (["--gpuready-routes=,"], "nothing: no such route"),
        (["--gpuready-timeout=soon"], "--gpuready-timeout soon: not a number above 0"),
        (["--gpuready-timeout=0"], "--gpuready-timeout 0: not a number above 0"),
        (["--gpuready-timeout=nan"], "not a number above 0"),
        (["--gpuready-timeout=inf"], "not a number above 0"),
        (["--gpuready-jobs=-1"], "--gpuready-jobs -1: not a number above 0"),
        (["--gpuready-jobs=1.5"], "--gpuready-jobs 1.5: not a whole number"),
        (["--gpuready-containerd=containerd.sock"], "not an absolute path of a socket"),
        (["--gpuready-kubeconfig=no/such/file"], "--gpuready-kubeconfig no/such/file: no such file"),
        (["--gpuready-hosts-file=no/such/file"], "--gpuready-hosts-file no/such/file: No such file or directory"),
        (["-o", "gpuready_routes=cri"], "-o gpuready_routes=cri: cri: no such route"),
        (["-o", "gpuready_timeout=never"], "-o gpuready_timeout=never: not a number"),
        (["gpuready/containerd.py::handlr"], "no such check or node: gpuready/containerd.py::handlr"),
        (["gpuready/contained.py"], "no such check or node: gpuready/contained.py"),
        (["gpuready/containerd.py::handler[ssh://n2]"], "no such check or node"),
        (["no/such/test.py"], "file or directory not found"),
        (["--gpuready-json=."], "--gpuready-json . is a directory"),
        (["--gpuready-json=/dev/null/report.json"], "cannot be written: /dev/null is not a directory"),
        (["--gpuready-save=/dev/null/x"], "--gpuready-save"),
        (["--junitxml=/dev/null/x"], "--junitxml"),
        (["--html=/dev/null/x/y.html"], "--html"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_usage_error_is_one_sentence(
    run: Pytest, nodes: Nodes, args: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was asked: the node would answer, and no report is written."""
    monkeypatch.setattr("pytest_gpuready.runner.Runner.run", lambda _: pytest.fail("a node was asked"))
    result = run.raw("--gpuready", f"--hosts={nodes.bare}", *args)
    assert result.ret == USAGE, result.text
    (line,) = [line for line in result.err.splitlines() if line.startswith("ERROR: ")]
    assert sentence in line
    assert "Traceback" not in result.text
    assert " passed" not in result.out
    assert " failed" not in result.out


def test_a_misspelt_key_of_the_ini_file_would_require_nothing(run: Pytest) -> None:
    run.file("pytest.ini", "[pytest]\ngpuready_route = ctr-gpus\n")
    result = run.suite()
    assert result.ret == USAGE
    assert f"gpuready_route in {run.path}/pytest.ini: no such key; there are gpuready_routes" in result.err


def test_an_ini_value_that_is_wrong_is_named_with_its_file(run: Pytest) -> None:
    run.file("tox.ini", "[pytest]\ngpuready_routes = cri-hander\n")
    result = run.suite()
    assert result.ret == USAGE
    assert f"gpuready_routes = cri-hander in {run.path}/tox.ini: cri-hander: no such route" in result.err


def test_an_option_wins_over_the_ini_file(run: Pytest) -> None:
    run.file("pytest.ini", "[pytest]\ngpuready_routes = cri-hander\ngpuready_jobs = 2\n")
    result = run.suite("--gpuready-routes", "ctr-gpus")
    assert result.report is not None
    assert result.report["nodes"][0]["required_routes"]["because"] == "--gpuready-routes ctr-gpus"
    assert f"gpuready_jobs = 2 in {run.path}/pytest.ini" in " ".join(result.out.split())


@pytest.mark.parametrize(
    ("word", "mode", "what"), [("any", "any", "at least one of those"), ("all", "every", "every route")]
)
def test_any_and_all_of_an_ini_file_are_reported_as_the_files(run: Pytest, word: str, mode: str, what: str) -> None:
    """Not as an option that nobody gave; the mode is a field of its own, whatever the sentence says."""
    run.file("pytest.ini", f"[pytest]\ngpuready_routes = {word}\n")
    result = run.suite()
    assert result.report is not None
    required = result.report["nodes"][0]["required_routes"]
    assert required["mode"] == mode
    assert required["because"] == f"gpuready_routes = {word} in {run.path}/pytest.ini: {what} that this node offers"


def test_routes_are_separated_by_commas_or_lines(run: Pytest) -> None:
    run.file("pytest.ini", "[pytest]\ngpuready_routes =\n    ctr-gpus\n    cri-handler, ctr-cdi\n")
    result = run.suite()
    assert result.report is not None
    assert result.report["nodes"][0]["required_routes"]["names"] == ["ctr-gpus", "cri-handler", "ctr-cdi"]


# ---------------------------------------------------------------------------------------------------- hosts


def test_hosts_come_from_options_and_files_in_their_order(run: Pytest, nodes: Nodes) -> None:
    """Comments, blank lines and a byte-order mark count for nothing; a node named twice is asked once."""
    run.file("hosts", f"\ufeff# ours\n\n{nodes.bare}  # bare\n{nodes.containerd}, {nodes.silent}\n")
    result = run.suite("--gpuready-hosts-file", "hosts", hosts=nodes.silent)
    assert list(result.judged) == [nodes.silent, nodes.bare, nodes.containerd]
    assert "gpuready: asking 3 nodes" in result.out


def test_commas_inside_brackets_do_not_split(run: Pytest, nodes: Nodes) -> None:
    for number in (1, 3):
        (nodes.folder / f"gpu{number}.json").write_bytes((nodes.folder / "bare.json").read_bytes())
    result = run.suite(hosts=f"snapshot://{nodes.folder}/gpu[1,3].json,{nodes.bare}")
    assert [node.rpartition("/")[2] for node in result.judged] == ["gpu1.json", "gpu3.json", "bare.json"]


def test_hosts_come_from_standard_input(run: Pytest, nodes: Nodes) -> None:
    """Also for xdist's workers, which have none."""
    text = f"# from a scheduler\n{nodes.bare}\n{nodes.containerd}\n".encode()
    args = [*QUICK, "--gpuready", "--gpuready-hosts-file=-", f"--gpuready-json={run.json}", "-n2", "-v"]
    done = run.pytester.run(sys.executable, "-m", "pytest", *args, stdin=text)
    assert done.ret == 1
    report = json.loads(run.json.read_text("utf-8"))
    assert [node["node"] for node in report["nodes"]] == [nodes.bare, nodes.containerd]
    for node in (nodes.bare, nodes.containerd):
        assert any(line.endswith(f"reachable[{node}] ") for line in done.outlines)


def test_a_line_of_the_hosts_file_is_named(run: Pytest) -> None:
    run.file("hosts", "# one\nssh://n1\n\nssh://root:hunter2@n2/x\n")
    result = run.raw("--gpuready", "--gpuready-hosts-file", "hosts")
    assert result.ret == USAGE
    assert "hosts:4: " in result.err
    assert "hunter2" not in result.text


@pytest.mark.parametrize(("content", "why"), [(b"\xff\xfe", "it is not UTF-8 text"), (b"# nobody\n", "names no node")])
def test_a_hosts_file_that_names_nobody(run: Pytest, content: bytes, why: str) -> None:
    (run.path / "hosts").write_bytes(content)
    result = run.raw("--gpuready", "--gpuready-hosts-file", "hosts")
    assert result.ret == USAGE
    assert why in result.err


# ---------------------------------------------------------------------------------------------------- passwords


def test_a_password_is_nowhere(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the header, ids, JSON, JUnit, HTML, the cache, or what the terminal says."""
    monkeypatch.setattr("pytest_gpuready.runner.gather", _silent)
    args = ["-vv", "--junitxml=junit.xml", "--html=report.html", "--gpuready-save=saved", "-rA", "--tb=short"]
    result = run.suite(*args, hosts="ssh://root:hunter2@192.0.2.1:2222,ssh://me:hunter3@n2", process=False)
    assert list(result.judged) == ["ssh://root@192.0.2.1:2222", "ssh://me@n2"]
    written = [path for path in run.path.rglob("*") if path.is_file()]
    assert {path.name for path in written} >= {"junit.xml", "report.html", "lastfailed"}
    for secret in ("hunter2", "hunter3"):
        assert secret not in result.text
        assert secret not in run.json.read_text("utf-8")
        for path in written:
            assert secret.encode() not in path.read_bytes(), path


def _silent(shell: object, label: str, wants: object, timeout: float) -> object:
    """Stands for a node that does not answer: no login is tried."""
    from pytest_gpuready.node.facts import REACH, Fact, Facts  # noqa: PLC0415

    del shell, wants, timeout
    return Facts(label, [(REACH, Fact("timeout", note="no answer"))])


@pytest.mark.parametrize(
    "spec", ["root:hunter2@n1", "ssh://root:hunter2@n1/path", "shh://root:hunter2@n1", "ssh://r:hun@ter2@"]
)
def test_a_password_is_in_no_usage_error(run: Pytest, spec: str) -> None:
    result = run.raw("--gpuready", f"--hosts={spec}")
    assert result.ret == USAGE
    assert "ter2" not in result.text.replace(os.fspath(run.path), "")


def test_the_command_line_is_shown_without_passwords() -> None:
    args = ["--gpuready", "--hosts=ssh://root:a:b@n1,ssh://n2,ssh://u:c@n3", "-k", "a b"]
    assert command(args) == "pytest --gpuready '--hosts=ssh://root:***@n1,ssh://n2,ssh://u:***@n3' -k 'a b'"
    assert hidden("ssh://[::1]:22 user@host") == "ssh://[::1]:22 user@host"
    groups = "ssh://@slurm:idle!@broken,ssh://root@@slurm:idle:22&@a:b!@c"
    assert hidden(groups) == groups
    assert hidden("ssh://me@corp:secret!@host,ssh://u:@@secret:x!@h") == "ssh://me@corp:***@host,ssh://u:***@h"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--gpuready-image=busybox"], "--gpuready-live"),
        (["--gpuready-live", "--gpuready-image=a b"], "no name of an image"),
    ],
)
def test_an_image_that_cannot_be_meant_is_a_usage_error(run: Pytest, args: list[str], words: str) -> None:
    result = run.suite(*args)
    assert result.ret == USAGE
    assert words in result.err


def test_idle_only_is_a_live_run_and_its_checks_are_shown(run: Pytest, nodes: Nodes) -> None:
    result = run.suite("--gpuready-live-idle-only", "-v", hosts=nodes.bare)
    assert "gpuready/live.py::ctr_gpus" in result.out
    assert result.report is not None
    assert result.report["live"] is True
