"""Judging a lab's node as a user would, over SSH, and typing what the report says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_gpuready.model import Settings
from pytest_gpuready.node.hosts import parse
from pytest_gpuready.node.transport import Options
from pytest_gpuready.runner import Runner

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_gpuready.report.model import Finding, NodeReport
    from tests.lab.node import Node


def judged(
    node: Node,
    *,
    routes: tuple[str, ...] = (),
    sudo: bool = False,
    spec: str | None = None,
    settings: Settings | None = None,
    ssh_config: Path | None = None,
) -> NodeReport:
    """The report on a node, over SSH; `settings` are in the place of `routes`, the rest in that of the node's own."""
    runner = Runner(
        [parse(spec or node.ssh_spec)],
        settings or Settings(routes=routes),
        Options(ssh_config=str(ssh_config or node.ssh_config), sudo=sudo),
        timeout=60,
    )
    return runner.run().nodes[0]


def counted(report: NodeReport) -> dict[str, Finding]:
    """The roots that keep required routes from being ready, by id."""
    return {finding.check.id: finding for finding in report.roots if finding.keeps}


def told(report: NodeReport) -> str:
    """The roots in words, for a failing assertion."""
    return f"{report.verdict}: " + "; ".join(
        f"{f.check.id}: {f.outcome.found} ({f.outcome.where})" for f in report.roots
    )


def mend(node: Node, finding: Finding) -> None:
    """Type the remedy's commands on the node, as printed, each as one paste."""
    remedy = finding.outcome.remedy
    assert remedy is not None, finding
    assert remedy.commands, remedy
    for command in remedy.commands:
        done = node.ssh(command, timeout=180)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
