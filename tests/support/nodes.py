"""Whole nodes, every family on them, and the snapshots that the package ships, which are made of them.

They are simulated (see simnode): what they hold is shaped like real nodes' files and answers, and is nobody's.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gpuready.node.snapshot import dumps
from pytest_gpuready.outputs import write
from tests.support import cdi, containerd, driver, toolkit
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from collections.abc import Callable

SHIPPED = Path(__file__).parents[2] / "pytest_gpuready" / "snapshots"


def ready(release: str = "2.1.9", gpus: int = 2) -> SimNode:
    """Debian with two H100s: driver, toolkit, a CDI spec, a handler, and a containerd that has loaded it all."""
    node = SimNode(label="gpu01", hostname="gpu01")
    toolkit.debian(node)
    driver.h100(node, gpus)
    toolkit.toolkit(node)
    cdi.cdi(node, gpus)
    return containerd.healthy(node, release)


def not_restarted() -> SimNode:
    """The same, but the handler was registered after containerd had started."""
    node = ready()
    live = containerd.loaded(node, "2.1.9")
    live.handlers.pop("nvidia")
    entry = node.tree["/etc/containerd/config.toml"]
    entry.mtime = entry.ctime = node.procs[0].started + 3600
    return containerd.says(node, live)


def handler_in_wrong_table() -> SimNode:
    """The same, but the handler stands where containerd 1.x reads it, in a file of version 3: it has no effect."""
    text = containerd.config("2.1.9").replace("io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri")
    node = ready()
    node.put("/etc/containerd/config.toml", text)
    live = containerd.loaded(node, "2.1.9")
    return containerd.says(node, live)


#: Name of each shipped snapshot, and the node that it is of.
SNAPSHOTS: dict[str, Callable[[], SimNode]] = {
    "ready": ready,
    "not-restarted": not_restarted,
    "wrong-table": handler_in_wrong_table,
}


def text(name: str) -> str:
    """What the shipped file says."""
    meta = {"generator": "pytest-gpuready", "taken": "2026-11-22T09:00:00Z", "about": "a simulated node"}
    return dumps(SNAPSHOTS[name]().facts(), meta)


if __name__ == "__main__":
    for snapshot in SNAPSHOTS:
        write(SHIPPED / f"{snapshot}.json", text(snapshot))
        (SHIPPED / f"{snapshot}.json").chmod(0o644)
        sys.stdout.write(f"{SHIPPED / f'{snapshot}.json'}\n")
