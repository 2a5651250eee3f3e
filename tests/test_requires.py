"""What each route requires, link by link: the driver, the toolkit, the spec, the handler; by version and by mode.

The sets are stated here once more, from containerd's and the toolkit's own sources (see routes.py).
"""

from __future__ import annotations

import pytest

from pytest_gpuready.model import Settings
from pytest_gpuready.routes import ROUTES
from pytest_gpuready.views import Views
from tests.support import nodes, toolkit

DRIVER = {
    "driver.gpu-on-bus",
    "driver.nouveau-absent",
    "driver.module-loaded",
    "driver.kernel-flavour",
    "driver.library-present",
    "driver.versions-match",
    "driver.device-nodes",
    "driver.nvml-answers",
    "driver.gpu-count",
    "driver.gpu-health",
    "driver.mig-instances",
    "driver.fabric-manager",
}
ANY = DRIVER | {
    "node.reachable",
    "node.selinux",
    "containerd.installed",
    "containerd.runc",
    "containerd.running",
    "containerd.selected",
    "containerd.supports-route",
}
SPEC = {
    "cdi.enabled",
    "cdi.spec-present",
    "cdi.spec-valid",
    "cdi.no-conflicts",
    "cdi.spec-current",
    "cdi.devices-complete",
    "driver.uvm-node",
}
RUNTIME = {
    "toolkit.installed",
    "toolkit.versions-match",
    "toolkit.config-valid",
    "toolkit.runtime-works",
    "toolkit.low-level-runtime",
    "toolkit.hook",
}
CTR = {"containerd.ctr"}
CLI = {"toolkit.container-cli"}
PODS = {
    "containerd.config-loads",
    "containerd.cri-enabled",
    "containerd.restarted",
    "kubernetes.runtime-endpoint",
    "kubernetes.allocatable",
}
HANDLER = PODS | {
    "containerd.handler",
    "containerd.handler-binary",
    "containerd.handler-runtime-type",
    "containerd.handler-cgroups",
}
CLASS = {"kubernetes.runtimeclass"}
DEFAULT = {"containerd.default-runtime"}
UVM = {"driver.uvm-node"}


@pytest.mark.parametrize(
    ("route", "release", "mode", "needed"),
    [
        ("ctr-gpus", "1.7.24", "auto", ANY | CTR | CLI),
        ("ctr-gpus", "2.3.4", "auto", ANY | CTR | SPEC),
        ("ctr-cdi", "2.1.9", "auto", ANY | CTR | SPEC),
        ("ctr-runtime", "2.1.9", "legacy", ANY | CTR | RUNTIME | CLI),
        ("ctr-runtime", "2.1.9", "cdi", ANY | CTR | RUNTIME | SPEC),
        ("ctr-runtime", "2.1.9", "jit-cdi", ANY | CTR | RUNTIME | UVM),
        ("ctr-runtime", "2.1.9", "csv", ANY | CTR | RUNTIME | UVM),
        ("ctr-runtime", "2.1.9", "no such mode", ANY | CTR | RUNTIME),
        ("cri-handler", "2.1.9", "legacy", ANY | HANDLER | CLASS | RUNTIME | CLI),
        ("cri-handler", "2.1.9", "cdi", ANY | HANDLER | CLASS | RUNTIME | SPEC),
        ("cri-handler", "2.1.9", "jit-cdi", ANY | HANDLER | CLASS | RUNTIME | UVM),
        ("cri-handler", "2.1.9", "no such mode", ANY | HANDLER | CLASS | RUNTIME),
        ("cri-default", "2.1.9", "legacy", ANY | HANDLER | DEFAULT | RUNTIME | CLI),
        ("cri-default", "2.1.9", "cdi", ANY | HANDLER | DEFAULT | RUNTIME | SPEC),
        ("cri-default", "2.1.9", "csv", ANY | HANDLER | DEFAULT | RUNTIME | UVM),
        ("cri-cdi", "2.1.9", "auto", ANY | PODS | SPEC),
    ],
)
def test_a_route_requires_these_checks_and_no_other(route: str, release: str, mode: str, needed: set[str]) -> None:
    node = toolkit.config(nodes.ready(release), 'mode = "auto"', f'mode = "{mode}"')
    assert ROUTES[route].requires(Views(node.facts(), Settings())) == needed


@pytest.mark.parametrize(("version", "needed"), [("2.0.0", CLI | CTR), ("2.3.0", SPEC), (None, set())])
def test_nerdctl_requires_the_cli_and_containerd_on_path_below_2_3_then_a_spec(
    version: str | None, needed: set[str]
) -> None:
    node = nodes.ready().program("/usr/bin/nerdctl")
    if version is not None:
        node.answer(("nerdctl", "--version"), f"nerdctl version {version}\n")
    assert ROUTES["nerdctl"].requires(Views(node.facts(), Settings())) == ANY | needed


def test_where_ctr_does_not_tell_its_version_its_gpus_require_what_all_versions_do() -> None:
    node = nodes.ready().answer(("ctr", "--version"), "what?\n")
    assert ROUTES["ctr-gpus"].requires(Views(node.facts(), Settings())) == ANY | CTR
