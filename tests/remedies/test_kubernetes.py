"""What is printed to mend Kubernetes is for this node, is valid shell, and does what it says."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.model import Settings
from pytest_gpuready.remedies.kubernetes import KubernetesRemedies
from pytest_gpuready.views import Views
from tests.support.kubernetes import GPU_0, containerd, device_plugin, k3s, kubeadm, microk8s
from tests.support.simnode import Proc, SimNode

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_gpuready.model import Remedy

CRIO = "containerRuntimeEndpoint: unix:///var/run/crio/crio.sock\n"


def mend(node: SimNode, settings: Settings | None = None) -> KubernetesRemedies:
    return KubernetesRemedies(Views(node.facts(settings), settings))


def on_crio(socket: str = "/run/containerd/containerd.sock") -> SimNode:
    """A kubelet whose configuration file names CRI-O, beside a containerd."""
    node = containerd(SimNode(), socket=socket).put(
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


OTHER = Settings(socket="/run/other.sock")


@pytest.mark.parametrize("socket", ["/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock"])
def test_the_daemon_that_the_kubelet_uses_is_the_one_to_judge_by_whatever_name(socket: str) -> None:
    """Of kubeadm's flags it is /var/run/…, by default /run/…: one socket."""
    again = "pytest --gpuready --gpuready-containerd=/var/run/containerd/containerd.sock"
    two = containerd(containerd(kubeadm(SimNode()), socket=socket), socket="/run/other.sock", pid=601)
    assert mend(two, OTHER).endpoint().commands == (again,)
    default = containerd(SimNode()).process(Proc(801, "kubelet", ["kubelet"], "/usr/bin/kubelet"))
    found = mend(containerd(default, socket="/run/other.sock", pid=601), OTHER).endpoint()
    assert found.commands == (again.replace("/var/run", "/run"),)


def test_the_kubelet_is_pointed_at_the_daemon_that_is_judged_else_at_the_one_that_runs() -> None:
    asked = mend(containerd(on_crio(), socket="/run/other.sock", pid=601), OTHER).endpoint()
    alone = mend(on_crio("/run/other.sock")).endpoint()
    for found in (asked, alone):
        assert "containerRuntimeEndpoint: unix:///run/other.sock|" in found.commands[0]


def test_where_the_kubelets_default_is_nobodys_socket_its_service_is_looked_at() -> None:
    node = SimNode().process(Proc(801, "kubelet", ["kubelet"], "/usr/bin/kubelet"))
    assert mend(containerd(node, socket="/run/other.sock")).endpoint().commands == ("systemctl cat kubelet",)


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


def test_a_plugin_that_offers_too_little_is_looked_at_and_one_that_is_not_there_installed() -> None:
    look = "kubectl get pods -A -o wide --field-selector spec.nodeName=gpu-node"
    found = mend(device_plugin(kubeadm(SimNode()), GPU_0)).device_plugin()
    assert found.commands == (look,)
    assert found.summary.startswith("The device plugin has registered and offers too little.")
    none = mend(kubeadm(SimNode())).device_plugin()
    assert none.commands[0] == look
    assert none.commands[1].startswith("helm repo add nvdp ")


def test_a_kubelet_is_started_and_its_journal_shown() -> None:
    assert mend(kubeadm(SimNode())).start_kubelet().commands == (
        "systemctl enable --now kubelet",
        "journalctl -u kubelet -n 50 --no-pager",
    )


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
