"""Healthy nodes are called healthy, on every generation of containerd, and looking changes nothing on them.

Each kind is proven first: a container of each of its routes lists the GPUs. Those in `QUICK` are looked at with
one containerd each, in turn; with the slow tests every kind with every containerd. For every change: `CI`.
"""

from __future__ import annotations

import logging
import shutil
from typing import TYPE_CHECKING

import pytest

from pytest_gpuready.model import Settings
from tests.lab import base, healthy, unchanged
from tests.lab.judging import judged, told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_gpuready.report.model import NodeReport
    from tests.lab.conftest import Lab
    from tests.lab.healthy import Kind
    from tests.lab.node import Node

pytestmark = pytest.mark.lab
LOG = logging.getLogger(__name__)

JUSTIFIED = {
    # Their containerd is of no package, so its version counts: 1.7.24, without the mends of upstream's later releases.
    ("containerd.not-vulnerable", "k3s", "1.7"),
    ("containerd.not-vulnerable", "rke2", "1.7"),
    ("containerd.not-vulnerable", "k0s", "1.7"),
}
"""Warnings that are right on a healthy node: check, kind, generation."""


class Looked:
    """A healthy node that was looked at once: the report, and what was otherwise afterwards."""

    def __init__(self, node: Node, kind: Kind) -> None:
        self.node, self.kind = node, kind
        kind.prepare(node)
        healthy.prove(node, kind)
        before, said = unchanged.quiet(node)
        self.report = self.judge()
        self.changes = unchanged.settled(node, before)
        self.spoken = unchanged.spoken(said, unchanged.journal(node))

    def judge(self, address: str | None = None, ssh_config: Path | None = None) -> NodeReport:
        """The report, as the kind's user has it."""
        kind = self.kind
        settings = Settings(routes=kind.routes if kind.asked else (), socket=kind.socket if kind.told else None)
        spec = f"ssh://{kind.user}@{address or self.node.address}"
        return judged(self.node, spec=spec, settings=settings, sudo=kind.user != "root", ssh_config=ssh_config)


_FINDINGS = ("drop-in", "only-nvidia", "rke2", "kubeadm", "cdi-only", "mig")
_CALLS = ("operator-driver", "no-curl", "busybox", "sudo", "fedora")
QUICK = {**dict.fromkeys(_FINDINGS, False), **dict.fromkeys(_CALLS, True)}
"""Kinds that are not slow, unlike one another; and whether under strace too."""

CI = ("drop-in", "kubeadm", "cdi-only", "operator-driver", "sudo", "fedora")
TRACED_IN_CI = ("sudo",)
"""Kinds of these that are looked at for every change, and those of them under strace."""


def cases(*, traced: bool) -> Iterator[object]:
    """Every kind on every generation where it makes sense; those that are not slow on one, another one in turn."""
    for number, kind in enumerate(healthy.KINDS.values()):
        for generation in kind.generations:
            quick = QUICK.get(kind.name, False) if traced else kind.name in QUICK
            turn = generation == kind.generations[number % len(kind.generations)]
            ci = kind.name in (TRACED_IN_CI if traced else CI)
            marks = pytest.mark.slow if not (quick and turn) else pytest.mark.ci if ci else ()
            yield pytest.param((kind, generation), id=f"{kind.name}-{generation}", marks=marks)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test its nodes; the tests of one node run one after the other."""
    if "looked" in metafunc.fixturenames:
        traced = "system_call" in metafunc.function.__name__
        metafunc.parametrize("looked", list(cases(traced=traced)), indirect=True, scope="module")


@pytest.fixture(scope="module")
def looked(request: pytest.FixtureRequest, lab: Lab) -> Looked:
    """A healthy node of each kind, looked at."""
    kind, generation = request.param
    return Looked(lab.shared(generation, changes=True, distribution=kind.distribution), kind)


def test_it_is_called_healthy_by_the_routes_that_it_is_healthy_for(looked: Looked) -> None:
    """Ready, by evidence or as asked; nothing is doubted, and no warning is without reason."""
    report, kind = looked.report, looked.kind
    assert report.verdict == "ready", told(report)
    assert report.required.names == kind.routes
    assert {route: report.routes[route].verdict for route in kind.routes} == dict.fromkeys(kind.routes, "ready")
    false = [f for f in report.findings.values() if f.keeps or f.status in ("warn", "unknown")]
    doubts = [(f.check.id, f.status, f.outcome.found) for f in false]
    LOG.info("%s %s: findings %d, %.2f s", kind.name, looked.node.generation, len(doubts), report.duration)
    assert [one for one in doubts if (one[0], kind.name, looked.node.generation) not in JUSTIFIED] == []


def test_what_fails_is_of_routes_that_nobody_asked_for(looked: Looked) -> None:
    """A check that failed, or is blocked, says so of routes only that are not this kind's."""
    bad = ("fail", "blocked")
    for finding in looked.report.findings.values():
        if finding.status in bad:
            ours = [r for r in finding.routes if r in looked.kind.routes and finding.per_route.get(r, "fail") in bad]
            assert ours == [], finding.check.id


def test_nothing_is_changed_by_looking(looked: Looked) -> None:
    """Files, processes, sockets, devices, modules, mounts and control groups are as before; sshd and sudo may speak."""
    assert not looked.changes, "\n".join(looked.changes)
    assert not looked.spoken, "\n".join(looked.spoken)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_system_call_of_the_login_could_change_anything(looked: Looked, tmp_path: Path) -> None:
    """By strace, from the login's shell on: writes go to the run's own pipes, and to the sockets that it asks."""
    with unchanged.traced(looked.node, tmp_path, privileges=looked.kind.user != "root") as (address, config, out):
        report = looked.judge(address, config)
    assert report.verdict == "ready", told(report)
    trace = unchanged.Trace.read(out.read_text())
    assert trace.logins == 1
    assert len(trace.programs) > 20, trace.programs
    assert not trace.faults, "\n".join(dict.fromkeys(trace.faults))


def test_what_is_quick_is_a_kind() -> None:
    assert set(QUICK) - set(healthy.KINDS) == set()
    assert {*CI, *TRACED_IN_CI} <= set(QUICK)


def test_there_are_enough_kinds_and_each_generation_has_its_share() -> None:
    assert len(healthy.KINDS) >= 25
    for generation in base.GENERATIONS:
        assert len([kind for kind in healthy.KINDS.values() if generation in kind.generations]) >= 25
