"""The JSON report: schema 1, whose keys are only ever added to and whose words are closed.

Every text that came from a node or a user is cleaned once more on its way out, so that the output is valid JSON and
safe to print whatever they said.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from pytest_gpuready.checks.catalogue import catalogue
from pytest_gpuready.node.clean import clean, one_line
from pytest_gpuready.report.inventory import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_gpuready.checks.catalogue import Check
    from pytest_gpuready.model import Remedy, Where
    from pytest_gpuready.report.baseline import Baseline, Change, NodeChanges
    from pytest_gpuready.report.model import Finding, NodeReport, Run, Snapshot

SCHEMA = 1


def dumps(run: Run, *, checks: Mapping[str, Check] | None = None) -> str:
    """The report as text, with a newline at its end. Only ASCII, so that any stream and any locale can take it."""
    return "".join(parts(run, checks=checks))


def parts(run: Run, *, checks: Mapping[str, Check] | None = None) -> Iterator[str]:
    """The same text in pieces, a node at a time: the report of thousands need not be held whole."""
    head, _, tail = _written({**_frame(run), "nodes": []}).partition('"nodes": []')
    yield f'{head}"nodes": ['
    expected = _expected(run, checks)
    for number, node in enumerate(run.nodes):
        text = _written(_clean(_node(node, expected, run.baseline)))
        yield (",\n    " if number else "\n    ") + text.replace("\n", "\n    ")
    yield f"{chr(10) + '  ' if run.nodes else ''}]{tail}\n"


def _written(value: object) -> str:
    return json.dumps(value, indent=2, allow_nan=False)


def render(run: Run, *, checks: Mapping[str, Check] | None = None) -> dict[str, Any]:
    """The report as plain data: str, int, float, bool, None, lists and dicts, in the order of the schema.

    `checks` (default: the catalogue) are those that every node should have been judged by: `checks_expected`.
    `checks_run` counts the findings that a node has: a blocked check was judged and counts, also on a node that could
    not be reached; fewer than expected means that judging was interrupted. Live checks are expected of a live run only.
    """
    expected = _expected(run, checks)
    return {**_frame(run), "nodes": [_clean(_node(node, expected, run.baseline)) for node in run.nodes]}


def _expected(run: Run, checks: Mapping[str, Check] | None) -> int:
    suite = catalogue() if checks is None else checks
    expected = {check.id for check in suite.values() if run.live or check.family != "live"}
    expected.update(check_id for node in run.nodes if node.expected is None for check_id in node.findings)
    return len(expected)


def _frame(run: Run) -> dict[str, Any]:
    """All but the nodes, whose place is kept."""
    report = {
        "schema": SCHEMA,
        "generator": run.generator,
        "started": run.started,
        "duration_s": _seconds(run.duration),
        "live": run.live,
        "verdict": run.verdict,
        "nodes": [],
    }
    if run.baseline is not None:
        report["baseline"] = {
            "started": run.baseline.started,
            "generator": run.baseline.generator,
            "missing": run.baseline.missing,
        }
    cleaned: dict[str, Any] = _clean(report)
    return cleaned


def _node(node: NodeReport, expected: int, baseline: Baseline | None) -> dict[str, object]:
    found: dict[str, object] = {
        "node": one_line(node.node),
        "hostname": None if node.hostname is None else one_line(node.hostname),
        "verdict": node.verdict,
        "reason": None if node.reason is None else one_line(node.reason, 800),
        "duration_s": _seconds(node.duration),
        "snapshot": _snapshot(node.snapshot),
        "required_routes": {
            "names": node.required.names,
            "mode": node.required.mode,
            "because": one_line(node.required.because),
        },
        "checks_expected": expected if node.expected is None else node.expected,
        "checks_run": len(node.findings),
        "routes": {
            route.id: {
                "verdict": route.verdict,
                "proof": route.proof,
                "required": route.required,
                "offered": route.offered,
                "roots": route.roots,
            }
            for route in node.routes.values()
        },
        "root_causes": [_root_cause(node, finding) for finding in node.roots],
        "checks": [_check(finding) for finding in node.findings.values()],
        "inventory": {**dict.fromkeys(KEYS), **node.inventory},
    }
    if baseline is not None:
        found["changes"] = _changes(baseline.nodes[node.node])
    return found


def _snapshot(snapshot: Snapshot | None) -> dict[str, object] | None:
    return None if snapshot is None else {"taken": snapshot.taken, "newer_checks": snapshot.newer_checks}


def _changes(changes: NodeChanges) -> dict[str, object]:
    def listed(key: str, items: tuple[Change, ...]) -> list[dict[str, str]]:
        return [{key: item.what, "was": item.was, "now": item.now} for item in items]

    return {
        "known": changes.known,
        "verdict": None if changes.verdict is None else {"was": changes.verdict.was, "now": changes.verdict.now},
        "newly_broken": listed("check", changes.newly_broken),
        "fixed": listed("check", changes.fixed),
        "inventory": listed("key", changes.inventory),
    }


def _root_cause(node: NodeReport, finding: Finding) -> dict[str, object]:
    outcome = finding.outcome
    return {
        "check": finding.check.id,
        "title": finding.check.title,
        "status": finding.status,
        "routes": finding.keeps,
        "advisory": finding.check.advisory,
        "waived": None,
        "missing": "timeout" if outcome.missing == "deadline" else outcome.missing,
        "expected": outcome.expected,
        "found": outcome.found,
        "where": _where(outcome.where),
        "evidence": [{"source": item.source, "text": item.text} for item in outcome.evidence],
        "remedy": _remedy(outcome.remedy),
        "blocks": node.blocks(finding.check.id),
    }


def _check(finding: Finding) -> dict[str, object]:
    outcome = finding.outcome
    return {
        "check": finding.check.id,
        "family": finding.check.family,
        "status": finding.status,
        "advisory": finding.check.advisory,
        "routes": finding.routes,
        "found": outcome.found,
        "expected": outcome.expected,
        "where": _where(outcome.where),
        "blocked_by": finding.blocked_by,
    }


def _where(where: Where | None) -> dict[str, object] | None:
    return None if where is None else {"path": where.path, "line": where.line}


def _remedy(remedy: Remedy | None) -> dict[str, object] | None:
    if remedy is None:
        return None
    return {
        "summary": remedy.summary,
        "commands": remedy.commands,
        "edits": [{"path": edit.path, "diff": edit.diff} for edit in remedy.edits],
    }


def _seconds(value: float) -> float:
    """Seconds to the millisecond; JSON has no infinity."""
    return round(value, 3) if math.isfinite(value) else 0.0


def _clean(value: object) -> Any:
    """The value as JSON can hold it: texts cleaned (surrogates too), tuples as lists, anything else as text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {clean(str(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return clean(str(value))
