"""A JSON report read back into the model: what another run judged, told again in every form of report.

Pure. The report may be another release's or a site's that has checks of its own, and it may be nobody's: every word is
cleaned, keys that are not known are left out, and a node is no better than the routes that it shows. What the JSON does
not hold (facts, remedies of warnings) is not there.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, cast, get_args

from pytest_gpuready.checks.catalogue import FAMILIES, REACHABLE, Check, catalogue
from pytest_gpuready.judge import clean_outcome
from pytest_gpuready.model import Edit, Evidence, Missing, Outcome, Remedy, Status, Where
from pytest_gpuready.node.clean import one_line, shorten
from pytest_gpuready.node.facts import REACH, Fact, Facts
from pytest_gpuready.node.snapshot import TIME
from pytest_gpuready.report.inventory import KEYS
from pytest_gpuready.report.model import VERDICTS, Finding, NodeReport, RouteReport, Snapshot, Verdict, worst_verdict
from pytest_gpuready.routes import Required, asked_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_gpuready.model import Settings
    from pytest_gpuready.report.model import Proof
    from pytest_gpuready.routes import Mode

_STATUSES: tuple[str, ...] = get_args(Status)
_MISSING: tuple[str, ...] = get_args(Missing)
_ROOTS = ("fail", "unknown")

#: Most GPUs, checks and routes of one node that are read, and most ids, pieces of evidence and commands of one check.
_GPUS, _CHECKS, _ROUTES, _IDS, _PIECES = 1024, 4096, 256, 1024, 64

#: Longest command and longest difference of a file, in characters.
_LONGEST = 262_144


class ReportError(ValueError):
    """A report, or a node of one, that cannot be used; the message is the rest of a sentence about it."""


def entries(document: Mapping[str, Any]) -> list[Any]:
    """The nodes of a report as JSON holds them, each for `node` to read."""
    schema, nodes = document.get("schema"), document.get("nodes")
    if isinstance(schema, bool) or schema != 1:
        raise ReportError(f"has schema {one_line(repr(schema), 40)}; this pytest-gpuready reads 1")
    if not isinstance(nodes, list):
        raise ReportError("is damaged: it holds no list of nodes")
    return nodes


def node(entry: Any, settings: Settings) -> NodeReport:
    """One node of a report. Routes that are asked for by name replace those that were required of it.

    Raises:
        ReportError: it cannot be made out which node it is or what was found on it.
    """
    if not isinstance(entry, dict) or not isinstance(entry.get("node"), str) or not one_line(entry["node"]):
        raise ReportError("names no node")
    checks, routes = entry.get("checks"), entry.get("routes")
    if not isinstance(checks, list) or not isinstance(routes, dict) or len(checks) > _CHECKS or len(routes) > _ROUTES:
        raise ReportError(f"says nothing of the checks of {one_line(entry['node'], 100)}")
    named = ((one_line(name, 80), said) for name, said in routes.items())
    stood = {name: _route(name, said) for name, said in named if name}
    required = _required(entry.get("required_routes"), stood, settings)
    stood = {name: dataclasses.replace(route, required=name in required.names) for name, route in stood.items()}
    findings = _findings(checks, entry.get("root_causes"), stood, required)
    claimed = cast("Verdict", entry.get("verdict") if entry.get("verdict") in VERDICTS else "unknown")
    reason = entry.get("reason")
    answered = claimed != "unreachable" and REACHABLE in findings and findings[REACHABLE].status == "pass"
    return NodeReport(
        facts=Facts(one_line(entry["node"]), [(REACH, Fact("ok" if answered else "cut", note=_text(reason) or ""))]),
        required=required,
        findings=findings,
        routes=stood,
        verdict=_verdict(claimed, required, stood, findings, asked=bool(settings.routes)),
        reason=one_line(reason, 800) or None if isinstance(reason, str) else None,
        hostname=one_line(entry["hostname"], 80) or None if isinstance(entry.get("hostname"), str) else None,
        duration=seconds(entry.get("duration_s")),
        inventory=_inventory(entry.get("inventory")),
        expected=_count(entry.get("checks_expected")) or len(findings),
        snapshot=_snapshot(entry.get("snapshot")),
    )


# ---------------------------------------------------------------------------------------------------- routes, verdict


def _route(name: str, said: Any) -> RouteReport:
    said = said if isinstance(said, dict) else {}
    verdict: Verdict = said.get("verdict") if said.get("verdict") in VERDICTS else "unknown"
    proof: Proof = "live" if said.get("proof") == "live" else "configured"
    roots = tuple(_ids(said.get("roots")))
    return RouteReport(name, verdict, proof, said.get("required") is True, roots, said.get("offered") is not False)


def _required(said: Any, routes: Mapping[str, RouteReport], settings: Settings) -> Required:
    asked = asked_for(settings, lambda: tuple(name for name, route in routes.items() if route.offered))
    if asked is not None:
        return asked
    said = said if isinstance(said, dict) else {}
    mode: Mode = "any" if said.get("mode") == "any" else "every"
    return Required(tuple(_ids(said.get("names"))), one_line(str(said.get("because", ""))), mode)


def _verdict(
    claimed: Verdict,
    required: Required,
    routes: Mapping[str, RouteReport],
    findings: Mapping[str, Finding],
    *,
    asked: bool,
) -> Verdict:
    """The verdict that the routes bear out, and no better than what the report claims, unless other routes are asked.

    Nothing looked at is never ready.
    """
    if claimed in ("unreachable", "incomplete"):
        return claimed
    stood: list[Verdict] = [routes[name].verdict if name in routes else "unknown" for name in required.names]
    if required.mode == "any":
        made: Verdict = next((v for v in ("ready", "unknown", "not-ready") if v in stood), "unknown")
    else:
        made = worst_verdict(stood)
    if not any(f.status == "pass" and f.check.family != "node" for f in findings.values()):
        made = worst_verdict([made, "unknown"])
    if not asked:
        return worst_verdict([made, claimed])
    # A site's own checks count whatever routes are asked for.
    own = [f.status for f in findings.values() if f.check.family not in FAMILIES and not f.check.advisory]
    return worst_verdict(
        [made, *("not-ready" if status == "fail" else "unknown" for status in own if status in _ROOTS)]
    )


# ---------------------------------------------------------------------------------------------------- findings


def _findings(
    checks: list[Any], causes: Any, routes: Mapping[str, RouteReport], required: Required
) -> dict[str, Finding]:
    told = {}
    for cause in causes if isinstance(causes, list) else ():
        if isinstance(cause, dict) and isinstance(cause.get("check"), str):
            told[one_line(cause["check"], 200)] = cause
    findings: dict[str, Finding] = {}
    for entry in [*checks, *told.values()]:
        if isinstance(entry, dict) and isinstance(entry.get("check"), str):
            check_id = one_line(entry["check"], 200)
            if check_id and check_id not in findings:
                findings[check_id] = _finding(check_id, entry, told.get(check_id, {}), routes, required)
    for name in required.names:
        for root in routes[name].roots if name in routes and routes[name].verdict != "ready" else ():
            if root not in findings or findings[root].status not in _ROOTS:
                findings[root] = _unexplained(root, findings.get(root), name, routes[name])
    return findings


def _finding(
    check_id: str, entry: dict[str, Any], cause: dict[str, Any], routes: Mapping[str, RouteReport], required: Required
) -> Finding:
    merged: dict[str, Any] = {**entry}
    merged.update((key, cause[key]) for key in ("evidence", "remedy", "title", "missing") if key in cause)
    status = merged.get("status") if merged.get("status") in _STATUSES else "unknown"
    blocked_by = tuple(_ids(merged.get("blocked_by"))) if status == "blocked" else ()
    if status == "blocked" and not blocked_by:
        status = "unknown"  # a check that nothing blocks is not known to be blocked
    where, expected = merged.get("where"), merged.get("expected")
    place = None
    if isinstance(where, dict) and isinstance(where.get("path"), str):
        place = Where(where["path"], _count(where.get("line")) or None)
    outcome = Outcome(
        cast("Status", status),
        str(merged.get("found") or ""),
        expected if isinstance(expected, str) else None,
        place,
        tuple(_evidence(merged.get("evidence"))),
        _remedy(merged.get("remedy")),
        merged.get("missing") if status == "unknown" and merged.get("missing") in _MISSING else None,
    )
    check = _check(check_id, merged.get("title"), advisory=merged.get("advisory") is True)
    keeps = tuple(name for name in required.names if name in routes and check_id in routes[name].roots)
    concerned = tuple(_ids(entry.get("routes")))
    return Finding(check, clean_outcome(outcome), blocked_by, concerned, keeps if status in _ROOTS else ())


def _unexplained(root: str, found: Finding | None, route: str, stood: RouteReport) -> Finding:
    """A root of a route that the report does not tell as one: it told what was required then."""
    status: Status = "fail" if stood.verdict == "not-ready" else "unknown"
    outcome = Outcome(status, f"it keeps {route} from being ready; the report that was read does not say how")
    return Finding(found.check if found else _check(root, None, advisory=False), outcome, (), (route,), (route,))


def _check(check_id: str, title: Any, *, advisory: bool) -> Check:
    """The check of that id; one of a newer release or of a site's own as the report has it."""
    known = catalogue().get(check_id) or Check(check_id, check_id, _never)
    said = (one_line(title, 200) if isinstance(title, str) else "") or known.title
    if (said, advisory) == (known.title, known.advisory):
        return known
    return dataclasses.replace(known, title=said, advisory=advisory)


