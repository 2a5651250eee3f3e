"""One fault on a node that is ready by every route: its root, the routes that are not ready, the checks blocked.

Each check that counts is the root of one fault here. A need that is missing shows as a second root or as a check that
is not blocked; a route that does not require the root shows among those that it keeps from being ready.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.checks.catalogue import LIVE, REACHABLE, catalogue
from pytest_gpuready.judge import judge
from pytest_gpuready.model import Settings
from pytest_gpuready.node.facts import Fact
from pytest_gpuready.node.kubeapi import RUNTIME_CLASSES
from pytest_gpuready.routes import ROUTES
from tests.support import cdi, containerd, kubernetes, nodes, toolkit
from tests.support import driver as d
from tests.support.containerd import CONFIG, V3
from tests.support.simnode import Proc, SimNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.report.model import NodeReport

ASKED = Settings(routes=tuple(ROUTES))

# The routes that a fault keeps from being ready.
EVERY = set(ROUTES)
CTR = {"ctr-gpus", "ctr-runtime", "ctr-cdi"}
PODS = {"cri-handler", "cri-default", "cri-cdi"}
HANDLER = {"cri-handler", "cri-default"}
RUNTIME = HANDLER | {"ctr-runtime"}
SPEC = {"ctr-cdi", "cri-cdi"}
HOOK = {"ctr-gpus", "nerdctl"}

# What a fault blocks, from the last link of each chain to its first.
GPUS = {f"driver.{name}" for name in ("fabric-manager", "gpu-count", "gpu-health", "mig-instances", "persistence")}
AFTER_NVML = GPUS | {"cdi.devices-complete", "kubernetes.allocatable"}
AFTER_VERSIONS = AFTER_NVML | {"driver.nvml-answers"}
AFTER_LIBRARY = AFTER_VERSIONS | {"driver.versions-match"}
AFTER_NODES = AFTER_VERSIONS | {"driver.uvm-node"}
AFTER_MODULE = AFTER_LIBRARY | AFTER_NODES | {"driver.device-nodes", "driver.kernel-flavour", "driver.xid"}
AFTER_NOUVEAU = AFTER_MODULE | {"driver.module-loaded"}
AFTER_BUS = AFTER_NOUVEAU | {"driver.nouveau-absent"}
AFTER_VALID = {"cdi.no-conflicts", "cdi.spec-current", "cdi.devices-complete"}
AFTER_HANDLER = {
    "containerd.default-runtime",
    "containerd.handler-binary",
    "containerd.handler-cgroups",
    "containerd.handler-runtime-type",
    "kubernetes.runtimeclass",
}
AFTER_RESTARTED = {"kubernetes.allocatable"}
AFTER_CONFIG = {"containerd.deprecations", "containerd.restarted", "containerd.cri-enabled", "containerd.handler"}
AFTER_CONFIG |= AFTER_HANDLER | AFTER_RESTARTED
AFTER_RUNNING = {"containerd.restarted", "containerd.handler-binary", "containerd.runc", "toolkit.low-level-runtime"}
AFTER_RUNNING |= AFTER_RESTARTED
AFTER_CONTAINERD = {"containerd.ctr", "containerd.not-vulnerable", "containerd.config-loads", "containerd.running"}
AFTER_CONTAINERD |= AFTER_CONFIG | AFTER_RUNNING
AFTER_TOOLKIT = {"toolkit.hook", "toolkit.not-vulnerable", "toolkit.runtime-works", "containerd.handler-binary"}
AFTER_TOOLKIT_CONFIG = {"toolkit.hook", "toolkit.low-level-runtime", "toolkit.runtime-works"}


@dataclass(frozen=True)
class Fault:
    """A fault: what breaks the node, the routes that it keeps from being ready, the checks that it blocks."""

    breaks: Callable[[SimNode], object]
    keeps: set[str]
    blocks: set[str]
    settings: Settings = ASKED


def whole() -> SimNode:
    """Return a node with every client and a kubelet, ready by all routes."""
    node = nodes.ready().program("/usr/bin/nerdctl")
    node.answer(("nerdctl", "--version"), "nerdctl version 2.0.0\n")
    table = f'[{V3}.containerd]\n  default_runtime_name = "nvidia"\n[{V3}]\n  enable_cdi = true\n'
    configured(node, containerd.config("2.1.9", systemd=True) + table)
    return kubernetes.device_plugin(kubernetes.kubeadm(node), d.uuid(0), d.uuid(1))


def report(node: SimNode, settings: Settings = ASKED, *, classes: int = 1) -> NodeReport:
    """Judge a node, by all routes unless told otherwise, whose Kubernetes API has so many RuntimeClasses."""
    facts = node.facts(settings)
    item = {"kind": "RuntimeClass", "metadata": {"name": "nvidia"}, "handler": "nvidia"}
    document = {"kind": "List", "items": [item] * classes}
    facts.add(RUNTIME_CLASSES, Fact("ok", json.dumps(document).encode(), 0))
    return judge(facts, settings)


def configured(node: SimNode, text: str) -> SimNode:
    """Write containerd's file and have the daemon load it."""
    return containerd.says(node.put(CONFIG, text), containerd.loaded(node.put(CONFIG, text), "2.1.9"))


