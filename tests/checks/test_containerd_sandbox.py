"""A daemon whose unit keeps devices, files or programs from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.containerd import CONFIG, RESTART, RUNTIME, stopped
from tests.support.findings import evidence
from tests.support.nodes import ready

if TYPE_CHECKING:
    from tests.support.simnode import SimNode


def with_a_dev_of_its_own(*, private: str = "yes", sees: bool = False) -> SimNode:
    node = ready()
    node.procs[0].mntns = "mnt:[4026532999]"
    node.answer(("systemctl show sandbox",), f"PrivateDevices={private}\nProtectSystem=full\nUser=\n")
    node.put(f"/proc/{node.procs[0].pid}/root{CONFIG}", "")
    root = f"/proc/{node.procs[0].pid}/root"
    node.program(f"{root}{RUNTIME}")
    return node.device(f"{root}/dev/nvidiactl", 195, 255) if sees else node


def test_a_daemon_without_device_nodes_gives_no_container_a_gpu() -> None:
    report = with_a_dev_of_its_own().judge()
    found = report.findings["driver.device-nodes"]
    assert found.status == "fail"
    assert "not for containerd" in found.outcome.found
    assert report.verdict == "not-ready"
    assert found.outcome.remedy is not None
    assert found.outcome.remedy.commands == (
        "sudo mkdir -p /etc/systemd/system/containerd.service.d",
        "sudo tee /etc/systemd/system/containerd.service.d/zz-gpuready.conf <<'EOF'\n[Service]\nPrivateDevices=no\nEOF",
        "sudo systemctl daemon-reload",
        RESTART,
    )
    other = with_a_dev_of_its_own(private="no").judge().findings["driver.device-nodes"]
    assert other.outcome.remedy is not None
    assert other.outcome.remedy.commands == ()
    assert "systemctl cat containerd" in other.outcome.remedy.summary


def test_faults_of_the_device_nodes_come_before_what_the_daemon_sees() -> None:
    found = with_a_dev_of_its_own().remove("/dev/nvidia1").judge().findings["driver.device-nodes"]
    assert "not for containerd" not in found.outcome.found
    assert "/dev/nvidia1" in found.outcome.found


def test_a_daemon_with_its_own_dev_and_no_service_gets_words() -> None:
    """Facts of the first vocabulary; a node that is asked now has such a daemon refused."""
    node = with_a_dev_of_its_own()
    node.units.clear()
    node.vocabulary = 1
    found = node.judge().findings["driver.device-nodes"].outcome.remedy
    assert found is not None
    assert (found.summary, found.commands) == (
        "Let containerd have the node's /dev. What starts it gives it a mount namespace of its own; then restart it.",
        (),
    )


def test_an_unfollowed_daemon_of_root_leaves_running_unknown() -> None:
    node = with_a_dev_of_its_own()
    node.units.clear()
    found = node.judge().findings["containerd.running"]
    assert (found.status, found.outcome.found) == (
        "unknown",
        "not followed: pid 900, called containerd, which runs in a mount namespace that is not a service's",
    )


def test_a_daemon_without_its_configuration_needs_more_than_a_restart() -> None:
    node = with_a_dev_of_its_own(private="no", sees=True).remove("/proc/900/root/etc/containerd/config.toml")
    node.answer(("systemctl show sandbox",), "TemporaryFileSystem=/etc/containerd\nPrivateDevices=no\n")
    found = node.judge().findings["containerd.restarted"]
    assert found.status == "fail"
    assert evidence(found.outcome) == [("systemctl show containerd", "TemporaryFileSystem=/etc/containerd")]
    assert found.outcome.remedy is not None
    assert "TemporaryFileSystem=\nEOF" in found.outcome.remedy.commands[1]
    neither = node.remove(CONFIG).judge().findings["containerd.restarted"]
    assert "mount namespace" not in neither.outcome.found


def test_a_unit_that_keeps_containerd_from_starting_gets_a_drop_in() -> None:
    node = stopped(ready())
    node.answer(("systemctl show sandbox",), "ProtectSystem=strict\nUser=nobody\nNoNewPrivileges=no\n")
    found = node.judge().findings["containerd.running"].outcome
    assert "its unit has ProtectSystem=strict, User=nobody" in found.found
    assert found.remedy is not None
    assert "[Service]\nProtectSystem=no\nUser=\nEOF" in found.remedy.commands[1]
    assert found.remedy.commands[-1] == RESTART


@pytest.mark.parametrize("gone", [False, True])
def test_a_program_that_is_hidden_from_the_daemon_is_not_made_executable(*, gone: bool) -> None:
    node = with_a_dev_of_its_own(private="no", sees=True).put("/proc/900/root/usr/bin/nvidia-container-runtime", "")
    if gone:
        node.remove("/proc/900/root/usr/bin/nvidia-container-runtime")
    node.answer(("systemctl show sandbox",), f"InaccessiblePaths={RUNTIME}\n")
    found = node.judge().findings["containerd.handler-binary"].outcome
    assert found.remedy is not None
    assert "InaccessiblePaths=\nEOF" in found.remedy.commands[1]


def test_a_program_that_the_daemon_sees_empty_is_reinstalled() -> None:
    node = with_a_dev_of_its_own(private="yes", sees=True)
    node.put(f"/proc/900/root{RUNTIME}", b"", mode=0o755)
    found = node.judge().findings["containerd.handler-binary"].outcome
    assert "is empty" in found.found
    assert found.remedy is not None
    assert found.remedy.commands == ("sudo apt-get install -y --reinstall nvidia-container-toolkit-base",)


def test_a_mount_namespace_with_the_device_nodes_is_ready() -> None:
    assert with_a_dev_of_its_own(sees=True).judge().verdict == "ready"
