"""The kubelet's settings and offers, from the files and command lines that real installations have."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gpuready.model import Denied, NotApplicable, Settings, Undetermined
from pytest_gpuready.node import trust
from pytest_gpuready.node.facts import Fact, Facts
from pytest_gpuready.node.kubeapi import RUNTIME_CLASSES, node_request
from pytest_gpuready.views import Views, kubelet_files, settled
from pytest_gpuready.views.cluster import handlers
from pytest_gpuready.views.kubernetes import Kubernetes, version_script
from tests.support.kubernetes import (
    CHECKPOINT,
    GPU_0,
    containerd,
    device_plugin,
    k0s,
    k3s,
    kubeadm,
    microk8s,
    registered,
    rke2,
)
from tests.support.shell import shells
from tests.support.simnode import Proc, SimNode

if TYPE_CHECKING:
    from collections.abc import Callable


def view(node: SimNode, wanted: Settings | None = None) -> Kubernetes:
    return Views(node.facts(wanted), wanted).get(Kubernetes)


def test_a_node_without_a_kubelet_has_none() -> None:
    kubernetes = view(SimNode())
    assert not kubernetes.has_kubelet
    assert kubernetes.endpoint is None
    assert kubernetes.cgroup_driver is None


def test_kubeadm_names_the_socket_on_the_command_line_and_where_it_is_written() -> None:
    kubernetes = view(kubeadm(SimNode()))
    assert kubernetes.has_kubelet
    assert kubernetes.endpoint == "/var/run/containerd/containerd.sock"
    setting = kubernetes.endpoint_setting
    assert setting is not None
    assert str(setting.where) == "/var/lib/kubelet/kubeadm-flags.env:1"


def test_what_kubeadm_has_written_is_not_the_place_of_a_flag_that_comes_later() -> None:
    """KUBELET_EXTRA_ARGS come last."""
    node = kubeadm(SimNode(), flags=["--container-runtime-endpoint=unix:///run/other.sock"])
    setting = view(node).endpoint_setting
    assert setting is not None
    assert (setting.value, setting.where) == ("/run/other.sock", None)


def test_the_configuration_file_names_the_socket_where_no_flag_does() -> None:
    node = SimNode().put(
        "/etc/kubelet.yaml", "kind: KubeletConfiguration\n# the socket\ncontainerRuntimeEndpoint: unix:///run/x.sock\n"
    )
    node.process(Proc(801, "kubelet", ["kubelet", "--config", "/etc/kubelet.yaml"], "/usr/bin/kubelet"))
    setting = view(node).endpoint_setting
    assert setting is not None
    assert (setting.value, str(setting.where)) == ("/run/x.sock", "/etc/kubelet.yaml:3")


def test_a_configuration_may_be_json_indented_by_tabs() -> None:
    node = SimNode().put("/etc/kubelet.json", '{\n\t"kind": "KubeletConfiguration",\n\t"cgroupDriver": "systemd"\n}\n')
    node.process(Proc(801, "kubelet", ["kubelet", "--config=/etc/kubelet.json"], "/usr/bin/kubelet"))
    assert view(containerd(node)).cgroup_driver == "systemd"


def test_the_last_dropin_by_name_overrides_the_file_and_only_conf_files_count() -> None:
    node = kubeadm(containerd(SimNode()), flags=["--config-dir=/etc/kubelet.d"])
    node.put("/etc/kubelet.d/10-a.conf", "cgroupDriver: systemd\n").put(
        "/etc/kubelet.d/20-b.conf", "cgroupDriver: cgroupfs\n"
    )
    node.put("/etc/kubelet.d/30-c.yaml", "cgroupDriver: systemd\n")
    assert view(node).cgroup_driver == "cgroupfs"


def test_a_flag_overrides_the_dropins() -> None:
    node = kubeadm(containerd(SimNode()), flags=["--config-dir=/etc/kubelet.d", "--cgroup-driver", "systemd"])
    node.put("/etc/kubelet.d/10-a.conf", "cgroupDriver: cgroupfs\n")
    assert view(node).cgroup_driver == "systemd"


def test_a_kubelet_that_nobody_told_uses_cgroupfs() -> None:
    node = containerd(SimNode()).process(Proc(801, "kubelet", ["kubelet"], "/usr/bin/kubelet"))
    kubernetes = view(node)
    assert kubernetes.cgroup_driver == "cgroupfs"
    assert kubernetes.endpoint is None


@pytest.mark.parametrize(
    ("kubelet", "runtime", "flags", "driver"),
    [
        ("v1.30.4", "2.1.9", [], "systemd"),
        ("v1.30.4", "2.1.9", ["--feature-gates=KubeletCgroupDriverFromCRI=true"], None),
        ("v1.31.0", "2.1.9", [], None),
        ("v1.31.0", "2.1.9", ["--feature-gates=X=true,KubeletCgroupDriverFromCRI=false"], "systemd"),
        ("v1.34.1", "2.1.9", ["--feature-gates=KubeletCgroupDriverFromCRI=false"], None),
        ("v1.34.1", "1.7.34", [], "systemd"),
    ],
)
def test_from_1_31_the_kubelet_takes_the_driver_that_containerd_2_tells(
    kubelet: str, runtime: str, flags: list[str], driver: str | None
) -> None:
    """KubeletCgroupDriverFromCRI is alpha in 1.28, on from 1.31, locked in 1.34; containerd 1.x cannot tell."""
    assert view(kubeadm(containerd(SimNode(), version=runtime), version=kubelet, flags=flags)).cgroup_driver == driver


def test_the_gate_may_be_set_in_the_configuration() -> None:
    node = kubeadm(containerd(SimNode(), version="2.1.9"), version="v1.32.0")
    node.put(
        "/var/lib/kubelet/config.yaml", "cgroupDriver: systemd\nfeatureGates:\n  KubeletCgroupDriverFromCRI: false\n"
    )
    assert view(node).cgroup_driver == "systemd"


def test_a_kubelet_that_does_not_tell_its_version_leaves_the_driver_undetermined() -> None:
    node = kubeadm(containerd(SimNode(), version="2.1.9"))
    node.answer(("kubelet --version", "/usr/bin/kubelet"), "", rc=3)
    with pytest.raises(Undetermined):
        _ = view(node).cgroup_driver


def test_an_unknown_driver_is_no_driver() -> None:
    node = kubeadm(containerd(SimNode()), flags=["--cgroup-driver=upstart"])
    with pytest.raises(Undetermined, match="upstart"):
        _ = view(node).cgroup_driver


@pytest.mark.parametrize("dropin", [True, False])
def test_k3s_has_its_own_socket_and_one_cgroup_driver_on_both_sides(*, dropin: bool) -> None:
    kubernetes = view(k3s(SimNode(), dropin=dropin))
    assert kubernetes.endpoint == "/run/k3s/containerd/containerd.sock"
    assert kubernetes.cgroup_driver is None
    assert kubernetes.service == "k3s"


@pytest.mark.parametrize(
    "args", [["k3s", "kubectl", "get", "nodes"], ["k3s", "server", "--disable-agent"], ["k3s", "ctr"]]
)
def test_other_uses_of_k3s_are_no_kubelet(args: list[str]) -> None:
    assert not view(SimNode().process(Proc(5, "k3s", args, "/usr/local/bin/k3s"))).has_kubelet


def test_rke2_is_read_from_its_dropins() -> None:
    kubernetes = view(rke2(containerd(SimNode(), socket="/run/k3s/containerd/containerd.sock")))
    assert kubernetes.endpoint == "/run/k3s/containerd/containerd.sock"
    assert kubernetes.cgroup_driver == "systemd"
    assert kubernetes.service == "rke2-agent"


def test_k0s_keeps_its_kubelet_in_a_folder_of_its_own() -> None:
    kubernetes = view(device_plugin(k0s(containerd(SimNode())), GPU_0, root="/var/lib/k0s/kubelet"))
    assert kubernetes.endpoint == "/run/k0s/containerd.sock"
    assert kubernetes.cgroup_driver == "cgroupfs"
    assert kubernetes.devices == {"nvidia.com/gpu": (GPU_0,)}


def test_microk8s_writes_its_folders_as_variables() -> None:
    kubernetes = view(
        device_plugin(microk8s(containerd(SimNode())), GPU_0, root="/var/snap/microk8s/common/var/lib/kubelet")
    )
    assert kubernetes.endpoint == "/var/snap/microk8s/common/run/containerd.sock"
    assert kubernetes.devices == {"nvidia.com/gpu": (GPU_0,)}
    assert kubernetes.cgroup_driver == "cgroupfs"


def test_a_joined_kubelet_that_is_down_is_still_a_kubelet() -> None:
    node = kubeadm(SimNode())
    node.procs.clear()
    kubernetes = view(node)
    assert kubernetes.has_kubelet
    assert kubernetes.kubelet is None
    assert kubernetes.endpoint == "/var/run/containerd/containerd.sock"


def test_a_kubelet_that_was_installed_and_never_joined_is_none() -> None:
    node = SimNode().program("/usr/bin/kubelet").unit("kubelet.service", Id="kubelet.service", UnitFileState="enabled")
    assert not view(node).has_kubelet


def test_a_kubelet_that_was_disabled_is_none() -> None:
    node = kubeadm(SimNode()).unit(
        "kubelet.service", Id="kubelet.service", UnitFileState="disabled", ActiveState="inactive"
    )
    node.procs.clear()
    assert not view(node).has_kubelet


def test_only_resources_of_nvidias_count_and_a_zero_is_seen() -> None:
    node = kubeadm(SimNode()).put(CHECKPOINT, registered({"nvidia.com/gpu": [], "rdma/hca": ["a", "b"]}))
    assert view(node).devices == {"nvidia.com/gpu": ()}


def test_no_checkpoint_means_that_no_plugin_ever_registered() -> None:
    assert view(kubeadm(SimNode())).devices == {}


def test_a_checkpoint_that_may_not_be_read_is_no_empty_one() -> None:
    with pytest.raises(Denied):
        _ = view(device_plugin(kubeadm(SimNode()), GPU_0).deny(CHECKPOINT)).devices


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"Data": 1}', '{"Data": {"RegisteredDevices": {"nvidia.com/gpu": 3}}}', "[" * 100_000]
)
def test_what_is_no_checkpoint_is_undetermined(text: str) -> None:
    with pytest.raises(Undetermined):
        _ = view(kubeadm(SimNode()).put(CHECKPOINT, text)).devices


def test_dynamic_resource_allocation_shows_by_its_registered_socket() -> None:
    node = kubeadm(SimNode())
    assert not view(node).uses_dra
    assert view(node.socket("/var/lib/kubelet/plugins_registry/gpu.nvidia.com-reg.sock")).uses_dra
    assert not view(
        kubeadm(SimNode()).socket("/var/lib/kubelet/plugins_registry/compute-domain.nvidia.com-reg.sock")
    ).uses_dra


@pytest.mark.parametrize("shell", shells("dash", "bash", "busybox"))
def test_only_a_program_that_nobody_but_root_can_change_is_run_for_its_version(shell: str, tmp_path: Path) -> None:
    """Any user may start a process called kubelet: its program must not run with our rights."""
    others = tmp_path / "kubelet"
    others.write_text("#!/bin/sh\necho Kubernetes v9.9.9\n")
    others.chmod(0o777)
    assert answer(shell, str(others)) == (trust.REFUSED, "")
    assert answer(shell, "/none") == (127, "")
    code, said = answer(shell, str(Path("/bin/ls").resolve()))
    assert code == 0
    assert "ls" in said


def answer(shell: str, program: str) -> tuple[int, str]:
    """What our script says of a program, in this shell."""
    request = version_script(program)
    line = {"bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}.get(shell, [shell])
    done = subprocess.run([*line, "-c", request.body, *request.arg], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


# ---------------------------------------------------------------------- the API


def test_without_a_kubeconfig_what_only_the_api_knows_is_not_applicable() -> None:
    kubernetes = view(kubeadm(SimNode()))
    with pytest.raises(NotApplicable, match="--gpuready-kubeconfig"):
        _ = kubernetes.runtime_classes
    with pytest.raises(NotApplicable, match="--gpuready-kubeconfig"):
        _ = kubernetes.allocatable
    assert kubernetes.runtime_class_handler is None
    assert Kubernetes.api_requests(kubernetes.views) == ()


def test_k3s_creates_runtime_classes_itself_unless_told_to_leave_them() -> None:
    node = k3s(SimNode())
    assert view(node).runtime_classes == {"nvidia": "nvidia", "crun": "crun"}
    with pytest.raises(NotApplicable):
        _ = view(node.put("/var/lib/rancher/k3s/server/manifests/runtimes.yaml.skip")).runtime_classes


def test_the_api_is_asked_for_this_node_by_the_name_that_the_kubelet_gave_it() -> None:
    wanted = Settings(kubeconfig="/home/me/.kube/config")
    node = kubeadm(SimNode(hostname="GPU-Node.example.com"))
    facts = node.facts(wanted)
    assert Kubernetes.api_requests(Views(facts, wanted)) == (RUNTIME_CLASSES, node_request("gpu-node.example.com"))
    named = kubeadm(SimNode(), flags=["--hostname-override=worker-7"]).facts(wanted)
    assert Kubernetes.api_requests(Views(named, wanted))[1] == node_request("worker-7")
    assert Kubernetes.api_requests(Views(SimNode().facts(wanted), wanted)) == ()


@pytest.mark.parametrize("name", ["--all", "-A", "a b", "a/../b", "", "x" * 300, "a\nb"])
def test_a_host_name_that_is_none_of_kubernetes_never_reaches_kubectl(name: str) -> None:
    assert node_request(name) is None


def test_what_the_api_says_is_read_from_recorded_facts_without_the_kubeconfig() -> None:
    facts = kubeadm(SimNode()).facts()
    classes = {"items": [{"metadata": {"name": "nvidia"}, "handler": "nvidia-cdi"}, {"metadata": 1}, 7]}
    status = {"allocatable": {"cpu": "8", "nvidia.com/gpu": "4", "nvidia.com/odd": "4k"}}
    labels = {"nvidia.com/gpu.replicas": "2"}
    facts.add(RUNTIME_CLASSES, Fact("ok", json.dumps(classes).encode(), 0))
    request = node_request("gpu-node")
    assert request is not None
    facts.add(request, Fact("ok", json.dumps({"status": status, "metadata": {"labels": labels}}).encode(), 0))
    kubernetes = Views(facts).get(Kubernetes)
    assert kubernetes.runtime_classes == {"nvidia": "nvidia-cdi"}
    assert kubernetes.runtime_class_handler == "nvidia-cdi"
    assert kubernetes.allocatable == {"nvidia.com/gpu": 4}
    assert kubernetes.labels == labels


@pytest.mark.parametrize(
    "fact",
    [
        Fact("absent", rc=127, note="kubectl is not installed where pytest runs"),
        Fact("timeout", note="the Kubernetes API did not answer within 10 s"),
        Fact("ok", b"", 1, "error: You must be logged in to the server (Unauthorized)"),
        Fact("ok", b"no json", 0),
        Fact("ok", b"[]", 0),
        Fact("ok", b"{}", 0),
        Fact("ok", b"[" * 100_000, 0),
    ],
)
def test_an_api_that_does_not_answer_is_undetermined(fact: Fact) -> None:
    wanted = Settings(kubeconfig="/k")
    facts = kubeadm(SimNode()).facts(wanted)
    facts.add(RUNTIME_CLASSES, fact)
    with pytest.raises(Undetermined):
        _ = Views(facts, wanted).get(Kubernetes).runtime_classes


# ---------------------------------------------------------------------- how much is asked, and garbage


@pytest.mark.parametrize("build", [kubeadm, k3s, rke2, k0s, microk8s])
def test_two_rounds_are_enough_for_every_distribution(build: Callable[[SimNode], SimNode]) -> None:
    node = build(containerd(SimNode(), version="2.1.9"))
    views = Views(Facts("local"))
    for _ in range(2):
        for request in [request for request in views.wants() if request not in views.facts]:
            node._answer_into(views.facts, request)
    assert [str(request) for request in settled(Kubernetes.requests(views)) if request not in views.facts] == []


@given(st.binary(max_size=400), st.binary(max_size=400))
def test_garbage_in_its_files_never_raises_anything_else(config: bytes, checkpoint: bytes) -> None:
    node = kubeadm(containerd(SimNode()), flags=["--config-dir=/etc/kubelet.d"])
    for path in ("/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env", "/etc/kubelet.d/1.conf"):
        node.put(path, config)
    node.put(CHECKPOINT, checkpoint)
    kubernetes = view(node)
    for name in (
        "endpoint",
        "cgroup_driver",
        "devices",
        "uses_dra",
        "runtime_classes",
        "allocatable",
        "node_name",
        "root",
    ):
        with contextlib.suppress(Undetermined, NotApplicable, Denied):
            getattr(kubernetes, name)


@given(st.text(max_size=300))
def test_any_text_as_yaml_is_a_mapping_or_undetermined(text: str) -> None:
    with contextlib.suppress(Undetermined):
        assert isinstance(kubelet_files.mapping("/etc/kubelet.yaml", text), dict)
    with contextlib.suppress(Undetermined):
        assert isinstance(handlers(kubelet_files.documents("/runtimes.yaml", text)), dict)


@pytest.mark.parametrize("text", ["- a\n", "a: [\n", "a\n", "!!python/object/apply:os.system [reboot]\n", "\x00"])
def test_a_configuration_that_is_none_is_undetermined(text: str) -> None:
    with pytest.raises(Undetermined):
        kubelet_files.mapping("/etc/kubelet.yaml", text)


def test_aliases_that_grow_without_end_are_refused() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    node = kubeadm(containerd(SimNode())).put("/var/lib/kubelet/config.yaml", bomb)
    with pytest.raises(Undetermined, match="no plain YAML"):
        _ = view(node).cgroup_driver


def test_dropins_that_may_not_be_listed_are_not_taken_for_none() -> None:
    node = rke2(containerd(SimNode()))
    node.answer(lambda request: request.kind == "files" and "rke2" in request.arg[0], state="denied")
    with pytest.raises(Denied):
        _ = view(node).endpoint