def edited(node: SimNode, old: str, new: str) -> SimNode:
    """Change a part of containerd's file and have the daemon load it."""
    text = node.tree[CONFIG].data.decode()
    assert old in text
    return configured(node, text.replace(old, new, 1))


def smi(node: SimNode, **said: str) -> SimNode:
    """Have the first of two GPUs say this of itself."""
    return d.smi(node, d.smi_xml(d.gpu_xml(0, **said), d.gpu_xml(1)))


def older(node: SimNode) -> SimNode:
    """Load the proprietary module on GPUs that need the open one."""
    words = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {d.VERSION}  Release Build\n"
    return d.gpus_on_bus(node.put("/proc/driver/nvidia/version", words), 2, device=0x2901)


def elsewhere(node: SimNode) -> None:
    """Have the kubelet use a socket at which no containerd listens."""
    kubelet = next(proc for proc in node.procs if proc.comm == "kubelet")
    kubelet.args[-1] = "--container-runtime-endpoint=unix:///run/x.sock"


def another(node: SimNode) -> None:
    """Run a second containerd at another socket, with the same file."""
    args = ["containerd", "-a", "/run/other.sock"]
    node.process(Proc(901, "containerd", args, "/usr/bin/containerd")).socket("/run/other.sock")
    containerd.says(node, containerd.loaded(node, "2.1.9"), "/run/other.sock")


def labelled(node: SimNode) -> None:
    """Have containerd label containers, which SELinux keeps from the devices."""
    node.selinux = "1"
    node.put("/sys/fs/selinux/booleans/container_use_devices", "0 0")
    edited(node, f"[{V3}]\n", f"[{V3}]\n  enable_selinux = true\n")


TYPE = '  runtime_type = "io.containerd.runc.v2"\n'
NVIDIA = f"[{V3}.containerd.runtimes.nvidia]\n"
ARM = b"\x7fELF\x02\x01\x01" + b"\0" * 11 + b"\xb7\0"

