"""What the kubernetes checks show beside their words, and the nodes at the edges of their conditions."""

from __future__ import annotations

import pytest

from pytest_gpuready.checks.kubernetes import uncovered
from pytest_gpuready.model import Settings
from pytest_gpuready.views.nvsmi import Gpu, MigDevice
from tests.checks.test_kubernetes import MIG, TWO, api, find, healthy, outcome
from tests.support.kubernetes import CHECKPOINT, GPU_0, GPU_1, containerd, device_plugin, kubeadm, registered
from tests.support.simnode import Proc, SimNode

DEVICES = f"{CHECKPOINT}, RegisteredDevices"


# ---------------------------------------------------------------------- runtime-endpoint


def test_the_kubelets_default_socket_is_evidence_without_a_place() -> None:
    node = containerd(SimNode()).process(Proc(801, "kubelet", ["kubelet"], "/usr/bin/kubelet"))
    found = find(node, "kubernetes.runtime-endpoint").outcome
    assert found.where is None
    assert [(item.source, item.text) for item in found.evidence] == [
        ("the kubelet's default", "container runtime endpoint /run/containerd/containerd.sock")
    ]


def test_another_containerd_has_no_name_in_brackets_and_another_runtime_has() -> None:
    node = containerd(SimNode())
    kubeadm(node).procs[-1].args[-1] = "--container-runtime-endpoint=unix:///run/mine/containerd.sock"
    found = find(node, "kubernetes.runtime-endpoint", Settings(socket="/run/containerd/containerd.sock")).outcome
    assert found.found == (
        "the kubelet uses /run/mine/containerd.sock, and the containerd at /run/containerd/containerd.sock is judged"
    )
    assert [item.text for item in found.evidence] == [
        "container runtime endpoint /run/mine/containerd.sock",
    ]
    node.procs[-1].args[-1] = "--container-runtime-endpoint=unix:///var/run/cri-dockerd.sock"
    assert " (cri-dockerd, which is Docker), " in find(node, "kubernetes.runtime-endpoint").outcome.found


def test_cri_o_is_no_containerd_even_where_its_socket_is_named_for_one() -> None:
    node = containerd(SimNode())
    kubeadm(node).procs[-1].args[-1] = "--container-runtime-endpoint=unix:///var/run/crio/crio.sock"
    found = find(node, "kubernetes.runtime-endpoint", Settings(socket="/var/run/crio/crio.sock")).outcome
    assert (found.status, "(CRI-O)" in found.found) == ("fail", True)


# ---------------------------------------------------------------------- runtimeclass


@pytest.mark.parametrize(
    ("classes", "told"), [({}, "there is none at all"), ({"kata": "kata", "a": "b"}, "a → b, kata → kata")]
)
def test_the_runtime_classes_that_are_there_are_told_and_are_the_evidence(classes: dict[str, str], told: str) -> None:
    found = find(healthy(), "kubernetes.runtimeclass", facts=api(healthy(), classes=classes)).outcome
    assert found.found == f"no RuntimeClass points to the handler nvidia: {told}"
    assert [item.text for item in found.evidence] == [told]


# ---------------------------------------------------------------------- allocatable


def test_what_the_checkpoint_registers_is_the_evidence() -> None:
    found = outcome(healthy(), TWO)
    assert str(found.where) == CHECKPOINT
    assert [(item.source, item.text) for item in found.evidence] == [(DEVICES, f"nvidia.com/gpu: {GPU_0}, {GPU_1}")]
    zero = outcome(healthy().put(CHECKPOINT, registered({"nvidia.com/gpu": []})), TWO)
    assert [(item.source, item.text) for item in zero.evidence] == [(DEVICES, "nvidia.com/gpu: none")]
    none = outcome(healthy().remove(CHECKPOINT), TWO)
    assert [item.text for item in none.evidence] == ["no resource of NVIDIA's"]
    assert none.found == "the kubelet offers no GPU: no device plugin of NVIDIA's has registered"


