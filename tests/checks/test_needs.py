"""What each check needs: roots depend on it. Stated here once more, and tried with the judge."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.checks.catalogue import REACHABLE, catalogue
from pytest_gpuready.judge import judge
from pytest_gpuready.model import Outcome, Settings, failed, passed
from pytest_gpuready.node.facts import Fact
from pytest_gpuready.routes import ROUTES
from tests.support import nodes
from tests.support.simnode import SimNode

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_gpuready.report.model import NodeReport

#: A check, and what must hold for it to mean anything.
NEEDS: dict[str, tuple[str, ...]] = {
    "driver.nouveau-absent": ("driver.gpu-on-bus",),
    "driver.module-loaded": ("driver.gpu-on-bus", "driver.nouveau-absent"),
    "driver.device-nodes": ("driver.module-loaded",),
    "driver.kernel-flavour": ("driver.module-loaded",),
    "driver.versions-match": ("driver.module-loaded", "driver.library-present"),
    "driver.xid": ("driver.module-loaded",),
    "driver.nvml-answers": ("driver.device-nodes", "driver.versions-match"),
    "driver.uvm-node": ("driver.device-nodes",),
    "driver.fabric-manager": ("driver.nvml-answers",),
    "driver.gpu-count": ("driver.nvml-answers",),
    "driver.gpu-health": ("driver.nvml-answers",),
    "driver.mig-instances": ("driver.nvml-answers",),
    "driver.persistence": ("driver.nvml-answers",),
    "toolkit.hook": ("toolkit.config-valid",),
    "toolkit.low-level-runtime": ("containerd.running", "toolkit.config-valid"),
    "toolkit.not-vulnerable": ("toolkit.installed",),
    "toolkit.runtime-works": ("toolkit.installed", "toolkit.config-valid"),
    "containerd.config-loads": ("containerd.installed",),
    "containerd.ctr": ("containerd.installed",),
    "containerd.not-vulnerable": ("containerd.installed",),
    "containerd.running": ("containerd.installed",),
    "containerd.cri-enabled": ("containerd.config-loads",),
    "containerd.deprecations": ("containerd.config-loads",),
    "containerd.restarted": ("containerd.running", "containerd.config-loads"),
    "containerd.handler": ("containerd.config-loads", "containerd.cri-enabled"),
    "containerd.default-runtime": ("containerd.handler",),
    "containerd.handler-binary": ("containerd.handler", "containerd.running", "toolkit.installed"),
    "containerd.handler-cgroups": ("containerd.handler",),
    "containerd.handler-runtime-type": ("containerd.handler",),
    "cdi.spec-valid": ("cdi.spec-present",),
    "cdi.no-conflicts": ("cdi.spec-valid",),
    "cdi.spec-current": ("cdi.spec-valid",),
    "cdi.devices-complete": ("cdi.no-conflicts", "driver.nvml-answers"),
    "kubernetes.allocatable": ("driver.nvml-answers", "containerd.restarted"),
    "kubernetes.runtime-endpoint": ("containerd.selected",),
    "kubernetes.runtimeclass": ("containerd.handler",),
    "live.image": ("containerd.running",),
    **{f"live.{name}": ("live.image",) for name in (*ROUTES, "same-gpus", "isolation")},
}


def answering(*bad: str) -> NodeReport:
    """The report where these checks fail and all others pass, by the real catalogue's needs and routes."""

    def says(check_id: str) -> Callable[[], Outcome]:
        return lambda: failed("bad", expected="good") if check_id in bad else passed("ok")

    checks = {
        check.id: dataclasses.replace(check, func=says(check.id), parameters=()) for check in catalogue().values()
    }
    return judge(nodes.ready().facts(), Settings(), checks=checks)


@pytest.mark.parametrize("check_id", NEEDS)
def test_a_check_needs_what_its_roots_depend_on(check_id: str) -> None:
    missing = set(NEEDS[check_id]) - set(catalogue()[check_id].needs)
    assert missing == set()


@pytest.mark.parametrize("need", sorted({need for needs in NEEDS.values() for need in needs}))
def test_where_a_need_fails_what_needs_it_is_blocked_by_it_and_by_nothing_else(need: str) -> None:
    report = answering(need)
    for check_id in (check_id for check_id, needs in NEEDS.items() if need in needs):
        assert report.findings[check_id].blocked_by == (need,), check_id
    assert [finding.check.id for finding in report.roots] == [need]


def test_on_a_node_that_does_not_answer_everything_is_blocked_by_that() -> None:
    report = SimNode(reach=Fact("cut", note="Connection refused")).judge()
    for check_id, finding in report.findings.items():
        assert finding.blocked_by == (() if check_id == REACHABLE else (REACHABLE,)), check_id