FAULTS: dict[str, Fault] = {
    "node.selinux": Fault(labelled, PODS, set()),
    "driver.gpu-on-bus": Fault(lambda node: d.pci(d.unloaded(node)), EVERY, AFTER_BUS),
    "driver.nouveau-absent": Fault(
        lambda node: d.gpus_on_bus(d.unloaded(node), 2, driver="nouveau"), EVERY, AFTER_NOUVEAU
    ),
    "driver.module-loaded": Fault(d.unloaded, EVERY, AFTER_MODULE),
    "driver.kernel-flavour": Fault(older, EVERY, set()),
    "driver.library-present": Fault(d.libraries, EVERY, AFTER_LIBRARY),
    "driver.versions-match": Fault(lambda node: d.libraries(node, *d.both(version="550.1.1")), EVERY, AFTER_VERSIONS),
    "driver.device-nodes": Fault(lambda node: node.remove("/dev/nvidia0"), EVERY, AFTER_NODES),
    "driver.uvm-node": Fault(lambda node: node.remove("/dev/nvidia-uvm"), RUNTIME | SPEC, set()),
    "driver.nvml-answers": Fault(lambda node: d.smi(node, rc=124, state="timeout"), EVERY, AFTER_NVML),
    "driver.gpu-count": Fault(lambda node: d.smi(node, d.smi_xml(d.gpu_xml(0))), EVERY, set()),
    "driver.gpu-health": Fault(lambda node: smi(node, memory="GPU is lost"), EVERY, set()),
    "driver.mig-instances": Fault(lambda node: smi(node, mig="Enabled"), EVERY, set()),
    "driver.fabric-manager": Fault(lambda node: smi(node, fabric_state="In Progress"), EVERY, set()),
    "toolkit.installed": Fault(lambda node: node.remove(toolkit.RUNTIME), RUNTIME, AFTER_TOOLKIT),
    "toolkit.installed, not executable": Fault(
        lambda node: node.put(toolkit.RUNTIME, b"\x7fELF"), RUNTIME, AFTER_TOOLKIT
    ),
    "toolkit.versions-match": Fault(
        lambda node: toolkit.packages(node, "nvidia-container-toolkit 1.17.8-1", "libnvidia-container1 1.13.5-1"),
        RUNTIME,
        set(),
    ),
    "toolkit.config-valid": Fault(
        lambda node: toolkit.config(node, 'mode = "auto"', 'mode = "bogus"'), RUNTIME, AFTER_TOOLKIT_CONFIG
    ),
    "toolkit.runtime-works": Fault(
        lambda node: toolkit.says(node, toolkit.record(toolkit.RUNTIME, "error loading config: x", 1)), RUNTIME, set()
    ),
    "toolkit.low-level-runtime": Fault(lambda node: node.remove("/usr/bin/runc"), EVERY, {"containerd.runc"}),
    "toolkit.container-cli": Fault(lambda node: node.remove(toolkit.CLI), HOOK, set()),
    "toolkit.hook": Fault(lambda node: toolkit.config(node, 'path = "nvidia-ctk"', 'path = "/gone"'), RUNTIME, set()),
    "containerd.installed": Fault(
        lambda node: containerd.stopped(node).remove("/usr/bin/containerd"), EVERY, AFTER_CONTAINERD
    ),
    "containerd.running": Fault(containerd.stopped, EVERY, AFTER_RUNNING),
    "containerd.selected": Fault(
        elsewhere, PODS, {"containerd.restarted", "kubernetes.allocatable", "kubernetes.runtime-endpoint"}
    ),
    "containerd.selected, as the user named it": Fault(
        lambda node: node,
        EVERY,
        AFTER_RUNNING | {"containerd.running", "kubernetes.runtime-endpoint"},
        Settings(routes=tuple(ROUTES), socket="/run/gone.sock"),
    ),
    "containerd.supports-route": Fault(lambda node: node.remove("/usr/bin/nerdctl"), {"nerdctl"}, set()),
    "containerd.ctr": Fault(lambda node: node.remove("/usr/bin/ctr"), CTR, set()),
    "containerd.runc": Fault(
        lambda node: node.answer(("runc and its shim",), "shim \nrunc /usr/bin/runc\n> runc version 1.3.6\nrc 0\n"),
        EVERY,
        set(),
    ),
    "containerd.config-loads": Fault(lambda node: node.put(CONFIG, "no toml\n"), PODS, AFTER_CONFIG),
    # By cri-cdi, cdi.enabled fails beside it: without the plugin's configuration, CDI counts as off by default.
    "containerd.cri-enabled": Fault(
        lambda node: edited(node, "\n", '\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'),
        HANDLER,
        AFTER_HANDLER | {"containerd.handler"},
        Settings(routes=("cri-handler", "cri-default")),
    ),
    "containerd.restarted": Fault(
        lambda node: containerd.says(node, containerd.Live("2.1.9", cdi=True)), PODS, AFTER_RESTARTED
    ),
    "containerd.handler": Fault(
        lambda node: configured(node, f"version = 3\n[{V3}]\n  enable_cdi = true\n"), HANDLER, AFTER_HANDLER
    ),
    "containerd.default-runtime": Fault(
        lambda node: edited(node, 'default_runtime_name = "nvidia"', 'default_runtime_name = "runc"'),
        {"cri-default"},
        set(),
    ),
    "containerd.handler-binary": Fault(lambda node: node.put(toolkit.RUNTIME, ARM, mode=0o755), HANDLER, set()),
    "containerd.handler-runtime-type": Fault(
        lambda node: edited(node, f"{NVIDIA}{TYPE}", f"{NVIDIA}{TYPE.replace('v2', 'v1')}"), HANDLER, set()
    ),
    "containerd.handler-cgroups": Fault(
        lambda node: edited(node, "SystemdCgroup = true\n[", "SystemdCgroup = false\n["), HANDLER, set()
    ),
    "cdi.enabled": Fault(lambda node: edited(node, "enable_cdi = true", "enable_cdi = false"), {"cri-cdi"}, set()),
    "cdi.spec-present": Fault(lambda node: node.remove(cdi.SPEC), SPEC, AFTER_VALID | {"cdi.spec-valid"}),
    "cdi.spec-valid": Fault(lambda node: node.put(cdi.SPEC, cdi.spec(2, cdi="9.9.9")), SPEC, AFTER_VALID),
    "cdi.no-conflicts": Fault(
        lambda node: node.remove(cdi.SPEC).put(cdi.STATIC, cdi.spec(2)).put("/etc/cdi/x.yaml", cdi.spec(2)),
        SPEC,
        {"cdi.devices-complete"},
    ),
    "cdi.spec-current": Fault(lambda node: node.put(cdi.SPEC, cdi.spec(2, version="550.54.14")), SPEC, set()),
    "cdi.devices-complete": Fault(lambda node: node.put(cdi.SPEC, cdi.spec(1)), SPEC, set()),
    "kubernetes.runtime-endpoint": Fault(
        another, PODS, set(), Settings(routes=tuple(ROUTES), socket="/run/other.sock")
    ),
    "kubernetes.allocatable": Fault(lambda node: kubernetes.device_plugin(node, d.uuid(0)), PODS, set()),
}


