"""Each kubernetes check fails where its condition does not hold, passes where it does, and names what mends it."""

from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from pytest_gpuready.checks import catalogue, kubernetes
from pytest_gpuready.checks.kubernetes import uncovered
from pytest_gpuready.judge import judge
from pytest_gpuready.model import Outcome, Settings
from pytest_gpuready.node.facts import Fact, Facts
from pytest_gpuready.node.kubeapi import RUNTIME_CLASSES, node_request
from pytest_gpuready.remedies import Remedies
from pytest_gpuready.views import Views
from pytest_gpuready.views.containerd_config import ContainerdConfig
from pytest_gpuready.views.kubernetes import Kubernetes
from pytest_gpuready.views.nvsmi import Gpu, MigDevice
from tests.support import driver
from tests.support.kubernetes import CHECKPOINT, GPU_0, GPU_1, containerd, device_plugin, k3s, kubeadm, registered
from tests.support.simnode import Proc, SimNode

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_gpuready.model import Answer
    from pytest_gpuready.report.model import Finding
    from pytest_gpuready.views.nvml import Nvml

MINE = {check_id: check for check_id, check in catalogue._registered.items() if check.family == "kubernetes"}
HANDLER = """\
version = 2
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]
    BinaryName = "/usr/bin/nvidia-container-runtime"
"""
TWO = [Gpu(0, uuid=GPU_0), Gpu(1, uuid=GPU_1)]
DEVICES = f"{CHECKPOINT}, RegisteredDevices"
MIG = "MIG-33333333-cccc-4ccc-8ccc-00000000000"


def find(node: SimNode, check_id: str, settings: Settings | None = None, facts: Facts | None = None) -> Finding:
    wanted = settings or Settings()
    return judge(facts or node.facts(wanted), wanted, checks=MINE).findings[check_id]


def healthy() -> SimNode:
    """A kubeadm node whose containerd has the handler and whose device plugin has registered two GPUs."""
    return device_plugin(kubeadm(containerd(SimNode()).put("/etc/containerd/config.toml", HANDLER)), GPU_0, GPU_1)


def api(
    node: SimNode,
    *,
    classes: dict[str, str] | None = None,
    offered: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
) -> Facts:
    """The node's facts and those of an API that answers so."""
    facts = node.facts()
    items = [
        {"kind": "RuntimeClass", "metadata": {"name": name}, "handler": handler}
        for name, handler in (classes or {}).items()
    ]
    facts.add(RUNTIME_CLASSES, Fact("ok", json.dumps({"kind": "List", "items": items}).encode(), 0))
    document = {
        "metadata": {"labels": {f"nvidia.com/{key}": value for key, value in (labels or {}).items()}},
        "status": {"allocatable": offered or {}},
    }
    request = node_request("gpu-node")
    assert request is not None
    facts.add(request, Fact("ok", json.dumps(document).encode(), 0))
    return facts


def allocatable(node: SimNode, gpus: list[Gpu], facts: Facts | None = None) -> Answer:
    """The check on a simulated node whose NVML lists these GPUs (it stands for nvidia-smi's answer)."""
    views = Views(facts or node.facts())
    nvml = cast("Nvml", SimpleNamespace(devices=gpus))
    return kubernetes.allocatable(views.get(Kubernetes), nvml, views.get(ContainerdConfig), Remedies(views))


def outcome(node: SimNode, gpus: list[Gpu], facts: Facts | None = None) -> Outcome:
    answer = allocatable(node, gpus, facts)
    assert isinstance(answer, Outcome)
    return answer


def test_a_node_without_a_kubelet_has_nothing_to_check() -> None:
    for check_id in MINE:
        finding = find(SimNode(), check_id)
        assert (finding.status, finding.outcome.found) == ("not-applicable", kubernetes.NO_KUBELET), check_id


def test_the_three_messages_people_see_lead_to_these_checks() -> None:
    assert {message.check for message in kubernetes.MESSAGES} == set(MINE)


# ---------------------------------------------------------------------- runtime-endpoint


