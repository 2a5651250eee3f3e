"""A node itself in every mess, beside a healthy one: a finding in words, or none at all where nothing is wrong.

The table of what is said is tests/bad_input/rows.py, which docs/troubleshooting.md shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.bad_input.rows import NODE
from tests.bad_input.support import Result, assert_says, findings, suite
from tests.lab import messes
from tests.lab.test_sudo import install

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.conftest import Lab
    from tests.lab.node import Node

pytestmark = [pytest.mark.lab, pytest.mark.parametrize("generation", ["2.x"], indirect=True)]


@pytest.fixture(scope="module")
def healthy(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, str]:
    """The node before anything was done to it, alone; and its snapshot, which stands for another node of a run."""
    folder = tmp_path_factory.mktemp("healthy")
    node = lab.shared("2.x", changes=False)
    alone = suite(folder, node.ssh_spec, f"--ssh-config={node.ssh_config}", f"--gpuready-save={folder}/saved")
    assert alone.code == 0, alone.out
    (saved,) = (folder / "saved").iterdir()
    return alone, f"snapshot://{saved}"


def beside(healthy: tuple[Result, str], node: Node, folder: Path, spec: str, *arguments: str) -> Result:
    """A run over both; the healthy one is judged as if alone."""
    alone, other = healthy
    result = suite(folder, f"{spec},{other}", f"--ssh-config={node.ssh_config}", *arguments)
    assert findings(result.node(other)) == findings(alone.document["nodes"][0])
    assert result.node(other)["verdict"] == "ready"
    return result


@pytest.mark.parametrize("name", [name for name, row in NODE.items() if row.check and not row.sudo])
def test_it_is_a_finding_in_words(lab_node: Node, healthy: tuple[Result, str], tmp_path: Path, name: str) -> None:
    getattr(messes, name)(lab_node)
    user = "guest" if name == "config_closed" else "root"
    result = beside(healthy, lab_node, tmp_path, f"ssh://{user}@{lab_node.address}")
    assert result.code == 1
    assert_says(result.document["nodes"][0], NODE[name], result.out)
    assert result.document["nodes"][0]["verdict"] == ("not-ready" if NODE[name].status == "fail" else "unknown")


@pytest.mark.parametrize("name", [name for name, row in NODE.items() if not row.check])
def test_it_changes_no_finding(lab_node: Node, healthy: tuple[Result, str], tmp_path: Path, name: str) -> None:
    getattr(messes, name)(lab_node)
    result = beside(healthy, lab_node, tmp_path, lab_node.ssh_spec)
    assert findings(result.document["nodes"][0]) == findings(healthy[0].document["nodes"][0])
    assert result.code == 0


@pytest.mark.parametrize("name", [name for name, row in NODE.items() if row.sudo])
def test_sudo_never_asks(lab_node: Node, healthy: tuple[Result, str], tmp_path: Path, name: str) -> None:
    getattr(messes, name)(lab_node)
    if name == "sudo_other_version":
        install(lab_node)
        lab_node.run("sed -i 's/gpuready-read [0-9a-f]*/gpuready-read 0123/' /usr/local/sbin/gpuready-read", check=True)
    result = beside(healthy, lab_node, tmp_path, f"ssh://guest@{lab_node.address}", "--sudo")
    assert result.code == 1
    assert_says(result.document["nodes"][0], NODE[name], result.out)
