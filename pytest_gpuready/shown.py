"""A finding as a pytest item shows it, a family's findings as one, and all of a run's as xdist's workers get them."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_gpuready.report.model import Finding, NodeReport, Run


@dataclass(frozen=True)
class Shown:
    """`status` is ours, `outcome` pytest's word (passed, failed, skipped), `reason` one line, `text` all of it.

    What passed has nothing to show: its `reason` and `text` are empty. `remedy` is its summary, then its commands.
    """

    status: str
    outcome: str
    reason: str = ""
    text: str = ""
    blocked_by: tuple[str, ...] = ()
    remedy: tuple[str, ...] = ()


#: What items show: by node's label, by check id.
Findings = dict[str, dict[str, Shown]]

#: What is shown of several: what counts, what follows from it, what asks for attention, what passed. What does not
#: count for this node hides nothing that does.
_WORST_FIRST = (
    ("fail", "failed"),
    ("unknown", "failed"),
    ("blocked", "skipped"),
    ("warn", "passed"),
    ("pass", "passed"),
    ("fail", "skipped"),
    ("unknown", "skipped"),
    ("not-applicable", "skipped"),
)


def shown(run: Run) -> Findings:
    """Everything that items show."""
    # Most findings of a fleet are alike, and are held once.
    once: dict[Shown, Shown] = {}
    return {
        node.node: {
            check_id: once.setdefault(made := _with_remedy(node, finding), made)
            for check_id, finding in node.findings.items()
        }
        for node in run.nodes
    }


def together(several: Mapping[str, Shown]) -> Shown:
    """What one item shows of several findings (check id, what it shows): the worst, and all that count in full."""
    order = {one: _WORST_FIRST.index((one.status, one.outcome)) for one in several.values()}
    worst = min(several.values(), key=lambda one: order[one])
    alike = {check_id: one for check_id, one in several.items() if order[one] == order[worst]}
    first = next(iter(alike))
    reason = worst.reason and f"{first}: {worst.reason}"
    if worst.outcome == "failed":
        alike = {check_id: one for check_id, one in several.items() if one.outcome == "failed"}
    if reason and len(alike) > 1:
        reason += f" (and {len(alike) - 1} more)"
    text = "\n\n".join(one.text for one in alike.values()) if worst.outcome == "failed" else worst.text
    blocked_by = dict.fromkeys(root for one in several.values() for root in one.blocked_by)
    return Shown(worst.status, worst.outcome, reason, text, tuple(blocked_by))


def pack(nodes: Sequence[str], found: Findings) -> str:
    """The nodes in their order and what is shown of them, as text for a worker: what is alike is there once."""
    checks = list(dict.fromkeys(check_id for entries in found.values() for check_id in entries))
    table: dict[Shown, int] = {}
    rows = [
        [table.setdefault(found[node][check_id], len(table)) if check_id in found[node] else -1 for check_id in checks]
        for node in nodes
        if node in found
    ]
    known = [node for node in nodes if node in found]
    text = json.dumps([list(nodes), known, checks, [astuple(one) for one in table], rows], separators=(",", ":"))
    return base64.b85encode(zlib.compress(text.encode("ascii"), 6)).decode("ascii")


def unpack(text: str) -> tuple[list[str], Findings]:
    """What was packed."""
    nodes, known, checks, table, rows = json.loads(zlib.decompress(base64.b85decode(text)))
    entries = [
        Shown(status, outcome, reason, told, tuple(blocked_by), tuple(remedy))
        for status, outcome, reason, told, blocked_by, remedy in table
    ]
    return nodes, {
        node: {check_id: entries[number] for check_id, number in zip(checks, row, strict=True) if number >= 0}
        for node, row in zip(known, rows, strict=True)
    }


def _with_remedy(node: NodeReport, finding: Finding) -> Shown:
    remedy = finding.outcome.remedy
    shown = _shown(node, finding)
    return shown if remedy is None else replace(shown, remedy=(remedy.summary, *remedy.commands))


def _shown(node: NodeReport, finding: Finding) -> Shown:
    status, found = finding.status, finding.outcome.found
    if status in ("pass", "warn"):
        return Shown(status, "passed")
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
