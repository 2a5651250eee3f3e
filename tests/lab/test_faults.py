"""Every fault is found, its root named and no other, and what is printed mends it: typed on real nodes, as printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.checks.catalogue import catalogue
from tests.lab.faults import ALL_FAULTS, GENERATIONS, Fault, cases
from tests.lab.judging import counted, told
from tests.lab.trial import trial

if TYPE_CHECKING:
    from tests.lab.conftest import Lab


def _parameters() -> list[object]:
    """Each fault with each generation; half of the fast ones are not slow, on one generation each in turn.

    Of each family one runs for every change.
    """
    parameters: list[object] = []
    families: set[str] = set()
    names = list(dict.fromkeys(fault.name for fault, _ in cases() if fault.fast))
    for fault, generation in sorted(cases(), key=lambda case: case[1]):
        number = names.index(fault.name) if fault.fast else 0
        fast = fault.fast and number % 2 == 0 and generation == fault.generations[number // 2 % len(fault.generations)]
        family = fault.roots[0].partition(".")[0]
        marks = pytest.mark.slow if not fast else () if family in families else pytest.mark.ci
        families |= {family} if fast else set()
        parameters.append(pytest.param(fault, generation, id=f"{fault.name}-{generation}", marks=marks))
    return parameters


@pytest.mark.lab
@pytest.mark.parametrize(("fault", "generation"), _parameters())
def test_each_fault_is_named_and_what_is_printed_mends_it(lab: Lab, fault: Fault, generation: str) -> None:
    """Root exact, routes right, the place shown, dependants blocked, mended by the commands alone, the rest kept."""
    seen = trial(lab.shared(generation, changes=True), fault)
    assert seen.healthy.verdict == "ready", told(seen.healthy)
    assert seen.exact, [told(report) for report in seen.rounds]
    assert seen.elsewhere == ""
    asked = {route: report.verdict for route, report in seen.broken.routes.items() if route in fault.routes}
    if fault.roots != ("node.reachable",):
        assert {route for route, verdict in asked.items() if verdict == "ready"} == set(fault.spares), asked
    for blocked in fault.blocks:
        finding = seen.broken.findings[blocked]
        assert (finding.status, set(finding.blocked_by) & set(fault.roots)) != ("blocked", set()), finding
        assert finding.status == "blocked", finding
    assert seen.ran == [], "a container had its GPUs all the same: the fault is none"
    if fault.person:
        remedy = counted(seen.broken)[fault.roots[0]].outcome.remedy
        assert remedy is not None
        assert fault.person in remedy.summary
    else:
        assert seen.mended, (told(seen.rounds[-1]), seen.typed, seen.fails)
        assert seen.lost == []


def test_there_are_sixty_faults_and_more() -> None:
    """Their names differ, their roots are checks of the catalogue."""
    assert len(ALL_FAULTS) >= 60
    assert len({fault.name for fault in ALL_FAULTS}) == len(ALL_FAULTS)
    known = catalogue()
    for fault in ALL_FAULTS:
        named = {*fault.roots, *fault.blocks, *(root for roots in fault.then for root in roots)}
        assert named <= set(known), fault.name
        assert set(fault.generations) <= set(GENERATIONS), fault.name
        assert set(fault.spares) < set(fault.routes), fault.name


FAMILIES = ("node", "driver", "toolkit", "containerd", "cdi", "kubernetes")


@pytest.mark.parametrize("family", FAMILIES)
def test_most_checks_that_count_are_the_root_of_some_fault(family: str) -> None:
    """A check that no fault fails is proven on recorded facts only; those are named here."""
    shown = {root for fault in ALL_FAULTS for roots in (fault.roots, *fault.then) for root in roots}
    recorded_only = {
        "containerd.supports-route",  # a route that a release does not offer is no fault of the node
        "node.selinux",  # a kernel without SELinux
        "toolkit.runtime-works",  # where the handler's program cannot run, its own check is the root
        "kubernetes.runtime-endpoint",  # containerd.selected finds it first
        "containerd.default-runtime",  # only where pods without runtimeClassName are asked for
        "kubernetes.runtimeclass",  # the API's
    }
    missing = {
        check.id
        for check in catalogue().values()
        if check.family == family and not check.advisory and check.id not in shown | recorded_only
    }
    assert missing == set()