def test_a_kubelet_at_the_judged_socket_passes_and_var_run_is_run() -> None:
    finding = find(healthy(), "kubernetes.runtime-endpoint")
    assert finding.status == "pass"
    assert "/var/run/containerd/containerd.sock" in finding.outcome.found


def test_a_kubelet_with_its_default_socket_passes() -> None:
    node = containerd(SimNode()).process(Proc(801, "kubelet", ["kubelet"], "/usr/bin/kubelet"))
    finding = find(node, "kubernetes.runtime-endpoint")
    assert (finding.status, finding.outcome.where) == ("pass", None)
    assert [(item.source, item.text) for item in finding.outcome.evidence] == [
        ("the kubelet's default", "container runtime endpoint /run/containerd/containerd.sock")
    ]


def test_judging_another_containerd_than_the_kubelets_fails_and_names_the_option() -> None:
    node = containerd(healthy(), socket="/run/other/containerd.sock", pid=601)
    node.procs[1].args[-1] = "--container-runtime-endpoint=/run/containerd/containerd.sock"
    finding = find(node, "kubernetes.runtime-endpoint", Settings(socket="/run/other/containerd.sock"))
    assert finding.status == "fail"
    assert finding.outcome.remedy is not None
    assert finding.outcome.remedy.commands == (
        "pytest --gpuready --gpuready-containerd=/run/containerd/containerd.sock",
    )


def test_a_kubelet_on_cri_o_fails_at_its_line_with_the_edit() -> None:
    node = containerd(SimNode())
    kubeadm(node)
    flags = 'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///var/run/crio/crio.sock --v=2"\n'
    node.put("/var/lib/kubelet/kubeadm-flags.env", flags)
    node.procs[-1].args[-1] = "--container-runtime-endpoint=unix:///var/run/crio/crio.sock"
    finding = find(node, "kubernetes.runtime-endpoint")
    assert finding.status == "fail"
    assert "CRI-O" in finding.outcome.found
    assert str(finding.outcome.where) == "/var/lib/kubelet/kubeadm-flags.env:1"
    remedy = finding.outcome.remedy
    assert remedy is not None
    assert "Drain" in remedy.summary
    assert remedy.commands[1] == "systemctl restart kubelet"
    assert "unix:///run/containerd/containerd.sock" in remedy.commands[0]


def test_the_edit_of_kubeadms_flags_changes_the_endpoint_and_nothing_else(tmp_path: Path) -> None:
    """The remedy's own sed, on a copy of the file."""
    node = containerd(SimNode())
    kubeadm(node).procs[-1].args[-1] = "--container-runtime-endpoint=unix:///var/run/crio/crio.sock"
    flags = 'KUBELET_KUBEADM_ARGS="--a=1 --container-runtime-endpoint=unix:///var/run/crio/crio.sock --v=2"\n'
    node.put("/var/lib/kubelet/kubeadm-flags.env", flags)
    remedy = find(node, "kubernetes.runtime-endpoint").outcome.remedy
    assert remedy is not None
    copy = tmp_path / "flags"
    copy.write_text(flags)
    subprocess.run(
        ["sh", "-c", remedy.commands[0].replace("/var/lib/kubelet/kubeadm-flags.env", str(copy))], check=True
    )
    assert copy.read_text() == flags.replace("/var/run/crio/crio.sock", "/run/containerd/containerd.sock")


def test_a_hostile_socket_path_reaches_no_command() -> None:
    node = containerd(SimNode(), socket="/run/$(reboot)/containerd.sock")
    kubeadm(node).procs[-1].args[-1] = "--container-runtime-endpoint=unix:///var/run/crio/crio.sock"
    flags = 'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///var/run/crio/crio.sock"\n'
    node.put("/var/lib/kubelet/kubeadm-flags.env", flags)
    remedy = find(node, "kubernetes.runtime-endpoint").outcome.remedy
    assert remedy is not None
    assert not any("reboot" in command for command in remedy.commands)


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


