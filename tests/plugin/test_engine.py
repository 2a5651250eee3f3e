"""`--gpuready-engine`: what it refuses before anything runs, and that its report is that of threads."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gpuready.node import fleet
from tests.support.sshd import Sshd, free_port, sshd

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Nodes, Pytest

__all__ = ["sshd"]

for _name in ("pytest_gpuready.early", "pytest_gpuready.asked"):
    importlib.import_module(_name)

pytestmark = pytest.mark.lab("clush")
CLUSTERSHELL = "--gpuready-engine=clustershell"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--gpuready-engine=cluster"], "--gpuready-engine cluster: no such engine; there are threads, clustershell"),
        (["-o", "gpuready_engine=x"], "-o gpuready_engine=x: no such engine"),
        ([CLUSTERSHELL, "--gpuready-live"], "--gpuready-live runs containers in one login"),
        ([CLUSTERSHELL, "--hosts=ssh://root:canary@n1"], "ssh://root@n1 has a password"),
        (["--hosts=ssh://@nosuch"], "ssh://@nosuch: the group @nosuch is not known to ClusterShell"),
        (["--hosts=ssh://@none"], "ssh://@none names no node"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_usage_error_is_one_sentence(
    run: Pytest, nodes: Nodes, args: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups(run, monkeypatch)
    monkeypatch.setattr("pytest_gpuready.runner.Runner.run", lambda _: pytest.fail("a node was asked"))
    result = run.raw("--gpuready", f"--hosts={nodes.bare}", *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR, result.text
    (line,) = [line for line in result.err.splitlines() if line.startswith("ERROR: ")]
    assert sentence in line
    assert "canary" not in result.text
    assert "Traceback" not in result.text


def groups(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A groups.conf of the test's own, and nothing remembered of another."""
    run.file("cfg/groups.conf", "[Main]\ndefault: mine\nautodir: $CFGDIR/groups.d\n")
    run.file("cfg/groups.d/mine.yaml", "mine:\n  none: ''\n  both: 'one[1-2]'\n")
    monkeypatch.setenv("CLUSTERSHELL_CFGDIR", str(run.path / "cfg"))
    monkeypatch.setattr("pytest_gpuready.node.hosts._KNOWN", {})


@pytest.mark.parametrize("args", [[CLUSTERSHELL], ["--hosts=ssh://root@@gpus"], ["--hosts=ssh://gpu*"]], ids=str)
def test_without_the_extra_it_says_what_installs_it(
    run: Pytest, nodes: Nodes, args: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytest_gpuready.node.hosts._KNOWN", {})
    monkeypatch.setattr(fleet, "find_spec", lambda _: None)
    result = run.raw("--gpuready", f"--hosts={nodes.bare}", *args)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "ClusterShell: pip install 'pytest-gpuready[fleet]'" in result.err
    assert "Traceback" not in result.text


def test_a_topology_that_is_none_is_one_sentence(run: Pytest, nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    """As clush: the machine that it runs on must be a root of it."""
    run.file("cfg/topology.conf", "[routes]\nelsewhere: gw[1-2]\ngw[1-2]: n[1-9]\n")
    monkeypatch.setenv("CLUSTERSHELL_CFGDIR", str(run.path / "cfg"))
    result = run.raw("--gpuready", f"--hosts=ssh://n1,{nodes.bare}", CLUSTERSHELL)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "topology.conf cannot be used: ClusterShell: " in result.err
    assert "is not a valid root node!" in result.err


def test_snapshots_are_judged_whatever_asks(run: Pytest) -> None:
    assert run.suite(CLUSTERSHELL).judged == run.suite("--gpuready-engine=threads").judged


def test_a_group_for_peoples_own_tests(run: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also for testinfra's host, which has no node sets of its own."""
    groups(run, monkeypatch)
    run.file("test_own.py", "def test_it(host):\n    assert host.backend.hostname in ('one1', 'one2')\n")
    result = run.raw("test_own.py", "--hosts=ssh://root@@both")
    assert "2 passed" in result.out


@pytest.mark.slow
def test_the_report_is_that_of_threads(sshd: Sshd, tmp_path: Path) -> None:
    """A healthy login, a dead one, this machine: equal but for times. What runs here at the moment is told apart."""
    for name in ("engine1", "engine2"):
        sshd.add_alias(name)
    hosts = f"--hosts=ssh://engine[1-2],ssh://127.0.0.1:{free_port()},local://"
    found = []
    for engine in ("threads", "clustershell"):
        report = tmp_path / f"{engine}.json"
        words = [sys.executable, "-m", "pytest", "-q", "--gpuready", hosts, f"--ssh-config={sshd.config}"]
        words += [f"--gpuready-engine={engine}", f"--gpuready-json={report}", "--gpuready-timeout=60"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=200)
        assert done.returncode == 1, done.stdout + done.stderr
        found.append([bare(node) for node in json.loads(report.read_text())["nodes"]])
    assert found[0] == found[1]
    assert [node["reason"] is None for node in found[0]] == [True, True, False, True]


def bare(node: dict[str, Any]) -> dict[str, Any]:
    """A node without times, and without what other tests' daemons on this machine make of it."""
    checks = {check["check"]: check["status"] for check in node["checks"] if check["family"] in ("node", "driver")}
    return {**{key: node[key] for key in ("node", "hostname", "verdict", "reason")}, "checks": checks}


def test_ctrl_c_ends_at_once_and_reports_what_it_has(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "login").write_text("sleep 300\n")
    tmp_path.chmod(0o755)
    sshd.add_alias(f"hang-{tmp_path.name}", setup=str(tmp_path / "login"))
    report = tmp_path / "report.json"
    words = [sys.executable, "-m", "pytest", "--gpuready", f"--hosts=ssh://hang-{tmp_path.name}", CLUSTERSHELL]
    words += [f"--ssh-config={sshd.config}", f"--gpuready-json={report}", "--gpuready-timeout=250"]
    before = sshd.logins()
    with subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        for _ in range(400):
            if sshd.logins() > before:
                break
            time.sleep(0.1)
        begun = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert time.monotonic() - begun < 30
    assert process.returncode == 2, out
    assert "Traceback" not in out
    (node,) = json.loads(report.read_text())["nodes"]
    assert (node["verdict"], node["reason"]) == ("incomplete", "interrupted")
