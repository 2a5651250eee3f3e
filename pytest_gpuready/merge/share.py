"""Equal parts of reports held once: nodes of a fleet are configured alike, and found alike."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_gpuready.node.facts import Facts
from pytest_gpuready.report.files import shown_facts

if TYPE_CHECKING:
    from collections.abc import Hashable

    from pytest_gpuready.report.model import Finding, NodeReport


class Sharing:
    """What was met so far. A report that went through it is equal, and takes little beside its first like."""

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}

    def report(self, report: NodeReport) -> NodeReport:
        """The report out of shared parts, with those facts alone that reports read."""
        one = self._one
        facts = [(one(request), one(fact)) for request, fact in shown_facts(report)]
        findings = {one(check_id): self._finding(found) for check_id, found in report.findings.items()}
        return dataclasses.replace(
            report,
            facts=Facts(report.node, facts, recording=report.facts.recording),
            required=one(report.required),
            findings=self._dict(findings),
            routes=self._dict({one(name): one(route) for name, route in report.routes.items()}),
            inventory={
                one(key): one(value) if isinstance(value, str) else value for key, value in report.inventory.items()
            },
        )

    def _one(self, value: Any) -> Any:
        return self._known.setdefault((type(value), value), value)

    def _finding(self, found: Finding) -> Finding:
        key = (
            found.check.id,
            found.check.advisory,
            self._one(found.outcome),
            found.blocked_by,
            found.routes,
            found.keeps,
            tuple(found.per_route.items()),
        )
        shared: Finding = self._known.setdefault(key, found)
        return shared

    def _dict(self, parts: dict[str, Any]) -> dict[str, Any]:
        """The same dict for the same parts in the same order: they are shared, so their identity tells."""
        key = (dict, tuple((name, id(part)) for name, part in parts.items()))
        shared: dict[str, Any] = self._known.setdefault(key, parts)
        return shared