def test_the_socket_of_cri_o_is_refused_even_as_asked() -> None:
    node = containerd(SimNode())
    kubeadm(node).procs[-1].args[-1] = "--container-runtime-endpoint=unix:///var/run/crio/crio.sock"
    found = find(node, "kubernetes.runtime-endpoint", Settings(socket="/var/run/crio/crio.sock")).outcome
    assert (found.status, "(CRI-O)" in found.found) == ("fail", True)


# ---------------------------------------------------------------------- runtimeclass


def test_without_a_kubeconfig_the_runtime_class_is_not_applicable_with_the_option() -> None:
    finding = find(healthy(), "kubernetes.runtimeclass")
    assert finding.status == "not-applicable"
    assert "--gpuready-kubeconfig" in finding.outcome.found


def test_a_runtime_class_of_any_name_that_points_to_the_handler_passes() -> None:
    facts = api(healthy(), classes={"gpu": "nvidia", "kata": "kata"})
    finding = find(healthy(), "kubernetes.runtimeclass", facts=facts)
    assert (finding.status, finding.outcome.found) == ("pass", "RuntimeClass gpu points to the handler nvidia")


def test_no_runtime_class_for_the_handler_fails_with_the_manifest() -> None:
    finding = find(healthy(), "kubernetes.runtimeclass", facts=api(healthy(), classes={"kata": "kata"}))
    assert finding.status == "fail"
    assert finding.outcome.remedy is not None
    command = finding.outcome.remedy.commands[0]
    assert "handler: nvidia\nEOF" in command


def test_a_kubeconfig_whose_api_does_not_answer_leaves_it_unknown_in_words() -> None:
    wanted = Settings(kubeconfig="/k")
    facts = healthy().facts(wanted)
    facts.add(RUNTIME_CLASSES, Fact("absent", rc=127, note="kubectl is not installed where pytest runs"))
    finding = find(healthy(), "kubernetes.runtimeclass", wanted, facts)
    assert (finding.status, finding.outcome.found) == ("unknown", "kubectl is not installed where pytest runs")


def test_k3s_runtime_classes_are_known_from_its_own_manifests() -> None:
    finding = find(k3s(SimNode()), "kubernetes.runtimeclass")
    assert finding.status == "pass"


def test_a_handler_whose_name_no_runtime_class_may_have_gets_no_manifest() -> None:
    facts = api(healthy(), classes={})
    finding = find(healthy(), "kubernetes.runtimeclass", Settings(handler="a\nEOF\nreboot"), facts)
    assert finding.status == "fail"
    assert finding.outcome.remedy is not None
    assert finding.outcome.remedy.commands == ()


@pytest.mark.parametrize(
    ("classes", "told"), [({}, "there is none at all"), ({"kata": "kata", "a": "b"}, "a → b, kata → kata")]
)
def test_the_runtime_classes_that_are_there_are_told_and_are_the_evidence(classes: dict[str, str], told: str) -> None:
    found = find(healthy(), "kubernetes.runtimeclass", facts=api(healthy(), classes=classes)).outcome
    assert found.found == f"no RuntimeClass points to the handler nvidia: {told}"
    assert [item.text for item in found.evidence] == [told]


# ---------------------------------------------------------------------- allocatable: what the plugin registered


def test_every_gpu_registered_by_its_uuid_passes() -> None:
    found = outcome(healthy(), TWO)
    assert (found.status, found.found) == ("pass", "nvidia.com/gpu 2, covering every GPU that NVML lists (2)")


def test_a_kubelet_that_no_device_plugin_registered_with_fails() -> None:
    node = healthy().remove(CHECKPOINT)
    found = outcome(node, TWO)
    assert found.status == "fail"
    assert "no device plugin" in found.found
    assert found.remedy is not None
    assert "spec.nodeName=gpu-node" in found.remedy.commands[0]
    assert "runtimeClassName=nvidia" in found.remedy.commands[1]


def test_a_resource_of_zero_is_the_fault() -> None:
    found = outcome(healthy().put(CHECKPOINT, registered({"nvidia.com/gpu": []})), TWO)
    assert (found.status, found.found) == ("fail", "the kubelet offers no GPU: nvidia.com/gpu is 0")


