"""Healthy because nothing was looked at: the commonest defect of such tools. By each way to it a node is not ready.

The cases are those in which GPU health checkers, validators and `nvidia-ctk cdi list` were seen to pass.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.checks.catalogue import catalogue, make
from pytest_gpuready.judge import judge
from pytest_gpuready.model import Settings
from pytest_gpuready.node.facts import REACH, SUDO, Fact, Facts
from pytest_gpuready.report.model import Run
from tests.support import containerd, driver, nodes

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.model import Outcome
    from tests.support.simnode import SimNode

CDI_ROUTES = Settings(routes=("ctr-cdi", "cri-cdi"))


def no_op_nvidia_smi(node: SimNode) -> None:
    """A script called nvidia-smi that exits 0."""
    driver.smi(node, "")


def no_devices(node: SimNode) -> None:
    """NVML answers and lists nothing, with exit status 0."""
    driver.smi(node, driver.smi_xml(attached=0))


def no_nvidia_smi(node: SimNode) -> None:
    """Nobody is there to ask NVML."""
    node.remove("/usr/bin/nvidia-smi")
    driver.smi(node, state="absent", rc=127)


def hung_nvidia_smi(node: SimNode) -> None:
    """It never answers."""
    driver.smi(node, state="timeout", rc=124)


def one_gpu_of_two(node: SimNode) -> None:
    """The bus has two GPUs, NVML lists one."""
    driver.smi(node, driver.smi_xml(driver.gpu_xml(0)))


def no_gpu(node: SimNode) -> None:
    """A node without a GPU."""
    driver.pci(node)


def module_not_loaded(node: SimNode) -> None:
    """The driver's module is not there."""
    node.remove("/sys/module/nvidia", "/proc/driver/nvidia")


def containerd_absent(node: SimNode) -> None:
    """No containerd on the node."""
    node.remove("/usr/bin/containerd", "/usr/bin/ctr", "/etc/containerd", "/run/containerd")
    node.procs.clear()
    node.units.clear()
    for program in ("containerd", "ctr"):
        node.answer((program, "--version"), state="absent", rc=127)
    containerd.says(node, b"via=none\nsocket=absent\n")


def socket_missing(node: SimNode) -> None:
    """The daemon runs, and nobody can talk to it."""
    node.remove("/run/containerd/containerd.sock")
    containerd.says(node, b"via=none\nsocket=absent\n")


def cri_disabled(node: SimNode) -> None:
    """CRI is off, in the files and live."""
    text = node.tree[containerd.CONFIG].data.decode()
    node.put(containerd.CONFIG, text.replace("\n", '\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n', 1))
    containerd.says(node, containerd.loaded(node, "2.1.9"))


def programs_say_nothing(node: SimNode) -> None:
    """Every command on the node exits 0 and prints nothing."""
    node.answer(lambda request: request.kind in ("run", "script"), "")


def every_command_hangs(node: SimNode) -> None:
    """Every command on the node runs into its deadline."""
    node.answer(lambda request: request.kind in ("run", "script"), state="timeout", rc=124)


def everything_denied(node: SimNode) -> None:
    """Nothing may be read."""
    node.answer(lambda request: request.kind != "node", state="denied")


@pytest.mark.parametrize(
    "fault",
    [
        no_op_nvidia_smi,
        no_devices,
        no_nvidia_smi,
        hung_nvidia_smi,
        one_gpu_of_two,
        no_gpu,
        module_not_loaded,
        containerd_absent,
        socket_missing,
        cri_disabled,
        programs_say_nothing,
        every_command_hangs,
        everything_denied,
    ],
)
def test_a_node_on_which_nothing_was_proven_is_not_ready(fault: Callable[[SimNode], None]) -> None:
    node = nodes.ready()
    assert node.judge().verdict == "ready"
    fault(node)
    report = node.judge()
    assert report.verdict in ("not-ready", "unknown")
    assert any(finding.keeps for finding in report.roots)


def test_a_spec_that_names_no_device_is_not_ready_by_cdi() -> None:
    """`nvidia-ctk cdi list` finds 0 devices and exits 0."""
    node = nodes.ready()
    assert node.judge(CDI_ROUTES).verdict == "ready"
    path = next(path for path in node.tree if path.startswith(("/var/run/cdi/", "/etc/cdi/")))
    node.put(path, "cdiVersion: 0.6.0\nkind: nvidia.com/gpu\ndevices: []\n")
    assert node.judge(CDI_ROUTES).verdict == "not-ready"


def test_a_spec_whose_library_is_not_there_is_not_ready_by_cdi() -> None:
    """`nvidia-ctk cdi list` reads the spec and exits 0."""
    node = nodes.ready()
    library = next(path for path in node.tree if "libcuda.so." in path and path.endswith(driver.VERSION))
    node.remove(library)
    report = node.judge(CDI_ROUTES)
    assert report.verdict == "not-ready"
    assert "cdi.spec-current" in {finding.check.id for finding in report.roots if finding.keeps}


def test_facts_of_nothing_but_a_login_are_not_ready() -> None:
    report = judge(Facts("node", [(REACH, Fact("ok")), (SUDO, Fact("ok"))]), Settings())
    assert report.verdict == "unknown"
    assert all(route.verdict != "ready" for route in report.routes.values())


@pytest.mark.parametrize("routes", [(), ("any",), ("all",), ("ctr-cdi",), ("nerdctl",)])
def test_whatever_is_required_no_facts_are_never_ready(routes: tuple[str, ...]) -> None:
    assert judge(Facts("node"), Settings(routes=routes)).verdict == "unreachable"
    assert judge(Facts("node", [(REACH, Fact("ok"))]), Settings(routes=routes)).verdict in ("unknown", "not-ready")


def test_an_internal_error_keeps_the_node_from_being_ready() -> None:
    def broken() -> Outcome:
        raise RuntimeError("boom")

    checks = dict(catalogue())
    checks["driver.gpu-health"] = make("driver.gpu-health", title="x", func=broken)
    report = judge(nodes.ready().facts(), Settings(), checks=checks)
    assert report.verdict == "unknown"
    assert report.findings["driver.gpu-health"].status == "unknown"


def test_a_run_over_no_node_is_not_ready() -> None:
    assert Run((), "2026-11-22T09:00:00Z", 0.0, "pytest-gpuready").verdict == "unknown"


def test_an_answer_that_timed_out_passes_no_check_that_needs_it() -> None:
    """Whichever one answer is missing, a ready verdict stands on the checks that are left: none of them is unknown."""
    whole = nodes.ready().facts()
    for request, _ in whole:
        if request.kind == "node":
            continue
        facts = Facts(whole.node, [(r, Fact("timeout") if r == request else f) for r, f in whole])
        report = judge(facts, Settings())
        counted = [
            f for f in report.findings.values() if set(f.routes) & set(report.required.names) and not f.check.advisory
        ]
        if report.verdict == "ready":
            assert {f.status for f in counted} <= {"pass", "not-applicable", "warn"}, request
        else:
            assert json.dumps([f.check.id for f in report.roots if f.keeps]) != "[]", request
