"""What a run leaves in pytest's own log, and how it ends where a standard stream is closed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.plugin.conftest import QUICK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugin.conftest import Nodes, Pytest

PASSWORD = "s3cr3t-of-hosts"
HOST = f"ssh://user:{PASSWORD}@127.0.0.1:1"


@pytest.mark.parametrize("hosts", [("--hosts", HOST), (f"--hosts={HOST}",)])
@pytest.mark.parametrize("suite", [True, False])
def test_the_debug_log_holds_no_password_of_a_host(run: Pytest, hosts: tuple[str, ...], *, suite: bool) -> None:
    run.file("test_own.py", "def test_own(): pass\n")
    args = ("--gpuready", "--gpuready-timeout=3") if suite else ("test_own.py",)
    result = run.raw(*args, *hosts, "--debug")
    log = (run.path / "pytestdebug.log").read_text("utf-8")
    assert "user:***@127.0.0.1" in log
    assert PASSWORD not in log + result.text


def start(nodes: Nodes, folder: Path, redirections: str, *args: str) -> subprocess.CompletedProcess[str]:
    """Run pytest as a shell does that closes streams."""
    line = [
        sys.executable,
        "-m",
        "pytest",
        *QUICK,
        "-p",
        "no:cacheprovider",
        "--gpuready",
        "--hosts",
        nodes.bare,
        *args,
    ]
    script = f'exec "$@" {redirections}'
    return subprocess.run(
        ["/bin/sh", "-c", script, "sh", *line], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize("redirections", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_a_closed_stream_costs_its_own_output_alone(nodes: Nodes, tmp_path: Path, redirections: str) -> None:
    done = start(nodes, tmp_path, redirections, "--gpuready-json", "report.json")
    assert done.returncode == 1
    assert done.stderr == ""
    assert bool(done.stdout) == (">&- " not in f" {redirections} ".replace("2>&-", ""))
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["nodes"]


def test_a_report_that_has_nowhere_to_go_is_said_in_one_sentence(nodes: Nodes, tmp_path: Path) -> None:
    done = start(nodes, tmp_path, ">&-", "--gpuready-json", "-")
    assert done.returncode == 4
    assert done.stderr.split("\n") == ["ERROR: a report that goes to - needs standard output, which is closed", "", ""]


def test_a_reader_that_leaves_early_is_no_fault(nodes: Nodes, tmp_path: Path) -> None:
    done = start(nodes, tmp_path, "| head -n 1")
    assert done.stderr == ""
    assert "test session starts" in done.stdout