def _never() -> Outcome:
    raise AssertionError("the check was run where the report was made")  # pragma: no cover - nothing calls it


def _evidence(said: Any) -> Iterator[Evidence]:
    for item in said[:_PIECES] if isinstance(said, list) else ():
        if isinstance(item, dict):
            yield Evidence(_text(item.get("source")) or "", _text(item.get("text")) or "")


def _remedy(said: Any) -> Remedy | None:
    if not isinstance(said, dict):
        return None
    commands, edits = said.get("commands"), said.get("edits")
    if not isinstance(commands, list) or len(commands) > _PIECES:
        commands = []
    if not isinstance(edits, list) or len(edits) > _PIECES:
        edits = []
    if any(isinstance(command, str) and len(command) > _LONGEST for command in commands):
        commands = []  # some of the commands alone would do something else than all
    return Remedy(
        _text(said.get("summary")) or "",
        tuple(command for command in commands if isinstance(command, str) and command),
        tuple(
            Edit(_text(edit.get("path")) or "", shorten(_text(edit.get("diff")) or "", _LONGEST))
            for edit in edits
            if isinstance(edit, dict)
        ),
    )


# ---------------------------------------------------------------------------------------------------- plain values


def _inventory(said: Any) -> dict[str, object]:
    said = said if isinstance(said, dict) else {}
    found: dict[str, object] = {
        key: one_line(said[key], 200) or None if isinstance(said.get(key), str) else None
        for key in KEYS
        if key != "gpus"
    }
    gpus = said.get("gpus")
    if isinstance(gpus, list):
        found["gpus"] = [
            {key: one_line(gpu[key], 200) if isinstance(gpu.get(key), str) else None for key in ("name", "uuid")}
            for gpu in gpus[:_GPUS]
            if isinstance(gpu, dict)
        ]
    return found


def _snapshot(said: Any) -> Snapshot | None:
    if not isinstance(said, dict):
        return None
    taken = said.get("taken")
    return Snapshot(
        taken if isinstance(taken, str) and TIME.fullmatch(taken) else None, _count(said.get("newer_checks"))
    )


def _ids(said: Any) -> list[str]:
    items = said[:_IDS] if isinstance(said, list) else ()
    texts = (one_line(item, 200) for item in items if isinstance(item, str))
    return list(dict.fromkeys(text for text in texts if text))


def _text(said: Any) -> str | None:
    return said if isinstance(said, str) else None


def _count(said: Any) -> int:
    return said if isinstance(said, int) and not isinstance(said, bool) and 0 < said < 1 << 31 else 0


def seconds(said: Any) -> float:
    """A duration as a report has it; what is none is 0."""
    if not isinstance(said, int | float) or isinstance(said, bool):
        return 0.0
    try:
        value = float(said)
    except OverflowError:
        return 0.0
    return value if math.isfinite(value) and value >= 0 else 0.0
