"""Kubernetes: the kubelet uses this containerd, pods can name the handler, and the kubelet offers the node's GPUs."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from pytest_gpuready.checks.catalogue import check
from pytest_gpuready.checks.messages import Message
from pytest_gpuready.model import (
    Answer,
    Denied,
    Evidence,
    NotApplicable,
    Outcome,
    Undetermined,
    Where,
    failed,
    not_applicable,
    passed,
)
from pytest_gpuready.views.daemons import same_socket
from pytest_gpuready.views.flavours import DEFAULT_SOCKET

if TYPE_CHECKING:
    from pytest_gpuready.remedies import Remedies
    from pytest_gpuready.views.containerd_config import ContainerdConfig
    from pytest_gpuready.views.containerd_live import ContainerdLive
    from pytest_gpuready.views.kubernetes import Kubernetes
    from pytest_gpuready.views.nvml import Nvml
    from pytest_gpuready.views.nvsmi import Gpu
    from pytest_gpuready.views.platform import Platform

NO_KUBELET = "no kubelet on this node"

MESSAGES: tuple[Message, ...] = (
    Message(
        "failed to run Kubelet: validate service connection: validate CRI v1 runtime API for endpoint "
        '"unix:///…": rpc error: code = Unavailable',
        "kubernetes.runtime-endpoint",
        "the socket that the kubelet names is not the daemon's",
    ),
    Message('pods "…" is forbidden: pod rejected: RuntimeClass "nvidia" not found', "kubernetes.runtimeclass"),
    Message("0/1 nodes are available: 1 Insufficient nvidia.com/gpu", "kubernetes.allocatable"),
    Message(
        "Incompatible strategy detected auto",
        "kubernetes.allocatable",
        "in the device plugin's log: its pod was not run by NVIDIA's runtime; give it runtimeClassName",
    ),
    Message(
        "No devices found. Waiting indefinitely.",
        "kubernetes.allocatable",
        "in the device plugin's log: its pod sees no GPU",
    ),
)

#: Container runtimes that are not containerd, by a part of their sockets' paths.
_OTHERS = {"crio": "CRI-O", "cri-dockerd": "cri-dockerd, which is Docker", "dockershim": "dockershim, which is Docker"}


@check("kubernetes.runtime-endpoint", title="The kubelet uses this containerd", needs=["containerd.selected"])
def runtime_endpoint(
    platform: Platform, kubernetes: Kubernetes, containerd_live: ContainerdLive, mend: Remedies
) -> Outcome:
    """The socket of the kubelet's container runtime is the one of the containerd that is judged.

    What: The flag --container-runtime-endpoint or the key containerRuntimeEndpoint, as the kubelet reads them (command
    line, drop-ins, configuration file; k3s, RKE2, k0s and MicroK8s have places of their own), against the judged
    daemon's socket.
    Why: Pods run through the kubelet's runtime. A handler in another containerd, or beside CRI-O or Docker, changes
    nothing for them.
    Fix: Judge the daemon that the kubelet uses, or point the kubelet at this one: drain the node first, since its pods
    stay behind in the other runtime.
    References: Kubernetes pkg/kubelet/apis/config/v1beta1/defaults.go (the default since 1.27),
    cmd/kubeadm/app/constants (kubeadm-flags.env); nvidia-container-toolkit issue 982.
    """
    if not kubernetes.has_kubelet:
        also = platform.not_followed("kubelet")
        return not_applicable(f"{NO_KUBELET}; {also}" if also else NO_KUBELET)
    setting = kubernetes.endpoint_setting
    endpoint, source = (setting.value, setting.source) if setting else (DEFAULT_SOCKET, "the kubelet's default")
    where = setting.where if setting else None
    evidence = (Evidence(source, f"container runtime endpoint {endpoint}"),)
    other = next((name for word, name in _OTHERS.items() if word in endpoint), None)
    if same_socket(endpoint, containerd_live.socket) and other is None:
        return passed(f"the kubelet uses {endpoint} ({source})", where=where, evidence=evidence)
    who = f" ({other})" if other else ""
    return failed(
        f"the kubelet uses {endpoint}{who}, and the containerd at {containerd_live.socket} is judged",
        expected="the kubelet's container runtime is the containerd that is judged",
        where=where,
        evidence=evidence,
        remedy=mend.kubernetes.endpoint(),
    )


@check("kubernetes.runtimeclass", title="A RuntimeClass points to the handler", needs=["containerd.handler"])
def runtimeclass(kubernetes: Kubernetes, containerd_config: ContainerdConfig, mend: Remedies) -> Outcome:
    """Pods can name the runtime handler: some RuntimeClass has it as its handler.

    What: The RuntimeClasses of the API, with a kubeconfig that you name (`--gpuready-kubeconfig`); those that k3s
    creates itself are read from its manifests. Without either this is not applicable: the node does not know them.
    Why: A pod's runtimeClassName is the name of a RuntimeClass; its `handler` is what the kubelet asks containerd for.
    Fix: Create a RuntimeClass whose `handler` is that handler; the GPU operator and k3s create one themselves.
    References: kubernetes.io docs, Runtime Class; k3s-io/k3s manifests/runtimes.yaml; kubernetes
    plugin/pkg/admission/runtimeclass/admission.go.
    """
    if not kubernetes.has_kubelet:
        return not_applicable(NO_KUBELET)
    classes = kubernetes.runtime_classes
    handler = containerd_config.handler_name
    pointing = sorted(name for name, target in classes.items() if target == handler)
    if pointing:
        return passed(f"RuntimeClass {', '.join(pointing)} points to the handler {handler}")
    there = ", ".join(f"{name} → {target}" for name, target in sorted(classes.items())[:20]) or "there is none at all"
    return failed(
        f"no RuntimeClass points to the handler {handler}: {there}",
        expected=f"a RuntimeClass with handler: {handler}",
        evidence=(Evidence(kubernetes.classes_source, there),),
        remedy=mend.kubernetes.runtime_class(handler),
    )


@check(
    "kubernetes.allocatable",
    title="The kubelet offers the node's GPUs to pods",
    needs=["driver.nvml-answers", "containerd.restarted"],
)
def allocatable(kubernetes: Kubernetes, nvml: Nvml, containerd_config: ContainerdConfig, mend: Remedies) -> Answer:
    """The devices that plugins have registered with the kubelet cover the GPUs that NVML lists.

    What: The device manager's checkpoint, by UUID: whole GPUs, replicas of them (time slicing, MPS), MIG devices as the
    plugin's strategy offers them; and with `--gpuready-kubeconfig` the Node's allocatable too. GPUs that are handed out
    by dynamic resource allocation are not counted here.
    Why: A pod that asks for nvidia.com/gpu stays Pending ("Insufficient nvidia.com/gpu") where the kubelet offers none.
    Fix: Run NVIDIA's device plugin on the node, through the nvidia runtime; look at its log if it does.
    References: Kubernetes pkg/kubelet/cm/devicemanager/manager.go, checkpoint/checkpoint.go; NVIDIA/k8s-device-plugin
    internal/rm/devices.go (replicas are ID::N), issues 444, 1134, 1470.
    """
    if not kubernetes.has_kubelet:
        return not_applicable(NO_KUBELET)
    expected = "the kubelet runs and offers every GPU to pods"
    if kubernetes.kubelet is None:
        return failed("the kubelet does not run", expected=expected, remedy=mend.kubernetes.start_kubelet())
    where = Where(kubernetes.checkpoint_path)
    offered = kubernetes.devices
    said = "; ".join(f"{resource}: {', '.join(ids) or 'none'}" for resource, ids in sorted(offered.items()))
    evidence = (Evidence(f"{where.path}, RegisteredDevices", said or "no resource of NVIDIA's"),)
    if not any(offered.values()):
        if kubernetes.uses_dra:
            return not_applicable("NVIDIA's driver for dynamic resource allocation hands out the GPUs")
        zero = f"{', '.join(sorted(offered))} is 0" if offered else "no device plugin of NVIDIA's has registered"
        nothing = failed(
            f"the kubelet offers no GPU: {zero}",
            expected=expected,
            where=where,
            evidence=evidence,
            remedy=mend.kubernetes.device_plugin(),
        )
        # Without a handler the plugin's own pod cannot run: containerd.handler is the root of its routes, and enough.
        return {"cri-cdi": nothing} if _no_handler(containerd_config) else nothing
    missing = uncovered(nvml.devices, [device for ids in offered.values() for device in ids])
    if missing:
        return failed(
            f"the kubelet does not offer {', '.join(missing)}",
            expected=expected,
            where=where,
            evidence=evidence,
            remedy=mend.kubernetes.device_plugin(),
        )
    counts = ", ".join(f"{resource} {len(ids)}" for resource, ids in sorted(offered.items()))
    with contextlib.suppress(NotApplicable, Undetermined):
        short = _short(kubernetes, nvml.devices)
        if short:
            return failed(short, expected=expected, evidence=evidence, remedy=mend.kubernetes.device_plugin())
    return passed(f"{counts}, covering every GPU that NVML lists ({len(nvml.devices)})", where=where, evidence=evidence)


def _no_handler(containerd_config: ContainerdConfig) -> bool:
    with contextlib.suppress(Undetermined, NotApplicable, Denied):
        return containerd_config.handler is None
    return False


def uncovered(gpus: list[Gpu] | tuple[Gpu, ...], offered: list[str]) -> list[str]:
    """The GPUs and MIG devices that no offered device stands for, in words.

    NVIDIA's plugin offers UUIDs, with `::N` for replicas; others offer names of their own (`nvidia0`, `0`, `tegra`),
    which can only be counted. With MIG the whole GPU (strategy none) or its MIG devices (single, mixed) are offered.
    """
    if not any(device.startswith(("GPU-", "MIG-")) for device in offered):
        count = len({re.split(r"::|/", device)[0] for device in offered})
        return [] if count >= len(gpus) else [f"{len(gpus) - count} of {len(gpus)} GPUs"]
    missing = []
    for gpu in gpus:
        if gpu.uuid is None or any(device.startswith((gpu.uuid, f"MIG-{gpu.uuid}")) for device in offered):
            continue
        if not gpu.mig_enabled:
            missing.append(f"GPU {gpu.index} ({gpu.uuid})")
            continue
        missing += [
            f"MIG device {part.index} of GPU {gpu.index} ({part.uuid})"
            for part in gpu.mig_devices
            if part.uuid is not None and not any(device.startswith(part.uuid) for device in offered)
        ]
    return missing


def _short(kubernetes: Kubernetes, gpus: list[Gpu] | tuple[Gpu, ...]) -> str | None:
    """What the Node object lacks, in words; None if it offers enough. Replicas count once."""
    allocatable, labels = kubernetes.allocatable, kubernetes.labels
    said = (
        ", ".join(f"{resource} {count}" for resource, count in sorted(allocatable.items())) or "no resource of NVIDIA's"
    )
    offered = 0
    for resource, count in allocatable.items():
        label = labels.get(f"{resource.removesuffix('.shared')}.replicas", "")
        replicas = max(1, int(label)) if re.fullmatch(r"[0-9]{1,4}", label) else 1
        offered += -(-count // replicas)
    parted = labels.get("nvidia.com/mig.strategy") in ("single", "mixed")
    wanted = sum(len(gpu.mig_devices) if gpu.mig_enabled and parted else 1 for gpu in gpus)
    return f"the Node's allocatable has {said}, and NVML lists {wanted}" if offered < wanted else None