def test_one_resource_of_zero_beside_another_that_has_devices_is_no_fault() -> None:
    both = registered({"nvidia.com/gpu": [], "nvidia.com/gpu.shared": [f"{GPU_0}::0", f"{GPU_1}::0"]})
    assert outcome(healthy().put(CHECKPOINT, both), TWO).status == "pass"


def test_a_gpu_that_is_left_out_has_the_plugins_pod_to_look_at() -> None:
    found = outcome(device_plugin(healthy(), GPU_0), TWO)
    assert found.remedy is not None
    assert found.remedy.commands
    assert str(found.where) == CHECKPOINT
    assert [item.source for item in found.evidence] == [DEVICES]


def test_a_gpu_without_a_uuid_cannot_be_missed_and_the_others_still_are() -> None:
    assert uncovered([Gpu(0), Gpu(1, uuid=GPU_1)], [GPU_0]) == [f"GPU 1 ({GPU_1})"]


def test_a_gpu_whose_mig_devices_are_offered_by_their_old_names_is_covered() -> None:
    assert uncovered([Gpu(0, uuid=GPU_0)], [f"MIG-{GPU_0}/1/0"]) == []


def test_a_mig_device_without_a_uuid_cannot_be_missed() -> None:
    parts = (MigDevice(0), MigDevice(1, uuid=f"{MIG}2"))
    gpu = Gpu(1, uuid=GPU_1, mig_mode="Enabled", mig_devices=parts)
    assert uncovered([gpu], [GPU_0]) == [f"MIG device 1 of GPU 1 ({MIG}2)"]


def test_mig_devices_alone_are_told_by_their_uuids() -> None:
    gpu = Gpu(
        1, uuid=GPU_1, mig_mode="Enabled", mig_devices=(MigDevice(0, uuid=f"{MIG}1"), MigDevice(1, uuid=f"{MIG}2"))
    )
    assert uncovered([gpu], [f"{MIG}1"]) == [f"MIG device 1 of GPU 1 ({MIG}2)"]


def test_more_names_than_gpus_cover_them() -> None:
    assert uncovered(TWO, ["nvidia0", "nvidia1", "nvidia2"]) == []


@pytest.mark.parametrize(
    ("offered", "found"),
    [
        ({"nvidia.com/gpu": "1"}, "the Node's allocatable has nvidia.com/gpu 1, and NVML lists 2"),
        ({"cpu": "8"}, "the Node's allocatable has no resource of NVIDIA's, and NVML lists 2"),
    ],
)
def test_a_node_object_that_offers_less_says_how_much(offered: dict[str, str], found: str) -> None:
    short = outcome(healthy(), TWO, api(healthy(), offered=offered))
    assert (short.status, short.found) == ("fail", found)
    assert [item.source for item in short.evidence] == [DEVICES]
    assert short.remedy is not None


@pytest.mark.parametrize(
    ("strategy", "count", "status"),
    [("mixed", "2", "fail"), ("single", "2", "fail"), ("single", "3", "pass"), ("none", "2", "pass")],
)
def test_the_node_object_counts_mig_devices_where_the_strategy_offers_them(
    strategy: str, count: str, status: str
) -> None:
    parts = (MigDevice(0, uuid=f"{MIG}1"), MigDevice(1, uuid=f"{MIG}2"))
    gpus = [Gpu(0, uuid=GPU_0), Gpu(1, uuid=GPU_1, mig_mode="Enabled", mig_devices=parts)]
    node = healthy().put(CHECKPOINT, registered({"nvidia.com/gpu": [GPU_0, GPU_1]}))
    facts = api(node, offered={"nvidia.com/gpu": count}, labels={"mig.strategy": strategy})
    assert outcome(node, gpus, facts).status == status


def test_replicas_that_are_no_number_count_as_one_each() -> None:
    facts = api(healthy(), offered={"nvidia.com/gpu": "2"}, labels={"gpu.replicas": "many"})
    assert outcome(healthy(), TWO, facts).status == "pass"
