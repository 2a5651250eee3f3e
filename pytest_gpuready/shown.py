"""A finding as a pytest item shows it: plain values, so that xdist's workers can be handed it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_gpuready.report.model import Finding, NodeReport, Run


@dataclass(frozen=True)
class Shown:
    """`status` is ours, `outcome` pytest's word (passed, failed, skipped), `reason` one line, `text` all of it.

    `remedy` is its summary, then its commands.
    """

    status: str
    outcome: str
    reason: str
    text: str
    blocked_by: tuple[str, ...] = ()
    remedy: tuple[str, ...] = ()


def shown(run: Run) -> dict[str, dict[str, dict[str, Any]]]:
    """Everything that items show: by node's label, by check id."""
    return {
        node.node: {check_id: asdict(_with_remedy(node, finding)) for check_id, finding in node.findings.items()}
        for node in run.nodes
    }


def _with_remedy(node: NodeReport, finding: Finding) -> Shown:
    remedy = finding.outcome.remedy
    shown = _shown(node, finding)
    return shown if remedy is None else replace(shown, remedy=(remedy.summary, *remedy.commands))


def _shown(node: NodeReport, finding: Finding) -> Shown:
    status, found = finding.status, finding.outcome.found
    if status in ("pass", "warn"):
        return Shown(status, "passed", found, found)
    if status == "blocked":
        return Shown(status, "skipped", f"blocked by {', '.join(finding.blocked_by)}", found, finding.blocked_by)
    if status == "not-applicable":
        return Shown(status, "skipped", f"not applicable: {found}", found)
    if not finding.keeps:
        why = "advisory" if finding.check.advisory else "no required route needs it"
        return Shown(status, "skipped", f"{status}, not counted ({why}): {found}", found)
    if node.verdict == "ready":
        return Shown(status, "skipped", f"{status}, not counted (another route is enough): {found}", found)
    return Shown(status, "failed", found, _text(finding))


def _text(finding: Finding) -> str:
    outcome = finding.outcome
    lines = [f"{finding.check.id}: {outcome.found}", f"title     {finding.check.title}"]
    if finding.status == "unknown":
        lines.append("status    unknown: it could not be determined, and unknown is not pass")
    if outcome.expected:
        lines.append(f"expected  {outcome.expected}")
    if outcome.where:
        lines.append(f"where     {outcome.where}")
    for item in outcome.evidence:
        lines += [f"{item.source}:", *(f"    {line}" for line in item.text.splitlines())]
    if outcome.remedy:
        lines.append(f"remedy    {outcome.remedy.summary}")
        lines += [line for command in outcome.remedy.commands for line in command.splitlines()]
    return "\n".join(lines)
