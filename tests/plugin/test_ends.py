"""How a run ends: exit codes, Ctrl-C, reports that cannot be written; and errors of ours, none a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from pytest_gpuready.node.snapshot import read
from pytest_gpuready.report.json import dumps
from tests.plugin.conftest import QUICK, spied

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Nodes, Pytest, Result


def test_a_ready_node_is_0(run: Pytest, all_pass: None) -> None:
    assert all_pass is None
    result = run.suite()
    assert (result.ret, result.report is not None and result.report["verdict"]) == (0, "ready")


def test_a_node_that_is_not_ready_is_1(run: Pytest, nodes: Nodes) -> None:
    for spec, verdict in ((nodes.bare, "not-ready"), (nodes.silent, "unreachable")):
        result = run.suite(hosts=spec)
        assert result.report is not None
        assert (result.ret, result.report["verdict"]) == (1, verdict)


def test_one_node_of_several_makes_it_1(run: Pytest, nodes: Nodes, all_pass: None) -> None:
    """With all others ready: the worst counts."""
    assert all_pass is None
    result = run.suite(hosts=f"{nodes.containerd},{nodes.silent}")
    assert result.report is not None
    assert [node["verdict"] for node in result.report["nodes"]] == ["ready", "unreachable"]
    assert result.ret == 1


HANGING_PODMAN = """#!/usr/bin/env python3
import os, sys, time
open(os.environ["HANGING_PIDS"], "a").write(f"{os.getpid()}\\n")
time.sleep(300)
"""


@pytest.mark.parametrize("more", [[], ["-n1"]], ids=["alone", "xdist"])
def test_ctrl_c_is_2_with_what_was_found_so_far(run: Pytest, nodes: Nodes, more: list[str]) -> None:
    """A node that answered is judged, the one that hangs is incomplete, and nothing is left running.

    The node that hangs is a container behind a stand-in for podman that sleeps; it cannot show how a hanging ssh ends.
    """
    run.file("bin/podman", HANGING_PODMAN).chmod(0o755)
    pids = run.path / "pids"
    environment = {**os.environ, "PATH": f"{run.path}/bin:{os.environ['PATH']}", "HANGING_PIDS": str(pids)}
    hosts = f"--hosts={nodes.bare},podman://hangs"
    args = [*QUICK, "--gpuready", hosts, f"--gpuready-json={run.json}", "--gpuready-jobs=1", *more]
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
        # Whoever starts the tests in the background of a script hands down a SIGINT that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    ) as process:
        while not (pids.exists() and pids.read_text().endswith("\n")) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, out
    assert "INTERNALERROR" not in out
    assert "Traceback" not in out
    report = json.loads(run.json.read_text("utf-8"))
    assert {node["node"]: node["verdict"] for node in report["nodes"]} == {
        nodes.bare: "not-ready",
        "podman://hangs": "incomplete",
    }
    assert "INCOMPLETE" in out or "1 incomplete" in out
    for pid in pids.read_text().split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


def test_pytest_exit_in_a_test_of_theirs_stays_their_exit_code(run: Pytest, plain: dict[str, Any]) -> None:
    run.file("test_theirs.py", "import pytest\ndef test_one():\n    pytest.exit('enough', 7)\n")
    result = run.suite("test_theirs.py")
    assert result.ret == 7
    assert result.judged == plain


# ---------------------------------------------------------------------------------------------------- reports


@pytest.mark.parametrize("more", [[], ["-s", "test_theirs.py"], ["-n1", "-v"]], ids=["alone", "printing", "xdist"])
def test_standard_output_is_one_json_document(run: Pytest, plain: dict[str, Any], more: list[str]) -> None:
    """Pytest's own output, and whatever tests and their programs print, goes to standard error."""
    run.file(
        "test_theirs.py", "import os\ndef test_one():\n    print('printed')\n    os.system('echo from a program')\n"
    )
    args = ["-m", "pytest", *QUICK, "--gpuready", f"--hosts={run.spec}", "--gpuready-json=-", *more]
    done = run.pytester.run(sys.executable, *args)
    result = type(run.raw("--version"))(int(done.ret), "", "", json.loads(done.stdout.str()))
    assert result.judged == plain
    assert "test session starts" in done.stderr.str()
    assert " gpuready ====" in done.stderr.str()
    if "-s" in more:
        assert "printed" in done.stderr.str()
        assert "from a program" in done.stderr.str()


def test_a_program_that_calls_pytest_keeps_its_standard_output(run: Pytest, plain: dict[str, Any]) -> None:
    """Within a process whose sys.stdout is its own object, the report goes there and the object is put back."""
    before = sys.stdout
    result = run.raw("--gpuready", "--hosts", run.spec, "--gpuready-json=-")
    assert sys.stdout is before
    result.report = json.loads(result.out)
    assert result.judged == plain
    assert "test session starts" in result.err