def test_without_a_handler_only_cri_cdi_misses_the_plugin() -> None:
    """The plugin's pod cannot run without the handler: containerd.handler is the root of the other routes."""
    node = device_plugin(kubeadm(containerd(SimNode()).put("/etc/containerd/config.toml", "version = 2\n")))
    answer = allocatable(node, TWO)
    assert isinstance(answer, dict)
    assert {route: found.status for route, found in answer.items()} == {"cri-cdi": "fail"}


def test_a_gpu_that_the_plugin_left_out_is_named() -> None:
    found = outcome(device_plugin(healthy(), GPU_0), TWO)
    assert found.status == "fail"
    assert f"GPU 1 ({GPU_1})" in found.found
    assert found.remedy is not None
    assert found.remedy.commands
    assert str(found.where) == CHECKPOINT
    assert [item.source for item in found.evidence] == [DEVICES]


def test_the_gpu_operator_has_its_own_plugin_to_restart() -> None:
    found = outcome(device_plugin(healthy(), GPU_0).folder("/usr/local/nvidia/toolkit"), TWO)
    assert found.remedy is not None
    assert "nvidia-device-plugin-daemonset" in found.remedy.commands[1]


@pytest.mark.parametrize(
    "resources",
    [
        {"nvidia.com/gpu": [f"{uuid}::{number}" for uuid in (GPU_0, GPU_1) for number in range(4)]},
        {"nvidia.com/gpu.shared": [f"{GPU_0}::0", f"{GPU_1}::0"]},
        {"nvidia.com/gpu": [f"{GPU_0}-0", f"{GPU_1}-0"]},
        {"nvidia.com/gpu": ["nvidia0", "nvidia1"]},
        {"nvidia.com/gpu": ["nvidia0/vgpu0", "nvidia0/vgpu1", "nvidia1/vgpu0"]},
    ],
    ids=["time slicing", "renamed", "HAMi", "GKE", "GKE time sharing"],
)
def test_replicas_and_other_plugins_names_cover_the_gpus(resources: dict[str, list[str]]) -> None:
    assert outcome(healthy().put(CHECKPOINT, registered(resources)), TWO).status == "pass"


def test_names_that_are_no_uuids_are_counted() -> None:
    found = outcome(healthy().put(CHECKPOINT, registered({"nvidia.com/gpu": ["nvidia0::0", "nvidia0::1"]})), TWO)
    assert (found.status, found.found) == ("fail", "the kubelet does not offer 1 of 2 GPUs")


def test_gpus_by_dynamic_resource_allocation_are_not_applicable() -> None:
    node = healthy().remove(CHECKPOINT).socket("/var/lib/kubelet/plugins_registry/gpu.nvidia.com-reg.sock")
    assert outcome(node, TWO).status == "not-applicable"


def test_a_joined_kubelet_that_is_down_offers_nothing() -> None:
    node = healthy()
    node.procs = [proc for proc in node.procs if proc.comm != "kubelet"]
    found = outcome(node, TWO)
    assert (found.status, found.found) == ("fail", "the kubelet does not run")
    assert found.remedy is not None
    assert found.remedy.commands[0] == "systemctl enable --now kubelet"


def test_gpus_of_nvidia_smi_are_compared_with_the_registered_ones() -> None:
    """Through the driver family: its NVML view is the one that is compared."""
    checks = {
        check_id: check for check_id, check in catalogue.catalogue().items() if check.family in ("driver", "kubernetes")
    }
    uuids = [driver.uuid(number) for number in range(2)]
    ready = device_plugin(kubeadm(containerd(driver.h100(SimNode(), gpus=2))), *uuids)
    assert judge(ready.facts(), Settings(), checks=checks).findings["kubernetes.allocatable"].status == "pass"
    short = device_plugin(kubeadm(containerd(driver.h100(SimNode(), gpus=2))), uuids[0])
    assert judge(short.facts(), Settings(), checks=checks).findings["kubernetes.allocatable"].status == "fail"
    hung = driver.smi(
        device_plugin(kubeadm(containerd(driver.h100(SimNode(), gpus=2))), *uuids), rc=124, state="timeout"
    )
    assert judge(hung.facts(), Settings(), checks=checks).findings["kubernetes.allocatable"].blocked_by == (
        "driver.nvml-answers",
    )


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