@pytest.mark.parametrize("name", FAULTS)
def test_one_fault_has_one_root(name: str) -> None:
    fault, node, root = FAULTS[name], whole(), name.partition(",")[0]
    fault.breaks(node)
    found = report(node, fault.settings)
    assert [finding.check.id for finding in found.roots if finding.keeps] == [root]
    assert set(found.findings[root].keeps) == fault.keeps
    assert set(found.blocks(root)) == fault.blocks


def test_the_node_without_a_fault_is_ready_by_every_route() -> None:
    found = report(whole())
    assert {route: one.verdict for route, one in found.routes.items()} == dict.fromkeys(ROUTES, "ready")
    assert [finding.check.id for finding in found.roots if finding.keeps] == []


def test_without_a_runtime_class_one_route_is_not_ready() -> None:
    found = report(whole(), classes=0)
    assert [finding.check.id for finding in found.roots if finding.keeps] == ["kubernetes.runtimeclass"]
    assert found.findings["kubernetes.runtimeclass"].keeps == ("cri-handler",)


def test_each_check_that_counts_is_the_root_of_a_fault() -> None:
    counts = {check.id for check in catalogue().values() if not check.advisory and check.family != LIVE}
    assert counts - set(FAULTS) == {REACHABLE, "node.privileges", "kubernetes.runtimeclass"}


def test_on_a_node_that_does_not_answer_everything_is_blocked_by_that() -> None:
    found = SimNode(reach=Fact("cut", note="Connection refused")).judge()
    for check_id, finding in found.findings.items():
        assert finding.blocked_by == (() if check_id == REACHABLE else (REACHABLE,)), check_id


def test_a_file_that_may_not_be_read_has_privileges_for_its_root() -> None:
    found = report(whole().deny(CONFIG))
    assert [finding.check.id for finding in found.roots if finding.keeps] == ["node.privileges"]
    assert set(found.findings["node.privileges"].keeps) == PODS | {"ctr-cdi"}
