"""The program that the handler names, as the daemon would execute it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.containerd import RUNTIME, binary, config, healthy
from tests.support.findings import evidence
from tests.support.simnode import SimNode

ARM = b"\x7fELF\x02\x01\x01" + b"\0" * 11 + b"\xb7\0"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda node: node.remove(RUNTIME), "is not there"),
        (lambda node: node.put(RUNTIME, ARM, mode=0o755), "is a program for aarch64, the node is x86_64"),
        (lambda node: node.put(RUNTIME, ARM, mode=0o644), "is not executable (mode 0644)"),
        (lambda node: node.put(RUNTIME, b"", mode=0o755), "is empty"),
        (lambda node: node.remove(RUNTIME).folder(RUNTIME), "is a folder"),
        (lambda node: node.put("/proc/self/mounts", "a / x rw 0 0\nb /usr ext4 rw,noexec 0 0\n"), "mounted noexec"),
    ],
)
def test_why_the_daemon_cannot_execute_the_program(change: Any, words: str) -> None:
    node = healthy(SimNode())
    change(node)
    found = binary(node)
    assert found.status == "fail"
    assert words in found.outcome.found
    assert found.outcome.remedy is not None


def test_a_name_is_looked_for_on_the_daemons_path() -> None:
    node = healthy(SimNode(), text=config("1.7.24", binary="nvidia-container-runtime"))
    assert binary(node).outcome.found == f"{RUNTIME} is executable for the daemon"
    node.procs[0].path = "/opt/only"
    found = binary(node)
    assert "in no folder of the daemon's PATH (/opt/only)" in found.outcome.found
    assert found.outcome.remedy is not None
    assert RUNTIME in found.outcome.remedy.commands[0]


def test_a_mount_namespace_of_its_own_is_looked_into() -> None:
    node = healthy(SimNode())
    node.procs[0].mntns = "mnt:[1]"
    found = binary(node).outcome
    assert "in the daemon's own mount namespace" in found.found
    assert found.remedy is not None
    assert "namespace" in found.remedy.summary
    node.program(f"/proc/900/root{RUNTIME}")
    assert binary(node).status == "pass"


def test_a_program_that_cannot_run_is_shown_by_its_line() -> None:
    node = healthy(SimNode())
    node.tree[RUNTIME].mode = 0o100644
    found = binary(node).outcome
    assert found.status == "fail"
    assert found.where is not None
    assert found.where.line
    assert any("nvidia" in text for _, text in evidence(found))
    assert found.remedy is not None
