"""What is printed to mend Kubernetes is for this node, is valid shell, and does what it says."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.remedies.kubernetes import KubernetesRemedies
from pytest_gpuready.views import Views
from tests.support.kubernetes import GPU_0, containerd, device_plugin, k3s, kubeadm, microk8s
from tests.support.simnode import Proc, SimNode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_gpuready.model import Remedy

CRIO = "containerRuntimeEndpoint: unix:///var/run/crio/crio.sock\n"


def mend(node: SimNode) -> KubernetesRemedies:
    return KubernetesRemedies(Views(node.facts()))


def on_crio() -> SimNode:
    """A kubelet whose configuration file names CRI-O, beside a containerd."""
    node = containerd(SimNode()).put(
        "/var/lib/kubelet/config.yaml", f"kind: KubeletConfiguration\n{CRIO}cgroupDriver: systemd\n"
    )
    return node.process(Proc(801, "kubelet", ["kubelet", "--config=/var/lib/kubelet/config.yaml"], "/usr/bin/kubelet"))


def test_the_configuration_file_is_edited_in_its_one_line(tmp_path: Path) -> None:
    remedy = mend(on_crio()).endpoint()
    copy = tmp_path / "config.yaml"
    copy.write_text(f"a: 1\n{CRIO}b: 2\n")
    command = remedy.commands[0].replace("/var/lib/kubelet/config.yaml", str(copy))
    subprocess.run(["sh", "-c", command], check=True)
    assert copy.read_text() == "a: 1\ncontainerRuntimeEndpoint: unix:///run/containerd/containerd.sock\nb: 2\n"


def test_an_endpoint_from_elsewhere_is_not_edited_blindly() -> None:
    node = containerd(SimNode())
    node.process(
        Proc(801, "kubelet", ["kubelet", "--container-runtime-endpoint=unix:///run/crio/crio.sock"], "/usr/bin/kubelet")
    )
    remedy = mend(node).endpoint()
    assert remedy.commands == ("systemctl cat kubelet",)


def test_a_remote_node_is_named_in_the_command_to_judge_it_again() -> None:
    node = containerd(kubeadm(SimNode(label="ssh://root@n1")), socket="/var/run/containerd/containerd.sock")
    assert mend(node).endpoint().commands == (
        "pytest --gpuready --gpuready-containerd=/var/run/containerd/containerd.sock --hosts=ssh://root@n1",
    )


@pytest.mark.parametrize(
    ("build", "service"), [(kubeadm, "kubelet"), (k3s, "k3s"), (microk8s, "snap.microk8s.daemon-kubelite")]
)
def test_the_service_is_the_one_that_carries_the_kubelet(build: Callable[[SimNode], SimNode], service: str) -> None:
    assert mend(build(SimNode())).start_kubelet().commands[0] == f"systemctl enable --now {service}"


def test_sudo_goes_before_what_needs_root_and_before_nothing_else() -> None:
    node = device_plugin(kubeadm(SimNode().program("/usr/bin/sudo")))
    assert all(command.startswith("sudo ") for command in mend(node).start_kubelet().commands)
    assert not any("sudo" in command for command in mend(node).device_plugin().commands)


def test_a_node_without_a_name_gets_a_placeholder() -> None:
    assert "spec.nodeName=NODE" in mend(kubeadm(SimNode(hostname=""))).device_plugin().commands[0]


def everything(node: SimNode) -> list[Remedy]:
    part = mend(node)
    return [part.endpoint(), part.runtime_class("nvidia"), part.device_plugin(), part.start_kubelet()]


@pytest.mark.parametrize(
    "node",
    [
        kubeadm(containerd(SimNode())),
        on_crio(),
        device_plugin(kubeadm(SimNode(hostname="a;b $(c) 'd")), GPU_0),
        device_plugin(kubeadm(SimNode()), GPU_0).folder("/usr/local/nvidia/toolkit"),
        containerd(kubeadm(SimNode()), socket="/run/a b';c"),
    ],
    ids=["kubeadm", "cri-o", "hostile name", "operator", "hostile socket"],
)
def test_every_command_is_valid_shell_and_says_what_it_is_for(node: SimNode) -> None:
    for remedy in everything(node):
        assert remedy.summary
        for command in remedy.commands:
            subprocess.run(["sh", "-n", "-c", command], check=True)


def test_the_runtime_class_is_one_paste_that_ends_its_document() -> None:
    command = mend(SimNode()).runtime_class("nvidia").commands[0]
    shown = subprocess.run(
        ["sh", "-c", command.replace("kubectl apply -f -", "cat")], check=True, capture_output=True, text=True
    )
    assert (
        shown.stdout == "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata:\n  name: nvidia\nhandler: nvidia\n"
    )
