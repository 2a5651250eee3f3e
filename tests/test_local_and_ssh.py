"""One machine, judged on itself and over SSH: the same findings, and one login."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.sshd import serving

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.lab("ssh", "ssh-keygen", "sshd")


def judged(folder: Path, *arguments: str) -> dict[str, Any]:
    """The JSON report of a run in an empty folder."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "pytest", "-q", "--gpuready", f"--gpuready-json={report}", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    document: dict[str, Any] = json.loads(report.read_text())
    return document["nodes"][0]  # type: ignore[no-any-return]


def findings(node: dict[str, Any]) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Status and what blocks it, by check."""
    return {check["check"]: (check["status"], tuple(check["blocked_by"])) for check in node["checks"]}


def remedies(node: dict[str, Any]) -> dict[str, Any]:
    """What to type, by root."""
    return {root["check"]: root["remedy"] for root in node["root_causes"]}


def test_over_ssh_everything_is_found_as_locally_in_one_login(tmp_path: Path) -> None:
    """The same script runs in both places, and sshd's log counts the logins.

    The local bindings of NVML are a cross-check that only this machine has; where there is no driver, they say nothing.
    """
    here = judged(tmp_path)
    with serving() as sshd:
        there = judged(tmp_path, f"--hosts={sshd.spec}", f"--ssh-config={sshd.config}")
        assert sshd.logins() == 1
    assert findings(there) == findings(here)
    assert remedies(there) == remedies(here)
    assert there["routes"] == here["routes"]
