"""A node whose clock is not set: 1970 until somebody sets it. Times then tell nothing, and nothing else needs them.

The nodes are simulated, for the clock of a real one is this machine's own: a kernel has one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.containerd import CONFIG, healthy, says
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from pytest_gpuready.report.model import Finding

#: No program on the node could put the daemon's question.
NO_TOOL = b"via=none\nsocket=ok\n"
MINUTES = 600


def unset(node: SimNode) -> SimNode:
    """The clock began at 1970 with the boot, ten minutes ago."""
    node.now, node.boot = MINUTES, 0
    for process in node.procs:
        process.started = 20
    return node


def restarted(node: SimNode) -> Finding:
    return node.judge().findings["containerd.restarted"]


def test_a_clock_in_1970_changes_nothing_where_the_daemon_answers() -> None:
    ours, theirs = healthy(SimNode()).judge(), unset(healthy(SimNode())).judge()
    told = {name: (finding.status, finding.outcome.found) for name, finding in theirs.findings.items()}
    assert told == {name: (finding.status, finding.outcome.found) for name, finding in ours.findings.items()}


def test_files_from_before_the_boot_are_no_sign_of_a_change_since() -> None:
    """The image was built in 2025; the clock says 1970."""
    found = restarted(unset(says(healthy(SimNode()), NO_TOOL)))
    assert found.status == "unknown"
    assert found.outcome.found.startswith(
        "the node's clock says 1970-01-01 00:10:00 UTC, and /etc/containerd/config.toml was changed 2025-10-09"
    )
    assert found.outcome.remedy is not None


def test_a_change_in_1970_is_never_older_than_the_start() -> None:
    """Edited ten minutes after the boot, then the clock was set: its time is fifty-six years before the daemon's."""
    node = says(healthy(SimNode()), NO_TOOL)
    node.tree[CONFIG].mtime = node.tree[CONFIG].ctime = MINUTES
    found = restarted(node)
    assert (found.status, found.outcome.found.split(", so")[0]) == (
        "unknown",
        "/etc/containerd/config.toml was changed under a clock that said 1970-01-01 00:10:00 UTC",
    )


@pytest.mark.parametrize("stamp", [0, 1])
def test_the_stamps_of_reproducible_images_are_no_change(stamp: int) -> None:
    """OSTree's and Nix's files all say 0 or 1."""
    node = says(healthy(SimNode()), NO_TOOL)
    for entry in node.tree.values():
        entry.mtime = entry.ctime = stamp
    assert restarted(node).status == "pass"


def test_without_a_clock_the_start_decides_as_before() -> None:
    node = says(healthy(SimNode()), NO_TOOL)
    facts = node.judge().findings["containerd.restarted"]
    assert facts.status == "pass"
    node.answer(("uname, id, hostname, date",), f"clk 100\nbtime {node.boot}\nuser 0 root\nnow \n")
    assert restarted(node).status == "pass"
