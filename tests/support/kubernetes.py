"""Nodes with a kubelet: what kubeadm, k3s, RKE2, k0s and MicroK8s leave on them, and what a device plugin registers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.simnode import Proc

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.support.simnode import SimNode

#: The UUIDs of the two H100 of shared/data/h100x4, shortened to what tells them apart.
GPU_0 = "GPU-11111111-aaaa-4aaa-8aaa-000000000000"
GPU_1 = "GPU-22222222-bbbb-4bbb-8bbb-000000000001"

CHECKPOINT = "/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint"

KUBEADM_CONFIG = """\
apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous:
    enabled: false
  webhook:
    cacheTTL: 0s
    enabled: true
  x509:
    clientCAFile: /etc/kubernetes/pki/ca.crt
authorization:
  mode: Webhook
cgroupDriver: systemd
clusterDNS:
- 10.96.0.10
clusterDomain: cluster.local
containerRuntimeEndpoint: ""
kind: KubeletConfiguration
logging:
  flushFrequency: 0
staticPodPath: /etc/kubernetes/manifests
"""
KUBEADM_FLAGS = (
    'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///var/run/containerd/containerd.sock '
    '--pod-infra-container-image=registry.k8s.io/pause:3.10"\n'
)


def registered(resources: Mapping[str, Sequence[str]]) -> str:
    """A checkpoint of the kubelet's device manager, as kubernetes 1.2x to 1.3x write it."""
    entries = [
        {
            "PodUID": "bf52b2cd-b611-4e79-86b1-280b283185c3",
            "ContainerName": "check",
            "ResourceName": "nvidia.com/gpu",
            "DeviceIDs": {"-1": ["GPU-0"]},
            "AllocResp": "Ch8KFk5WSURJQV9WSVNJQkxFX0RFVklDRVMSBXRlZ3Jh",
        }
    ]
    data = {"PodDeviceEntries": entries, "RegisteredDevices": {name: list(ids) for name, ids in resources.items()}}
    return json.dumps({"Data": data, "Checksum": 3660592824})


def device_plugin(node: SimNode, *uuids: str, root: str = "/var/lib/kubelet") -> SimNode:
    """NVIDIA's device plugin has registered these devices as nvidia.com/gpu."""
    return node.put(
        f"{root}/device-plugins/kubelet_internal_checkpoint", registered({"nvidia.com/gpu": uuids}), mode=0o600
    )


def kubeadm(node: SimNode, *, version: str = "v1.30.4", flags: Sequence[str] = ()) -> SimNode:
    """A node that kubeadm joined, its kubelet running beside the distribution's containerd."""
    node.put("/var/lib/kubelet/config.yaml", KUBEADM_CONFIG)
    node.put("/var/lib/kubelet/kubeadm-flags.env", KUBEADM_FLAGS)
    node.program("/usr/bin/kubelet")
    node.unit("kubelet.service", Id="kubelet.service", UnitFileState="enabled", MainPID="801")
    node.answer(("kubelet --version", "/usr/bin/kubelet"), f"Kubernetes {version}\n")
    args = [
        "/usr/bin/kubelet",
        "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
        "--kubeconfig=/etc/kubernetes/kubelet.conf",
        "--config=/var/lib/kubelet/config.yaml",
        "--container-runtime-endpoint=unix:///var/run/containerd/containerd.sock",
        *flags,
    ]
    return node.process(Proc(801, "kubelet", args, "/usr/bin/kubelet"))


def k3s(node: SimNode, *, dropin: bool = True) -> SimNode:
    """A k3s server: its one process, from v1.32 on the drop-in with its kubelet's defaults, its RuntimeClasses."""
    if dropin:
        node.put(
            "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf",
            "apiVersion: kubelet.config.k8s.io/v1beta1\ncgroupDriver: systemd\n"
            "containerRuntimeEndpoint: unix:///run/k3s/containerd/containerd.sock\nkind: KubeletConfiguration\n",
        )
    node.put(
        "/var/lib/rancher/k3s/server/manifests/runtimes.yaml",
        "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata:\n  name: nvidia\nhandler: nvidia\n---\n"
        "apiVersion: node.k8s.io/v1\nkind: RuntimeClass\nmetadata:\n  name: crun\nhandler: crun\n",
        mode=0o600,
    )
    node.unit("k3s.service", Id="k3s.service", MainPID="700")
    # k3s hides its arguments: the command line is one word.
    return node.process(
        Proc(700, "k3s-server", ["/usr/local/bin/k3s server"], "/var/lib/rancher/k3s/data/current/bin/k3s")
    )


def rke2(node: SimNode) -> SimNode:
    """An RKE2 agent: its kubelet is a process of its own, with a folder of drop-ins."""
    folder = "/var/lib/rancher/rke2/agent/etc/kubelet.conf.d"
    node.put(
        f"{folder}/00-rke2-defaults.conf",
        "apiVersion: kubelet.config.k8s.io/v1beta1\ncgroupDriver: systemd\n"
        "containerRuntimeEndpoint: unix:///run/k3s/containerd/containerd.sock\nkind: KubeletConfiguration\n",
    )
    args = [
        "kubelet",
        f"--config-dir={folder}",
        "--hostname-override=gpu-node",
        "--kubeconfig=/var/lib/rancher/rke2/agent/kubelet.kubeconfig",
    ]
    node.unit("rke2-agent.service", Id="rke2-agent.service", MainPID="700")
    node.answer(("kubelet --version",), "Kubernetes v1.32.3+rke2r1\n")
    return node.process(Proc(811, "kubelet", args, "/var/lib/rancher/rke2/data/v1.32.3-rke2r1/bin/kubelet"))


def k0s(node: SimNode) -> SimNode:
    """A k0s worker."""
    args = [
        "/var/lib/k0s/bin/kubelet",
        "--root-dir=/var/lib/k0s/kubelet",
        "--config=/var/lib/k0s/kubelet-config.yaml",
        "--container-runtime-endpoint=unix:///run/k0s/containerd.sock",
    ]
    node.put("/var/lib/k0s/kubelet-config.yaml", "kind: KubeletConfiguration\ncgroupDriver: cgroupfs\n")
    node.unit("k0sworker.service", Id="k0sworker.service", MainPID="700")
    return node.process(Proc(812, "kubelet", args, "/var/lib/k0s/bin/kubelet"))


def microk8s(node: SimNode) -> SimNode:
    """A MicroK8s node: kubelite, its kubelet's flags in a file of the snap's."""
    node.put(
        "/var/snap/microk8s/current/args/kubelet",
        "--kubeconfig=${SNAP_DATA}/credentials/kubelet.config\n--root-dir=${SNAP_COMMON}/var/lib/kubelet\n"
        '--eviction-hard="memory.available<100Mi"\n--container-runtime-endpoint=${SNAP_COMMON}/run/containerd.sock\n',
    )
    args = [
        "/snap/microk8s/9072/kubelite",
        "--kubelet-args-file=/var/snap/microk8s/9072/args/kubelet",
        "--start-control-plane=true",
    ]
    return node.process(Proc(813, "kubelite", args, "/snap/microk8s/9072/kubelite"))


def containerd(
    node: SimNode, *, version: str = "1.7.34", socket: str = "/run/containerd/containerd.sock", pid: int = 600
) -> SimNode:
    """A containerd process with its version, and nothing that it would answer."""
    node.program("/usr/bin/containerd").socket(socket)
    node.answer(("containerd", "--version"), f"containerd github.com/containerd/containerd v{version} 0123abc\n")
    return node.process(Proc(pid, "containerd", ["/usr/bin/containerd", "--address", socket], "/usr/bin/containerd"))