def test_a_gpu_without_a_uuid_cannot_be_missed() -> None:
    assert uncovered([Gpu(0), Gpu(1, uuid=GPU_1)], [GPU_0]) == [f"GPU 1 ({GPU_1})"]


def test_mig_devices_offered_by_old_names_cover_their_gpu() -> None:
    assert uncovered([Gpu(0, uuid=GPU_0)], [f"MIG-{GPU_0}/1/0"]) == []


def test_more_names_than_gpus_cover_them() -> None:
    assert uncovered(TWO, ["nvidia0", "nvidia1", "nvidia2"]) == []


# ---------------------------------------------------------------------- allocatable: MIG devices


@pytest.mark.parametrize(
    ("resources", "status"),
    [
        ({"nvidia.com/gpu": [GPU_0, f"{MIG}1", f"{MIG}2"]}, "pass"),
        ({"nvidia.com/gpu": [GPU_0], "nvidia.com/mig-3g.40gb": [f"{MIG}1", f"{MIG}2"]}, "pass"),
        ({"nvidia.com/gpu": [GPU_0, GPU_1]}, "pass"),
        ({"nvidia.com/gpu": [GPU_0], "nvidia.com/mig-3g.40gb": [f"{MIG}1"]}, "fail"),
        ({"nvidia.com/gpu": [GPU_0]}, "fail"),
    ],
    ids=["single", "mixed", "none", "one left out", "all left out"],
)
def test_mig_devices_are_covered_as_the_strategy_offers_them(resources: dict[str, list[str]], status: str) -> None:
    parts = (MigDevice(0, uuid=f"{MIG}1"), MigDevice(1, uuid=f"{MIG}2"))
    gpus = [Gpu(0, uuid=GPU_0), Gpu(1, uuid=GPU_1, mig_mode="Enabled", mig_devices=parts)]
    assert gpus[1].mig_enabled
    assert outcome(healthy().put(CHECKPOINT, registered(resources)), gpus).status == status


def test_a_mig_device_without_a_uuid_cannot_be_missed() -> None:
    parts = (MigDevice(0), MigDevice(1, uuid=f"{MIG}2"))
    gpu = Gpu(1, uuid=GPU_1, mig_mode="Enabled", mig_devices=parts)
    assert uncovered([gpu], [GPU_0]) == [f"MIG device 1 of GPU 1 ({MIG}2)"]


def test_mig_devices_alone_are_told_by_their_uuids() -> None:
    gpu = Gpu(
        1, uuid=GPU_1, mig_mode="Enabled", mig_devices=(MigDevice(0, uuid=f"{MIG}1"), MigDevice(1, uuid=f"{MIG}2"))
    )
    assert uncovered([gpu], [f"{MIG}1"]) == [f"MIG device 1 of GPU 1 ({MIG}2)"]


# ---------------------------------------------------------------------- allocatable: the Node object


@pytest.mark.parametrize(
    ("offered", "labels", "status"),
    [
        ({"nvidia.com/gpu": "2"}, {}, "pass"),
        ({"nvidia.com/gpu": "8"}, {"gpu.replicas": "4"}, "pass"),
        ({"nvidia.com/gpu.shared": "4"}, {"gpu.replicas": "4"}, "fail"),
        ({"nvidia.com/gpu": "0"}, {}, "fail"),
        ({"cpu": "8"}, {}, "fail"),
    ],
)
def test_with_the_api_the_nodes_allocatable_must_cover_them_too(
    offered: dict[str, str], labels: dict[str, str], status: str
) -> None:
    assert outcome(healthy(), TWO, api(healthy(), offered=offered, labels=labels)).status == status


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
