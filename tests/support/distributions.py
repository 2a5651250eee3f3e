"""A node of each distribution with a healthy H100, as `tests/remedies/cases/distributions` describes it."""

from __future__ import annotations

from pathlib import Path

from pytest_gpuready.containerd.toml import loads
from tests.support.driver import h100
from tests.support.simnode import SimNode

FOLDER = Path(__file__).parents[1] / "remedies" / "cases" / "distributions"
DISTRIBUTIONS = sorted(path.parent.name for path in FOLDER.glob("*/node.toml"))


def node(name: str = "ubuntu", *, sudo: bool = True) -> SimNode:
    """Return a healthy H100 of a distribution."""
    given = loads((FOLDER / name / "node.toml").read_bytes()).root
    made = h100(SimNode(systemd=given.get("systemd", True)).put("/etc/os-release", given["os_release"]))
    for path in given.get("files", ()):
        made.put(path)
    for program in (*given["programs"], *(("sudo",) if sudo else ())):
        made.program(f"/usr/bin/{program}")
    return made
