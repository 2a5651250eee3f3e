"""The result model: run → node → routes and findings. What every renderer reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pytest_gpuready.node.facts import REACH, Facts

if TYPE_CHECKING:
    from pytest_gpuready.checks.catalogue import Check
    from pytest_gpuready.model import Outcome, Status
    from pytest_gpuready.report.baseline import Baseline
    from pytest_gpuready.routes import Required

Verdict = Literal["unreachable", "incomplete", "not-ready", "unknown", "ready"]

Proof = Literal["configured", "live"]

#: Worst first.
VERDICTS: tuple[Verdict, ...] = ("unreachable", "incomplete", "not-ready", "unknown", "ready")


def worst_verdict(verdicts: list[Verdict]) -> Verdict:
    """The worst of several verdicts; nothing looked at is `unknown`."""
    return min(verdicts, key=VERDICTS.index) if verdicts else "unknown"


@dataclass(frozen=True)
class Finding:
    """A check's result on a node.

    `routes` are those in whose closure the check stands; `keeps` the required ones that it, as a root, keeps from being
    ready; `per_route` its status by route, where it has one answer per route.
    """

    check: Check
    outcome: Outcome
    blocked_by: tuple[str, ...] = ()
    routes: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    per_route: dict[str, Status] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        """The finding's status."""
        return self.outcome.status

    @property
    def is_root(self) -> bool:
        """Failed or unknown, and nothing that it needs is."""
        return self.status in ("fail", "unknown")


@dataclass(frozen=True)
class RouteReport:
    """How a route stands: `proof` is `configured` (files, processes, answers) or `live` (a container ran)."""

    id: str
    verdict: Verdict
    proof: Proof
    required: bool
    roots: tuple[str, ...]
    offered: bool = True


@dataclass(frozen=True)
class Snapshot:
    """The snapshot that a node was judged from: when it was taken (UTC), if it says so.

    `newer_checks` counts the checks of required routes that need what its release did not ask yet.
    """

    taken: str | None = None
    newer_checks: int = 0


@dataclass(frozen=True)
class NodeReport:
    """One node, judged. `inventory` and times are filled in by whoever ran it."""

    facts: Facts
    required: Required
    findings: dict[str, Finding]
    routes: dict[str, RouteReport]
    verdict: Verdict
    reason: str | None = None
    hostname: str | None = None
    duration: float = 0.0
    inventory: dict[str, object] = field(default_factory=dict)
    #: How many checks it should have been judged by, where its run was another one than that which reports it.
    expected: int | None = None
    #: None where the node was asked itself.
    snapshot: Snapshot | None = None

    @property
    def node(self) -> str:
        """The node's label."""
        return self.facts.node

    @property
    def reached(self) -> bool:
        """Whether a shell on the node answered."""
        fact = self.facts.peek(REACH)
        return fact is not None and fact.state == "ok"

    @property
    def roots(self) -> list[Finding]:
        """Every root: those that keep a required route from being ready first, failures before unknowns."""
        found = [finding for finding in self.findings.values() if finding.is_root]
        return sorted(found, key=lambda f: (not f.keeps, f.check.advisory, f.status != "fail"))

    @property
    def warnings(self) -> list[Finding]:
        """Advisory findings that ask for attention."""
        return [finding for finding in self.findings.values() if finding.status == "warn"]

    def blocks(self, root: str) -> list[str]:
        """The checks that this root blocks."""
        return [finding.check.id for finding in self.findings.values() if root in finding.blocked_by]


@dataclass(frozen=True)
class Run:
    """A run over nodes, in the order asked for. `started` is UTC in ISO 8601, `duration` in seconds."""

    nodes: tuple[NodeReport, ...]
    started: str
    duration: float
    generator: str
    command: str = ""
    live: bool = False
    notes: tuple[str, ...] = ()
    #: The ini file that named the nodes, where the user did not.
    hosts_from: str = ""
    #: What changed since an older report, where one was named.
    baseline: Baseline | None = None

    @property
    def verdict(self) -> Verdict:
        """The worst over its nodes; no node at all is unknown."""
        return worst_verdict([node.verdict for node in self.nodes])