def test_a_report_that_cannot_be_written_in_the_end_is_a_sentence(
    run: Pytest, all_pass: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict is printed all the same, and the exit code is not that of a run that did all it was asked."""
    assert all_pass is None

    def full(path: Path, text: str) -> NoReturn:
        raise OSError(28, "No space left on device", str(path), text)

    monkeypatch.setattr("pytest_gpuready.suite.write", full)
    result = run.suite()
    assert f"gpuready: the JSON report could not be written to {run.json}: No space left on device" in result.out
    assert "is READY" in " ".join(result.out.split())
    assert result.ret == 1
    assert "Traceback" not in result.text


def test_snapshots_are_saved_and_judged_alike(run: Pytest, monkeypatch: pytest.MonkeyPatch, nodes: Nodes) -> None:
    """`--gpuready-save DIR`, then `--hosts snapshot://FILE`: the node stands for this machine."""
    facts, _ = read(nodes.containerd.removeprefix("snapshot://"))
    facts.node = "local"
    monkeypatch.setattr("pytest_gpuready.runner.gather", lambda *_: facts)
    first = run.suite("--gpuready-save", "saved/here", hosts="local://")
    assert [path.name for path in (run.path / "saved" / "here").iterdir()] == ["local.json"]
    again = run.suite(hosts=f"snapshot://{run.path}/saved/here/local.json")
    assert list(first.judged.values()) == list(again.judged.values())


def test_the_command_line_is_in_the_run(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reports show of it can be typed again."""
    seen: list[Any] = []
    monkeypatch.setattr("pytest_gpuready.report.json.dumps", lambda found: spied(seen, dumps, found))
    run.suite("-k", "a or b")
    assert seen[0].command.endswith(f"--gpuready --hosts {run.spec} --gpuready-json {run.json} -k 'a or b'")


# ---------------------------------------------------------------------------------------------------- errors of ours


def _boom(*_: object, **__: object) -> NoReturn:
    raise ZeroDivisionError("a bug\x1b[31m of ours")


def sentence(result: Result) -> None:
    """The error is told in one sentence with its place, the run is not a success, and no traceback is shown."""
    text = " ".join(result.text.split())
    assert "pytest-gpuready itself failed at test_ends.py:" in text
    assert "ZeroDivisionError: a bug of ours" in text
    assert "Traceback" not in result.text
    assert "\x1b" not in result.text
    assert result.ret == 1


@pytest.mark.parametrize(
    "place",
    [
        "pytest_gpuready.runner.Runner.run",
        "pytest_gpuready.runner.Runner.result",
        "pytest_gpuready.suite.shown",
        "pytest_gpuready.report.json.dumps",
        "pytest_gpuready.report.terminal.lines",
        "pytest_gpuready.own_checks.add",
        "pytest_gpuready.collection.Suite.collect",
        "pytest_gpuready.collection.Family.collect",
    ],
)
def test_an_error_of_ours_is_a_sentence(
    run: Pytest, all_pass: None, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Wherever it happens, though every check passes."""
    assert all_pass is None
    monkeypatch.setattr(place, _boom)
    result = run.suite()
    sentence(result)


def test_an_error_in_the_runner_and_in_what_it_leaves(
    run: Pytest, all_pass: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No verdict at all is no success."""
    assert all_pass is None
    monkeypatch.setattr("pytest_gpuready.runner.Runner.run", _boom)
    monkeypatch.setattr("pytest_gpuready.runner.Runner.result", _boom)
    result = run.suite()
    sentence(result)
    assert result.report is None
    assert "was not judged on" in result.out


def test_an_error_while_judging_a_node_is_its_verdict(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_gpuready.judged.inventory", _boom)
    result = run.suite()
    assert result.report is not None
    assert result.report["nodes"][0]["verdict"] == "incomplete"
    assert "ZeroDivisionError" in result.report["nodes"][0]["reason"]
    assert "Traceback" not in result.text


def test_an_error_in_a_check_is_unknown_with_its_place(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is one in a view: what reads it says where it happened."""
    monkeypatch.setattr("pytest_gpuready.views.platform.Platform.selinux_enforcing", property(_boom))
    result = run.suite("--tb=long")
    (node,) = result.judged.values()
    assert node["checks"]["node.selinux"][0] == "unknown"
    sentence(result)


def test_an_item_that_breaks_is_a_sentence(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_gpuready.collection.CheckItem.runtest", _boom)
    sentence(run.suite("--tb=short"))
