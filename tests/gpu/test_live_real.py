"""Containers on this machine's own GPUs: each route that it offers runs, sees what the machine sees, leaves nothing.

Runs where /dev/nvidiactl is and containerd answers (tests/gpu/run prepares that); elsewhere it skips and says so.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.model import Settings
from pytest_gpuready.node.hosts import parse
from pytest_gpuready.node.transport import Options
from pytest_gpuready.report import json as report_json
from pytest_gpuready.report.terminal import lines
from pytest_gpuready.runner import Runner
from pytest_gpuready.views import Views
from pytest_gpuready.views.live import Live

if TYPE_CHECKING:
    from pytest_gpuready.report.model import NodeReport, Run


def answers() -> bool:
    """Whether a containerd can be asked."""
    try:
        return not subprocess.run(["ctr", "version"], capture_output=True, check=False, timeout=20).returncode
    except (OSError, subprocess.TimeoutExpired):
        return False


pytestmark = pytest.mark.skipif(
    not Path("/dev/nvidiactl").exists() or not answers(), reason="no NVIDIA driver here, or no containerd that answers"
)

SETTINGS = Settings(routes=("all",), live=True)


@pytest.fixture(scope="module")
def run() -> Run:
    """One live run over this machine."""
    out = Path(os.environ.get("GPUREADY_GPU_OUT", "gpu-out"))
    runner = Runner([parse("local://")], SETTINGS, Options(), timeout=60, save=out)
    done = runner.run()
    out.mkdir(parents=True, exist_ok=True)
    (out / "live.txt").write_text("\n".join(line.text for line in lines(done, width=120, verbosity=1)))
    (out / "live.json").write_text(report_json.dumps(done))
    return done


@pytest.fixture(scope="module")
def report(run: Run) -> NodeReport:
    """The report on it."""
    return run.nodes[0]


def live(report: NodeReport) -> Live:
    return Views(report.facts, SETTINGS).get(Live)


def smi() -> set[str]:
    """The GPUs' UUIDs, by nvidia-smi itself."""
    asked = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    return set(subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split())


def test_every_route_that_is_configured_runs_and_lists_the_gpus(report: NodeReport) -> None:
    """At least one is; none that the passive checks found nothing against fails live."""
    ran = {route for route, found in report.routes.items() if found.proof == "live"}
    assert ran
    broken = {
        check_id: finding.outcome.found
        for check_id, finding in report.findings.items()
        if check_id.startswith("live.") and finding.status in ("fail", "unknown")
    }
    assert not broken
    for route in ran:
        seen = live(report).container(route).seen
        assert seen is not None
        assert set(seen.uuids) == smi()


def test_uvm_opens_inside_as_outside(report: NodeReport) -> None:
    """A real driver opens it; EPERM would be the container's device rules."""
    outside = live(report).outside
    assert outside is not None
    for route in [route for route, found in report.routes.items() if found.proof == "live"]:
        seen = live(report).container(route).seen
        assert seen is not None
        assert seen.opens["/dev/nvidia-uvm"] == outside.opens["/dev/nvidia-uvm"]


def test_without_a_request_no_gpu_is_seen(report: NodeReport) -> None:
    told = report.findings["live.isolation"].per_route
    assert {told[route] for route, found in report.routes.items() if found.proof == "live"} == {"pass"}


def test_nothing_is_left(report: NodeReport) -> None:
    assert live(report).left == ""
    spaces = subprocess.run(["ctr", "namespaces", "ls", "-q"], capture_output=True, text=True, check=True).stdout
    assert "gpuready-" not in spaces


def test_every_part_took_time(report: NodeReport) -> None:
    """Seconds of each part, written for whoever reads the run's folder."""
    out = Path(os.environ.get("GPUREADY_GPU_OUT", "gpu-out"))
    seconds = {name: round(section.seconds, 3) for name, section in live(report).sections.items()}
    assert seconds["host"] >= 0
    (out / "live-seconds.json").write_text(json.dumps(seconds, indent=1))
